"""Bessel functions: of imaginary argument by series and asymptotic expansion, the others by the
trapezoidal rule over their integrals, which converges geometrically (Trefethen, Weideman 2014)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.api.quadrature import _constant, in_double
from graphc.frontend.registry import pointwise, public

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "bessel_j0",
    "bessel_j1",
    "i0",
    "i0e",
    "i1",
    "i1e",
    "modified_bessel_k0",
    "modified_bessel_k1",
    "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1",
    "spherical_bessel_j0",
]

SPLIT = 25.0  # from here on e^-2x is below rounding, and so is the smallest term of the expansion
POINTS = 96  # of the trapezoidal rule: exact up to |x| of about half of it
FAR = 40.0


def _horner(x: Tensor, coefficients: list[float]) -> Tensor:
    """The polynomial with these coefficients, lowest first."""
    out = x * 0 + coefficients[-1]
    for c in coefficients[-2::-1]:
        out = out * x + c
    return out


def _power_series(order: int) -> list[float]:
    """I_n(x) / (x/2)^n in powers of x^2 / 4."""
    return [1 / (math.factorial(k) * math.factorial(k + order)) for k in range(70)]


def _expansion(order: int, count: int = 24) -> list[float]:
    """Hankel's coefficients a_k of I_n, J_n and K_n at infinity, in powers of 1/x."""
    out, mu = [1.0], 4.0 * order * order
    for k in range(1, count):
        out.append(out[-1] * (mu - (2 * k - 1) ** 2) / (8 * k))
    return out


def _modified(x: Tensor, order: int, scaled: bool) -> Tensor:
    """I_n(x), or e^-|x| I_n(x). Near 0 by the argument itself, of which an odd one has a slope."""
    size = E.abs(x)
    near, far = E.where(size < SPLIT, x, 0.0), E.where(size < SPLIT, SPLIT, size)
    half = near * 0.5
    series = _horner(half * half, _power_series(order)) * half**order
    signed = [c * (-1) ** k for k, c in enumerate(_expansion(order))]
    tail = _horner(1.0 / far, signed) / E.sqrt(far * (2 * math.pi))
    tail = tail * E.sign(x) if order % 2 else tail
    if scaled:
        return E.where(size < SPLIT, series * E.exp(-E.abs(near)), tail)
    return E.where(size < SPLIT, series, tail * E.exp(far))


@public(out=True)
@in_double
def i0e(input: Tensor) -> Tensor:
    """e^-|x| I_0(x)."""
    return _modified(input, 0, scaled=True)


@public(out=True)
@in_double
def i1e(input: Tensor) -> Tensor:
    """e^-|x| I_1(x)."""
    return _modified(input, 1, scaled=True)


@pointwise
@in_double
def i0(input: Tensor) -> Tensor:
    """The modified Bessel function I_0."""
    return _modified(input, 0, scaled=False)


@public(out=True)
@in_double
def i1(input: Tensor) -> Tensor:
    """The modified Bessel function I_1."""
    return _modified(input, 1, scaled=False)


def _oscillating(x: Tensor, order: int) -> Tensor:
    """J_n: the mean of cos(n t - x sin t), and Hankel's expansion far away."""
    size = E.abs(x)
    near, far = E.where(size < FAR, size, 0.0), E.where(size < FAR, FAR, size)
    places = (np.arange(POINTS) + 0.5) * math.pi / POINTS
    sine, turn = _constant(np.sin(places)), _constant(order * places)
    close = E.cos(turn - near.unsqueeze(-1) * sine).mean(-1)
    p, q = _hankel(far, order)
    phase = far - (order / 2 + 0.25) * math.pi
    distant = E.sqrt(2 / (math.pi * far)) * (p * E.cos(phase) - q * E.sin(phase))
    found = E.where(size < FAR, close, distant)
    return found * E.sign(x) if order % 2 else found


def _hankel(x: Tensor, order: int) -> tuple[Tensor, Tensor]:
    a = _expansion(order, 20)
    inverse = 1.0 / (x * x)
    even = [c * (-1) ** k for k, c in enumerate(a[0::2])]
    odd = [c * (-1) ** k for k, c in enumerate(a[1::2])]
    return _horner(inverse, even), _horner(inverse, odd) / x


@public(out=True)
@in_double
def bessel_j0(input: Tensor) -> Tensor:
    """The Bessel function J_0."""
    return _oscillating(input, 0)


@public(out=True)
@in_double
def bessel_j1(input: Tensor) -> Tensor:
    """The Bessel function J_1."""
    return _oscillating(input, 1)


def _scaled_k(x: Tensor, order: int) -> Tensor:
    """e^x K_n(x): the integral of exp(-x (cosh t - 1)) cosh(n t) over t > 0."""
    safe = E.where((x > 0) & (x < math.inf), x, 1.0)
    reach = special.acosh(1.0 + 45.0 / safe.detach()) + 1.0
    step = (reach / POINTS).unsqueeze(-1)
    t = step * _constant(np.arange(POINTS + 1.0))
    weights = np.ones(POINTS + 1)
    weights[0] = 0.5
    half = E.sinh(t * 0.5)
    values = E.exp(safe.unsqueeze(-1) * -2.0 * half * half)
    values = values * E.cosh(t) if order else values
    found = (values * _constant(weights)).sum(-1) * step.squeeze(-1)
    ends = E.where(x == 0, math.inf, E.where(x == math.inf, 0.0, math.nan))
    return E.where((x > 0) & (x < math.inf), found, ends)


@public(out=True)
@in_double
def scaled_modified_bessel_k0(input: Tensor) -> Tensor:
    """e^x K_0(x)."""
    return _scaled_k(input, 0)


@public(out=True)
@in_double
def scaled_modified_bessel_k1(input: Tensor) -> Tensor:
    """e^x K_1(x)."""
    return _scaled_k(input, 1)


@public(out=True)
@in_double
def modified_bessel_k0(input: Tensor) -> Tensor:
    """The modified Bessel function K_0."""
    return _scaled_k(input, 0) * E.exp(-input)


@public(out=True)
@in_double
def modified_bessel_k1(input: Tensor) -> Tensor:
    """The modified Bessel function K_1."""
    return _scaled_k(input, 1) * E.exp(-input)


@public(out=True)
@in_double
def spherical_bessel_j0(input: Tensor) -> Tensor:
    """sin(x) / x."""
    infinite = E.abs(input) == math.inf
    return E.where(infinite, 0.0, special.sinc(E.where(infinite, 1.0, input) * (1 / math.pi)))
