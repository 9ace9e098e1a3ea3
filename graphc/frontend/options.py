"""PyTorch's names for layouts in memory, and dtypes by Python's names."""

from __future__ import annotations

from typing import Any

from graphc.errors import InvalidType
from graphc.ir.spelling import spelled
from graphc.ir.types import DType, bool_, f64, i64, refuse_name_only

__all__ = [
    "channels_last",
    "channels_last_3d",
    "contiguous_format",
    "layout",
    "memory_format",
    "preserve_format",
    "sparse_bsc",
    "sparse_bsr",
    "sparse_coo",
    "sparse_csc",
    "sparse_csr",
    "strided",
]

PYTHON_TYPES: dict[Any, DType] = {float: f64, int: i64, bool: bool_}


class layout:
    """How elements lie in memory: of tensors strided, of `sparse_coo_tensor`'s sparse_coo. The
    others are names to compare with."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return spelled(self._name)


class memory_format(layout):
    """The order of dimensions in memory, as eager code sees it; compiled steps choose their own."""


strided = layout("strided")
sparse_coo, sparse_csr, sparse_csc, sparse_bsr, sparse_bsc = (
    layout(f"sparse_{kind}") for kind in ("coo", "csr", "csc", "bsr", "bsc")
)
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")


def channels_last_rank(memory_format: Any) -> int:
    """The number of dimensions that channels_last and channels_last_3d are for; 0 of the others."""
    if memory_format is channels_last:
        return 4
    if memory_format is channels_last_3d:
        return 5
    if memory_format is None or isinstance(memory_format, layout):
        return 0
    raise InvalidType(f"a memory format is expected, got {memory_format!r:.100}")


def as_dtype(dtype: Any) -> DType | None:
    """A dtype, or the one that Python's float, int or bool stands for; None passes."""
    if dtype is None:
        return None
    if isinstance(dtype, DType):
        refuse_name_only(dtype)
        return dtype
    found = PYTHON_TYPES.get(dtype) if isinstance(dtype, type) else None
    if found is None:
        raise InvalidType(f"dtype must be a graphc.dtype, got {dtype!r:.100}")
    return found
