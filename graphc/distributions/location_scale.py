"""Distributions of a place and a width: Laplace, Cauchy, Gumbel, Student's and their like."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.continuous import Normal
from graphc.distributions.distribution import Distribution, Sample, broadcast_all
from graphc.distributions.positive import Chi2
from graphc.distributions.transformed import TransformedDistribution
from graphc.distributions.transforms import ExpTransform
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.api.random import rand, randn
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

__all__ = [
    "Cauchy",
    "GeneralizedPareto",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Laplace",
    "LogNormal",
    "StudentT",
]

EULER = 0.57721566490153286060


def smallest(x: Tensor) -> float:
    """The least normal number of x's type."""
    return 2.0**-1022 if x.dtype is f64 else 2.0**-126


def below_one(x: Tensor) -> float:
    return 1 - (2.0**-52 if x.dtype is f64 else 2.0**-23)


class _Placed(Distribution):
    """By `loc` and `scale`."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support: Any = constraints.real
    parameters = ("loc", "scale")
    loc: Tensor
    scale: Tensor

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.spec.shape, validate_args=validate_args)

    def _share(self, sample_shape: Sample) -> Tensor:
        shape = self._extended(sample_shape)
        return rand(shape, dtype=self.loc.dtype, device=self.loc.device)

    def _z(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return (value - self.loc) / self.scale


class Laplace(_Placed):
    """exp(-|x - loc| / scale) / (2 scale)."""

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def stddev(self) -> Tensor:
        return self.scale * math.sqrt(2)

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale.square()

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        u = self._share(sample_shape) * 2 - 1
        rest = E.log1p(-E.abs(u).clamp(max=below_one(u)))
        return self.loc - self.scale * u.sign() * rest

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._z(value)
        return -(2 * self.scale).log() - E.abs(z)

    def cdf(self, value: Tensor) -> Tensor:
        z = self._z(value)
        return 0.5 - 0.5 * z.sign() * E.expm1(-E.abs(z))

    def icdf(self, value: Tensor) -> Tensor:
        away = value - 0.5
        return self.loc - self.scale * away.sign() * E.log1p(-2 * E.abs(away))

    def entropy(self) -> Tensor:
        return 1 + (2 * self.scale).log()


class Cauchy(_Placed):
    """1 / (pi scale (1 + z^2)), z = (x - loc) / scale: without mean or variance."""

    @property
    def mean(self) -> Tensor:
        return self.loc * 0 + math.nan

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return self.loc * 0 + math.inf

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        return self.icdf(self._share(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        z = self._z(value)
        return -math.log(math.pi) - self.scale.log() - E.log1p(z.square())

    def cdf(self, value: Tensor) -> Tensor:
        return self._z(value).atan() / math.pi + 0.5

    def icdf(self, value: Tensor) -> Tensor:
        return E.tan(math.pi * (value - 0.5)) * self.scale + self.loc

    def entropy(self) -> Tensor:
        return math.log(4 * math.pi) + self.scale.log()


class _Half(Distribution):
    """|x| of a distribution around 0, by `scale`."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {"scale": constraints.positive}
    support = constraints.nonnegative
    parameters = ("_scale",)
    whole: ClassVar[Any] = Normal

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        self._scale: Tensor
        (self._scale,) = broadcast_all(scale)
        super().__init__(self._scale.spec.shape, validate_args=validate_args)

    def _check_arguments(self) -> None:
        self.__dict__["scale"] = self._scale
        super()._check_arguments()
        self._scale = self.__dict__.pop("scale")

    @property
    def scale(self) -> Tensor:
        return self._scale

    @property
    def base_dist(self) -> Distribution:
        """What it is the half of."""
        found: Distribution = self.whole(self._scale * 0, self._scale, validate_args=False)
        return found

    @property
    def mode(self) -> Tensor:
        return self._scale * 0

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        return E.abs(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        found = self.base_dist.log_prob(value) + math.log(2)
        return E.where(value >= 0, found, -math.inf)

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)

    def __repr__(self) -> str:
        lone = self._scale.numel() == 1 and not self._scale.is_traced
        return f"{type(self).__name__}(scale: {self._scale.item() if lone else self._scale.size()})"


class HalfNormal(_Half):
    """|x| of a normal number with standard deviation `scale`."""

    @property
    def mean(self) -> Tensor:
        return self._scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self._scale.square() * (1 - 2 / math.pi)


class HalfCauchy(_Half):
    """|x| of a number of Cauchy's distribution around 0."""

    whole = Cauchy

    @property
    def mean(self) -> Tensor:
        return self._scale * 0 + math.inf

    @property
    def variance(self) -> Tensor:
        return self._scale * 0 + math.inf


class LogNormal(TransformedDistribution):
    """exp of a normal number with mean `loc` and standard deviation `scale`."""

    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.positive
    base_dist: Any

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        found: Tensor = self.base_dist.loc
        return found

    @property
    def scale(self) -> Tensor:
        found: Tensor = self.base_dist.scale
        return found

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale.square() / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self) -> Tensor:
        square = self.scale.square()
        return E.expm1(square) * (2 * self.loc + square).exp()

    def entropy(self) -> Tensor:
        answer: Tensor = self.base_dist.entropy() + self.loc
        return answer


class Gumbel(_Placed):
    """loc - scale log(-log u): the largest of many."""

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * EULER

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self) -> Tensor:
        return self.stddev.square()

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        u = self._share(sample_shape)
        return self.icdf(u.clamp(smallest(u), below_one(u)))

    def log_prob(self, value: Tensor) -> Tensor:
        y = -self._z(value)
        return y - y.exp() - self.scale.log()

    def cdf(self, value: Tensor) -> Tensor:
        return E.exp(-E.exp(-self._z(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc - self.scale * (-value.log()).log()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + EULER)


class StudentT(Distribution):
    """Student's, of `df` degrees of freedom, moved by `loc` and stretched by `scale`."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    parameters = ("df", "loc", "scale")
    df: Tensor
    loc: Tensor
    scale: Tensor

    def __init__(
        self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return E.where(self.df <= 1, math.nan, self.loc)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        df = self.df
        wide = E.where(df > 2, self.scale.square() * df / E.where(df > 2, df - 2, 1.0), math.inf)
        return E.where(df <= 1, math.nan, wide)

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        shape = self._extended(sample_shape)
        x = randn(shape, dtype=self.df.dtype, device=self.df.device)
        z = Chi2(self.df, validate_args=False).rsample(sample_shape)
        return self.loc + self.scale * (x * E.rsqrt(z / self.df))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        y, half = (value - self.loc) / self.scale, self.df / 2
        norm = (
            self.scale.log()
            + 0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + special.lgamma(half)
            - special.lgamma(half + 0.5)
        )
        return -(half + 0.5) * E.log1p(y.square() / self.df) - norm

    def entropy(self) -> Tensor:
        half = self.df / 2
        beta = special.lgamma(half) + math.lgamma(0.5) - special.lgamma(half + 0.5)
        slope = special.digamma(half + 0.5) - special.digamma(half)
        return self.scale.log() + (half + 0.5) * slope + 0.5 * self.df.log() + beta


class GeneralizedPareto(Distribution):
    """What exceeds a threshold `loc`, by `scale` and a `concentration` of any sign."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    parameters = ("loc", "scale", "concentration")
    loc: Tensor
    scale: Tensor
    concentration: Tensor

    def __init__(
        self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None
    ) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.spec.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        end = self.loc - self.scale / self.concentration
        high = E.where(self.concentration < 0, end, math.inf)
        return constraints.interval(self.loc, high)

    def _by(self, zero: Tensor, other: Any) -> Tensor:
        """`zero` where the concentration is next to 0, else `other` of it."""
        flat = E.abs(self.concentration) <= 1e-8
        return E.where(flat, zero, other(E.where(flat, 1.0, self.concentration)))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        z = (value - self.loc) / self.scale
        power = self._by(z, lambda c: special.xlog1py(1 / c + 1, c * z))
        return -self.scale.log() - power

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of more than `value`."""
        value = self._check(value)
        z = (value - self.loc) / self.scale
        return self._by(-z, lambda c: -E.log1p(c * z) / c)

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of `value` at most."""
        return E.log1p(-E.exp(self.log_survival_function(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return self.log_cdf(value).exp()

    def icdf(self, value: Tensor) -> Tensor:
        rest = E.log1p(-value)
        return self._by(
            self.loc - self.scale * rest,
            lambda c: self.loc + self.scale / c * E.expm1(-c * rest),
        )

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        shape = self._extended(sample_shape)
        return self.icdf(rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    @property
    def mean(self) -> Tensor:
        c = self.concentration
        found = self.loc + self.scale / (1 - E.where(c < 1, c, 0.5))
        return E.where(c < 1, found, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        c = E.where(self.concentration < 0.5, self.concentration, 0.25)
        found = self.scale.square() / ((1 - c).square() * (1 - 2 * c))
        return E.where(self.concentration < 0.5, found, math.nan)

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1
