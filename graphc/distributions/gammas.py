"""Gamma, beta and Dirichlet distributions, all drawn from standard gamma numbers.

A gamma number is the first of twelve candidates that is accepted (Marsaglia, Tsang 2000); one in
4e15 draws has none, and takes the last. Its gradient is that of the quantile (`quadrature.py`).
"""

from __future__ import annotations

from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.distribution import ExponentialFamily, Sample, broadcast_all, total
from graphc.errors import InvalidArgument
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.api.quadrature import gamma_sample_slope, gammainc
from graphc.frontend.api.random import rand, randn
from graphc.frontend.api.shapes import stack
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.operands import broadcast_to
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

__all__ = ["Beta", "Dirichlet", "Gamma"]

CANDIDATES = 12  # each accepted with probability 0.95 or more


@no_grad()
def _drawn(alpha: Tensor) -> Tensor:
    """Standard gamma numbers of shape alpha, in float64."""
    boosted = E.where(alpha < 1, alpha + 1, alpha)
    d = boosted - 1 / 3
    c = 1 / E.sqrt(d * 9)
    shape = (CANDIDATES, *alpha.spec.shape)
    x = randn(shape, dtype=f64, device=alpha.device)
    u = rand(shape, dtype=f64, device=alpha.device)
    base = 1 + c * x
    v = base * base * base
    safe = E.where(v > 0, v, 1.0)
    good = (v > 0) & ((1 - u).log() < x * x * 0.5 + d * (1 - v + safe.log()))
    first = good.to(f64).argmax(0, keepdim=True)
    last = E.where(good.any(0, keepdim=True), first, CANDIDATES - 1)
    found = d * v.abs().gather(0, last).squeeze(0)
    power = (1 - rand(alpha.spec.shape, dtype=f64, device=alpha.device)).log() / E.where(
        alpha < 1, alpha, 1.0
    )
    return E.where(alpha < 1, found * power.exp(), found)


def standard_gamma(alpha: Tensor) -> Tensor:
    """Draws whose gradient with respect to alpha is the quantile's."""
    tiny = 2.2250738585072014e-308 if alpha.dtype is f64 else 1.1754943508222875e-38
    sample = _drawn(alpha.detach().to(f64)).to(alpha.dtype).clamp(min=tiny)
    if not (modes.grad and alpha.requires_grad):
        return sample
    slope = gamma_sample_slope(alpha.detach(), sample)
    return sample + slope * (alpha - alpha.detach())


class Gamma(ExponentialFamily):
    """With shape `concentration` and `rate`."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.nonnegative
    parameters = ("concentration", "rate")
    concentration: Tensor
    rate: Tensor

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.rate.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.square()

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        alpha = broadcast_to(self.concentration, self._extended(sample_shape))
        return standard_gamma(alpha) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        alpha, rate = self.concentration, self.rate
        return (
            special.xlogy(alpha, rate)
            + special.xlogy(alpha - 1, value)
            - rate * value
            - special.lgamma(alpha)
        )

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return gammainc(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        alpha = self.concentration
        more = (1 - alpha) * special.digamma(alpha)
        return alpha - self.rate.log() + special.lgamma(alpha) + more


class Dirichlet(ExponentialFamily):
    """Over shares that sum to 1, with `concentration` [.., n]."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "concentration": constraints.independent(constraints.positive, 1)
    }
    support = constraints.simplex
    parameters = ("concentration",)
    concentration: Tensor

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise InvalidArgument("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        shape = concentration.spec.shape
        super().__init__(shape[:-1], shape[-1:], validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        """The largest density; where several shares are below one, at the largest of them."""
        alpha = self.concentration
        less = (alpha - 1).clamp(min=0)
        inside = less / less.sum(-1, keepdim=True)
        flat = (alpha < 1).all(-1, keepdim=True)
        best = alpha.argmax(-1, keepdim=True)
        places = (alpha * 0).scatter(-1, best, 1.0)
        return E.where(flat, places, inside)

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        alpha = self.concentration
        return alpha * (total - alpha) / (total.square() * (total + 1))

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        alpha = broadcast_to(self.concentration, self._extended(sample_shape))
        drawn = standard_gamma(alpha)
        return drawn / total(drawn)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        alpha = self.concentration
        return (
            special.xlogy(alpha - 1, value).sum(-1)
            + special.lgamma(alpha.sum(-1))
            - special.lgamma(alpha).sum(-1)
        )

    def entropy(self) -> Tensor:
        alpha = self.concentration
        n, total = alpha.spec.shape[-1], alpha.sum(-1)
        return (
            special.lgamma(alpha).sum(-1)
            - special.lgamma(total)
            - (n - total) * special.digamma(total)
            - ((alpha - 1) * special.digamma(alpha)).sum(-1)
        )


class Beta(ExponentialFamily):
    """On [0, 1], the first of two Dirichlet shares."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    parameters = ("concentration1", "concentration0")

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.spec.shape, validate_args=validate_args)

    def _pair(self) -> Dirichlet:
        return Dirichlet(stack([self.concentration1, self.concentration0], -1), validate_args=False)

    @property
    def mean(self) -> Tensor:
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self) -> Tensor:
        return self._pair().mode[..., 0]

    @property
    def variance(self) -> Tensor:
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.square() * (total + 1))

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        return self._pair().rsample(sample_shape)[..., 0]

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return self._pair().log_prob(stack([value, 1.0 - value], -1))

    def entropy(self) -> Tensor:
        return self._pair().entropy()
