"""Special functions as integrals of smooth decaying integrands, by Gauss and Legendre's rule.

Each is an integral over [0, V] where the integrand has fallen by e^-42 at V, so that 64 nodes give
it to rounding in float64. V carries no gradient; that of the integrand is the function's own. What
is computed is float64 and comes back in the dtype of the argument.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import DTypeNotImplemented
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.modes import get_default_dtype, modes
from graphc.frontend.operands import Operand, check_tensors, is_tensor, prepare
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import DType, f64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

NODES = 64
FALL = 42.0  # e^-42 is below rounding
NEAR = 28.0
Formula = Callable[..., "Tensor"]


@functools.cache
def _rule() -> tuple[Any, Any]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return (nodes + 1) / 2, weights / 2


def integral(integrand: Callable[[Tensor], Tensor], reach: Tensor) -> Tensor:
    """The integral of `integrand` over [0, reach], which has one more dimension at its end.

    What lies beyond `NEAR` is done apart, so that what e^-v changes is always seen.
    """
    reach = reach.detach().unsqueeze(-1)
    middle = E.minimum(reach, NEAR + reach * 0)
    return _stretch(integrand, reach * 0, middle) + _stretch(integrand, middle, reach)


def _stretch(integrand: Callable[[Tensor], Tensor], start: Tensor, end: Tensor) -> Tensor:
    nodes, weights = (device_ops.like(_constant(a), start) for a in _rule())
    width = end - start
    return (integrand(start + width * nodes) * weights).sum(-1) * width.squeeze(-1)


def _constant(values: Any) -> Tensor:
    made = tensors.wrapped(values)
    return made if modes.trace is None else modes.trace.frozen(made)


def in_double(formula: Formula) -> Formula:
    """`formula` of float64 tensors of one shape, its result in what the operands promote to."""

    @functools.wraps(formula)
    def function(*operands: Operand, **named: Operand) -> Tensor:
        operands = (*operands, *named.values())
        dtype = floating(*operands)
        own = [v if is_tensor(v) else _like(v, operands) for v in prepare(operands, f64)]
        return P.cast(formula(*own), dtype)

    return function


def _like(value: float, operands: tuple[Operand, ...]) -> Tensor:
    first: Tensor = next(v for v in operands if is_tensor(v))
    return P.cast(first, f64) * 0 + value


def floating(*operands: Operand) -> DType:
    dtype = result_type(*operands)
    return dtype if dtype.is_floating_point else get_default_dtype()


# ---- the normal distribution's tail ------------------------------------------------------------


erfcx: E.Unary = public(out=True)(
    E.float_unary("erfcx")
)  # exp(x^2) erfc(x), without overflow for x > 0


def _log_ndtr(x: Tensor) -> Tensor:
    """log of the normal distribution function, precise in both tails."""
    low = E.where(x < -1, x, -1.0)
    high = E.where(x < -1, 0.0, x)
    tail = E.log(erfcx(low * -math.sqrt(0.5)) * 0.5) - low * low * 0.5
    return E.where(x < -1, tail, E.log1p(E.erfc(high * math.sqrt(0.5)) * -0.5))


@public(out=True)
@in_double
def log_ndtr(input: Tensor) -> Tensor:
    """log of the normal distribution function, precise in both tails."""
    return _log_ndtr(input)


def _ndtri(p: Tensor) -> Tensor:
    """The normal quantile: Newton's steps on log_ndtr from a first guess, mirrored above 1/2."""
    tail = E.where(p > 0.5, 1.0 - p, p)
    inside = (tail > 0) & (tail <= 0.5)
    safe = E.where(inside, tail, 0.25)
    wanted = E.log(safe)
    t = E.sqrt(wanted.detach() * -2.0)
    # Abramowitz and Stegun 26.2.23, good to 4.5e-4
    top = (0.010328 * t + 0.802853) * t + 2.515517
    x = top / (((0.001308 * t + 0.189269) * t + 1.432788) * t + 1.0) - t
    for _ in range(4):
        below = _log_ndtr(x.detach())
        slope = E.exp(x.detach() * x.detach() * -0.5 - below) * (1 / math.sqrt(2 * math.pi))
        x = x.detach() + (wanted - below) / slope
    ends = E.where(tail == 0, -math.inf, math.nan)
    x = E.where(inside, x, ends)
    return E.where(p > 0.5, -x, x)


@public(out=True)
@in_double
def ndtri(input: Tensor) -> Tensor:
    """The normal quantile."""
    return _ndtri(input)


# ---- incomplete gamma --------------------------------------------------------------------------


def _lower_reach(a: Tensor, x: Tensor) -> Tensor:
    """v with a v - x (1 - e^-v) = FALL, from the right by Newton's steps; x <= a."""
    v = (x + FALL) / a
    for _ in range(6):
        shrunk = E.exp(-v)
        v = v - (a * v - x * (1.0 - shrunk) - FALL) / (a - x * shrunk)
    return v


def _upper_reach(a: Tensor, x: Tensor) -> Tensor:
    """v with x (e^v - 1) - a v = FALL, from the right by Newton's steps; x > a."""
    v = E.minimum(E.sqrt(2 * FALL / x), 2.0 * E.log1p(FALL / x) + 1.0)
    for _ in range(10):
        grown = E.exp(v)
        v = v - (x * (grown - 1.0) - a * v - FALL) / (x * grown - a)
    return v


def gamma_parts(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whether x <= a; the smaller of P(a, x) and Q(a, x) over the density times x; and its
    derivative by log of the density's weight: the integral with (log t - digamma(a)) inside.

    With t = x e^-v below and x e^v above, the density relative to that at x is the exponential of
    -(a v - x (1 - e^-v)) and of -(x (e^v - 1) - a v).
    """
    below = x <= a
    low_x, high_x = E.where(below, x, a * 0.5), E.where(below, a * 2.0, x)
    shift = E.log(x) - special.digamma(a)

    def lower(v: Tensor) -> Tensor:
        return E.exp(low_x.unsqueeze(-1) * -E.expm1(-v) - a.unsqueeze(-1) * v)

    def upper(v: Tensor) -> Tensor:
        return E.exp(a.unsqueeze(-1) * v - high_x.unsqueeze(-1) * E.expm1(v))

    left, right = _lower_reach(a, low_x), _upper_reach(a, high_x)
    mass = E.where(below, integral(lower, left), integral(upper, right))
    moment = E.where(
        below,
        integral(lambda v: lower(v) * (shift.unsqueeze(-1) - v), left),
        integral(lambda v: upper(v) * (shift.unsqueeze(-1) + v), right),
    )
    return below, mass, moment


def _density(a: Tensor, x: Tensor) -> Tensor:
    """x times the gamma density."""
    return E.exp(a * E.log(x) - x - special.lgamma(a))


def _gammainc(a: Tensor, x: Tensor, upper: bool) -> Tensor:
    good = (a > 0) & (x > 0) & (x < math.inf) & (a < math.inf)
    safe_a, safe_x = E.where(good, a, 1.0), E.where(good, x, 1.0)
    below, mass, _ = gamma_parts(safe_a, safe_x)
    small = _density(safe_a, safe_x) * mass
    found = E.where(below, 1.0 - small, small) if upper else E.where(below, small, 1.0 - small)
    zero, one = (1.0, 0.0) if upper else (0.0, 1.0)
    sure = E.where(
        (x == 0) & (a > 0),
        zero,
        E.where((x == math.inf) & (a >= 0) & (a < math.inf), one, math.nan),
    )
    sure = E.where((a == 0) & (x > 0), one, sure)
    sure = E.where((a == math.inf) & (x >= 0) & (x < math.inf), zero, sure)
    return E.where(good, found, sure)


def of_floats(formula: Formula) -> Formula:
    """`formula`, which PyTorch does not have for integers alone."""

    @functools.wraps(formula)
    def function(input: Tensor, other: Tensor) -> Tensor:
        check_tensors(formula.__name__, input, other)
        if not result_type(input, other).is_floating_point:
            raise DTypeNotImplemented(
                f"{formula.__name__} of {input.spec} and {other.spec}", fix="x.float()"
            )
        return formula(input, other)

    return function


@public(method="igamma", inplace=True, out=True)
@of_floats
@in_double
def gammainc(input: Tensor, other: Tensor) -> Tensor:
    """P(a, x), the share of the gamma distribution of shape a below x."""
    return _gammainc(input, other, upper=False)


@public(method="igammac", inplace=True, out=True)
@of_floats
@in_double
def gammaincc(input: Tensor, other: Tensor) -> Tensor:
    """Q(a, x) = 1 - P(a, x)."""
    return _gammainc(input, other, upper=True)


@in_double
def gamma_sample_slope(alpha: Tensor, sample: Tensor) -> Tensor:
    """d sample / d alpha of a standard gamma sample at its fixed quantile: -dP/da over the density
    (Figurnov et al. 2018)."""
    below, _, moment = gamma_parts(alpha, sample)
    return sample * E.where(below, -moment, moment)
