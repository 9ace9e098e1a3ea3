"""finfo and iinfo: what numbers a dtype holds; and the numbers that have names."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from graphc.errors import InvalidType
from graphc.frontend.modes import get_default_dtype
from graphc.ir.types import DType, refuse_name_only

__all__ = ["e", "finfo", "iinfo", "inf", "nan", "newaxis", "pi"]

e, inf, nan, pi = math.e, math.inf, math.nan, math.pi
newaxis = None


UNSIGNED = ("uint16", "uint32", "uint64")  # names that have limits all the same


PARTS = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}


def _numbers(dtype: DType) -> Any:
    """The numbers of a floating dtype for ml_dtypes; of a complex one, those of its parts."""
    if not dtype.is_name_only:
        return dtype.numpy
    name = PARTS.get(dtype.long_name, dtype.long_name)
    known = getattr(ml_dtypes, name, None) or getattr(np, name, None)
    if known is None:
        refuse_name_only(dtype)
    return known


class finfo:
    """Limits of a floating dtype: the largest and smallest numbers, and the spacing at 1."""

    def __init__(self, dtype: DType | None = None) -> None:
        kind = dtype or get_default_dtype()
        if not (kind.is_floating_point or kind.is_complex):
            raise InvalidType(f"finfo of {kind!r}, which is no floating dtype", fix="use iinfo")
        limits: Any = ml_dtypes.finfo  # untyped; knows NumPy's dtypes and bfloat16
        info = limits(_numbers(kind))
        self.dtype = PARTS.get(kind.long_name, kind.long_name)
        self.bits = info.bits
        self.max, self.min = float(info.max), float(info.min)
        self.eps = float(info.eps)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = 10.0**-info.precision if self.bits > 8 else 1.0

    def __repr__(self) -> str:
        fields = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        listed = ", ".join(f"{name}={getattr(self, name):g}" for name in fields)
        return f"finfo({listed}, dtype={self.dtype})"


class iinfo:
    """Limits of an integer dtype."""

    def __init__(self, dtype: DType) -> None:
        if dtype.category != 1:
            raise InvalidType(f"iinfo of {dtype!r}, which is no integer dtype", fix="use finfo")
        info = np.iinfo(dtype.long_name if dtype.long_name in UNSIGNED else dtype.numpy)
        self.dtype = dtype.long_name
        self.bits = info.bits
        self.max, self.min = int(info.max), int(info.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"
