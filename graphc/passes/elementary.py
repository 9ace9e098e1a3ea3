"""Elementary and special functions without a kernel, as formulas over those that have one.

`FUNCTIONS[name](*operands, **attrs)` is called by `decompose`, after every derivative was taken, so
a formula may branch as it likes: only values count. Half floats compute in float32. The gamma
functions, erfcx and erfinv compute in float64: they cancel, and nobody's step is made of them.
Sources: Kahan 1987 (signs and cancellation); Abramowitz and Stegun 1964, 6.1-6.4; Winitzki 2008.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial, inf, log, nan, pi, sqrt
from typing import Any

from graphc.ir import sugar as P
from graphc.ir.meaning.special import BERNOULLI, cotangent_derivative
from graphc.ir.types import DType, f32, f64

Formula = Callable[..., Any]
LN2 = log(2.0)
SHIFT = 10  # steps of the recurrence before the asymptotic series, whose eight terms then suffice


def call(name: str, *xs: Any) -> Any:
    return P.apply(name, *xs)


def both(a: Any, b: Any) -> Any:
    return call("and", a, b)


def either(a: Any, b: Any) -> Any:
    return call("or", a, b)


def is_signed(x: Any) -> Any:
    """Whether the sign bit is set, of NaN left aside: 1 / -0 is -inf."""
    return either(call("lt", x, 0.0), both(call("eq", x, 0.0), call("lt", 1.0 / x, 0.0)))


def odd(x: Any, tiny: float, positive: Callable[[Any], Any]) -> Any:
    """An odd function from its values for |x|; x itself, so also -0, below `tiny`."""
    size = call("abs", x)
    y = positive(size)
    return P.where(call("lt", size, tiny), x, P.where(call("lt", x, 0.0), -y, y))


def tiny_of(x: Any) -> float:
    """Below this f(x) = x + O(x^3) rounds to x."""
    return 2.0**-13 if x.spec.dtype is f32 else 2.0**-27


def root(x: Any) -> Any:
    return call("sqrt", x)


# ---- inverse circular and hyperbolic functions -------------------------------------------------


def asin(x: Any) -> Any:
    return call("atan", x / root((1.0 - x) * (x + 1.0)))


def acos(x: Any) -> Any:
    return call("atan", root((1.0 - x) / (x + 1.0))) * 2.0


def atan2(y: Any, x: Any) -> Any:
    """The quotient's angle in the first quadrant, then by the signs, those of zeros too."""
    up, right = call("abs", y), call("abs", x)
    same = call("eq", up, right)  # 0/0 and inf/inf among them
    some = P.where(same, 1.0, up / right)
    angle = call("atan", P.where(both(same, call("eq", up, 0.0)), 0.0, some))
    angle = P.where(is_signed(x), pi - angle, angle)
    return P.where(is_signed(y), -angle, angle)


def hypot(x: Any, y: Any) -> Any:
    """Scaled by the larger, so nothing overflows; infinite if either is, even beside NaN."""
    a, b = call("abs", x), call("abs", y)
    large = call("maximum", a, b)
    ratio = P.where(call("eq", large, 0.0), 0.0, call("minimum", a, b) / large)
    out = large * root(ratio * ratio + 1.0)
    return P.where(either(call("eq", a, inf), call("eq", b, inf)), inf, out)


def sinh(x: Any) -> Any:
    def positive(a: Any) -> Any:
        e, half = call("expm1", a), call("exp", a * 0.5)
        return P.where(call("lt", a, 30.0), (e + e / (e + 1.0)) * 0.5, half * 0.5 * half)

    return odd(x, tiny_of(x), positive)


def cosh(x: Any) -> Any:
    """By exp(|x| / 2), whose square overflows only where cosh does."""
    half = call("exp", call("abs", x) * 0.5)
    return half * 0.5 * half + 0.5 / half / half


def asinh(x: Any) -> Any:
    def positive(a: Any) -> Any:
        square = a * a
        near = call("log1p", a + square / (root(square + 1.0) + 1.0))
        return P.where(call("lt", a, 2.0**30), near, call("log", a) + LN2)

    return odd(x, tiny_of(x), positive)


def acosh(x: Any) -> Any:
    t = x - 1.0
    near = call("log1p", t + root(t) * root(t + 2.0))
    return P.where(call("lt", x, 2.0**30), near, call("log", x) + LN2)


def atanh(x: Any) -> Any:
    return odd(x, tiny_of(x), lambda a: call("log1p", a * 2.0 / (1.0 - a)) * 0.5)


# ---- gamma functions, erfcx, erfinv --------------------------------------------------------------


def series(z: Any, coefficients: list[float]) -> Any:
    """c0 + c1*z + c2*z^2 + .."""
    total = P.full_like(z, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        total = total * z + c
    return total


def fraction(x: Any) -> Any:
    """x less the nearest integer: exact, so sin(pi x) near a pole is too."""
    return x - call("round", x)


def lgamma(x: Any) -> Any:
    """Stirling's series from SHIFT on, the recurrence before it, reflection below zero."""
    negative = call("lt", x, 0.0)
    a = P.where(negative, 1.0 - x, x)
    product, y = P.full_like(a, 1.0), a
    small = call("lt", a, float(SHIFT))
    for k in range(SHIFT):
        product = product * (a + float(k))
    y = P.where(small, a + float(SHIFT), a)
    inverse = 1.0 / y
    terms = [b / (2 * k * (2 * k - 1)) for k, b in enumerate(BERNOULLI, 1)]
    tail = series(inverse * inverse, terms) * inverse + 0.5 * log(2 * pi)
    stirling = (y - 0.5) * (call("log", y) - 1.0) + (tail - 0.5)
    right = stirling - P.where(small, call("log", product), 0.0)
    r = fraction(x)
    left = call("log", pi / call("abs", call("sin", r * pi))) - right
    out = P.where(negative, left, right)
    pole = both(call("le", x, 0.0), either(call("eq", r, 0.0), call("eq", x, -inf)))
    return P.where(either(pole, call("eq", x, inf)), inf, out)


def polygamma(x: Any, *, n: int) -> Any:
    low = call("le", x, 0.0)
    right = positive_polygamma(P.where(low, 1.0 - x, x), n)
    r = fraction(x)
    angle = r * pi
    cot = series(call("cos", angle) / call("sin", angle), cotangent_derivative(n))
    left = right * (-1.0) ** n - cot
    pole = inf if n % 2 else -inf if n else nan
    left = P.where(call("eq", r, 0.0), pole, left)
    if n == 0:
        left = P.where(call("eq", x, 0.0), -1.0 / x, left)
    return P.where(low, P.where(call("eq", x, -inf), nan, left), right)


def positive_polygamma(x: Any, n: int) -> Any:
    """The recurrence for SHIFT terms, then the asymptotic series."""
    sign = -1.0 if n % 2 == 0 else 1.0
    total = power(1.0 / x, n + 1)
    for k in range(1, SHIFT):
        total = total + power(1.0 / (x + float(k)), n + 1)
    y = x + float(SHIFT)
    inverse = 1.0 / y
    square = inverse * inverse
    if n == 0:
        tail = series(square, [b / (2 * k) for k, b in enumerate(BERNOULLI, 1)])
        return (call("log", y) - inverse * 0.5 - tail * square) - total
    tail = series(
        square,
        [b * factorial(2 * k + n - 1) / factorial(2 * k) for k, b in enumerate(BERNOULLI, 1)],
    )
    lead = power(inverse, n) * (inverse * (factorial(n) / 2) + float(factorial(n - 1)))
    return (total * float(factorial(n)) + (lead + tail * square * power(inverse, n))) * sign


def power(x: Any, n: int) -> Any:
    """x^n by repeated products; n small."""
    total = x
    for _ in range(n - 1):
        total = total * x
    return total


def erfcx(x: Any) -> Any:
    """By definition up to 26, exp(x^2) by its square in two parts; then the asymptotic series."""
    size = call("abs", x)
    near = call("minimum", size, 27.0)  # whose exp(x^2) is infinite
    split = near * (2.0**27 + 1.0)  # Dekker 1971: the upper half of the digits
    high = split - (split - near)
    grown = call("exp", high * high) * call("exp", (near - high) * (near + high))
    inverse = 1.0 / size
    terms = [(-1.0) ** k * factorial(2 * k) / (factorial(k) * 4.0**k) for k in range(7)]
    far = series(inverse * inverse, terms) * inverse * (1 / sqrt(pi))
    right = P.where(call("lt", size, 26.0), grown * call("erfc", near), far)
    return P.where(call("lt", x, 0.0), grown * 2.0 - right, right)


def erfinv(x: Any) -> Any:
    """Winitzki's start and two steps of Halley, on erf below 1/2 and on erfc above."""
    size = call("abs", x)
    inner = call("lt", size, 0.5)
    safe = P.where(call("lt", size, 1.0), size, 0.5)
    logarithm = call("log", (1.0 - safe) * (safe + 1.0))
    logarithm = P.where(inner, call("log1p", -(safe * safe)), logarithm)
    scaled, half = logarithm * (-1 / 0.147), logarithm * 0.5 + 2 / (pi * 0.147)
    y = root(scaled / (root(half * half + scaled) + half))
    for _ in range(2):
        error = P.where(inner, call("erf", y) - safe, (1.0 - safe) - call("erfc", y))
        u = error * call("exp", y * y) * (sqrt(pi) / 2)
        y = y - u / (y * u + 1.0)
    edge = P.where(call("eq", size, 1.0), P.full_like(y, inf), nan)
    y = P.where(call("lt", size, 1.0), y, edge)
    y = P.where(call("lt", x, 0.0), -y, y)
    return P.where(call("lt", size, 1e-8), x * (sqrt(pi) / 2), y)


# ---- the rows ----------------------------------------------------------------------------------


def _in(formula: Formula, least: DType) -> Formula:
    """`formula` on operands at least as wide as `least`, its result rounded once."""

    def widened(*xs: Any, **attrs: Any) -> Any:
        dtype = xs[0].spec.dtype
        wide = f64 if f64 in (dtype, least) else f32
        return P.cast(formula(*(P.cast(x, wide) for x in xs), **attrs), dtype)

    return widened


FUNCTIONS: dict[str, Formula] = {
    **{f.__name__: _in(f, f32) for f in (asin, acos, atan2, hypot, sinh, cosh)},
    **{f.__name__: _in(f, f32) for f in (asinh, acosh, atanh)},
    **{f.__name__: _in(f, f64) for f in (lgamma, polygamma, erfcx, erfinv)},
}
