"""DLPack for memory of a GPU: capsules made and read by ctypes, of the protocol's first version.

Sources: https://dmlc.github.io/dlpack/latest/c_api.html, and python_spec.html beside it for what a
capsule owes its maker and its taker.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from graphc.errors import InvalidType
from graphc.ir.types import bf16
from graphc.runtime.cuda.array import DeviceArray

CUDA = 2
NAME, USED = b"dltensor", b"used_dltensor"  # of a capsule before and after somebody took it
CODES = {"i": 0, "u": 1, "f": 2, "b": 6}
BFLOAT = 4
BF16: np.dtype[Any] = bf16.numpy


class Tensor(ctypes.Structure):
    """DLTensor."""

    _fields_ = (
        ("data", ctypes.c_uint64),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    """DLManagedTensor."""

    _fields_ = (
        ("tensor", Tensor),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
api = ctypes.pythonapi
_new = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", api))  # fmt: skip
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", api)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", api)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_SetName", api)
)

_lent: dict[int, tuple[Any, ...]] = {}  # what others hold, by the address of its description


def _take_back(address: int) -> None:
    _lent.pop(address, None)


def _drop(capsule: int) -> None:
    """A capsule goes: if nobody has taken what is in it, that goes, too."""
    if _is_valid(capsule, NAME):
        _take_back(_pointer(capsule, NAME))


_taken_back, _dropped = Deleter(_take_back), Deleter(_drop)  # as C calls them


def export(array: DeviceArray) -> Any:
    """A capsule over the memory, which is kept until its taker is done."""
    size, rank = array.itemsize, array.ndim
    shape = (ctypes.c_int64 * rank)(*array.shape)
    strides = (ctypes.c_int64 * rank)(*(s // size for s in array.strides))
    code = BFLOAT if array.dtype == BF16 else CODES[array.dtype.kind]
    tensor = Tensor(
        array.address, CUDA, array.index, rank, code, 8 * size, 1, shape, strides, 0
    )  # fmt: skip
    managed = Managed(tensor, None, ctypes.cast(_taken_back, ctypes.c_void_p))
    address = ctypes.addressof(managed)
    _lent[address] = managed, shape, strides, array.base
    return _new(address, NAME, ctypes.cast(_dropped, ctypes.c_void_p))


class Borrowed:
    """Memory of another library's; it is told when nobody here holds it any more."""

    def __init__(self, managed: Managed) -> None:
        self._managed = managed

    def __del__(self) -> None:
        if self._managed.deleter:
            Deleter(self._managed.deleter)(ctypes.addressof(self._managed))


def take(capsule: Any) -> DeviceArray:
    """The memory in a capsule, which must not have been taken."""
    place = id(capsule)
    if not _is_valid(place, NAME):
        raise InvalidType("from_dlpack: a DLPack capsule that nobody has taken is expected")
    managed = Managed.from_address(_pointer(place, NAME))
    t = managed.tensor
    dtype = _dtype(t.code, t.bits, t.lanes)
    shape = tuple(t.shape[k] for k in range(t.ndim))
    given = tuple(t.strides[k] * dtype.itemsize for k in range(t.ndim)) if t.strides else None
    if given is not None and any(s < 0 for s in given):
        raise InvalidType("from_dlpack: negative strides are not supported", fix="copy it first")
    _rename(place, USED)
    return DeviceArray(
        t.data + t.byte_offset, dtype, shape, Borrowed(managed), t.device_id, given
    )  # fmt: skip


def _dtype(code: int, bits: int, lanes: int) -> np.dtype[Any]:
    if lanes == 1 and bits % 8 == 0:
        if (code, bits) == (BFLOAT, 16):
            return BF16
        kinds = {(n, k) for k, n in CODES.items()}
        kind = next((k for n, k in kinds if n == code), "")
        if kind and bits // 8 in (1, 2, 4, 8) and (kind != "f" or bits >= 16):
            return np.dtype(np.bool_) if kind == "b" else np.dtype(f"{kind}{bits // 8}")
    raise InvalidType(f"from_dlpack: no dtype for elements of code {code}, {bits} bits x {lanes}")
