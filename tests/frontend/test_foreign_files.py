"""load of what torch.save and NumPy wrote, and of files made to do harm; .npz both ways."""

from __future__ import annotations

import collections
import contextlib
import io
import itertools
import os
import pickle
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import FileFormatError

STORED = Path(__file__).parent / "data" / "checkpoint.pt"


def loaded(data: bytes, **options: Any) -> Any:
    return graphc.load(io.BytesIO(data), **options)


# ---- PyTorch's files ---------------------------------------------------------------------------


def test_a_stored_file_of_pytorch() -> None:
    """Written by torch.save of PyTorch 2.13, for where that is not installed."""
    found = graphc.load(STORED, map_location=graphc.device("cpu"), weights_only=True)
    assert list(found["model"]) == ["weight", "bias"]
    assert found["model"]["weight"].tolist() == [[0.5, -2.0]]
    assert isinstance(found["model"], collections.OrderedDict)
    assert found["param"].requires_grad and found["param"].is_leaf
    assert found["wt"].tolist() == [[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]
    found["w"].zero_()
    assert found["wt"].sum().item() == 0  # one storage, as in the file
    assert found["half"].dtype is graphc.bfloat16 and found["flags"].tolist() == [True, False]
    assert found["epoch"] == 3 and found["note"] == ["naïve", None, (1.5, True)]
    assert type(found["size"]) is graphc.Size and found["dtype"] is graphc.float16
    model = graphc.nn.Linear(2, 1)
    model.load_state_dict(found["model"])
    assert model(graphc.ones(2)).tolist() == [-1.25]


def test_every_dtype_and_layout_of_pytorch() -> None:
    torch = pytest.importorskip("torch")
    base = torch.arange(-12, 12).reshape(2, 3, 4)
    x = {str(d): base.to(getattr(torch, d.long_name)) for d in graphc.ir.types.DTYPES.values()}
    x["strided"], x["sliced"] = base.permute(2, 0, 1), base[1, ::2, 1:]
    x["expanded"], x["scalar"] = torch.ones(3, 1).expand(3, 5), torch.tensor(2.5)
    x["empty"], x["end"] = torch.zeros(2, 0, 3), base.flatten()[24:]
    x["again"] = x["strided"]
    for protocol, zipped in itertools.product((2, 4), (True, False)):
        out = io.BytesIO()
        torch.save(x, out, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
        found = loaded(out.getvalue())
        for name, t in x.items():
            assert found[name].shape == tuple(t.shape)
            assert str(found[name].dtype) == str(t.dtype).replace("torch.", "graphc.")
            assert found[name].tolist() == t.tolist(), name
        assert found["again"] is found["strided"]


def test_a_checkpoint_of_pytorch_resumes_training() -> None:
    torch = pytest.importorskip("torch")

    def trained(T: Any, resume: bytes | None) -> tuple[Any, bytes]:
        model = T.nn.Sequential(T.nn.BatchNorm1d(2), T.nn.Linear(2, 3), T.nn.Linear(3, 1)).double()
        optimizer = T.optim.Adam(model.parameters(), lr=0.1)
        if resume is not None:
            state = T.load(io.BytesIO(resume))
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        for k in range(3):
            optimizer.zero_grad()
            x = T.arange(8.0, dtype=T.float64).reshape(4, 2) ** (k + 1)
            model(x).square().mean().backward()
            optimizer.step()
        out = io.BytesIO()
        T.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, out)
        return model(T.ones(4, 2, dtype=T.float64)).tolist(), out.getvalue()

    torch.manual_seed(0)
    _, begun = trained(torch, None)
    np.testing.assert_allclose(trained(graphc, begun)[0], trained(torch, begun)[0], rtol=1e-9)


def test_the_other_byte_order() -> None:
    torch = pytest.importorskip("torch")
    out = io.BytesIO()
    torch.save(torch.tensor([1, 256]), out)
    swapped = edited(
        out.getvalue(),
        {"byteorder": lambda b: b"big", "data/0": lambda b: np.frombuffer(b, ">i8").tobytes()},
    )
    assert loaded(swapped).tolist() == [1 << 56, 1 << 48]


# ---- files that mean harm ----------------------------------------------------------------------


def edited(data: bytes, changes: dict[str, Callable[[bytes], bytes]]) -> bytes:
    """The zip with some records replaced, named without the archive's own folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for entry in old.infolist():
            name = entry.filename.partition("/")[2]
            new.writestr(entry.filename, changes.get(name, bytes)(old.read(entry)))
    return out.getvalue()


class Evil:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.parts = function, args

    def __reduce__(self) -> Any:
        return self.parts


def with_pickle(data: bytes) -> bytes:
    return edited(STORED.read_bytes(), {"data.pkl": lambda old: data})


def replaced(old: bytes, new: bytes) -> bytes:
    def change(data: bytes) -> bytes:
        assert old in data
        return data.replace(old, new, 1)

    return edited(STORED.read_bytes(), {"data.pkl": change})


def compressed() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("a/data.pkl", pickle.dumps(1, 2))
        new.writestr("a/data/0", bytes(1 << 24))
    return out.getvalue()


def claiming(size: int) -> bytes:
    """A directory that says that the first record is larger than it is."""
    data = bytearray(STORED.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = size.to_bytes(4, "little") * 2
    return bytes(data)


def zipped(**records: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new:
        for name, data in records.items():
            new.writestr(name.replace("__", "/").replace("_pkl", ".pkl"), data)
    return out.getvalue()


def deep_key(depth: int) -> bytes:
    """A dict whose key is a tuple in a tuple in a ...; hashing it would crash Python."""
    return b"\x80\x02}" + b")" + b"\x85" * depth + b"K\x01s."


STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
PASSWD = b"X\x0b\x00\x00\x00/etc/passwd"
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "os.system": (lambda: with_pickle(pickle.dumps(Evil(os.system, "true"), 2)), "posix.system"),
    "eval": (lambda: with_pickle(pickle.dumps(Evil(eval, "1"), 4)), "builtins.eval"),
    "getattr": (lambda: with_pickle(pickle.dumps(Evil(getattr, 1, "real"), 2)), "getattr"),
    "a class": (lambda: with_pickle(pickle.dumps(io.BytesIO(), 2)), "io.BytesIO"),
    "numpy": (lambda: with_pickle(pickle.dumps(np.ones(2), 2)), "numpy"),
    "load_from_bytes": (lambda: with_pickle(b"ctorch.storage\n_load_from_bytes\n."), "torch"),
    "call of a value": (lambda: with_pickle(b"\x80\x02ctorch\nfloat16\n)R."), "no function"),
    "instance": (lambda: with_pickle(b"(ios\nsystem\n."), "opcode INST"),
    "new object": (lambda: with_pickle(b"\x80\x02ccollections\nOrderedDict\n)\x81."), "NEWOBJ"),
    "state": (lambda: with_pickle(b"\x80\x02]}b."), "state for list"),
    "extension": (lambda: with_pickle(b"\x80\x02\x82\x01."), "opcode EXT1"),
    "no end": (lambda: with_pickle(b"\x80\x02]"), "end|exhausted"),
    "nothing": (lambda: with_pickle(b""), "exhausted"),
    "empty stack": (lambda: with_pickle(b"\x80\x02."), "damaged"),
    "no mark": (lambda: with_pickle(b"\x80\x02t."), "damaged"),
    "memo": (lambda: with_pickle(b"\x80\x02h\x07."), "damaged"),
    "large memo": (lambda: with_pickle(b"\x80\x02]r\xff\xff\xff\xff."), "memo"),
    "unhashable": (lambda: with_pickle(b"\x80\x02}]K\x01s."), "key of type list"),
    "deep key": (lambda: with_pickle(deep_key(500_000)), "key of type tuple"),
    "path": (lambda: with_pickle(STORAGE + PASSWD + b"K\0K\1tQ."), "passwd"),
    "not a storage": (lambda: with_pickle(b"\x80\x02K\x01Q."), "damaged"),
    "longer storage": (lambda: replaced(b"FloatStorage", b"DoubleStorage"), "bytes, not"),
    "past the end": (lambda: replaced(b"K\x02K\x03\x86", b"K\x03K\x03\x86"), "need 9"),
    "negative": (lambda: replaced(b"K\x02K\x03\x86", b"J\xff\xff\xff\xffK\x03\x86"), "numbers"),
    "a bool for a size": (lambda: replaced(b"K\x02K\x03\x86", b"\x88K\x03\x86"), "numbers"),
    "dims": (lambda: replaced(b"K\x02K\x03\x86", b"K\x02K\x03\x86\x85"), "numbers"),
    "overflow": (
        lambda: replaced(b"K\x02K\x03\x86", b"\x8a\x05\0\0\0\0\x01K\x03\x86"), "elements; size"
    ),
    "no storage": (lambda: zipped(a__data_pkl=STORAGE + b"X\0\0\0\0K\0K\1tQ."), "lacks"),
    "two archives": (lambda: zipped(a__data_pkl=b"N.", b__data_pkl=b"N."), "no data.pkl"),
    "another zip": (lambda: zipped(a__b=b"x"), "no data.pkl"),
    "compressed": (compressed, "compressed"),
    "size": (lambda: claiming(1 << 31), "claims"),
    "a little too large": (lambda: claiming(2000), "damaged"),
    "truncated": (lambda: STORED.read_bytes()[:-100], "zip"),
    "half": (lambda: STORED.read_bytes()[:1000], "zip"),
    "checksum": (lambda: STORED.read_bytes().replace(b"model", b"modem", 1), "CRC"),
    "old": (lambda: bytes.fromhex("80028a0a6cfc9c46f9206aa85019") + b".", "no end|damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name: str) -> None:
    make, text = HOSTILE[name]
    with pytest.raises(FileFormatError, match=text):
        loaded(make())


def test_mutated_files_never_do_anything_else() -> None:
    with zipfile.ZipFile(STORED) as archive:
        good = archive.read("checkpoint/data.pkl")
    rng = random.Random(1)
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        with contextlib.suppress(FileFormatError):
            loaded(with_pickle(bytes(data)))


def of_old_pytorch(torch: Any) -> bytes:
    """A state dict as torch.save wrote it before PyTorch 1.6; all of it fits in 1,000 bytes."""
    w = torch.arange(6.0).reshape(2, 3)
    model = collections.OrderedDict(w=w, row=w[1], bias=torch.nn.Parameter(torch.ones(1)))
    out = io.BytesIO()
    torch.save({"model": model, "epoch": 3}, out, _use_new_zipfile_serialization=False)
    return out.getvalue()


def test_a_file_of_old_pytorch() -> None:
    found = loaded(of_old_pytorch(pytest.importorskip("torch")))
    model = found["model"]
    assert found["epoch"] == 3 and list(model) == ["w", "row", "bias"]
    assert isinstance(model, collections.OrderedDict) and model["bias"].requires_grad
    model["w"].zero_()
    assert model["row"].tolist() == [0.0, 0.0, 0.0]  # one storage, as in the file


def test_damaged_files_of_old_pytorch() -> None:
    good = of_old_pytorch(pytest.importorskip("torch"))
    rng = random.Random(2)
    for cut in range(20, len(good), 29):
        with pytest.raises(FileFormatError):
            loaded(good[:cut])
    for _ in range(300):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(20, len(data))] = rng.randrange(256)
        with contextlib.suppress(FileFormatError):
            loaded(bytes(data))


# ---- .npz --------------------------------------------------------------------------------------


def test_npz_both_ways(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    x = {"w": graphc.arange(6).reshape(2, 3).t(), "flag": graphc.tensor(True), "n": 2.5}
    graphc.save(x, path)
    with np.load(path, allow_pickle=False) as file:
        assert file["w"].tolist() == x["w"].tolist() and file["n"] == 2.5
    found = graphc.load(path)
    assert found["w"].dtype is graphc.int64 and found["flag"].item() is True
    for write in (np.savez, np.savez_compressed):
        write(path, a=np.arange(3, dtype=">f4"), b=np.asfortranarray(np.eye(2)))
        found = graphc.load(path)
        assert found["a"].tolist() == [0.0, 1.0, 2.0] and found["b"].tolist() == np.eye(2).tolist()
    graphc.save({}, path)
    assert graphc.load(path) == {}


@pytest.mark.parametrize(
    "bad",
    [
        [graphc.ones(1)],
        {"x": {"y": graphc.ones(1)}},
        {1: graphc.ones(1)},
        {"file": graphc.ones(1)},
        {"x": graphc.ones(1, dtype=graphc.bfloat16)},
    ],
    ids=["list", "nested", "key", "file", "bfloat16"],
)
def test_what_npz_cannot_hold(bad: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="npz"):
        graphc.save(bad, tmp_path / "a.npz")
    assert not os.listdir(tmp_path)


def npz(array: Any, compress: bool = False) -> bytes:
    out = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(out, x=array)
    return out.getvalue()


NPZ: dict[str, tuple[Callable[[], bytes], str]] = {
    "objects": (lambda: npz(np.array([{}, 1], object)), "damaged"),
    "texts": (lambda: npz(np.array(["a"])), "no tensor dtype"),
    "truncated": (lambda: npz(np.ones(9))[:-30], "damaged"),
    "bomb": (lambda: npz(np.zeros(1 << 27, np.uint8), True), "unpacks to"),
    "no array": (lambda: zipped(x=b"1").replace(b"PK\x03\x04", b"PK\x05\x06", 1), "damaged"),
}


@pytest.mark.parametrize("name", NPZ)
def test_bad_npz_files(name: str) -> None:
    make, text = NPZ[name]
    with pytest.raises(FileFormatError, match=text):
        loaded(make())


# ---- arguments ---------------------------------------------------------------------------------


def test_arguments_of_load_and_save() -> None:
    out = io.BytesIO()
    graphc.save(collections.OrderedDict(a=1), out, pickle_protocol=4)
    for options in ({"map_location": {"cuda:0": "cpu"}}, {"weights_only": False}, {"mmap": True}):
        found = loaded(out.getvalue(), **options)
        assert found == {"a": 1} and isinstance(found, collections.OrderedDict)
    with pytest.raises(RuntimeError, match="CUDA"):
        loaded(out.getvalue(), map_location="cuda:0")
    for call in (lambda: loaded(b"", pickle_module=pickle), lambda: graphc.save(1, out, pickle)):
        with pytest.raises(ValueError, match="pickle_module"):
            call()
    with pytest.raises(TypeError, match="unexpected"):
        loaded(b"", other=1)
