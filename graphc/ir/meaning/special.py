"""Special functions that NumPy lacks, in float64 an element at a time.

Apart from two tables, written apart from `passes/elementary.py`, which compiles them.
Sources: Abramowitz and Stegun 1964, 6.3-6.4 (recurrence, reflection, asymptotic series).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graphc.ir.types import Array

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)
ASYMPTOTIC = 16.0  # from here on eight terms of the series reach float64


def each(function: Callable[[float], float], x: Array) -> Array:
    """`function` of every element, in float64, rounded once."""
    mapped = np.frompyfunc(function, 1, 1)(x.astype(np.float64))
    return np.asarray(mapped, dtype=np.float64).astype(x.dtype)


def erf(x: Array) -> Array:
    return each(math.erf, x)


def erfc(x: Array) -> Array:
    return each(math.erfc, x)


def lgamma(x: Array) -> Array:
    """log |Gamma(x)|; inf at 0, -1, -2, .. and at both infinities."""
    return each(_lgamma, x)


def _lgamma(x: float) -> float:
    if x <= 0 and (math.isinf(x) or x == math.floor(x)):
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:
        return math.inf


def polygamma(x: Array, *, n: int) -> Array:
    """The n-th derivative of digamma, the derivative of lgamma."""
    return each(lambda v: _polygamma(n, np.float64(v)), x)


def _polygamma(n: int, x: np.float64) -> np.float64:
    """In NumPy's float64, which overflows to infinity where Python's raises."""
    if not np.isfinite(x):
        return np.float64((math.inf if n == 0 else 0.0) if x > 0 else math.nan)
    if x <= 0:
        return _reflected(n, x)
    sign = -1.0 if n % 2 == 0 else 1.0
    total = np.float64(0.0)
    while x < ASYMPTOTIC:
        total += sign * math.factorial(n) / x ** (n + 1)
        x = x + np.float64(1.0)
    if n == 0:
        tail = sum(b / (2 * k * x ** (2 * k)) for k, b in enumerate(BERNOULLI, 1))
        return np.float64(total + np.log(x) - 0.5 / x - tail)
    lead = math.factorial(n - 1) / x**n + math.factorial(n) / (2 * x ** (n + 1))
    tail = sum(
        b * math.factorial(2 * k + n - 1) / (math.factorial(2 * k) * x ** (2 * k + n))
        for k, b in enumerate(BERNOULLI, 1)
    )
    return np.float64(total + sign * (lead + tail))


def _reflected(n: int, x: np.float64) -> np.float64:
    """From 1 - x by the derivatives of pi cot(pi x); at a pole its limit, where it has one."""
    r = x - np.rint(x)
    if r == 0.0:
        if n == 0:
            return np.float64(math.nan if x else -math.copysign(math.inf, x))
        return np.float64(math.inf if n % 2 else -math.inf)
    c = np.cos(math.pi * r) / np.sin(math.pi * r)
    cot = sum(a * c**k for k, a in enumerate(cotangent_derivative(n)) if a)
    return np.float64((-1.0) ** n * _polygamma(n, np.float64(1.0 - x)) - cot)


def cotangent_derivative(n: int) -> list[float]:
    """d^n/dx^n of pi cot(pi x) as a polynomial in c = cot(pi x), from c' = -pi (1 + c^2)."""
    p = [0.0, math.pi]
    for _ in range(n):
        slope = [k * a for k, a in enumerate(p)][1:]
        p = [-math.pi * (a + b) for a, b in zip([*slope, 0.0, 0.0], [0.0, 0.0, *slope])]
    return p


def erfcx(x: Array) -> Array:
    """exp(x^2) erfc(x), which neither overflows nor vanishes for x > 0."""
    return each(_erfcx, x)


def _erfcx(x: float) -> float:
    """By definition, where both factors are exact enough; else Laplace's continued fraction."""
    if x < 2.0:
        return _exp_square(x) * math.erfc(x)
    tail = x
    for k in range(120, 0, -1):
        tail = x + 0.5 * k / tail
    return 1 / (math.sqrt(math.pi) * tail)


def _exp_square(x: float) -> float:
    """exp(x^2), its square in two parts, as exp makes a relative error of an absolute one."""
    if abs(x) > 26.64:  # sqrt(log(max)) is 26.641
        return math.inf
    high = math.ldexp(round(math.ldexp(x, 20)), -20)
    return math.exp(high * high) * math.exp((x - high) * (x + high))


def erfinv(x: Array) -> Array:
    """The inverse of erf: a start by Winitzki 2008, then steps of Halley."""
    return each(_erfinv, x)


def _erfinv(x: float) -> float:
    size = abs(x)
    if not size < 1.0:
        return math.copysign(math.inf, x) if size == 1.0 else math.nan
    if size < 1e-8:
        return x * (math.sqrt(math.pi) / 2)
    a = 0.147
    log = math.log1p(-size * size) if size < 0.5 else math.log((1 - size) * (1 + size))
    half = 2 / (math.pi * a) + log / 2
    y = math.sqrt(-log / a / (math.sqrt(half * half - log / a) + half))
    for _ in range(3):
        error = math.erf(y) - size if size < 0.5 else (1 - size) - math.erfc(y)
        u = error * math.exp(y * y) * (math.sqrt(math.pi) / 2)
        y -= u / (1 + y * u)
    return math.copysign(y, x)
