"""Further elementwise functions: angles, signs, logarithms of sums, gamma functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from graphc.errors import DTypeMismatch, DTypeNotImplemented, RefusedArgument, Unsupported
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic
from graphc.frontend.api.shapes import broadcast_tensors
from graphc.frontend.hostvalue import is_undecided, of_numbers
from graphc.frontend.modes import get_default_dtype
from graphc.frontend.operands import Operand, as_float, floating, is_tensor, prepare
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import pointwise, public
from graphc.frontend.tape import with_rule
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import bool_, f64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "acos",
    "acosh",
    "arccos",
    "arccosh",
    "arcsin",
    "arcsinh",
    "arctan",
    "arctan2",
    "arctanh",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "copysign",
    "deg2rad",
    "digamma",
    "erfinv",
    "float_power",
    "frac",
    "heaviside",
    "hypot",
    "ldexp",
    "lgamma",
    "logaddexp",
    "logaddexp2",
    "logit",
    "polygamma",
    "rad2deg",
    "sgn",
    "signbit",
    "sinc",
    "xlogy",
]

MOST = 2048  # terms of a sum that is written out

# ---- angles ------------------------------------------------------------------------------------

asin = arcsin = pointwise(E.float_unary("asin"))
acos = arccos = pointwise(E.float_unary("acos"))
atan = arctan = pointwise(E.float_unary("atan"))
asinh = arcsinh = pointwise(E.float_unary("asinh"))
acosh = arccosh = pointwise(E.float_unary("acosh"))
atanh = arctanh = pointwise(E.float_unary("atanh"))


def _float_binary(name: str, x: Operand, y: Operand) -> Tensor:
    """The op called `name`; integers become floats."""
    dtype = result_type(x, y)
    a, b = prepare((x, y), dtype if dtype.is_floating_point else get_default_dtype())
    owner = x if is_tensor(x) else y
    return owner.emit(OPS[name], a, b)  # type: ignore[no-any-return]  # Operand is Any


@public(method=True, inplace=True, out=True, tensors=2)
def atan2(input: Tensor, other: Tensor) -> Tensor:
    """The angle of the point (x, y), in [-pi, pi], by the signs of both, those of zeros too."""
    return _float_binary("atan2", input, other)


arctan2 = atan2


@public(method=True, inplace=True, out=True, tensors=2)
def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(x^2 + y^2) without overflow."""
    dtype = result_type(input, other)
    if not dtype.is_floating_point:
        raise DTypeNotImplemented(
            f"hypot of {input.spec} and {other.spec}", fix="convert to a floating dtype"
        )
    return _float_binary("hypot", input, other)


@pointwise
def deg2rad(input: Tensor) -> Tensor:
    """Degrees as radians; integers become floats."""
    return as_float(input) * (math.pi / 180)


@pointwise
def rad2deg(input: Tensor) -> Tensor:
    """Radians as degrees; integers become floats."""
    return as_float(input) * (180 / math.pi)


@pointwise
def sinc(input: Tensor) -> Tensor:
    """sin(pi x) / (pi x), and 1 with derivative 0 at 0."""
    input = as_float(input)
    zero = logic.eq(input, 0)
    angle = E.where(zero, 1.0, input) * math.pi
    return E.where(zero, 1.0, E.sin(angle) / angle)


# ---- signs and parts ---------------------------------------------------------------------------


@pointwise
def sgn(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN: `sign`, there being no complex numbers."""
    return E.sign(input)


@public(method=True, out=True)
def signbit(input: Tensor) -> Tensor:
    """Whether the sign bit is set; of a NaN, no."""
    if not input.dtype.is_floating_point:
        return logic.lt(input, 0)
    input = input.detach()
    return logic.lt(input, 0) | (logic.eq(input, 0) & logic.lt(E.reciprocal(input), 0))


@pointwise
def copysign(input: Tensor, other: Operand) -> Tensor:
    """|x| with the sign of y, zeros included; the derivative at x = 0 is 0."""
    if is_undecided(other):
        other = P.cast(other.as_tensor(), as_float(input).dtype)
    if is_tensor(other):
        dtype = result_type(input, other)
        xs = prepare((input, other), dtype if dtype.is_floating_point else get_default_dtype())
    else:
        xs = [as_float(input)]

    def signed(x: Tensor, sign: Any = other) -> Tensor:
        size = E.abs(x)
        return E.where(signbit(sign), -size, size) if is_tensor(sign) else E.mul(
            size, of_numbers(math.copysign, 1.0, sign))  # fmt: skip

    def rule(g: Tensor, z: Any, x: Tensor, *sign: Tensor) -> tuple[Tensor, ...]:
        ratio = E.where(logic.eq(x, 0), 0.0, z().detach() / x.detach())
        return g * ratio, *(E.mul(g, 0.0) for _ in sign)

    return with_rule("copysign", signed, rule, *xs)


@pointwise
def frac(input: Tensor) -> Tensor:
    """x without its whole part, of x's sign."""
    if not input.dtype.is_floating_point:
        raise DTypeNotImplemented(f"frac of {input.spec}", fix="convert to a floating dtype")
    return input - E.trunc(input)


@pointwise
def heaviside(input: Tensor, values: Tensor) -> Tensor:
    """0 below 0, 1 above, `values` at 0."""
    if input.dtype is not values.dtype:
        raise DTypeMismatch(f"heaviside of {input.spec} with values {values.spec}: dtypes differ")
    step = P.cast(logic.lt(0, input), input.dtype)
    return E.where(logic.eq(input, 0), values, step)


@pointwise
def ldexp(input: Tensor, exponent: Tensor) -> Tensor:
    """input * 2^exponent, of whole numbers in input's dtype if that is floating."""
    if input.dtype.is_floating_point and not exponent.dtype.is_floating_point:
        exponent = P.cast(exponent, input.dtype)
    return E.mul(input, E.pow(2.0, exponent))


@pointwise
def float_power(input: Operand, exponent: Operand) -> Tensor:
    """x ** y in float64."""
    a, b = (P.cast(v, f64) if is_tensor(v) else v for v in (input, exponent))
    return E.pow(a, b)


# ---- logarithms --------------------------------------------------------------------------------


@pointwise
def logit(input: Tensor, eps: float | None = None) -> Tensor:
    """log(x / (1 - x)), with x kept in [eps, 1 - eps] if given."""
    input = as_float(input)
    if eps is not None:
        low, high = (logic.lt(input, eps), eps), (logic.gt(input, 1.0 - eps), 1.0 - eps)
        for outside, bound in (low, high):  # NaN has a gradient, which clamp cuts off
            input = E.where(outside, bound, input)
    elif input.requires_grad:  # outside, where the value is NaN, the derivative is NaN, too
        input = input * E.where(logic.ge(input, 0) & logic.le(input, 1), 1.0, math.nan)
    return E.log(input) - E.log1p(-input)


def _floats(x: Operand, y: Operand) -> list[Tensor]:
    """Both as tensors of one floating dtype and one shape."""
    dtype = result_type(x, y)
    operands = prepare((x, y), dtype if dtype.is_floating_point else get_default_dtype())
    owner = next(v for v in operands if is_tensor(v))
    return [v if is_tensor(v) else owner.full(v, owner.spec) for v in operands]


def _sure_floats(name: str, x: Operand, y: Operand) -> list[Tensor]:
    """The same of two that are no integers alone."""
    return [floating(v, name) for v in prepare((x, y)) if is_tensor(v)]


@pointwise
def xlogy(input: Operand, other: Operand) -> Tensor:
    """x log(y), and 0 where x is 0 unless y is NaN."""
    return _by_logarithm("xlogy", E.log, 0.0, input, other)


def _by_logarithm(
    name: str, log: Callable[[Tensor], Tensor], low: float, x: Operand, y: Operand
) -> Tensor:
    """x log(y), where the logarithm is -inf at `low`, with the derivative that PyTorch gives it: in
    x the same function of the cotangent, but 0 for x of 0 where the logarithm is not finite."""

    def compute(a: Tensor, b: Tensor) -> Tensor:
        return E.where(logic.eq(a, 0) & ~logic.isnan(b), 0.0, a * log(b))

    def rule(g: Tensor, _z: Any, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        outside = logic.le(b, low) if is_tensor(y) else ~logic.gt(b, low)
        mine = E.where(logic.eq(a, 0) & outside, 0.0, _by_logarithm(name, log, low, g, b))
        return mine, g * a / (b - low)

    return with_rule(name, compute, rule, *broadcast_tensors(*_floats(x, y)))


@public(method=True, out=True, tensors=2)
def logaddexp(input: Tensor, other: Tensor) -> Tensor:
    """log(exp(x) + exp(y)) without overflow."""

    def compute(x: Tensor, y: Tensor) -> Tensor:
        larger, gap = _larger_and_gap(x, y)
        return larger + E.log1p(E.exp(gap))

    pair = broadcast_tensors(*_sure_floats("logaddexp", input, other))
    return with_rule("logaddexp", compute, _shares(1.0), *pair)


def _shares(scale: float) -> Callable[..., tuple[Tensor, Tensor]]:
    """The derivative of the logarithm of a sum of powers: each one's share in the sum, NaN where
    both are the same infinity."""

    def rule(g: Tensor, _z: Any, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        gap = (x - y) * scale
        return g * E.sigmoid(gap), g * E.sigmoid(-gap)

    return rule


def _larger_and_gap(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """max(x, y) and -|x - y| (0 for equal infinities), smooth together where x and y are equal."""
    swap = logic.lt(x, y)
    low, high = E.where(swap, x, y), E.where(swap, y, x)
    same = logic.eq(x, y) & logic.isinf(x)
    return high, E.where(same, 0.0, low - high)


@public(method=True, out=True, tensors=2)
def logaddexp2(input: Tensor, other: Tensor) -> Tensor:
    """log2(2^x + 2^y) without overflow."""

    def compute(x: Tensor, y: Tensor) -> Tensor:
        larger, gap = _larger_and_gap(x, y)
        return larger + E.log1p(E.exp2(gap)) * (1 / math.log(2))

    pair = broadcast_tensors(*_sure_floats("logaddexp2", input, other))
    return with_rule("logaddexp2", compute, _shares(math.log(2)), *pair)


# ---- special functions -------------------------------------------------------------------------

lgamma = pointwise(E.float_unary("lgamma"))
erfinv = pointwise(E.float_unary("erfinv"))


@public(out=True)
def polygamma(n: int, x: Tensor) -> Tensor:
    """The n-th derivative of digamma, n >= 0. The shape stays."""
    if n < 0:
        raise DTypeMismatch(f"polygamma(n, x) needs n >= 0, got {n}", fix="pass n first, then x")
    x = as_float(x)
    return x.emit(OPS["polygamma"], x, n=n)


@public(method="polygamma", inplace=True)
def polygamma_of(x: Tensor, n: int) -> Tensor:
    """`polygamma` with the tensor first, as the method has it."""
    return polygamma(n, x)


@pointwise
def digamma(input: Tensor) -> Tensor:
    """The derivative of lgamma."""
    return polygamma(0, input)


# ---- of torch.special alone --------------------------------------------------------------------


@public(out=True)
def entr(input: Tensor) -> Tensor:
    """-x log x; 0 at 0, -inf below."""

    def compute(x: Tensor) -> Tensor:
        inside = E.where(x > 0, x, 1.0)
        return E.where(logic.isnan(x), x, E.where(x < 0, -math.inf, -inside * E.log(inside)))

    def rule(g: Tensor, _z: Any, x: Tensor) -> tuple[Tensor]:
        return (-g * (E.log(x) + 1.0),)

    return with_rule("entr", compute, rule, as_float(input))


@public(out=True)
def ndtr(input: Tensor) -> Tensor:
    """The normal distribution function."""
    return E.erfc(as_float(input) * -math.sqrt(0.5)) * 0.5


@public(out=True)
def xlog1py(input: Any, other: Any) -> Tensor:
    """x log(1 + y), and 0 where x is 0 unless y is NaN."""
    return _by_logarithm("xlog1py", E.log1p, -1.0, input, other)


@public(method="mvlgamma", inplace=True, out=True)
def multigammaln(input: Tensor, p: int) -> Tensor:
    """log of the multivariate gamma function of dimension p, up to 2048. The shape stays."""
    if p > MOST:
        raise Unsupported(f"mvlgamma: p {p}", fix=f"pass a whole number up to {MOST}")
    if p < 1:
        raise RefusedArgument(f"mvlgamma: p has to be greater than or equal to 1, got {p}")
    if input.dtype is bool_:
        raise DTypeMismatch(f"mvlgamma is not defined for bools, got {input.spec}")
    x = as_float(input)
    total: Any = p * (p - 1) / 4 * math.log(math.pi)
    for k in range(p):
        total = lgamma(x - k / 2) + total
    out: Tensor = total
    return out


@public(out=True)
def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest number of so many places, half to even; of floats alone."""
    return E.round(input, decimals=decimals)
