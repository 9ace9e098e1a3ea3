"""save and load: round trips, sharing, other readers, atomic writes, and hostile files."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import FileFormatError
from graphc.frontend.files.serialization import from_bytes, to_bytes
from graphc.ir.types import DTYPES


def checkpoint() -> dict[str, Any]:
    w = graphc.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    return {
        "model": {"w": w, "tied": w, "n": graphc.tensor(3)},
        "opt": {
            "state": {0: {"m": graphc.zeros(2, 0)}},
            "groups": [{"lr": 0.1, "b": (0.9, 1)}],
        },
        "odd": [None, True, math.inf, -1 << 70, 'naïve\n"quote"', graphc.float16, ()],
    }


def test_nested_checkpoints_come_back() -> None:
    out = from_bytes(to_bytes(checkpoint()))
    assert (
        out["model"]["w"].tolist() == [[1.0, 2.0], [3.0, 4.0]] and out["model"]["w"].requires_grad
    )
    assert out["model"]["w"] is out["model"]["tied"] and out["model"]["n"].item() == 3
    assert out["opt"]["state"][0]["m"].shape == (2, 0)
    assert out["opt"]["groups"] == [{"lr": 0.1, "b": (0.9, 1)}]
    assert out["odd"] == checkpoint()["odd"]


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_dtype_keeps_its_bits(dtype: Any) -> None:
    x = (graphc.arange(-3, 4) * 0.7).to(dtype)
    y = from_bytes(to_bytes({"x": x.reshape(7, 1).t()}))["x"]
    assert y.dtype is dtype and y.shape == (1, 7)
    assert y.numpy().tobytes() == x.numpy().tobytes()


def test_other_safetensors_readers_and_writers_agree(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    path = tmp_path / "a.safetensors"
    graphc.save({"a": graphc.arange(3), "b": {"c": graphc.ones(2, 2)}}, path)
    loaded = safetensors.load_file(path)
    assert loaded["a"].tolist() == [0, 1, 2] and loaded["b.c"].shape == (2, 2)
    safetensors.save_file({"x": np.arange(4.0)}, path)
    assert graphc.load(path)["x"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_files_and_buffers() -> None:
    buffer = BytesIO()
    graphc.save([graphc.ones(1)], buffer)
    buffer.seek(0)
    assert graphc.load(buffer)[0].tolist() == [1.0]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "c.st"
    graphc.save({"v": 1}, path)
    os.chmod(path, 0o640)

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space"):
            graphc.save({"v": 2}, path)
    assert graphc.load(path) == {"v": 1} and os.listdir(tmp_path) == ["c.st"]
    graphc.save({"v": 3}, path)
    assert graphc.load(path) == {"v": 3} and os.stat(path).st_mode & 0o777 == 0o640


def repr_type(bad: Any) -> str:
    """A name without an address, so that every worker collects the same tests."""
    return type(bad).__name__ if not isinstance(bad, dict) else str(sorted(map(str, bad)))


UNKNOWN = [object(), {"f": len}, {frozenset(): 1}, {(1, len): 2}]


@pytest.mark.parametrize("bad", UNKNOWN, ids=repr_type)
def test_what_cannot_be_saved_is_named(bad: Any) -> None:
    with pytest.raises(TypeError, match="save"):
        to_bytes({"x": bad} if not isinstance(bad, dict) else bad)


def test_nesting_is_bounded() -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(TypeError, match="nesting"):
        to_bytes(deep)


def crafted(change: Callable[[dict[str, Any]], Any], body: bytes = b"\0" * 16) -> bytes:
    header: dict[str, Any] = {
        "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "b": {"dtype": "I64", "shape": [], "data_offsets": [8, 16]},
    }
    text = change(header)
    raw = text if isinstance(text, bytes) else json.dumps(header if text is None else text).encode()
    return len(raw).to_bytes(8, "little") + raw + body


def tree(value: Any) -> Callable[[dict[str, Any]], Any]:
    text = json.dumps({"format": 1, "tree": value})
    return lambda h: h.update(__metadata__={"graphc": text})


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "short": b"\1\0\0",
    "huge header": (1 << 62).to_bytes(8, "little") + b"{}",
    "long header": (100).to_bytes(8, "little") + b"{}",
    "not json": crafted(lambda h: b"nonsense"),
    "not utf8": crafted(lambda h: b"\xff\xfe{}"),
    "a list": crafted(lambda h: [1]),
    "deep json": crafted(lambda h: b"[" * 100_000),
    "duplicate": crafted(lambda h: b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":1}'),
    "dtype": crafted(lambda h: h["a"].update(dtype="F33")),
    "shape": crafted(lambda h: h["a"].update(shape="xy")),
    "negative": crafted(lambda h: h["a"].update(shape=[-2])),
    "float size": crafted(lambda h: h["a"].update(shape=[2.0])),
    "bool size": crafted(lambda h: h["a"].update(shape=[True, 2])),
    "overflow": crafted(lambda h: h["a"].update(shape=[1 << 61, 1 << 61])),
    "many dims": crafted(lambda h: h["a"].update(shape=[1] * 1000 + [2])),
    "wrong bytes": crafted(lambda h: h["a"].update(shape=[3])),
    "overlap": crafted(lambda h: h["b"].update(data_offsets=[4, 12])),
    "gap": crafted(lambda h: h["b"].update(data_offsets=[9, 17])),
    "past the end": crafted(lambda h: None, b"\0" * 12),
    "trailing": crafted(lambda h: None, b"\0" * 17),
    "no offsets": crafted(lambda h: h["a"].pop("data_offsets")),
    "entry": crafted(lambda h: h.update(a=7)),
    "missing tensor": crafted(tree({"tensor": ["c", False]})),
    "unknown kind": crafted(tree({"pickle": "x"})),
    "two kinds": crafted(tree({"int": "1", "float": "2"})),
    "bad pair": crafted(tree({"dict": [["a"]]})),
    "bad key": crafted(tree({"dict": [[1.5, {"value": 1}]]})),
    "bad value": crafted(tree({"value": [1]})),
    "long int": crafted(tree({"int": "9" * 5000})),
    "no tree": crafted(lambda h: h.update(__metadata__={"graphc": '{"format":1}'})),
    "format": crafted(lambda h: h.update(__metadata__={"graphc": '{"format":2,"tree":{}}'})),
    "bad document": crafted(lambda h: h.update(__metadata__={"graphc": "["})),
    "grad on ints": crafted(tree({"tensor": ["b", True]})),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused_in_the_stated_format(name: str) -> None:
    with pytest.raises(FileFormatError, match="GC502"):
        from_bytes(HOSTILE[name])


def test_mutated_files_never_do_anything_else() -> None:
    good = to_bytes(checkpoint())
    rng = random.Random(1)
    for _ in range(1500):
        data = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)
        with contextlib.suppress(FileFormatError):
            from_bytes(cut)


PLAIN = [
    {1.5: "a", None: "b", True: "c", (1, ("x", 2.5)): "d", b"k": "e", 7: "f"},
    {1, 2.5, "a", (3, 4)},
    frozenset(),
    1 + 2j,
    b"\x00\xff",
    argparse.Namespace(lr=0.1, layers=[1, 2], name=None),
    graphc.Size([2, 3]),
    graphc.device("cpu"),
]


@pytest.mark.parametrize("obj", PLAIN, ids=repr_type)
def test_plain_data_comes_back_as_it_was(obj: Any) -> None:
    (again,) = round_trip([obj])
    assert type(again) is type(obj) and again == obj


def round_trip(obj: Any) -> Any:
    buffer = BytesIO()
    graphc.save(obj, buffer, _use_new_zipfile_serialization=False)
    return graphc.load(BytesIO(buffer.getvalue()))


def test_numpy_s_numbers_and_arrays() -> None:
    numbers = [np.int64(3), np.float32(0.5), np.bool_(True), np.float16(2)]
    assert list(map(repr, round_trip(numbers))) == ["3", "0.5", "True", "2.0"]
    state = np.random.RandomState(0).get_state()
    again = round_trip({"numpy": state, "torch": graphc.get_rng_state()})["numpy"]
    assert again[0] == state[0] and again[1].dtype == np.uint32 and (again[1] == state[1]).all()
    empty = round_trip(np.zeros((2, 0, 3), ">f8"))
    assert empty.shape == (2, 0, 3) and empty.dtype.kind == "f"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="does not exist"):
        graphc.save({}, tmp_path / "no" / "a.pt")
    with pytest.raises(TypeError):
        graphc.load(3)  # type: ignore[arg-type]


def tensors_of(data: bytes) -> dict[str, tuple[int, int]]:
    """Where the bytes of each tensor stand in the file."""
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    del header["__metadata__"]
    at = {name: entry["data_offsets"] for name, entry in header.items()}
    return {name: (start + begin, start + end) for name, (begin, end) in at.items()}


def many_kinds() -> dict[str, Any]:
    made = {str(d): graphc.arange(5).to(d) for d in DTYPES.values()}
    return {**made, "empty": graphc.zeros(0, 2), "array": np.arange(3.0)}


def test_a_flipped_bit_is_found_and_the_tensor_named() -> None:
    good = to_bytes(many_kinds())
    assert from_bytes(good)["array"].tolist() == [0.0, 1.0, 2.0]
    for name, (begin, end) in tensors_of(good).items():
        for at in range(begin, end):
            data = bytearray(good)
            data[at] ^= 1 << at % 8
            with pytest.raises(FileFormatError, match=f"'{name}' does not match its checksum"):
                from_bytes(bytes(data))


def edited(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A file whose header says something else than was written."""
    data = to_bytes({"a": graphc.ones(2, 3), "b": graphc.zeros(2, 3), "lr": 0.5})
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    document = json.loads(header["__metadata__"]["graphc"])
    header["document"] = document
    change(header)
    header["__metadata__"]["graphc"] = json.dumps(header.pop("document"))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[8 + size :]


def swap(header: dict[str, Any]) -> None:
    header["a"], header["b"] = header["b"], header["a"]


EDITS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another shape": (lambda h: h["a"].update(shape=[3, 2]), "'a' does not match"),
    "another dtype": (lambda h: h["b"].update(dtype="I32"), "'b' does not match"),
    "swapped": (swap, "'a' does not match"),
    "no sum": (lambda h: h["document"]["sums"].pop("b"), "'b' does not match"),
    "a sum too many": (lambda h: h["document"]["sums"].update(c=0), "lacks tensor 'c'"),
    "another number": (
        lambda h: h["document"]["tree"]["dict"][2].__setitem__(1, {"value": 0.25}),
        "structure .* does not match",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_header_that_was_changed_is_found(name: str) -> None:
    change, message = EDITS[name]
    with pytest.raises(FileFormatError, match=message):
        from_bytes(edited(change))


def test_files_without_checksums_still_load() -> None:
    def old(header: dict[str, Any]) -> None:
        del header["document"]["sums"], header["document"]["tree_sum"]

    out = from_bytes(edited(old))
    assert out["lr"] == 0.5 and out["a"].tolist() == [[1.0] * 3] * 2


def test_a_cut_file_names_a_tensor() -> None:
    good = to_bytes(many_kinds())
    for begin, end in tensors_of(good).values():
        if begin < end:
            with pytest.raises(FileFormatError, match="tensor '"):
                from_bytes(good[: end - 1])


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    target, link = tmp_path / "runs" / "3.pt", tmp_path / "last.pt"
    graphc.save({"v": 1}, target)
    os.chmod(target, 0o2640)
    link.symlink_to(Path("runs") / "3.pt")
    other = tmp_path / "other.pt"
    other.symlink_to(link)
    graphc.save({"v": 2}, other)
    assert link.is_symlink() and other.is_symlink() and os.readlink(link) == "runs/3.pt"
    assert graphc.load(target) == graphc.load(link) == {"v": 2}
    assert os.stat(target).st_mode & 0o7777 == 0o2640
    assert sorted(os.listdir(tmp_path)) == ["last.pt", "other.pt", "runs"]
    assert os.listdir(tmp_path / "runs") == ["3.pt"]


def test_a_link_to_nothing_makes_its_target(tmp_path: Path) -> None:
    link = tmp_path / "last.pt"
    link.symlink_to("new.pt")
    graphc.save({"v": 1}, link)
    assert link.is_symlink() and graphc.load(tmp_path / "new.pt") == {"v": 1}
    link.unlink()
    link.symlink_to(Path("no") / "new.pt")
    with pytest.raises(RuntimeError, match="does not exist"):
        graphc.save({}, link)


def test_a_pipe_is_written_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    graphc.save({"v": 1}, path)
    data = os.read(reader, 1 << 16)
    os.close(reader)
    assert from_bytes(data) == {"v": 1} and path.is_fifo()
