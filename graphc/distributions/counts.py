"""Distributions over counts: Poisson's, geometric, binomial, negative binomial, multinomial."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.discrete import OfCategories, OfChances
from graphc.distributions.distribution import (
    ExponentialFamily,
    Sample,
    broadcast_all,
    demanded,
    softplus,
)
from graphc.distributions.gammas import Gamma
from graphc.errors import Unsupported
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.api.binomial import binomial
from graphc.frontend.api.creation import arange
from graphc.frontend.api.poisson import poisson
from graphc.frontend.api.random import rand
from graphc.frontend.modes import no_grad
from graphc.frontend.operands import broadcast_to
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64, i64

__all__ = ["Binomial", "Geometric", "Multinomial", "NegativeBinomial", "Poisson"]


class Poisson(ExponentialFamily):
    """How many events happen, of which `rate` are expected."""

    arg_constraints: ClassVar[Constraints] = {"rate": constraints.nonnegative}
    support = constraints.nonnegative_integer
    parameters = ("rate",)
    rate: Tensor

    def __init__(self, rate: Any, validate_args: bool | None = None) -> None:
        (self.rate,) = broadcast_all(rate)
        super().__init__(self.rate.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.rate

    variance = mean

    @property
    def mode(self) -> Tensor:
        return E.floor(self.rate)

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        answer: Tensor = poisson(broadcast_to(self.rate, self._extended(sample_shape)))
        return answer

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        rate, value = broadcast_all(self.rate, value)
        return special.xlogy(value, rate) - rate - special.lgamma(value + 1)


class Geometric(OfChances):
    """How many trials fail before the first that succeeds."""

    support = constraints.nonnegative_integer
    parameters = ("probs", "logits")

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (value,) = self._take(probs, logits)
        super().__init__(value.spec.shape, validate_args=validate_args)
        if self._validate_args and logits is None:
            what = "Expected parameter probs of Geometric to be positive"
            self.probs = demanded(self.probs, value > 0, what)

    @property
    def mean(self) -> Tensor:
        return self.probs.reciprocal() - 1

    @property
    def mode(self) -> Tensor:
        return self.probs * 0

    @property
    def variance(self) -> Tensor:
        return (self.probs.reciprocal() - 1) / self.probs

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        probs = self.probs
        u = rand(self._extended(sample_shape), dtype=probs.dtype, device=probs.device)
        tiny = 2.0**-1022 if u.dtype is f64 else 2.0**-126
        return E.floor(u.clamp(min=tiny).log() / E.log1p(-probs))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        value, probs = broadcast_all(value, self.probs)
        sure = _sure(probs, value)
        return value * E.log1p(-E.where(sure, 0.0, probs)) + self.probs.log()

    def entropy(self) -> Tensor:
        p = self.probs
        return -(special.xlogy(p, p) + special.xlog1py(1 - p, -p)) / p


def _sure(probs: Tensor, value: Tensor) -> Tensor:
    """Where success is sure and no trial fails: log(1 - 1) * 0 counts as 0."""
    return (probs == 1) & (value == 0)


class Binomial(OfChances):
    """How many of `total_count` trials succeed."""

    has_enumerate_support = True
    arg_constraints: ClassVar[Constraints] = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    parameters = ("total_count", "probs", "logits")
    total_count: Tensor

    def __init__(
        self,
        total_count: Any = 1,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        value, count = self._take(probs, logits, total_count)
        self.total_count = count.to(value.dtype)
        self._count = total_count if isinstance(total_count, int) else None
        super().__init__(value.spec.shape, validate_args=validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        shape = self._extended(sample_shape)
        answer: Tensor = binomial(
            broadcast_to(self.total_count, shape), broadcast_to(self.probs, shape)
        )
        return answer

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        n, logits = self.total_count, self.logits
        chosen = special.lgamma(n + 1) - special.lgamma(value + 1) - special.lgamma(n - value + 1)
        return chosen + value * logits - n * softplus(logits)

    def entropy(self) -> Tensor:
        self._one_count("entropy")
        log = self.log_prob(self.enumerate_support(False))
        return -(log.exp() * log).sum(0)

    def _one_count(self, what: str) -> int:
        if self._count is not None:
            return self._count
        count = int(self.total_count.max())
        if bool((self.total_count != count).any()):
            raise Unsupported(f"{what} of Binomials of different total_count")
        return count

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._one_count("enumerate_support") + 1
        values = arange(n, dtype=self.probs.dtype, device=self.probs.device)
        values = values.reshape(n, *(1,) * len(self._batch_shape))
        return broadcast_to(values, (n, *self._batch_shape)) if expand else values


class NegativeBinomial(OfChances):
    """How many trials succeed before `total_count` have failed."""

    arg_constraints: ClassVar[Constraints] = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer
    parameters = ("total_count", "probs", "logits")
    total_count: Tensor

    def __init__(
        self,
        total_count: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        value, count = self._take(probs, logits, total_count)
        self.total_count = count.to(value.dtype)
        super().__init__(value.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.logits.exp()

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.mean / (1 - self.probs)

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        rate = Gamma(self.total_count, (-self.logits).exp(), validate_args=False)
        answer: Tensor = poisson(rate.sample(sample_shape))
        return answer

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        n, logits = self.total_count, self.logits
        found = -n * softplus(logits) - value * softplus(-logits)
        norm = -special.lgamma(n + value) + special.lgamma(value + 1) + special.lgamma(n)
        return found - E.where(n + value == 0, 0.0, norm)


class Multinomial(OfCategories):
    """How often each of several outcomes comes up in `total_count` trials."""

    total_count: int

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise Unsupported("inhomogeneous total_count is not supported", fix="pass an int")
        self.total_count = total_count
        super().__init__(probs, logits, validate_args)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        drawn = self._categorical.sample((self.total_count, *sample_shape))
        n = self._categorical._num_events
        classes = arange(n, dtype=i64, device=drawn.device)
        return (drawn.unsqueeze(-1) == classes).to(self.probs.dtype).sum(0)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        logits, value = broadcast_all(self.logits, value)
        logits = E.where((value == 0) & (logits == -math.inf), 0.0, logits)
        norm = special.lgamma(value.sum(-1) + 1) - special.lgamma(value + 1).sum(-1)
        return norm + (logits * value).sum(-1)

    def entropy(self) -> Tensor:
        n = self.total_count
        single = self._categorical.entropy() * n - math.lgamma(n + 1)
        counts = arange(1, n + 1, dtype=self.probs.dtype, device=self.probs.device)
        counts = counts.reshape(n, *(1,) * self.probs.dim())
        log = Binomial(n, self.probs, validate_args=False).log_prob(counts)
        return single + (log.exp() * special.lgamma(counts + 1)).sum((0, -1))
