"""The continuous Bernoulli distribution, on [0, 1], and von Mises', on a circle."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.discrete import OfChances, kept_inside
from graphc.distributions.distribution import (
    Distribution,
    Sample,
    broadcast_all,
    demanded,
    softplus,
)
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.bessel import i0e, i1e
from graphc.frontend.api.random import rand
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

__all__ = ["ContinuousBernoulli", "VonMises"]

CANDIDATES = 48  # of which one in two or more is accepted


class ContinuousBernoulli(OfChances):
    """On [0, 1] with a density that goes as p^x (1 - p)^(1 - x) (Loaiza-Ganem 2019).

    Within `lims` of p = 1/2, where formulas lose their digits, Taylor's series are used.
    """

    has_rsample = True
    support = constraints.unit_interval
    parameters = ("probs", "logits")

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        (value,) = self._take(probs, logits)
        self._lims = lims
        if logits is None:
            if validate_args:
                good = constraints.unit_interval.check(value)
                value = demanded(value, good, "The parameter probs has invalid values")
            self.probs = kept_inside(value)
        super().__init__(value.spec.shape, validate_args=validate_args)

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)
        return kept_inside(found) if name == "probs" else found

    def _cut(self) -> tuple[Tensor, Tensor, Tensor]:
        """p where the formulas hold, where that is, and log(1 - p) - log p."""
        p = self.probs
        sure = (p <= self._lims[0]) | (p > self._lims[1])
        p = E.where(sure, p, self._lims[0])
        return p, sure, E.log1p(-p) - p.log()

    def _log_norm(self) -> Tensor:
        p, sure, odds = self._cut()
        found = E.abs(odds).log() - E.abs(1 - 2 * p).log()
        x = (self.probs - 0.5).square()
        return E.where(sure, found, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Tensor:
        p, sure, odds = self._cut()
        x = self.probs - 0.5
        series = 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.square()) * x
        return E.where(sure, p / (2 * p - 1) + 1 / odds, series)

    @property
    def variance(self) -> Tensor:
        p, sure, odds = self._cut()
        x = (self.probs - 0.5).square()
        series = 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x
        return E.where(
            sure, p * (p - 1) / (1 - 2 * p).square() + odds.square().reciprocal(), series
        )

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        shape = self._extended(sample_shape)
        return self.icdf(rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        logits, value = broadcast_all(self.logits, value)
        return value * logits - softplus(logits) + self._log_norm()

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        p, sure, _ = self._cut()
        found = (p**value * (1 - p) ** (1 - value) + p - 1) / (2 * p - 1)
        return E.where(sure, found, value).clamp(0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        p, sure, odds = self._cut()
        found = (E.log1p(-p + value * (2 * p - 1)) - E.log1p(-p)) / -odds
        return E.where(sure, found, value)

    def entropy(self) -> Tensor:
        zero, one = E.log1p(-self.probs), self.probs.log()
        return self.mean * (zero - one) - self._log_norm() - zero


class VonMises(Distribution):
    """Angles around `loc`, the closer the larger `concentration` is."""

    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real,
        "concentration": constraints.positive,
    }
    support = constraints.real
    parameters = ("loc", "concentration")
    loc: Tensor
    concentration: Tensor

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        """The circular variance, 1 less the mean resultant length."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        k = self.concentration
        return k * (E.cos(value - self.loc) - 1) - math.log(2 * math.pi) - i0e(k).log()

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        """Best and Fisher 1979: the first of several candidates that is accepted."""
        k = self.concentration.detach().to(f64)
        tau = 1 + E.sqrt(1 + 4 * k.square())
        rho = (tau - E.sqrt(2 * tau)) / (2 * k)
        r = E.where(k < 1e-5, k.reciprocal() + k, (1 + rho.square()) / (2 * rho))
        shape = (CANDIDATES, *self._extended(sample_shape))
        u, v, side = (rand(shape, dtype=f64, device=k.device) for _ in range(3))
        z = E.cos(math.pi * u)
        f = (1 + r * z) / (r + z)
        c = k * (r - f)
        tiny = 2.0**-1022
        good = (c * (2 - c) - v > 0) | ((c / v.clamp(min=tiny)).clamp(min=tiny).log() + 1 - c >= 0)
        angle = (side - 0.5).sign() * f.clamp(-1, 1).acos()
        first = good.to(f64).argmax(0, keepdim=True)
        found = angle.gather(0, first).squeeze(0) + self.loc.detach().to(f64)
        return ((found + math.pi) % (2 * math.pi) - math.pi).to(self.loc.dtype)
