"""Save and load: safetensors with the structure of a checkpoint as JSON in its metadata.

A file is 8 bytes of header length, a JSON header (name -> dtype, shape, offsets) and the bytes of
all tensors, so any safetensors reader opens it. What is not a tensor (step counts, optimizer
groups, nesting) stands as JSON under the metadata key "graphc", with a checksum of each tensor and
one of the structure. The reader trusts nothing: sizes are checked before memory is touched, sums
where the file has them. Source: https://github.com/huggingface/safetensors, Format.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
import zlib
from typing import IO, Any

import numpy as np

from graphc.errors import FileFormatError, InvalidArgument, InvalidState, InvalidType
from graphc.frontend import tensor as tensors
from graphc.frontend.files.locations import Place, as_saved, placing
from graphc.frontend.files.npz import from_npz, to_npz
from graphc.frontend.files.oldtorch import from_old_torch, is_old_torch
from graphc.frontend.files.structure import describe, rebuild
from graphc.frontend.files.torchfile import from_torch
from graphc.ir.types import DTYPES, Array, DType

__all__ = ["load", "save"]

Tensor = tensors.Tensor
MAX_HEADER_BYTES = 100 << 20
FORMAT = 1
CODES = {
    "bool": "BOOL",
    "u8": "U8",
    "i8": "I8",
    "i16": "I16",
    "i32": "I32",
    "i64": "I64",
    "f16": "F16",
    "bf16": "BF16",
    "f32": "F32",
    "f64": "F64",
}
DTYPE_OF_CODE: dict[str, DType] = {code: DTYPES[name] for name, code in CODES.items()}
EMPTY_ZIP = b"PK\x05\x06"
File = str | os.PathLike[str] | IO[bytes]

# ---- save --------------------------------------------------------------------------------------


def save(
    obj: Any,
    f: File,
    pickle_module: Any = None,
    pickle_protocol: Any = None,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Write tensors, arrays, numbers, strings, None and nested dicts, lists, tuples, sets of them.

    A path is written to a temporary file beside it and renamed, so that a killed process leaves
    the old file or the new one. A link goes on to point where it did, and its target is written; a
    file keeps its permissions. A tensor that appears twice is written once and is one again. A
    path that ends in .npz gets NumPy's format, of a flat dict of tensors. `pickle_module` is
    refused; `pickle_protocol` and PyTorch's choice of a format change nothing.
    """
    _refuse_pickle("save", pickle_module)
    path = "" if hasattr(f, "write") else os.fspath(f)
    data = to_npz(obj) if path.endswith(".npz") else to_bytes(obj)
    if hasattr(f, "write"):
        f.write(data)
        return
    _write_atomically(path, data)


def _refuse_pickle(what: str, module: Any) -> None:
    if module is not None:
        raise InvalidArgument(
            f"{what}: pickle_module={module!r:.100}",
            why="graphc's files hold no pickles: a pickle can run any code when it is loaded",
            fix="leave the argument out; tensors, numbers, texts and containers need no pickle",
        )


def _write_atomically(path: str, data: bytes) -> None:
    path = os.path.realpath(path)  # renaming onto a link would replace the link
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise InvalidState(f"save: the folder {folder} does not exist", fix="make it first")
    mode = _mode_for(path)
    if not stat.S_ISREG(mode):  # a pipe or a device is written, not replaced
        with open(path, "wb") as out:
            out.write(data)
        return
    handle, temporary = tempfile.mkstemp(prefix=".graphc-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            os.fchmod(out.fileno(), stat.S_IMODE(mode))
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    _sync_folder(folder)


def _mode_for(path: str) -> int:
    """Kind and permissions of the old file, or what the umask gives a new one."""
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return stat.S_IFREG | 0o666 & ~mask


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_bytes(obj: Any) -> bytes:
    """The whole file: header length, header, tensors in order of their offsets."""
    arrays: dict[str, Array] = {}
    tree = describe(obj, arrays)
    header: dict[str, Any] = {"__metadata__": {}}
    sums: dict[str, int] = {}
    parts: list[bytes] = []
    offset = 0
    for name, a in arrays.items():
        parts.append(part := a.tobytes())
        end = offset + len(part)
        code = CODES[tensors.dtype_of(a).name]
        header[name] = {"dtype": code, "shape": list(a.shape), "data_offsets": [offset, end]}
        sums[name] = _sum(name, header[name], part)
        offset = end
    document = {"format": FORMAT, "tree": tree, "tree_sum": _tree_sum(tree), "sums": sums}
    header["__metadata__"] = {"graphc": json.dumps(document)}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _sum(name: str, entry: dict[str, Any], part: bytes | memoryview) -> int:
    """The CRC-32 of a tensor: what its entry says, and its bytes."""
    facts = [name, entry["dtype"], entry["shape"]]
    return zlib.crc32(part, zlib.crc32(json.dumps(facts).encode()))


def _tree_sum(tree: Any) -> int:
    return zlib.crc32(json.dumps(tree).encode())  # which says the same again once it is read


# ---- load --------------------------------------------------------------------------------------


def load(
    f: File,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """What `save` or torch.save wrote, or the tensors of a .safetensors or .npz file by name.

    The format is told by the file's first bytes. Tensors go where they were, on the CPU if that
    GPU is not there, or where `map_location` says: a device, a dict of locations, or a function of
    storage and location. No file can run code, whatever `weights_only` says; from PyTorch's files
    (.pt, .pth) tensors, numbers, texts and containers are read, and the rest is refused by its
    name. `pickle_module` is refused; `mmap` and `encoding` change nothing. Raises FileFormatError
    for a damaged file.
    """
    _refuse_pickle("load", pickle_module)
    if unknown := set(pickle_load_args) - {"encoding"}:
        raise InvalidType(f"load: unexpected arguments {sorted(unknown)}")
    place = placing(map_location)
    if hasattr(f, "read"):
        data = f.read()
    else:
        with open(os.fspath(f), "rb") as file:
            data = file.read()
    return _from_any(data, place)


def _from_any(data: bytes, place: Place) -> Any:
    """By the first bytes: a zip is PyTorch's or NumPy's, all else is ours."""
    if data[:4] == EMPTY_ZIP:
        return _placed(from_npz(data), place)
    if data[:4] == b"PK\x03\x04":
        name_bytes = int.from_bytes(data[26:28], "little")
        if data[30 : 30 + name_bytes].endswith(b".npy"):
            return _placed(from_npz(data), place)
        return from_torch(data, place)
    if is_old_torch(data):
        return from_old_torch(data, place)
    return from_bytes(data, place)


def _placed(named: dict[str, Tensor], place: Place) -> dict[str, Tensor]:
    return {name: place(x, "cpu") for name, x in named.items()}


def from_bytes(data: bytes, place: Place = as_saved) -> Any:
    header, body = _split(data)
    metadata = header.pop("__metadata__", {})
    named = _tensors(header, body)
    if not isinstance(metadata, dict) or "graphc" not in metadata:
        return _placed(named, place)
    try:
        document = json.loads(metadata["graphc"])
        if document["format"] != FORMAT:
            raise FileFormatError(f"the file has format {document['format']!r:.50}, not {FORMAT}")
        _check_sums(document, header, body)
        return rebuild(document["tree"], named, place)
    except (KeyError, TypeError, ValueError, RecursionError) as e:
        if isinstance(e, FileFormatError):
            raise
        raise FileFormatError(f"the structure of the checkpoint is damaged: {e!r:.200}") from None


def _check_sums(document: dict[str, Any], header: dict[str, Any], body: memoryview) -> None:
    """Raise where what was read is not what was written; older files do not say."""
    if "tree_sum" in document and document["tree_sum"] != _tree_sum(document["tree"]):
        raise FileFormatError("the structure of the checkpoint does not match its checksum")
    if "sums" not in document:
        return
    sums = dict(document["sums"])
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        if sums.pop(name, None) != _sum(name, entry, body[begin:end]):
            raise FileFormatError(
                f"tensor {name[:200]!r} does not match its checksum",
                why="its bytes have changed since the file was written",
            )
    if sums:
        raise FileFormatError(f"the file lacks tensor {min(sums)[:200]!r}")


def _split(data: bytes) -> tuple[dict[str, Any], memoryview]:
    """The header as a dict and the bytes after it."""
    if len(data) < 8:
        raise FileFormatError(f"the file has {len(data)} bytes: too short for a header")
    size = int.from_bytes(data[:8], "little")
    if size > MAX_HEADER_BYTES or size > len(data) - 8:
        raise FileFormatError(f"the header claims {size} bytes of a file of {len(data)}")
    try:
        header = json.loads(data[8 : 8 + size].decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as e:
        raise FileFormatError(f"the header is no JSON: {e!s:.200}") from None
    if not isinstance(header, dict):
        raise FileFormatError("the header is no JSON object")
    return header, memoryview(data)[8 + size :]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _tensors(header: dict[str, Any], body: memoryview) -> dict[str, Tensor]:
    """Check that the entries cover the body in order without gaps, then copy them out."""
    entries = []
    for name, entry in header.items():
        dtype, shape, begin, end = _entry(name, entry)
        count = 1
        for n in shape:
            count *= n
        if end - begin != count * dtype.itemsize:
            raise FileFormatError(f"tensor {name[:200]!r}: {end - begin} bytes for {shape}")
        entries.append((begin, end, name, dtype, shape))
    at = 0
    for begin, end, name, *_ in sorted(entries, key=lambda e: e[:2]):
        if begin != at or end > len(body):
            raise FileFormatError(f"tensor {name[:200]!r}: bytes {begin} to {end} of {len(body)}")
        at = end
    if at != len(body):
        raise FileFormatError(f"{len(body) - at} bytes after the last tensor")
    out = {}
    for begin, end, name, dtype, shape in entries:
        array = np.frombuffer(body[begin:end], dtype.numpy).reshape(shape).copy()
        out[name] = tensors.wrapped(array != 0 if dtype.category == 0 else array)
    return out


def _entry(name: str, entry: Any) -> tuple[DType, tuple[int, ...], int, int]:
    try:
        dtype = DTYPE_OF_CODE[entry["dtype"]]
        shape = tuple(entry["shape"])
        begin, end = entry["data_offsets"]
    except (KeyError, TypeError, ValueError):
        raise FileFormatError(f"tensor {name[:200]!r}: a bad entry {entry!r:.200}") from None
    numbers = (*shape, begin, end)
    if any(type(n) is not int or not 0 <= n < 1 << 62 for n in numbers) or len(shape) > 64:
        raise FileFormatError(f"tensor {name[:200]!r}: bad numbers {numbers!r:.200}")
    return dtype, shape, begin, end
