"""Bernoulli and categorical distributions, by probabilities or by logits."""

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
    one_of,
    softplus,
)
from graphc.errors import InvalidArgument
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.creation import arange
from graphc.frontend.api.random import multinomial, rand
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.modes import no_grad
from graphc.frontend.operands import broadcast_to
from graphc.frontend.size import Size
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f32, f64, i64

__all__ = ["Bernoulli", "Categorical"]


def kept_inside(probs: Tensor) -> Tensor:
    """Probabilities away from 0 and 1, so that their logarithms are finite."""
    epsilon = 2.0**-52 if probs.dtype is f64 else 2.0**-23
    return probs.clamp(epsilon, 1 - epsilon)


class OfChances(Distribution):
    """By `probs` or `logits` of one trial."""

    arg_constraints: ClassVar[Constraints] = {
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    probs: Tensor
    logits: Tensor

    def _take(self, probs: Any, logits: Any, *others: Any) -> list[Tensor]:
        """Keep what is given of the two; the others, of one shape with it."""
        one_of(probs, logits, "`probs` or `logits`")
        name = "probs" if logits is None else "logits"
        value, *rest = broadcast_all(probs if logits is None else logits, *others)
        self.__dict__[name] = value
        return [value, *rest]

    def __getattr__(self, name: str) -> Any:
        """Of probabilities and logits, the one that was not given."""
        if name == "probs" and "logits" in self.__dict__:
            return self.logits.sigmoid()
        if name == "logits" and "probs" in self.__dict__:
            inside = kept_inside(self.probs)
            return inside.log() - E.log1p(-inside)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @property
    def param_shape(self) -> Any:
        return self.probs.size()


class Bernoulli(OfChances, ExponentialFamily):
    """1 with probability `probs` (or sigmoid of `logits`), else 0."""

    has_enumerate_support = True
    support = constraints.boolean
    parameters = ("probs", "logits")

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (value,) = self._take(probs, logits)
        super().__init__(value.spec.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        probs = self.probs
        return E.where(probs == 0.5, math.nan, (probs >= 0.5).to(probs.dtype))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        probs = self.probs
        dtype = f64 if probs.dtype is f64 else f32
        drawn = rand(self._extended(sample_shape), dtype=dtype, device=probs.device)
        return (drawn < probs).to(probs.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        logits, value = broadcast_all(self.logits, value)
        # -softplus(-l) where the value is 1, -softplus(l) where it is 0
        answer: Tensor = value * logits - softplus(logits)
        return answer

    def entropy(self) -> Tensor:
        logits = self.logits
        soft = softplus(logits)
        answer: Tensor = soft - logits * self.probs
        return answer

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = (
            arange(2, device=self.mean.device)
            .to(self.mean.dtype)
            .reshape(2, *(1,) * len(self._batch_shape))
        )
        return broadcast_to(values, (2, *self._batch_shape)) if expand else values


class Categorical(ExponentialFamily):
    """Of whole numbers 0 .. n - 1, by `probs` [.., n], normalised here, or by `logits`."""

    has_enumerate_support = True
    arg_constraints: ClassVar[Constraints] = {
        "probs": constraints.simplex,
        "logits": constraints.real_vector,
    }
    parameters = ("probs", "logits")
    probs: Tensor
    logits: Tensor

    def __init__(
        self, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        one_of(probs, logits, "`probs` or `logits`")
        given: Tensor = probs if logits is None else logits
        name = "probs" if logits is None else "logits"
        if given.dim() < 1:
            raise InvalidArgument(f"`{name}` parameter must be at least one-dimensional.")
        if logits is None:
            self.probs = given / given.sum(-1, keepdim=True)
        else:
            self.logits = given - given.logsumexp(-1, keepdim=True)
        self._num_events = given.spec.shape[-1]
        super().__init__(given.spec.shape[:-1], validate_args=validate_args)

    def __getattr__(self, name: str) -> Any:
        """Of probabilities and logits, the one that was not given."""
        if name == "probs" and "logits" in self.__dict__:
            return self.logits.softmax(-1)
        if name == "logits" and "probs" in self.__dict__:
            return kept_inside(self.probs).log()
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")

    @property
    def param_shape(self) -> Any:
        return self.probs.size()

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        return self.probs.sum(-1) * math.nan

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return self.probs.sum(-1) * math.nan

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        count = math.prod(sample_shape)
        if not count or not self.probs.numel():
            return arange(0).reshape(self._extended(sample_shape))
        flat = self.probs.reshape(-1, self._num_events)
        drawn: Tensor = multinomial(flat, count, True)
        return drawn.t().reshape(self._extended(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        logits = self.logits
        index = value.to(i64)
        shape = broadcast_shapes(index.spec.shape, logits.spec.shape[:-1])
        logits = broadcast_to(logits, (*shape, self._num_events))
        return logits.gather(-1, broadcast_to(index, shape).unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        least = -3.4028234663852886e38 if self.logits.dtype is not f64 else -1.7976931348623157e308
        return -(self.logits.clamp(min=least) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._num_events
        values = arange(n).reshape(n, *(1,) * len(self._batch_shape))
        return broadcast_to(values, (n, *self._batch_shape)) if expand else values


class OfCategories(Distribution):
    """Over vectors with a place for each category."""

    arg_constraints: ClassVar[Constraints] = {
        "probs": constraints.simplex,
        "logits": constraints.real_vector,
    }

    def __init__(
        self,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._categorical = Categorical(probs, logits)
        batch = self._categorical.batch_shape
        super().__init__(batch, (self._categorical._num_events,), validate_args)

    def expand(self, batch_shape: Sample, _instance: Any = None) -> Any:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._categorical = self._categorical.expand(batch_shape)
        made._batch_shape = Size(batch_shape)
        return made

    @property
    def probs(self) -> Tensor:
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        return self._categorical.logits

    @property
    def param_shape(self) -> Any:
        return self._categorical.param_shape

    def __repr__(self) -> str:
        name = "probs" if "probs" in self._categorical.__dict__ else "logits"
        return f"{type(self).__name__}({name}: {self.param_shape})"
