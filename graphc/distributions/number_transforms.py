"""Transforms of numbers, one by one."""

from __future__ import annotations

import math
from typing import Any

from graphc.distributions import constraints
from graphc.distributions.distribution import softplus
from graphc.distributions.independent import summed_last
from graphc.distributions.transform import (
    Parametric,
    Shape,
)
from graphc.frontend.api import elementwise as E
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.promotion import is_number
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

__all__ = [
    "AbsTransform",
    "AffineTransform",
    "CumulativeDistributionTransform",
    "ExpTransform",
    "PowerTransform",
    "SigmoidTransform",
    "SoftplusTransform",
    "TanhTransform",
]


def inside(x: Tensor) -> Tensor:
    """Shares kept away from 0 and 1, so that their logarithms are finite."""
    tiny, epsilon = (2.0**-1022, 2.0**-52) if x.dtype is f64 else (2.0**-126, 2.0**-23)
    return x.clamp(tiny, 1 - epsilon)


class ExpTransform(Parametric):
    """exp(x)."""

    domain, codomain = constraints.real, constraints.positive
    bijective, sign = True, 1

    def _call(self, x: Tensor) -> Tensor:
        return x.exp()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.log()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return x


class PowerTransform(Parametric):
    """x ** exponent, of positive numbers."""

    domain = codomain = constraints.positive
    bijective = True
    names = ("exponent",)

    def __init__(self, exponent: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.exponent = exponent

    @property
    def sign(self) -> Any:
        given = self.exponent
        return math.copysign(1, given) if is_number(given) else given.sign()

    def _call(self, x: Tensor) -> Tensor:
        answer: Tensor = x**self.exponent
        return answer

    def _inverse(self, y: Tensor) -> Tensor:
        answer: Tensor = y ** (1 / self.exponent)
        return answer

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return E.abs(self.exponent * y / x).log()

    def forward_shape(self, shape: Shape) -> tuple[int, ...]:
        return _broadcast(shape, self.exponent)

    inverse_shape = forward_shape


def _broadcast(shape: Shape, *values: Any) -> tuple[int, ...]:
    return tuple(broadcast_shapes(shape, *(getattr(v, "shape", ()) for v in values)))


class SigmoidTransform(Parametric):
    """1 / (1 + exp(-x))."""

    domain, codomain = constraints.real, constraints.unit_interval
    bijective, sign = True, 1

    def _call(self, x: Tensor) -> Tensor:
        return inside(x.sigmoid())

    def _inverse(self, y: Tensor) -> Tensor:
        y = inside(y)
        return y.log() - E.log1p(-y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x) - softplus(x)


class SoftplusTransform(Parametric):
    """log(1 + exp(x)); x itself beyond 20."""

    domain, codomain = constraints.real, constraints.positive
    bijective, sign = True, 1

    def _call(self, x: Tensor) -> Tensor:
        return E.where(x > 20, x, softplus(x))

    def _inverse(self, y: Tensor) -> Tensor:
        return (-E.expm1(-y)).log() + y

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -softplus(-x)


class TanhTransform(Parametric):
    """tanh(x). Give cache_size=1 where samples are scored: the inverse loses all digits at 1."""

    domain, codomain = constraints.real, constraints.interval(-1.0, 1.0)
    bijective, sign = True, 1

    def _call(self, x: Tensor) -> Tensor:
        return x.tanh()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.atanh()

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return 2 * (math.log(2.0) - x - softplus(-2 * x))


class AbsTransform(Parametric):
    """|x|, whose inverse is taken to be the number itself."""

    domain, codomain = constraints.real, constraints.positive

    def _call(self, x: Tensor) -> Tensor:
        return E.abs(x)

    def _inverse(self, y: Tensor) -> Tensor:
        return y


class AffineTransform(Parametric):
    """loc + scale * x."""

    bijective = True
    names = ("loc", "scale", "event_dim")

    def __init__(self, loc: Any, scale: Any, event_dim: int = 0, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.loc, self.scale, self._event_dim = loc, scale, event_dim

    @property
    def event_dim(self) -> int:
        return self._event_dim

    @property
    def domain(self) -> Any:
        count = self._event_dim
        return constraints.independent(constraints.real, count) if count else constraints.real

    codomain = domain

    @property
    def sign(self) -> Any:
        if is_number(self.scale):
            return (self.scale > 0) - (self.scale < 0)
        return self.scale.sign()

    def _call(self, x: Tensor) -> Tensor:
        found: Tensor = self.loc + self.scale * x
        return found

    def _inverse(self, y: Tensor) -> Tensor:
        answer: Tensor = (y - self.loc) / self.scale
        return answer

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        if is_number(self.scale):
            found = x.new_full(tuple(x.shape), math.log(abs(self.scale)))
        else:
            found = E.abs(self.scale).log()
        if self._event_dim:
            lead = tuple(x.shape)[: x.dim() - self._event_dim]
            found = summed_last(found + x * 0, self._event_dim).expand(lead)
        return found if found.dim() == x.dim() - self._event_dim else found.expand(x.shape)

    def forward_shape(self, shape: Shape) -> tuple[int, ...]:
        return _broadcast(shape, self.loc, self.scale)

    inverse_shape = forward_shape


class CumulativeDistributionTransform(Parametric):
    """The distribution function of a distribution, whose inverse is the quantile."""

    bijective, sign = True, 1
    codomain = constraints.unit_interval
    names = ("distribution",)

    def __init__(self, distribution: Any, cache_size: int = 0) -> None:
        super().__init__(cache_size)
        self.distribution = distribution

    @property
    def domain(self) -> Any:
        return self.distribution.support

    def _call(self, x: Tensor) -> Tensor:
        found: Tensor = self.distribution.cdf(x)
        return found

    def _inverse(self, y: Tensor) -> Tensor:
        found: Tensor = self.distribution.icdf(y)
        return found

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        found: Tensor = self.distribution.log_prob(x)
        return found
