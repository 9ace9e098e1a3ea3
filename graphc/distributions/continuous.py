"""Normal and uniform distributions."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.distribution import (
    Distribution,
    ExponentialFamily,
    Sample,
    broadcast_all,
    demanded,
)
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.random import rand, randn
from graphc.frontend.tensor import Tensor

__all__ = ["Normal", "Uniform"]


class Normal(ExponentialFamily):
    """With mean `loc` and standard deviation `scale`."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    parameters = ("loc", "scale")
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def stddev(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        return self.scale * self.scale

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        shape = self._extended(sample_shape)
        return self.loc + randn(shape, dtype=self.loc.dtype, device=self.loc.device) * self.scale

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        z = (value - self.loc) / self.scale
        return z * z * -0.5 - self.scale.log() - math.log(math.sqrt(2 * math.pi))

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return 0.5 * (1 + E.erf((value - self.loc) / self.scale * math.sqrt(0.5)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * (2 * value - 1).erfinv() * math.sqrt(2)

    def entropy(self) -> Tensor:
        return 0.5 + 0.5 * math.log(2 * math.pi) + self.scale.log()


class Uniform(Distribution):
    """On [low, high)."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "low": constraints.dependent,
        "high": constraints.dependent,
    }
    parameters = ("low", "high")
    low: Tensor
    high: Tensor

    def __init__(self, low: Any, high: Any, validate_args: bool | None = None) -> None:
        self.low, self.high = broadcast_all(low, high)
        super().__init__(self.low.spec.shape, validate_args=validate_args)
        if self._validate_args:
            what = "Uniform is not defined when low>= high"
            self.high = demanded(self.high, self.low < self.high, what)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def mean(self) -> Tensor:
        return (self.high + self.low) / 2

    @property
    def mode(self) -> Tensor:
        return self.high * math.nan

    @property
    def variance(self) -> Tensor:
        return (self.high - self.low).square() / 12

    @property
    def stddev(self) -> Tensor:
        return (self.high - self.low) / math.sqrt(12)

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        share = rand(self._extended(sample_shape), dtype=self.low.dtype, device=self.low.device)
        return self.low + share * (self.high - self.low)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        inside = (self.low <= value) & (value < self.high)
        return E.where(inside, 0.0, -math.inf) - (self.high - self.low).log()

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return ((value - self.low) / (self.high - self.low)).clamp(0, 1)

    def icdf(self, value: Tensor) -> Tensor:
        return value * (self.high - self.low) + self.low

    def entropy(self) -> Tensor:
        return (self.high - self.low).log()
