"""Distributions over positive numbers: exponential, Pareto's, Weibull's and what gammas give."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.distribution import Distribution, ExponentialFamily, Sample, broadcast_all
from graphc.distributions.gammas import Gamma
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.api.random import rand
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

__all__ = [
    "Chi2",
    "Exponential",
    "FisherSnedecor",
    "InverseGamma",
    "Kumaraswamy",
    "Pareto",
    "Weibull",
]

EULER = 0.57721566490153286060


def share(d: Distribution, sample_shape: Sample, like: Tensor) -> Tensor:
    """Uniform numbers in (0, 1), of the shape of a draw."""
    tiny, epsilon = (2.0**-1022, 2.0**-52) if like.dtype is f64 else (2.0**-126, 2.0**-23)
    u = rand(d._extended(sample_shape), dtype=like.dtype, device=like.device)
    return u.clamp(tiny, 1 - epsilon)


class Exponential(ExponentialFamily):
    """rate exp(-rate x)."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {"rate": constraints.positive}
    support = constraints.nonnegative
    parameters = ("rate",)
    rate: Tensor

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate.reciprocal()

    stddev = mean

    @property
    def mode(self) -> Tensor:
        return self.rate * 0

    @property
    def variance(self) -> Tensor:
        return self.rate**-2

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        return -E.log1p(-share(self, sample_shape, self.rate)) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return self.rate.log() - self.rate * value

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return -E.expm1(-self.rate * value)

    def icdf(self, value: Tensor) -> Tensor:
        return -E.log1p(-value) / self.rate

    def entropy(self) -> Tensor:
        return 1 - self.rate.log()


class Chi2(Gamma):
    """The sum of `df` squares of standard normal numbers."""

    arg_constraints: ClassVar[Constraints] = {"df": constraints.positive}

    def __init__(self, df: Any, validate_args: bool | None = None) -> None:
        (given,) = broadcast_all(df)
        self.__dict__["df"] = given
        super().__init__(given * 0.5, given * 0 + 0.5, validate_args=validate_args)
        del self.__dict__["df"]

    @property
    def df(self) -> Tensor:
        """The degrees of freedom."""
        return self.concentration * 2

    def __repr__(self) -> str:
        df = self.df
        return f"Chi2(df: {df.item() if df.numel() == 1 and not df.is_traced else df.size()})"


class InverseGamma(Distribution):
    """1 / x of a gamma number x."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "concentration": constraints.positive,
        "rate": constraints.positive,
    }
    support = constraints.positive
    parameters = ("concentration", "rate")
    concentration: Tensor
    rate: Tensor

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.rate.spec.shape, validate_args=validate_args)

    @property
    def base_dist(self) -> Gamma:
        """The distribution of 1 / x."""
        return Gamma(self.concentration, self.rate, validate_args=False)

    @property
    def mean(self) -> Tensor:
        a = self.concentration
        return E.where(a > 1, self.rate / E.where(a > 1, a - 1, 1.0), math.inf)

    @property
    def mode(self) -> Tensor:
        return self.rate / (self.concentration + 1)

    @property
    def variance(self) -> Tensor:
        a = self.concentration
        safe = E.where(a > 2, a, 3.0)
        found = self.rate.square() / ((safe - 1).square() * (safe - 2))
        return E.where(a > 2, found, math.inf)

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        return self.base_dist.rsample(sample_shape).reciprocal()

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return self.base_dist.log_prob(value.reciprocal()) - 2 * value.log()

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return 1 - self.base_dist.cdf(value.reciprocal())

    def entropy(self) -> Tensor:
        a = self.concentration
        return a + self.rate.log() + special.lgamma(a) - (1 + a) * special.digamma(a)


class FisherSnedecor(Distribution):
    """The ratio of two chi-squares, each by its degrees of freedom."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "df1": constraints.positive,
        "df2": constraints.positive,
    }
    support = constraints.positive
    parameters = ("df1", "df2")
    df1: Tensor
    df2: Tensor

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None) -> None:
        self.df1, self.df2 = broadcast_all(df1, df2)
        super().__init__(self.df1.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        b = self.df2
        return E.where(b > 2, b / E.where(b > 2, b - 2, 1.0), math.nan)

    @property
    def mode(self) -> Tensor:
        a, b = self.df1, self.df2
        return E.where(a > 2, (a - 2) / a * b / (b + 2), math.nan)

    @property
    def variance(self) -> Tensor:
        a, b = self.df1, E.where(self.df2 > 4, self.df2, 5.0)
        found = 2 * b.square() * (a + b - 2) / (a * (b - 2).square() * (b - 4))
        return E.where(self.df2 > 4, found, math.nan)

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        a, b = (
            Gamma(df * 0.5, df, validate_args=False).rsample(sample_shape)
            for df in (self.df1, self.df2)
        )
        tiny = 2.0**-1022 if b.dtype is f64 else 2.0**-126
        return (a / b.clamp(min=tiny)).clamp(min=tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        a, b, ratio = self.df1 * 0.5, self.df2 * 0.5, self.df1 / self.df2
        norm = special.lgamma(a + b) - special.lgamma(a) - special.lgamma(b)
        power = a * ratio.log() + (a - 1) * value.log()
        return norm + power - (a + b) * E.log1p(ratio * value)


class Pareto(Distribution):
    """From `scale` on, falling as x ** -(alpha + 1)."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "alpha": constraints.positive,
        "scale": constraints.positive,
    }
    parameters = ("scale", "alpha")
    scale: Tensor
    alpha: Tensor

    def __init__(self, scale: Any, alpha: Any, validate_args: bool | None = None) -> None:
        self.scale, self.alpha = broadcast_all(scale, alpha)
        super().__init__(self.scale.spec.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.greater_than_eq(self.scale)

    @property
    def mean(self) -> Tensor:
        a = self.alpha.clamp(min=1)
        return a * self.scale / (a - 1)

    @property
    def mode(self) -> Tensor:
        return self.scale

    @property
    def variance(self) -> Tensor:
        a = self.alpha.clamp(min=2)
        return self.scale.square() * a / ((a - 1).square() * (a - 2))

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        drawn = Exponential(self.alpha, validate_args=False).rsample(sample_shape)
        return self.scale * drawn.exp()

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        away = (value / self.scale).log()
        return self.alpha.log() - self.scale.log() - (self.alpha + 1) * away

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return -E.expm1(-self.alpha * (value / self.scale).log())

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * (-E.log1p(-value) / self.alpha).exp()

    def entropy(self) -> Tensor:
        return (self.scale / self.alpha).log() + (1 + self.alpha.reciprocal())


class Weibull(Distribution):
    """scale * e ** (1 / concentration) of an exponential number e."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "scale": constraints.positive,
        "concentration": constraints.positive,
    }
    support = constraints.positive
    parameters = ("scale", "concentration")
    scale: Tensor
    concentration: Tensor

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        super().__init__(self.scale.spec.shape, validate_args=validate_args)

    def _moment(self, n: int) -> Tensor:
        return special.lgamma(1 + n / self.concentration).exp()

    @property
    def mean(self) -> Tensor:
        return self.scale * self._moment(1)

    @property
    def mode(self) -> Tensor:
        k = self.concentration
        return self.scale * ((k - 1) / k) ** k.reciprocal()

    @property
    def variance(self) -> Tensor:
        return self.scale.square() * (self._moment(2) - self._moment(1).square())

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        drawn = -E.log1p(-share(self, sample_shape, self.scale))
        return self.scale * drawn ** self.concentration.reciprocal()

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        k, z = self.concentration, value / self.scale
        return k.log() - self.scale.log() + (k - 1) * z.log() - z**k

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return -E.expm1(-((value / self.scale) ** self.concentration))

    def icdf(self, value: Tensor) -> Tensor:
        return self.scale * (-E.log1p(-value)) ** self.concentration.reciprocal()

    def entropy(self) -> Tensor:
        k = self.concentration
        return EULER * (1 - k.reciprocal()) + (self.scale / k).log() + 1


class Kumaraswamy(Distribution):
    """On [0, 1], (1 - u ** (1 / b)) ** (1 / a) of a uniform number u."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    parameters = ("concentration1", "concentration0")
    concentration1: Tensor
    concentration0: Tensor

    def __init__(
        self, concentration1: Any, concentration0: Any, validate_args: bool | None = None
    ) -> None:
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        super().__init__(self.concentration1.spec.shape, validate_args=validate_args)

    def _moment(self, n: int) -> Tensor:
        a, b = 1 + n / self.concentration1, self.concentration0
        beta = special.lgamma(a) + special.lgamma(b) - special.lgamma(a + b)
        return b * beta.exp()

    @property
    def mean(self) -> Tensor:
        return self._moment(1)

    @property
    def mode(self) -> Tensor:
        a, b = self.concentration1, self.concentration0
        known = (a > 1) | (b > 1)
        known = (a >= 1) & (b >= 1) & known
        safe_a, safe_b = E.where(known, a, 2.0), E.where(known, b, 2.0)
        log = ((safe_a - 1) / (safe_a * safe_b - 1)).log() / safe_a
        return E.where(known, log.exp(), math.nan)

    @property
    def variance(self) -> Tensor:
        return self._moment(2) - self._moment(1).square()

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        return self.icdf(1 - share(self, sample_shape, self.concentration1))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        a, b = self.concentration1, self.concentration0
        return a.log() + b.log() + special.xlogy(a - 1, value) + special.xlog1py(b - 1, -(value**a))

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return -E.expm1(special.xlog1py(self.concentration0, -(value**self.concentration1)))

    def icdf(self, value: Tensor) -> Tensor:
        inner = -E.expm1(E.log1p(-value) / self.concentration0)
        return inner ** self.concentration1.reciprocal()

    def entropy(self) -> Tensor:
        a, b = self.concentration1.reciprocal(), self.concentration0.reciprocal()
        harmonic = special.digamma(self.concentration0 + 1) + EULER
        return 1 - b + (1 - a) * harmonic - self.concentration1.log() - self.concentration0.log()
