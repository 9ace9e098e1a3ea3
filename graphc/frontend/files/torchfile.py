"""Reads what torch.save wrote (PyTorch 1.6 and later) without running any code of the file's.

The file is a zip of uncompressed records: `data.pkl`, a pickle of the structure in which tensors
name their storages, and `data/<key>`, the bytes of each storage. Names in the pickle are looked up
in a fixed table and keys in the zip's directory, so neither reaches an import or a path. Source:
PyTorch's documentation, "Serialization semantics".
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections import OrderedDict
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import FileFormatError
from graphc.frontend import tensor as tensors
from graphc.frontend.api.strided import as_strided
from graphc.frontend.devices import TYPES, device
from graphc.frontend.files.locations import Place
from graphc.frontend.files.pickled import Call, key, read_pickle
from graphc.frontend.size import Size
from graphc.frontend.views import row_major
from graphc.ir.types import DTYPES, NAME_ONLY, Array, DType

Tensor = tensors.Tensor
MOST_DIMS = 64
STORAGES = {d.legacy_name.replace("Tensor", "Storage"): d for d in DTYPES.values()}
ZIP_ERRORS = (
    zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, ValueError, KeyError,
    OverflowError, struct.error,
)  # fmt: skip


class StorageType(NamedTuple):
    """torch.FloatStorage and its like: a name in a storage's id."""

    dtype: DType


class Record(NamedTuple):
    """A storage of the file, as a tensor names it."""

    key: str
    dtype: DType
    size: int
    location: str


class Storages:
    """The storages of a file and the tensors made of them so far."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._first: dict[str, Tensor] = {}

    def array(self, record: Record) -> Array:
        """The elements of a storage, in memory of their own."""
        raise NotImplementedError

    def names(self) -> dict[str, Any]:
        """What the file's pickle may call."""
        return {
            **NAMES,
            "torch._utils._rebuild_tensor_v2": Call(self.tensor),
            "torch._utils._rebuild_parameter": Call(self.parameter),
        }

    def tensor(
        self,
        record: Any,
        offset: Any,
        size: Any,
        stride: Any,
        requires_grad: Any = False,
        hooks: Any = None,
        metadata: Any = None,
    ) -> Tensor:
        """A tensor over a storage; those that share one in the file share memory here."""
        _check_geometry(record, offset, size, stride)
        first = self._first.get(record.key)
        if first is not None and first.dtype is not record.dtype:
            raise FileFormatError(f"storage {record.key[:200]!r} has two dtypes")
        whole = offset == 0 and math.prod(size) == record.size and stride == row_major(size)
        if first is None:
            array = self.array(record)
            first = tensors.wrapped(array.reshape(size) if whole else array)
            first = self._place(first, record.location)
            out = first if whole else as_strided(first, size, stride, offset)
        else:
            out = as_strided(first, size, stride, offset)
        self._first[record.key] = first
        return self.parameter(out, requires_grad)

    def parameter(self, data: Any, requires_grad: Any, hooks: Any = None) -> Tensor:
        if not isinstance(data, Tensor) or (requires_grad and not data.is_floating_point()):
            raise ValueError("a parameter that is no floating-point tensor")
        return data.requires_grad_() if requires_grad else data


class Archive(Storages):
    """The zip's directory, checked."""

    def __init__(self, data: bytes, place: Place) -> None:
        super().__init__(place)
        self._zip = zipfile.ZipFile(BytesIO(data))
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for entry in self._zip.infolist():
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise FileFormatError(f"record {entry.filename[:200]!r} is compressed or encrypted")
            if entry.file_size > len(data):
                raise FileFormatError(
                    f"record {entry.filename[:200]!r} claims {entry.file_size} bytes of a file of "
                    f"{len(data)}"
                )
            if entry.filename in self._entries:
                raise FileFormatError(f"record {entry.filename[:200]!r} appears twice")
            self._entries[entry.filename] = entry
        roots = [n[: -len("data.pkl")] for n in self._entries if n.endswith("/data.pkl")]
        if len(roots) != 1:
            raise FileFormatError("a zip file that torch.save has not written: it has no data.pkl")
        self._root = roots[0]
        swapped = self._root + "byteorder" in self._entries and self.read("byteorder") == b"big"
        self._order = ">" if swapped else "<"

    def read(self, name: str) -> bytes:
        return self._zip.read(self._entries[self._root + name])

    def record(self, id: Any) -> Record:
        """The storage that a persistent id names: ("storage", type, key, location, elements)."""
        kind, storage, name, location, size = id
        if kind != "storage" or not isinstance(storage, StorageType) or not isinstance(name, str):
            raise ValueError(f"no id of a storage: {id!r:.100}")
        entry = self._entries.get(f"{self._root}data/{name}")
        if entry is None:
            raise FileFormatError(f"the file lacks storage {name[:200]!r}")
        if type(size) is not int or entry.file_size != size * storage.dtype.itemsize:
            raise FileFormatError(
                f"storage {name[:200]!r} has {entry.file_size} bytes, not {size!r:.50} elements of "
                f"{storage.dtype.name}"
            )
        return Record(name, storage.dtype, size, str(location))

    def array(self, record: Record) -> Array:
        return elements(self.read(f"data/{record.key}"), record.dtype, self._order == ">")


def elements(data: bytes | memoryview, dtype: DType, swapped: bool) -> Array:
    """The numbers of a storage; `swapped`: their bytes come most significant first."""
    raw = np.frombuffer(data, dtype.numpy)
    if swapped:
        raw = raw.byteswap()
    return raw.view(np.uint8) != 0 if dtype.category == 0 else raw.copy()


def _check_geometry(record: Any, offset: Any, size: Any, stride: Any) -> None:
    """Raise unless every element lies in the storage."""
    if not isinstance(record, Record) or not all(isinstance(v, tuple) for v in (size, stride)):
        raise ValueError("a tensor without storage, size and stride")
    numbers = (offset, *size, *stride)
    if any(type(n) is not int or not 0 <= n < 1 << 62 for n in numbers):
        raise ValueError(f"a tensor's numbers: {numbers!r:.200}")
    if len(size) != len(stride) or len(size) > MOST_DIMS:
        raise ValueError(f"a tensor of size {size!r:.200} and stride {stride!r:.200}")
    last = offset + sum((n - 1) * s for n, s in zip(size, stride)) if 0 not in size else offset - 1
    if last >= record.size or offset > record.size:
        raise FileFormatError(
            f"storage {record.key[:200]!r} has {record.size} elements; size {size}, stride "
            f"{stride} and offset {offset} need {last + 1}"
        )


def _encoded(text: str, encoding: str) -> bytes:
    """Bytes, as the old protocols write them."""
    if encoding != "latin1":
        raise ValueError(f"encoding {encoding!r:.50}")
    return text.encode("latin1")


def _ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    return OrderedDict((key(k), v) for k, v in pairs)


def _device(kind: str, index: int | None = None) -> device:
    if kind not in TYPES:
        raise ValueError(f"device {kind!r:.50}")
    return device(kind, index)


def _set(items: list[Any]) -> set[Any]:
    return set(map(key, items))


NAMES: dict[str, Any] = {
    "collections.OrderedDict": Call(_ordered),
    "_codecs.encode": Call(_encoded),
    "torch.Size": Call(Size),
    "torch.device": Call(_device),
    **{f"{module}.set": Call(_set) for module in ("builtins", "__builtin__")},
    **{f"torch.{d.long_name}": d for d in (*DTYPES.values(), *NAME_ONLY.values())},
    **{f"torch.{name}": StorageType(d) for name, d in STORAGES.items()},
}


def from_torch(data: bytes, place: Place) -> Any:
    """What torch.save wrote: tensors, numbers, texts, None and containers of them.

    Tensors are on the CPU, wherever they were; those that shared memory share it. A Parameter
    comes back as a tensor that requires a gradient. Anything else is refused by its name.
    """
    try:
        archive = Archive(data, place)
        return read_pickle(archive.read("data.pkl"), archive.names(), archive.record)
    except FileFormatError:
        raise
    except ZIP_ERRORS as e:
        raise FileFormatError(f"the zip file is damaged: {e!s:.200}") from None
