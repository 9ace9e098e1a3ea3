"""Comparisons, bitwise and logical operations, and tests for special values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from graphc.errors import DTypeMismatch, InvalidState, InvalidType
from graphc.frontend.operands import (
    Operand,
    binary,
    is_tensor,
)
from graphc.frontend.promotion import is_number, result_type
from graphc.ir.ops import OPS
from graphc.ir.types import TensorType, bool_

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


def isnan(x: Tensor) -> Tensor:
    return ne(x, x)


def isinf(x: Tensor) -> Tensor:
    if not x.dtype.is_floating_point:
        return x.full(False, TensorType(bool_, x.type.shape))
    return eq(x.abs(), math.inf)


def isfinite(x: Tensor) -> Tensor:
    if not x.dtype.is_floating_point:
        return x.full(True, TensorType(bool_, x.type.shape))
    return lt(x.abs(), math.inf)


def lt(x: Operand, y: Operand) -> Tensor:
    return binary("lt", x, y)


def le(x: Operand, y: Operand) -> Tensor:
    return binary("le", x, y)


def gt(x: Operand, y: Operand) -> Tensor:
    return binary("lt", y, x)


def ge(x: Operand, y: Operand) -> Tensor:
    return binary("le", y, x)


def eq(x: Operand, y: Operand) -> Tensor:
    return binary("eq", x, y)


def ne(x: Operand, y: Operand) -> Tensor:
    return binary("ne", x, y)


greater, greater_equal, less, less_equal, not_equal = gt, ge, lt, le, ne


def isposinf(x: Tensor) -> Tensor:
    return isinf(x) & gt(x, 0)


def isneginf(x: Tensor) -> Tensor:
    return isinf(x) & lt(x, 0)


def isreal(x: Tensor) -> Tensor:
    """True everywhere: there are no complex tensors."""
    return x.full(True, TensorType(bool_, x.type.shape))


def equals(x: Tensor, y: object) -> Any:
    """`==`: elementwise against tensors and numbers, else not equal."""
    return eq(x, y) if is_tensor(y) or is_number(y) else NotImplemented


def differs(x: Tensor, y: object) -> Any:
    return ne(x, y) if is_tensor(y) or is_number(y) else NotImplemented


def _bitwise(name: str, x: Operand, y: Operand) -> Tensor:
    if result_type(x, y).is_floating_point:
        raise DTypeMismatch(f"bitwise {name} of floating-point operands")
    return binary(name, x, y)


def bitwise_and(x: Operand, y: Operand) -> Tensor:
    return _bitwise("and", x, y)


def bitwise_or(x: Operand, y: Operand) -> Tensor:
    return _bitwise("or", x, y)


def bitwise_xor(x: Operand, y: Operand) -> Tensor:
    return _bitwise("xor", x, y)


def bitwise_not(x: Tensor) -> Tensor:
    if x.dtype.is_floating_point:
        raise DTypeMismatch("bitwise not of a floating-point tensor")
    return x.emit(OPS["not"], x)


def invert(x: Tensor) -> Tensor:
    """`~x`, for which PyTorch has an error class of its own."""
    if x.dtype.is_floating_point:
        raise InvalidType(f"~ of {x.type}: only integer and bool tensors have bits to invert")
    return bitwise_not(x)


def _shift(name: str, x: Operand, y: Operand) -> Tensor:
    if result_type(x, y) is bool_:
        raise DTypeMismatch(f"{name} of bools", fix="convert them to an integer dtype")
    return _bitwise(name, x, y)


def bitwise_left_shift(x: Operand, y: Operand) -> Tensor:
    return _shift("shl", x, y)


def bitwise_right_shift(x: Operand, y: Operand) -> Tensor:
    return _shift("shr", x, y)


def rshl(x: Tensor, y: Operand) -> Tensor:
    return bitwise_left_shift(y, x)


def rshr(x: Tensor, y: Operand) -> Tensor:
    return bitwise_right_shift(y, x)


def truth(x: Tensor) -> Tensor:
    """Nonzero as bool."""
    return x if x.dtype is bool_ else ne(x, 0)


def logical_and(x: Tensor, y: Tensor) -> Tensor:
    return bitwise_and(truth(x), truth(y))


def logical_or(x: Tensor, y: Tensor) -> Tensor:
    return bitwise_or(truth(x), truth(y))


def logical_xor(x: Tensor, y: Tensor) -> Tensor:
    return bitwise_xor(truth(x), truth(y))


def logical_not(x: Tensor) -> Tensor:
    return bitwise_not(truth(x))


def isclose(
    x: Tensor, y: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """|x - y| <= atol + rtol * |y|, infinities only to themselves."""
    if x.dtype is not y.dtype:
        raise DTypeMismatch(f"isclose of {x.type} and {y.type}: dtypes differ")
    if rtol < 0 or atol < 0:
        raise InvalidState(f"isclose: rtol {rtol} and atol {atol} must not be negative")
    close = eq(x, y)
    if x.dtype.is_floating_point:
        near = le((x - y).abs(), y.abs() * rtol + atol)
        close = close | (near & isfinite(y) & isfinite(x))
        if equal_nan:
            close = close | (isnan(x) & isnan(y))
    return close
