"""Binomial numbers: by inversion where few are expected, else by Hörmann's transformed rejection.

Both work on all elements at once, as `poisson.py`: 64 terms of the distribution function, and 32
candidates of which the first accepted counts.
"""

from __future__ import annotations

from typing import Any

from graphc.errors import DTypeMismatch
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.api.generator import Generator
from graphc.frontend.api.random import rand
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.modes import drawing, no_grad
from graphc.frontend.operands import broadcast_to
from graphc.ir.types import f64

__all__ = ["binomial"]

Tensor = Any
SMALL, TERMS, CANDIDATES = 10.0, 64, 32


@drawing
@no_grad()
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """How many of `count` trials succeed, each with probability `prob`; in the type of `count`.

    -1 or NaN counts and probabilities outside [0, 1] give NaN, as nothing is right for them.
    """
    if not (count.dtype.is_floating_point and prob.dtype.is_floating_point):
        what = f"binomial takes floating tensors, got {count.spec} and {prob.spec}"
        raise DTypeMismatch(what, fix="convert both to float32")
    shape = broadcast_shapes(count.spec.shape, prob.spec.shape)
    n = broadcast_to(count.detach().to(f64), shape)
    given = broadcast_to(prob.detach().to(f64), shape)
    known = (n >= 0) & (given >= 0) & (given <= 1)
    n, p = E.where(known, E.floor(n), 0.0), E.where(known, given, 0.0)
    less = E.where(p > 0.5, 1 - p, p)
    small = n * less < SMALL
    few = _inverted(n, E.where(small, less, 0.0), generator)
    many = _rejected(E.where(small, 4 * SMALL, n), E.where(small, 0.5, less), generator)
    found = E.where(small, few, many)
    found = E.where(p > 0.5, n - found, found)
    return E.where(known, found, float("nan")).to(count.dtype)


def _inverted(n: Tensor, p: Tensor, generator: Generator | None) -> Tensor:
    """The first k whose distribution function exceeds a uniform number."""
    u = rand(n.spec.shape, dtype=f64, generator=generator, device=n.device)
    odds = p / (1 - p)
    term = E.exp(n * E.log1p(-p))
    below, count = term, n * 0
    for k in range(1, TERMS):
        count = count + ((u >= below) & (n >= k))
        term = term * odds * (n - (k - 1)).clamp(min=0) * (1 / k)
        below = below + term
    return count


def _rejected(n: Tensor, p: Tensor, generator: Generator | None) -> Tensor:
    """Hörmann 1993, algorithm BTRS."""
    shape = (CANDIDATES, *n.spec.shape)
    width = E.sqrt(n * p * (1 - p))
    b = width * 2.53 + 1.15
    a = b * 0.0248 + p * 0.01 - 0.0873
    middle = n * p + 0.5
    bound = 0.92 - 4.2 / b
    scale = (5.1 / b + 2.83) * width
    mode = E.floor((n + 1) * p)
    height = special.lgamma(mode + 1) + special.lgamma(n - mode + 1)
    u = rand(shape, dtype=f64, generator=generator, device=n.device) - 0.5
    v = rand(shape, dtype=f64, generator=generator, device=n.device)
    room = (0.5 - E.abs(u)).clamp(min=1e-300)
    k = E.floor((2 * a / room + b) * u + middle)
    sure = (room >= 0.07) & (v <= bound)
    within = (k >= 0) & (k <= n)
    safe = E.where(within, k, 0.0)
    rest = special.lgamma(safe + 1) + special.lgamma(n - safe + 1)
    most = height - rest + (safe - mode) * (p / (1 - p)).log()
    under = (v.clamp(min=1e-300) * scale / (a / (room * room) + b)).log() <= most
    good = within & (sure | under)
    first = good.to(f64).argmax(0, keepdim=True)
    return E.where(good.any(0), k.gather(0, first).squeeze(0), mode)
