"""Comparisons, bitwise and logical operations, and tests for special values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from graphc.errors import DTypeMismatch, DTypeNotImplemented, InvalidState, InvalidType
from graphc.frontend.checked import required
from graphc.frontend.hostvalue import is_surely
from graphc.frontend.operands import (
    Operand,
    as_float,
    binary,
    check_tensors,
)
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import pointwise, public
from graphc.ir.ops import OPS
from graphc.ir.types import TensorSpec, bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "bitwise_and",
    "bitwise_left_shift",
    "bitwise_not",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "eq",
    "ge",
    "greater",
    "greater_equal",
    "gt",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "isneginf",
    "isposinf",
    "isreal",
    "le",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "lt",
    "ne",
    "not_equal",
]


@public(method=True)
def isnan(input: Tensor) -> Tensor:
    """Where x is NaN, as bools."""
    return ne(input, input)


@public(method=True)
def isinf(input: Tensor) -> Tensor:
    """Where x is infinite, as bools."""
    if not input.dtype.is_floating_point:
        return input.full(False, TensorSpec(bool_, input.spec.shape))
    return eq(input.abs(), math.inf)


@public(method=True)
def isfinite(input: Tensor) -> Tensor:
    """Where x is neither infinite nor NaN, as bools."""
    if not input.dtype.is_floating_point:
        return input.full(True, TensorSpec(bool_, input.spec.shape))
    return lt(input.abs(), math.inf)


@public(method=True, inplace=True, out=True, tensors=1, operators=("__lt__",))
def lt(input: Operand, other: Operand) -> Tensor:
    """Where x < y, as bools; operands promote and broadcast. NaN is less than nothing."""
    return binary("lt", input, other)


@public(method=True, inplace=True, out=True, tensors=1, operators=("__le__",))
def le(input: Operand, other: Operand) -> Tensor:
    """Where x <= y, as bools; operands promote and broadcast."""
    return binary("le", input, other)


@public(method=True, inplace=True, out=True, tensors=1, operators=("__gt__",))
def gt(input: Operand, other: Operand) -> Tensor:
    """Where x > y, as bools; operands promote and broadcast."""
    return binary("lt", other, input)


@public(method=True, inplace=True, out=True, tensors=1, operators=("__ge__",))
def ge(input: Operand, other: Operand) -> Tensor:
    """Where x >= y, as bools; operands promote and broadcast."""
    return binary("le", other, input)


@public(method=True, inplace=True, out=True, tensors=1, operators=("__eq__",))
def eq(input: Operand, other: Operand) -> Tensor:
    """Where x equals y, as bools; operands promote and broadcast. NaN equals nothing."""
    return binary("eq", input, other)


@public(method=True, inplace=True, out=True, tensors=1, operators=("__ne__",))
def ne(input: Operand, other: Operand) -> Tensor:
    """Where x differs from y, as bools; operands promote and broadcast. NaN differs from all."""
    return binary("ne", input, other)


greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne


@public(method=True, out=True)
def isposinf(input: Tensor) -> Tensor:
    """Where x is +inf, as bools."""
    return isinf(input) & gt(input, 0)


@public(method=True, out=True)
def isneginf(input: Tensor) -> Tensor:
    """Where x is -inf, as bools."""
    return isinf(input) & lt(input, 0)


@public(method=True)
def isreal(input: Tensor) -> Tensor:
    """True everywhere: there are no complex tensors."""
    return input.full(True, TensorSpec(bool_, input.spec.shape))


def _bitwise(name: str, x: Operand, y: Operand) -> Tensor:
    if result_type(x, y).is_floating_point:
        raise DTypeNotImplemented(f"bitwise {name} of floating-point operands")
    return binary(name, x, y)


@public(method=True, inplace=True, out=True, operators=("__and__", "__rand__"))
def bitwise_and(input: Operand, other: Operand) -> Tensor:
    """x & y of integers, or of bools; DTypeNotImplemented for floats."""
    return _bitwise("and", input, other)


@public(method=True, inplace=True, out=True, operators=("__or__", "__ror__"))
def bitwise_or(input: Operand, other: Operand) -> Tensor:
    """x | y of integers, or of bools; DTypeNotImplemented for floats."""
    return _bitwise("or", input, other)


@public(method=True, inplace=True, out=True, operators=("__xor__", "__rxor__"))
def bitwise_xor(input: Operand, other: Operand) -> Tensor:
    """x ^ y of integers, or of bools; DTypeNotImplemented for floats."""
    return _bitwise("xor", input, other)


@pointwise
def bitwise_not(input: Tensor) -> Tensor:
    """~x of integers, `not x` of bools; DTypeNotImplemented for floats."""
    if input.dtype.is_floating_point:
        raise DTypeNotImplemented("bitwise not of a floating-point tensor")
    return input.emit(OPS["not"], input)


@public(operators=("__invert__",))
def invert(x: Tensor) -> Tensor:
    """`~x`, for which PyTorch has an error class of its own."""
    if x.dtype.is_floating_point:
        raise InvalidType(f"~ of {x.spec}: only integer and bool tensors have bits to invert")
    return bitwise_not(x)


def _shift(name: str, x: Operand, y: Operand) -> Tensor:
    if result_type(x, y) is bool_:
        raise DTypeNotImplemented(f"{name} of bools", fix="convert them to an integer dtype")
    return _bitwise(name, x, y)


@public(method=True, inplace=True, out=True, operators=("__lshift__",))
def bitwise_left_shift(input: Operand, other: Operand) -> Tensor:
    """x << y of integers; DTypeNotImplemented for bools."""
    return _shift("shl", input, other)


@public(method=True, inplace=True, out=True, operators=("__rshift__",))
def bitwise_right_shift(input: Operand, other: Operand) -> Tensor:
    """x >> y of integers, which keeps the sign; DTypeNotImplemented for bools."""
    return _shift("shr", input, other)


@public(operators=("__rlshift__",))
def rshl(x: Tensor, y: Operand) -> Tensor:
    return bitwise_left_shift(y, x)


@public(operators=("__rrshift__",))
def rshr(x: Tensor, y: Operand) -> Tensor:
    return bitwise_right_shift(y, x)


def truth(x: Tensor) -> Tensor:
    """Nonzero as bool."""
    check_tensors("a logical operation", x)
    return x if x.dtype is bool_ else ne(x, 0)


@pointwise
def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Where both are nonzero, as bools."""
    return bitwise_and(truth(input), truth(other))


@pointwise
def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """Where either is nonzero, as bools."""
    return bitwise_or(truth(input), truth(other))


@pointwise
def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Where just one is nonzero, as bools."""
    return bitwise_xor(truth(input), truth(other))


@pointwise
def logical_not(input: Tensor) -> Tensor:
    """Where x is zero, as bools."""
    return bitwise_not(truth(input))


@public(method=True)
def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|x - y| <= atol + rtol * |y|, infinities only to themselves."""
    check_tensors("isclose", input, other)
    if input.dtype is not other.dtype:
        raise DTypeMismatch(f"isclose of {input.spec} and {other.spec}: dtypes differ")
    text = f"isclose: rtol {rtol} and atol {atol} must not be negative"
    rtol, atol = (required(v, lambda v: v >= 0, text, InvalidState) for v in (rtol, atol))
    close = eq(input, other)
    if input.dtype.is_floating_point:
        near = le((input - other).abs(), other.abs() * rtol + atol)
        close = close | (near & isfinite(other) & isfinite(input))
        if equal_nan:
            close = close | (isnan(input) & isnan(other))
    elif not (is_surely(rtol, 0) and is_surely(atol, 0)):
        size = as_float(other)
        close = close | le((as_float(input) - size).abs(), size.abs() * rtol + atol)
    return close
