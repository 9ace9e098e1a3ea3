"""Poisson numbers: by inversion for small rates, by Hörmann's transformed rejection for large.

Both work on all elements at once: 64 terms of the distribution function, and 32 candidates of
which the first accepted counts (one in 1e17 draws has none).
"""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeMismatch, RefusedArgument
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.api.random import Generator, rand
from graphc.frontend.checked import checked
from graphc.frontend.modes import drawing, no_grad
from graphc.ir.types import f64

__all__ = ["poisson"]

Tensor = Any
SMALL, TERMS, CANDIDATES = 10.0, 64, 32


@drawing
@no_grad()
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """A number of each rate in `input`, in its dtype. RuntimeError for a rate below zero.

    The shape stays.
    """
    if not input.dtype.is_floating_point:
        raise DTypeMismatch(f"poisson of {input.spec}", fix="convert to a floating dtype")
    what = "invalid Poisson rate, expected rate to be non-negative"
    rate = checked(input.detach(), ~(input < 0), what, RefusedArgument).to(f64)
    few = _inverted(E.where(rate < SMALL, rate, 1.0), generator)
    many = _rejected(E.where(rate < SMALL, SMALL, rate), generator)
    return E.where(rate < SMALL, few, many).to(input.dtype)


def _inverted(rate: Tensor, generator: Generator | None) -> Tensor:
    u = rand(rate.spec.shape, dtype=f64, generator=generator, device=rate.device)
    term = E.exp(-rate)
    below, count = term, rate * 0
    for k in range(1, TERMS):
        count = count + (u >= below)
        term = term * rate * (1 / k)
        below = below + term
    return count


def _rejected(rate: Tensor, generator: Generator | None) -> Tensor:
    """Hörmann 1993, algorithm PTRS."""
    shape = (CANDIDATES, *rate.spec.shape)
    b = E.sqrt(rate) * 2.53 + 0.931
    a = b * 0.02483 - 0.059
    scale = 1.1328 / (b - 3.4) + 1.1239
    bound = 0.9277 - 3.6224 / (b - 2)
    u = rand(shape, dtype=f64, generator=generator, device=rate.device) - 0.5
    v = rand(shape, dtype=f64, generator=generator, device=rate.device)
    room = (0.5 - E.abs(u)).clamp(min=1e-300)
    k = E.floor((2 * a / room + b) * u + rate + 0.43)
    sure = (room >= 0.07) & (v <= bound)
    never = (k < 0) | ((room < 0.013) & (v > room))
    safe = k.clamp(min=0)
    height = (v.clamp(min=1e-300) * scale / (a / (room * room) + b)).log()
    under = height <= safe * rate.log() - rate - special.lgamma(safe + 1)
    good = sure | (~never & under)
    first = good.to(f64).argmax(0, keepdim=True)
    return E.where(good.any(0), k.gather(0, first).squeeze(0), E.floor(rate))
