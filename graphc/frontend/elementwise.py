"""Elementwise functions and operators: PyTorch's promotion and broadcasting around primitives."""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import ml_dtypes

from graphc.errors import DTypeMismatch, InvalidState, ShapeMismatch
from graphc.frontend.logic import eq, isnan, le, lt
from graphc.frontend.modes import get_default_dtype
from graphc.frontend.operands import (
    Operand,
    as_float,
    binary,
    broadcast_shapes,
    broadcast_to,
    dtype_of,
    is_tensor,
    prepare,
)
from graphc.frontend.promotion import is_number, result_type, wrap
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Scalar, TensorType, bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "abs",
    "absolute",
    "add",
    "addcdiv",
    "addcmul",
    "ceil",
    "clamp",
    "clamp_max",
    "clamp_min",
    "clip",
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
    "lerp",
    "log",
    "log1p",
    "log2",
    "log10",
    "masked_fill",
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
    "where",
]

# ---- one operand -------------------------------------------------------------------------------


def float_unary(name: str) -> Callable[[Tensor], Tensor]:
    op = OPS[name]

    def function(x: Tensor) -> Tensor:
        x = as_float(x)
        return x.emit(op, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {name}; integers become floats."
    return function


exp = float_unary("exp")
expm1 = float_unary("expm1")
log = float_unary("log")
log1p = float_unary("log1p")
sin = float_unary("sin")
cos = float_unary("cos")
sinh = float_unary("sinh")
cosh = float_unary("cosh")
tanh = float_unary("tanh")
sigmoid = float_unary("sigmoid")
erf = float_unary("erf")
erfc = float_unary("erfc")
sqrt = float_unary("sqrt")
rsqrt = float_unary("rsqrt")


def _rounding(name: str) -> Callable[[Tensor], Tensor]:
    op = OPS[name]

    def function(x: Tensor) -> Tensor:
        if x.dtype is bool_:
            raise DTypeMismatch(f"{name} of a bool tensor")
        return x.emit(op, x) if x.dtype.is_floating_point else x.clone()

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Elementwise {name}; integers are what they are."
    return function


floor = _rounding("floor")
ceil = _rounding("ceil")
trunc = _rounding("trunc")


def round(x: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest integer, half to even; with `decimals`, to that many places."""
    if not x.dtype.is_floating_point:
        return x.clone()
    if decimals == 0:
        return x.emit(OPS["round"], x)
    scale = 10.0 ** builtins.abs(decimals)
    y = x * scale if decimals > 0 else x / scale
    y = y.emit(OPS["round"], y)
    return y / scale if decimals > 0 else y * scale


def neg(x: Tensor) -> Tensor:
    if x.dtype is bool_:
        raise DTypeMismatch("negation of a bool tensor", fix="use ~x or logical_not")
    return x.emit(OPS["neg"], x)


def positive(x: Tensor) -> Tensor:
    if x.dtype is bool_:
        raise DTypeMismatch("unary + of a bool tensor")
    return x


def abs(x: Tensor) -> Tensor:
    if x.dtype is bool_:
        raise DTypeMismatch("abs of a bool tensor")
    return x.emit(OPS["abs"], x)


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""
    return x.clone() if x.dtype is bool_ else x.emit(OPS["sign"], x)


def relu(x: Tensor) -> Tensor:
    """max(x, 0), keeping NaN; its derivative is 0 at 0."""
    if x.dtype is bool_:
        raise DTypeMismatch("relu of a bool tensor")
    return x.emit(OPS["relu"], x)


def square(x: Tensor) -> Tensor:
    return pow(x, 2)


def reciprocal(x: Tensor) -> Tensor:
    x = as_float(x)
    return x.emit(OPS["div"], 1.0, x)


def log2(x: Tensor) -> Tensor:
    return log(x) * (1 / math.log(2))


def log10(x: Tensor) -> Tensor:
    return log(x) * (1 / math.log(10))


def exp2(x: Tensor) -> Tensor:
    return exp(as_float(x) * math.log(2))


def tan(x: Tensor) -> Tensor:
    return sin(x) / cos(x)


def softplus(x: Tensor, beta: float = 1.0) -> Tensor:
    """log(1 + exp(beta x)) / beta without overflow."""
    y = x * beta
    return (log1p(exp(-abs(y))) + relu(y)) / beta


def silu(x: Tensor) -> Tensor:
    return x * sigmoid(x)


def nan_to_num(
    x: Tensor, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Tensor:
    """Replace NaN and infinities by numbers (the dtype's largest and smallest by default)."""
    if not x.dtype.is_floating_point:
        return x.clone()
    top = _largest(x.dtype)
    x = where(isnan(x), nan, x)
    x = where(eq(x, math.inf), top if posinf is None else posinf, x)
    return where(eq(x, -math.inf), -top if neginf is None else neginf, x)


def _largest(dtype: DType) -> float:
    finfo: Any = ml_dtypes.finfo  # untyped
    return float(finfo(dtype.numpy).max)


# ---- two operands ------------------------------------------------------------------------------


def add(x: Operand, y: Operand, *, alpha: Scalar = 1) -> Tensor:
    """x + alpha * y; bools add as `or`."""
    return binary("add", x, _scaled(x, y, alpha))


def _scaled(x: Operand, y: Operand, alpha: Scalar) -> Operand:
    """alpha * y; integers take whole numbers only."""
    if not is_tensor(alpha) and alpha == 1:
        return y
    if dtype_of(alpha).is_floating_point and not result_type(x, y).is_floating_point:
        raise DTypeMismatch(f"alpha {alpha} is a float beside integers", fix="pass a whole number")
    return mul(y, alpha) if is_tensor(y) else y * alpha


def sub(x: Operand, y: Operand, *, alpha: Scalar = 1) -> Tensor:
    if bool_ in [dtype_of(v) for v in (x, y)]:
        raise DTypeMismatch("subtraction with a bool", fix="use ^ or logical_xor")
    return binary("sub", x, _scaled(x, y, alpha))


def rsub(x: Tensor, y: Operand, *, alpha: Scalar = 1) -> Tensor:
    return sub(y, x, alpha=alpha)


def mul(x: Operand, y: Operand) -> Tensor:
    return binary("mul", x, y)


def div(x: Operand, y: Operand, *, rounding_mode: str | None = None) -> Tensor:
    """x / y in floating point; "floor" and "trunc" keep integers integer."""
    if rounding_mode == "floor":
        return floor_divide(x, y)
    if rounding_mode == "trunc":
        return _truncated(x, y)
    if rounding_mode is not None:
        raise InvalidState(f"rounding_mode {rounding_mode!r}: 'floor', 'trunc' or None")
    dtype = result_type(x, y)
    a, b = prepare((x, y), dtype if dtype.is_floating_point else get_default_dtype())
    return (x if is_tensor(x) else y).emit(OPS["div"], a, b)  # type: ignore[no-any-return]


def _truncated(x: Operand, y: Operand) -> Tensor:
    if result_type(x, y).is_floating_point:
        return trunc(div(x, y))
    return floor_divide(sub(x, fmod(x, y)), y)  # exact: the dividend is a multiple of y


def rdiv(x: Tensor, y: Operand) -> Tensor:
    return div(y, x)


def floor_divide(x: Operand, y: Operand) -> Tensor:
    return binary("floordiv", x, y, bools=False)


def rfloordiv(x: Tensor, y: Operand) -> Tensor:
    return floor_divide(y, x)


def remainder(x: Operand, y: Operand) -> Tensor:
    """Remainder with the divisor's sign."""
    return binary("rem", x, y, bools=False)


def rrem(x: Tensor, y: Operand) -> Tensor:
    return remainder(y, x)


def fmod(x: Operand, y: Operand) -> Tensor:
    """Remainder with the dividend's sign."""
    return binary("fmod", x, y, bools=False)


def pow(x: Operand, y: Operand) -> Tensor:
    if is_tensor(x) and is_number(y) and x.dtype.is_floating_point:
        if y == 2:
            return mul(x, x)
        if y == 1:
            return x.clone()  # type: ignore[no-any-return]  # Operand is Any
        if y == 0.5:
            return sqrt(x)
    if isinstance(y, bool) and is_tensor(x) and x.dtype is bool_:
        return x | (not y)  # type: ignore[no-any-return]  # Operand is Any
    if is_number(y) and y < 0 and not result_type(x, y).is_floating_point:
        raise DTypeMismatch("integers to negative integer powers are not allowed")
    return binary("pow", x, y, bools=False)


def rpow(x: Tensor, y: Operand) -> Tensor:
    return pow(y, x)


def maximum(x: Tensor, y: Tensor) -> Tensor:
    """The larger, NaN if either is; on a tie each gets half the gradient."""
    return binary("maximum", x, y)


def minimum(x: Tensor, y: Tensor) -> Tensor:
    return binary("minimum", x, y)


def fmax(x: Tensor, y: Tensor) -> Tensor:
    """The larger, ignoring NaN; on a tie the first gets the gradient."""
    return where(le(y, x) | isnan(y), x, y)


def fmin(x: Tensor, y: Tensor) -> Tensor:
    return where(le(x, y) | isnan(y), x, y)


# ---- three operands ----------------------------------------------------------------------------


def where(condition: Tensor, x: Operand, y: Operand) -> Tensor:
    """x where the condition holds, else y; x and y promote and all three broadcast."""
    if condition.dtype is not bool_:
        raise DTypeMismatch(f"where needs a bool condition, got {condition.type}")
    dtype = result_type(x, y)
    shapes = [v.type.shape for v in (condition, x, y) if is_tensor(v)]
    shape = broadcast_shapes(*shapes)
    if not is_tensor(x) and not is_tensor(y):
        x = condition.full(wrap(x, dtype), TensorType(dtype, shape))
    a, b = (
        broadcast_to(P.cast(v, dtype), shape) if is_tensor(v) else wrap(v, dtype) for v in (x, y)
    )
    return condition.emit(OPS["where"], broadcast_to(condition, shape), a, b)


def clamp(x: Tensor, min: Operand = None, max: Operand = None) -> Tensor:
    """Between the bounds; a bound itself passes the gradient, NaN stays, min > max gives max."""
    if min is None and max is None:
        raise InvalidState("clamp needs a min or a max")
    bounds = [b for b in (min, max) if b is not None]
    dtype = result_type(x, *bounds)
    if builtins.any(is_tensor(b) for b in bounds):
        if min is not None:
            x = maximum(x, _as_tensor(min, x, dtype))
        return x if max is None else minimum(x, _as_tensor(max, x, dtype))
    x = P.cast(x, dtype)
    if min is not None:
        low = wrap(min, dtype)
        x = x.emit(OPS["where"], x.emit(OPS["lt"], x, low), low, x)
    if max is not None:
        high = wrap(max, dtype)
        x = x.emit(OPS["where"], x.emit(OPS["lt"], high, x), high, x)
    return x


def _as_tensor(bound: Operand, like: Tensor, dtype: DType) -> Tensor:
    return bound if is_tensor(bound) else like.full(wrap(bound, dtype), TensorType(dtype, ()))


def clamp_min(x: Tensor, min: Operand) -> Tensor:
    return clamp(x, min=min)


def clamp_max(x: Tensor, max: Operand) -> Tensor:
    return clamp(x, max=max)


def lerp(x: Tensor, end: Tensor, weight: Operand) -> Tensor:
    """x + weight * (end - x), counted from the nearer end, so that it is exact at both."""
    if x.dtype is not end.dtype:
        raise DTypeMismatch(f"lerp from {x.type} to {end.type}: dtypes differ")
    gap = sub(end, x)
    if not is_tensor(weight):
        return add(x, mul(gap, weight)) if weight < 0.5 else sub(end, mul(gap, 1 - weight))
    if weight.dtype is not x.dtype:
        raise DTypeMismatch(f"lerp of {x.type} by weights {weight.type}: dtypes differ")
    forth, back = add(x, mul(gap, weight)), sub(end, mul(gap, 1 - weight))
    return where(lt(abs(weight), 0.5), forth, back)


def addcmul(x: Tensor, a: Tensor, b: Tensor, *, value: Scalar = 1) -> Tensor:
    return x + (a * b if value == 1 else a * b * value)


def addcdiv(x: Tensor, a: Tensor, b: Tensor, *, value: Scalar = 1) -> Tensor:
    return x + (a / b if value == 1 else a / b * value)


def masked_fill(x: Tensor, mask: Tensor, value: Operand) -> Tensor:
    """`value` where `mask` holds, in x's dtype."""
    if mask.dtype is not bool_:
        raise DTypeMismatch(f"masked_fill needs a bool mask, got {mask.type}")
    if is_tensor(value) and value.type.shape:
        raise ShapeMismatch(f"masked_fill: the value {value.type} must be a number or 0-d")
    filler = P.cast(value, x.dtype) if is_tensor(value) else wrap(value, x.dtype)
    shape = broadcast_shapes(x.type.shape, mask.type.shape)
    if is_tensor(filler):
        return where(mask, filler, x)
    x = broadcast_to(x, shape)
    return x.emit(OPS["where"], broadcast_to(mask, shape), filler, x)


# ---- other names ----------------------------------------------------------------------------

absolute, negative, fix, clip = abs, neg, trunc, clamp
subtract, multiply = sub, mul
divide = true_divide = div
