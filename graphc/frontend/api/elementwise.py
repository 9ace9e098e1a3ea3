"""Elementwise functions and operators: PyTorch's promotion and broadcasting around primitives."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ml_dtypes

from graphc.errors import DTypeMismatch, DTypeNotImplemented, InvalidState, InvalidType, warn
from graphc.frontend.api import creation
from graphc.frontend.api.logic import eq, isnan, le
from graphc.frontend.checked import required
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.hostvalue import is_surely, is_undecided
from graphc.frontend.modes import get_default_dtype
from graphc.frontend.operands import (
    Operand,
    as_float,
    binary,
    broadcast_to,
    check_tensors,
    dtype_of,
    floating,
    is_tensor,
    kept,
    numeric,
    prepare,
)
from graphc.frontend.promotion import held, is_number, result_type, wrap
from graphc.frontend.registry import pointwise, public
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Scalar, TensorSpec, bool_, f32

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "abs",
    "absolute",
    "add",
    "ceil",
    "cos",
    "cosh",
    "div",
    "divide",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "fix",
    "floor",
    "floor_divide",
    "fmax",
    "fmin",
    "fmod",
    "log",
    "log1p",
    "log2",
    "log10",
    "maximum",
    "minimum",
    "mul",
    "multiply",
    "nan_to_num",
    "neg",
    "negative",
    "positive",
    "pow",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "rsqrt",
    "rsub",
    "sigmoid",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "sub",
    "subtract",
    "tan",
    "tanh",
    "true_divide",
    "trunc",
]

Unary = Callable[["Tensor"], "Tensor"]

# ---- one operand -------------------------------------------------------------------------------


def float_unary(name: str) -> Unary:
    op = OPS[name]

    def function(input: Tensor) -> Tensor:
        input = as_float(input)
        return input.emit(op, input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {name}; integers become floats."
    return function


exp: Unary = pointwise(float_unary("exp"))
expm1: Unary = pointwise(float_unary("expm1"))
log: Unary = pointwise(float_unary("log"))
log1p: Unary = pointwise(float_unary("log1p"))
sin: Unary = pointwise(float_unary("sin"))
cos: Unary = pointwise(float_unary("cos"))
sinh: Unary = pointwise(float_unary("sinh"))
cosh: Unary = pointwise(float_unary("cosh"))
tanh: Unary = pointwise(float_unary("tanh"))
sigmoid: Unary = pointwise(float_unary("sigmoid"))
erf: Unary = pointwise(float_unary("erf"))
erfc: Unary = pointwise(float_unary("erfc"))
sqrt: Unary = pointwise(float_unary("sqrt"))
rsqrt: Unary = pointwise(float_unary("rsqrt"))


def _rounding(name: str) -> Unary:
    op = OPS[name]

    def function(input: Tensor) -> Tensor:
        if input.dtype is bool_:
            raise DTypeNotImplemented(f"{name} of a bool tensor")
        return input.emit(op, input) if input.dtype.is_floating_point else input.clone()

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {name}; integers are what they are."
    return function


floor: Unary = pointwise(_rounding("floor"))
ceil: Unary = pointwise(_rounding("ceil"))
trunc: Unary = pointwise(_rounding("trunc"))


@pointwise
def round(input: Tensor, *, decimals: int | None = None) -> Tensor:
    """To the nearest integer, half to even; with `decimals`, floats to that many places."""
    if decimals is None and not input.dtype.is_floating_point:
        return numeric(input, "round").clone()
    floating(input, "round to decimals")
    if not decimals:
        return input.emit(OPS["round"], input)
    scale = 10.0 ** builtins.abs(decimals)
    y = input * scale if decimals > 0 else input / scale
    y = y.emit(OPS["round"], y)
    return y / scale if decimals > 0 else y * scale


@public(method=True, inplace=True, out=True, operators=("__neg__",))
def neg(input: Tensor) -> Tensor:
    """-x; DTypeMismatch for bools."""
    if input.dtype is bool_:
        raise DTypeMismatch("negation of a bool tensor", fix="use ~x or logical_not")
    return input.emit(OPS["neg"], input)


@public(method=True, operators=("__pos__",))
def positive(input: Tensor) -> Tensor:
    """x itself; DTypeMismatch for bools."""
    if input.dtype is bool_:
        raise DTypeMismatch("unary + of a bool tensor")
    return input


@public(method=True, inplace=True, out=True, operators=("__abs__",))
def abs(input: Tensor) -> Tensor:
    """|x|, with derivative 0 at 0; DTypeMismatch for bools."""
    if input.dtype is bool_:
        raise DTypeNotImplemented("abs of a bool tensor")
    return input.emit(OPS["abs"], input)


@pointwise
def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""
    return input.clone() if input.dtype is bool_ else input.emit(OPS["sign"], input)


@public(method=True, inplace=True)
def relu(input: Tensor) -> Tensor:
    """max(input, 0), keeping NaN; its derivative is 0 at 0."""
    if input.dtype is bool_:
        raise DTypeMismatch("relu of a bool tensor")
    return input.emit(OPS["relu"], input)


@pointwise
def square(input: Tensor) -> Tensor:
    """x * x, in x's dtype."""
    return pow(input, 2)


@pointwise
def reciprocal(input: Tensor) -> Tensor:
    """1 / x; integers become floats."""
    input = kept(as_float(input))
    return input.emit(OPS["div"], 1.0, input)


@pointwise
def log2(input: Tensor) -> Tensor:
    """The logarithm to base 2; integers become floats."""
    return log(input) * (1 / math.log(2))


@pointwise
def log10(input: Tensor) -> Tensor:
    """The logarithm to base 10; integers become floats."""
    return log(input) * (1 / math.log(10))


@pointwise
def exp2(input: Tensor) -> Tensor:
    """2^x; integers become floats."""
    return exp(as_float(input) * math.log(2))


@pointwise
def tan(input: Tensor) -> Tensor:
    """The tangent of an angle in radians; integers become floats."""
    input = kept(as_float(input))
    return sin(input) / cos(input)


@pointwise
def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """Replace NaN and infinities by numbers (0, the dtype's largest and smallest by default)."""
    if not input.dtype.is_floating_point:
        return input.clone()
    top, dtype = _largest(input.dtype), input.dtype
    below, above = eq(input, -math.inf), eq(input, math.inf)
    numbers = ((isnan(input), nan, 0.0), (above, posinf, top), (below, neginf, -top))
    for found, number, otherwise in numbers:
        input = where(found, otherwise if number is None else wrap(number, dtype), input)
    return input


def _largest(dtype: DType) -> float:
    finfo: Any = ml_dtypes.finfo  # untyped
    return float(finfo(dtype.numpy).max)


# ---- two operands ------------------------------------------------------------------------------


@public(method=True, inplace=True, out=True, operators=("__add__", "__radd__"))
def add(
    input: Operand, other: Operand, scaled: Tensor | None = None, *, alpha: Scalar = 1
) -> Tensor:
    """x + alpha * y; bools add as `or`. add(x, alpha, y) is the order of old."""
    if scaled is not None:
        other, alpha = of_old("add", scaled, other)
    input = _of_numbers(input, other)
    return binary("add", input, _scaled(input, other, alpha))


def of_old(name: str, last: Any, factor: Any) -> tuple[Tensor, Scalar]:
    """The last tensor and the factor of a call that has the factor in front of what it scales."""
    if not (is_tensor(last) or is_number(last)) or not is_number(factor):
        raise InvalidType(f"{name}: expected a number and then tensors, or tensors alone")
    keyword = "alpha" if name in ("add", "sub") else "value"
    warn(f"{name}() with the factor in front is deprecated; pass it as {keyword}=")
    return last, factor


def _scaled(x: Operand, y: Operand, alpha: Scalar) -> Operand:
    """alpha * y; integers take whole numbers only."""
    if not is_tensor(alpha) and is_surely(alpha, 1):
        return y
    dtype = result_type(x, y)
    if dtype_of(alpha).is_floating_point and not dtype.is_floating_point:
        raise DTypeMismatch(f"alpha {alpha} is a float beside integers", fix="pass a whole number")
    if not is_tensor(alpha):
        alpha = held(alpha, dtype)
    if dtype is bool_ and not is_undecided(alpha):  # bools add as `or`
        return y if alpha else mul(y, False)
    return mul(P.cast(y, dtype), alpha) if is_tensor(y) else y * alpha


@public(method=True, inplace=True, out=True, operators=("__sub__",))
def sub(
    input: Operand, other: Operand, scaled: Tensor | None = None, *, alpha: Scalar = 1
) -> Tensor:
    """x - alpha * y; sub(x, alpha, y) is the order of old."""
    if scaled is not None:
        other, alpha = of_old("sub", scaled, other)
    input = _of_numbers(input, other)
    if bool_ in [dtype_of(v) for v in (input, other)]:
        raise DTypeMismatch("subtraction with a bool", fix="use ^ or logical_xor")
    return binary("sub", input, _scaled(input, other, alpha))


@public(tensors=1, operators=("__rsub__",))
def rsub(input: Tensor, other: Operand, *, alpha: Scalar = 1) -> Tensor:
    """other - alpha * input."""
    return sub(other, input, alpha=alpha)


@public(method=True, inplace=True, out=True, operators=("__mul__", "__rmul__"))
def mul(input: Operand, other: Operand) -> Tensor:
    """x * y, of the promoted dtype; shapes broadcast. Bools multiply as `and`."""
    input = _of_numbers(input, other)
    return binary("mul", input, other)


def _of_numbers(input: Operand, other: Operand) -> Operand:
    """`input`, as a tensor if both are numbers, which PyTorch takes in these functions."""
    return input if is_tensor(input) or is_tensor(other) else creation.tensor(input)


@public(method=True, inplace=True, out=True, operators=("__truediv__",))
def div(input: Operand, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """x / y in floating point; "floor" and "trunc" keep integers integer."""
    input = _of_numbers(input, other)
    if rounding_mode == "floor":
        return floor_divide(input, other)
    if rounding_mode == "trunc":
        return _truncated(input, other)
    if rounding_mode is not None:
        raise InvalidState(f"rounding_mode {rounding_mode!r}: 'floor', 'trunc' or None")
    dtype = result_type(input, other)
    a, b = prepare((input, other), dtype if dtype.is_floating_point else get_default_dtype())
    return (input if is_tensor(input) else other).emit(OPS["div"], a, b)  # type: ignore[no-any-return]


def _truncated(x: Operand, y: Operand) -> Tensor:
    dtype = result_type(x, y)
    if dtype.is_floating_point:
        return trunc(div(x, y))
    if is_tensor(x) and dtype is not bool_:
        x = P.cast(x, dtype)
    return floor_divide(sub(x, fmod(x, y)), y)  # exact: the dividend is a multiple of y


@public(operators=("__rtruediv__",))
def rdiv(x: Tensor, y: Operand) -> Tensor:
    return div(y, kept(x))


@public(method=True, inplace=True, out=True, operators=("__floordiv__",))
def floor_divide(input: Operand, other: Operand) -> Tensor:
    """x / y rounded down, of the promoted dtype; DTypeMismatch for bools alone."""
    input = _of_numbers(input, other)
    return binary("floordiv", input, other, bools=False)


@public(operators=("__rfloordiv__",))
def rfloordiv(x: Tensor, y: Operand) -> Tensor:
    return floor_divide(y, x)


@public(method=True, inplace=True, out=True, operators=("__mod__",))
def remainder(input: Operand, other: Operand) -> Tensor:
    """Remainder with the divisor's sign."""
    return binary("rem", input, other, bools=False)


@public(operators=("__rmod__",))
def rrem(x: Tensor, y: Operand) -> Tensor:
    return remainder(y, x)


@public(method=True, inplace=True, out=True, tensors=1)
def fmod(input: Operand, other: Operand) -> Tensor:
    """Remainder with the dividend's sign."""
    return binary("fmod", input, other, bools=False)


@public(method=True, inplace=True, out=True, operators=("__pow__",))
def pow(input: Operand, exponent: Operand) -> Tensor:
    """x^y, of the promoted dtype; shapes broadcast. DTypeMismatch for an integer to a negative
    number, or bools alone."""
    if is_tensor(input) and is_number(exponent) and input.dtype.is_floating_point:
        if is_surely(exponent, 2):
            return mul(input, input)
        if is_surely(exponent, 1):
            return input.clone()  # type: ignore[no-any-return]  # Operand is Any
        if is_surely(exponent, 0.5):
            return kept(sqrt(input))
    if isinstance(exponent, bool) and is_tensor(input) and input.dtype is bool_:
        return input | (not exponent)  # type: ignore[no-any-return]  # Operand is Any
    if is_number(exponent) and not (dtype := result_type(input, exponent)).is_floating_point:
        what = "integers to negative integer powers are not allowed"
        exponent = held(required(exponent, lambda e: e >= 0, what, DTypeMismatch), dtype)
    return binary("pow", input, exponent, bools=False)


@public(operators=("__rpow__",))
def rpow(x: Tensor, y: Operand) -> Tensor:
    return pow(y, x)


@public(method=True, out=True, tensors=2)
def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger, NaN if either is; on a tie each gets half the gradient."""
    return binary("maximum", input, other)


@public(method=True, out=True, tensors=2)
def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller, NaN if either is; on a tie each gets half the gradient."""
    return binary("minimum", input, other)


@public(method=True, out=True)
def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger, ignoring NaN; on a tie the first gets the gradient."""
    check_tensors("fmax", input, other)
    return where(le(other, input) | isnan(other), input, other)


@public(method=True, out=True)
def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller, ignoring NaN; on a tie the first gets the gradient."""
    check_tensors("fmin", input, other)
    return where(le(input, other) | isnan(other), input, other)


# ---- three operands ----------------------------------------------------------------------------


def where(condition: Tensor, input: Operand, other: Operand) -> Tensor:
    """x where the condition holds, else y; x and y promote and all three broadcast."""
    if condition.dtype is not bool_:
        raise DTypeMismatch(f"where needs a bool condition, got {condition.spec}")
    dtype = result_type(condition, input, other)
    shapes = [v.spec.shape for v in (condition, input, other) if is_tensor(v)]
    shape = broadcast_shapes(*shapes)
    if not is_tensor(input) and not is_tensor(other):
        input = condition.full(_chosen(input, dtype), TensorSpec(dtype, shape))
    a, b = (
        broadcast_to(P.cast(v, dtype), shape) if is_tensor(v) else _chosen(v, dtype)
        for v in (input, other)
    )
    return condition.emit(OPS["where"], broadcast_to(condition, shape), a, b)


def _chosen(number: Any, dtype: DType) -> Scalar:
    """A number as `dtype` holds it; for halves it only has to be one of float32."""
    return wrap(held(number, f32 if dtype.is_half else dtype), dtype)


@public(method="where")
def where_of(self: Tensor, condition: Tensor, other: Operand) -> Tensor:
    """self where the condition holds, else `other`."""
    return where(condition, self, other)


where_of.__name__ = "where"  # as errors call it


# ---- other names ----------------------------------------------------------------------------

absolute, negative, fix = abs, neg, trunc
subtract, multiply = sub, mul
divide = true_divide = div
