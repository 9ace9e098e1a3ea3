"""Type promotion, exactly PyTorch's: tensors with dimensions over 0-d tensors over numbers.

Within a category (bool < integer < floating) only operands of the highest priority count; an
operand of lower priority matters when its category is higher.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from graphc.errors import DTypeMismatch, DTypeNotImplemented, InvalidType, WideInteger
from graphc.frontend.hostvalue import UNKNOWN, HostValue, is_undecided
from graphc.frontend.modes import get_default_dtype
from graphc.ir.extent import is_unknown
from graphc.ir.types import (
    DTYPES,
    DType,
    Scalar,
    bool_,
    f32,
    f64,
    i16,
    i64,
    refuse_name_only,
    u8,
)

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["can_cast", "promote_types", "result_type"]


def _promote(a: DType, b: DType) -> DType:
    if a is b:
        return a
    if a.category != b.category:
        return a if a.category > b.category else b
    if a.is_half and b.is_half:
        return f32
    if u8 in (a, b) and a.itemsize == b.itemsize:
        return i16
    return a if a.itemsize > b.itemsize else b


FINFO: Any = ml_dtypes.finfo  # untyped


def _largest(dtype: DType) -> int | None:
    """What a number must not exceed to be stored; None where all may."""
    if dtype.category == 1:
        return int(np.iinfo(dtype.numpy).max)
    return int(float(FINFO(dtype.numpy).max)) if dtype.is_floating_point else None


LARGEST = {d: _largest(d) for d in DTYPES.values()}
TABLE = {(a, b): _promote(a, b) for a in DTYPES.values() for b in DTYPES.values()}


def promote_types(type1: DType, type2: DType) -> DType:
    """The dtype both convert to, as if both were tensors with dimensions."""
    if not (isinstance(type1, DType) and isinstance(type2, DType)):
        raise InvalidType(f"promote_types needs two dtypes, got {type1!r} and {type2!r}")
    for dtype in (type1, type2):
        refuse_name_only(dtype)
    return TABLE[type1, type2]


NUMBERS = (bool, int, float, np.generic, HostValue)


def is_number(x: object) -> bool:
    return isinstance(x, NUMBERS)


def dtype_of_number(x: Any) -> DType:
    if isinstance(x, HostValue):
        x = (x.kind if x.kind in (bool, int, float) else float)()
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, bool):
        return bool_
    if isinstance(x, int):
        refuse_wide(x)
        return i64
    if isinstance(x, float):
        return get_default_dtype()
    raise InvalidType(f"expected a tensor or a number, got {type(x).__name__}")


def result_type(*operands: Tensor | Scalar) -> DType:
    """The dtype of an arithmetic operation on `operands`. Of any shapes."""
    best: list[DType | None] = [None, None, None]  # tensors with dimensions, 0-d tensors, numbers
    for x in operands:
        t = getattr(x, "spec", None)
        rank, dtype = (2, dtype_of_number(x)) if t is None else (0 if t.shape else 1, t.dtype)
        seen = best[rank]
        best[rank] = dtype if seen is None else TABLE[seen, dtype]
    out = _over(best[0], _over(best[1], best[2])) or get_default_dtype()
    if out is i64 and best[2] is i64 and bool_ in best:
        for x in operands:
            _refuse_unsigned(x)
    return out


def _refuse_unsigned(x: Any) -> None:
    """Beside bools an integer is int64: what only uint64 holds would wrap around."""
    if type(x) is int and x >= 1 << 63:
        raise DTypeNotImplemented(f"Promotion of bool beside {x}, which only uint64 holds")


def _over(high: DType | None, low: DType | None) -> DType | None:
    """Combine priorities: the lower one counts only by a higher category."""
    if high is None or low is None:
        return high or low
    return low if low.category > high.category else high


def can_cast(from_: DType, to: DType) -> bool:
    """Whether values may pass into `target` without dropping to a lower category."""
    return from_.category <= to.category


def refuse_wide(x: Any) -> None:
    """Raise WideInteger for an integer that neither int64 nor uint64 holds."""
    if type(x) is int and not -(1 << 63) <= x < 1 << 64:  # an extent is none
        raise WideInteger(f"the integer {x:.6g} does not fit 64 bits", fix="pass a float")


def _fits(dtype: DType, value: Any) -> bool:
    """Whether a number is within the range of a dtype. Unsigned integers take negative integers,
    too, as far as positive ones."""
    most = LARGEST[dtype]
    if most is None:
        return True
    if not math.isfinite(value):
        return dtype.category == 2
    least = -most - (dtype.category == 1 and dtype.is_signed)
    if not dtype.is_signed and isinstance(value, float | np.floating):
        least = 0
    return least <= int(value) <= most


FITS = {dtype: partial(_fits, dtype) for dtype in LARGEST}


def held(value: Any, dtype: DType) -> Scalar:
    """A Python number as `dtype` holds it; DTypeMismatch if it is out of its range."""
    refuse_wide(value)
    if is_unknown(value) and dtype in EXTENDED:
        return wrap(value, dtype)  # what is made of sizes fits
    if is_undecided(value):
        return _held_by_call(value, dtype)
    if not _answer(value, FITS[dtype]):
        shown = value.now if isinstance(value, HostValue) else value
        raise DTypeMismatch(_overflow(repr(shown), dtype))
    return wrap(value, dtype)


def _overflow(shown: str, dtype: DType) -> str:
    return f"value {shown} cannot be converted to type {dtype.long_name} without overflow"


def _held_by_call(value: HostValue, dtype: DType) -> Scalar:
    """The same of a number that the call finds, where it is looked at unless it is sure to fit."""
    most, source = LARGEST[dtype], f64 if value.kind is float else i64
    if value.tensor is not None:
        source = value.tensor.spec.dtype
    surely = source.category <= dtype.category and (LARGEST[source] or 0) <= (most or 0)
    if most is None or value.kind is bool or (surely and dtype.is_signed):
        return value  # type: ignore[return-value]  # stands for a number, as an operand
    least = -most - (dtype.category == 1 and dtype.is_signed)
    least = least if dtype.is_signed or value.kind is int else 0

    def holds(x: Any) -> Any:
        if dtype.is_floating_point:
            return (x.abs().trunc() <= float(most)) | (x.abs() == math.inf) | (x != x)
        if value.kind is int:
            return (x >= least) & (x <= most)
        return (x.trunc() >= float(least)) & (x.trunc() < float(most + 1))

    what = _overflow(value.origin, dtype)
    return value.checked(holds, what, DTypeMismatch)  # type: ignore[return-value]


def _answer(value: Any, question: Callable[[Any], bool]) -> bool:
    """`question(value)`, of a number that each call knows before it begins a guard."""
    return bool(value.asked(question) if isinstance(value, HostValue) else question(value))


EXTENDED = (f32, f64, i64)  # what a number of extents may be
SAFE = 65504  # every floating dtype holds it


def _rounded(value: Any, dtype: DType) -> float:
    """A large number as the dtype has it, which may be infinity."""
    with np.errstate(over="ignore"):
        return float(np.array(float(value)).astype(dtype.numpy))


def wrap(value: Any, dtype: DType) -> Scalar:
    """A Python number as `dtype` holds it: integers wrap around, floats keep full precision."""
    if isinstance(value, HostValue):
        cut = dtype.category == 1 and value.kind is float and value.now is not UNKNOWN
        if not cut or value.asked(FITS[i64]):
            return value  # type: ignore[return-value]  # stands for a number, as an operand
        value = float(value)
    if isinstance(value, np.generic):
        value = value.item()
    if dtype.category == 0:
        return bool(value)
    if is_unknown(value) and dtype in EXTENDED:
        return value  # type: ignore[no-any-return]  # it stands for a number
    if dtype.is_floating_point:
        return float(value) if -SAFE <= value <= SAFE else _rounded(value, dtype)
    bits = 8 * dtype.itemsize
    number = int(value) & ((1 << bits) - 1)
    signed = dtype is not u8 and number >> (bits - 1)
    return number - (1 << bits) if signed else number
