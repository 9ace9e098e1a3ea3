"""NumPy's .npz: a zip of arrays by name. Arrays of Python objects are refused both ways."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np

from graphc.errors import FileFormatError, InvalidType
from graphc.frontend import tensor as tensors
from graphc.ir.types import Array, bf16

MOST_GROWTH = 100  # of a file when it is unpacked, beyond what any file may hold
FREE_BYTES = 64 << 20
NPZ_ERRORS = (
    zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError,
    ValueError, KeyError, OverflowError, SyntaxError, MemoryError,
)  # fmt: skip


def to_npz(obj: Any) -> bytes:
    """A .npz file of a flat dict of tensors, NumPy arrays or numbers by name."""
    if not isinstance(obj, Mapping):
        raise InvalidType(
            f"save: a .npz file holds a dict of tensors by name, not {type(obj).__name__}",
            fix="save {'x': tensor}, or use another suffix",
        )
    out = BytesIO()
    arrays = {_name(k): _array(k, v) for k, v in obj.items()}
    np.savez(out, **arrays)  # type: ignore[arg-type]  # by name
    return out.getvalue()


def _name(k: Any) -> str:
    if not isinstance(k, str) or k == "file":
        raise InvalidType(f"save: {k!r:.100} cannot be a name in a .npz file")
    return k


def _array(name: str, value: Any) -> Array:
    if isinstance(value, tensors.Tensor):
        value = value.detach().host()
    array = np.asarray(value)
    if array.dtype.hasobject or array.dtype == bf16.numpy:
        raise InvalidType(
            f"save: a .npz file cannot hold {name[:200]!r}, of type {array.dtype}",
            fix="convert it, or use another suffix",
        )
    return array


def from_npz(data: bytes) -> dict[str, Any]:
    """Tensors by name of a .npz file; arrays of dtypes that no tensor has are refused."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            total = sum(entry.file_size for entry in archive.infolist())
        if total > FREE_BYTES + MOST_GROWTH * len(data):
            raise FileFormatError(f"the file has {len(data)} bytes and unpacks to {total}")
        with np.load(BytesIO(data), allow_pickle=False) as file:
            return {name: _tensor(name, file[name]) for name in file.files}
    except FileFormatError:
        raise
    except NPZ_ERRORS as e:
        raise FileFormatError(f"the .npz file is damaged: {e!s:.200}") from None


def _tensor(name: str, array: Any) -> Any:
    if not isinstance(array, np.ndarray):
        raise FileFormatError(f"record {name[:200]!r} is no array")
    try:
        native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
        return tensors.wrapped(native)
    except InvalidType as e:
        raise FileFormatError(f"array {name[:200]!r}: {e.what}") from None
