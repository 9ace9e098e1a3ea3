"""Categories as vectors with a one, and what is between them at a temperature."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.continuous import Normal
from graphc.distributions.discrete import OfCategories, OfChances
from graphc.distributions.distribution import Sample, broadcast_all, softplus
from graphc.distributions.positive import share
from graphc.distributions.transformed import TransformedDistribution
from graphc.distributions.transforms import (
    ExpTransform,
    SigmoidTransform,
    StickBreakingTransform,
)
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.creation import arange, eye
from graphc.frontend.modes import no_grad
from graphc.frontend.operands import broadcast_to
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

__all__ = [
    "ExpRelaxedCategorical",
    "LogisticNormal",
    "LogitRelaxedBernoulli",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
]


class OneHotCategorical(OfCategories):
    """A category by `probs` or `logits`, as a vector with a one in its place."""

    has_enumerate_support = True
    support = constraints.one_hot

    def _places(self, index: Tensor) -> Tensor:
        classes = arange(self._categorical._num_events, device=index.device)
        return (index.unsqueeze(-1) == classes).to(self.probs.dtype)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._places(self.probs.argmax(-1))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        return self._places(self._categorical.sample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return self._categorical.log_prob(value.argmax(-1))

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._categorical._num_events
        values = eye(n, dtype=self.probs.dtype, device=self.probs.device)
        values = values.reshape(n, *(1,) * len(self._batch_shape), n)
        return broadcast_to(values, (n, *self._batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """The same, whose draws hand their gradient to the probabilities (Bengio et al. 2013)."""

    has_rsample = True

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        probs = self.probs
        return self.sample(sample_shape) + (probs - probs.detach())


# ---- at a temperature --------------------------------------------------------------------------


class LogitRelaxedBernoulli(OfChances):
    """The logit of a relaxed Bernoulli number (Maddison et al. 2016)."""

    has_rsample = True
    support = constraints.real
    parameters = ("probs", "logits")

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        (value,) = self._take(probs, logits)
        super().__init__(value.spec.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        u = share(self, sample_shape, self.logits)
        answer: Tensor = (u.log() - E.log1p(-u) + self.logits) / self.temperature
        return answer

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        logits, value = broadcast_all(self.logits, value)
        away = logits - value * self.temperature
        (heat,) = broadcast_all(self.temperature)
        answer: Tensor = heat.to(logits.dtype).log() + away - 2 * softplus(away)
        return answer


class _Relaxed(TransformedDistribution):
    """What a relaxed distribution is told of its base."""

    base_dist: Any

    @property
    def temperature(self) -> Any:
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        found: Tensor = self.base_dist.logits
        return found

    @property
    def probs(self) -> Tensor:
        found: Tensor = self.base_dist.probs
        return found


class RelaxedBernoulli(_Relaxed):
    """Between 0 and 1, nearer to them the lower `temperature` is."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = LogitRelaxedBernoulli.arg_constraints
    support = constraints.unit_interval
    base_dist: Any

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args)
        super().__init__(base, SigmoidTransform(), validate_args)


class ExpRelaxedCategorical(OfCategories):
    """The logarithm of a relaxed category (Maddison et al. 2016)."""

    has_rsample = True
    support = constraints.real_vector

    def __init__(
        self,
        temperature: Any,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self.temperature = temperature
        super().__init__(probs, logits, validate_args)

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        noise = -(-share(self, sample_shape, self.logits).log()).log()
        scores = (self.logits + noise) / self.temperature
        norm = scores.to(f64).logsumexp(-1, keepdim=True)  # as `total` adds up
        answer: Tensor = scores - norm.to(scores.dtype)
        return answer

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        n = self._categorical._num_events
        logits, value = broadcast_all(self.logits, value)
        (heat,) = broadcast_all(self.temperature)
        scale = math.lgamma(n) + (n - 1) * heat.to(logits.dtype).log()
        score = logits - value * self.temperature
        answer: Tensor = (score - score.logsumexp(-1, keepdim=True)).sum(-1) + scale
        return answer


class RelaxedOneHotCategorical(_Relaxed):
    """Shares that sum to 1, nearer to a one the lower `temperature` is."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = OfCategories.arg_constraints
    support = constraints.simplex
    base_dist: Any

    def __init__(
        self,
        temperature: Any,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args)
        super().__init__(base, ExpTransform(), validate_args)


class LogisticNormal(TransformedDistribution):
    """Shares that sum to 1, by breaking a stick by normal numbers."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.simplex
    base_dist: Any

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand((1,))
        super().__init__(base, StickBreakingTransform(), validate_args)

    @property
    def loc(self) -> Tensor:
        found: Tensor = self.base_dist.base_dist.loc
        return found

    @property
    def scale(self) -> Tensor:
        found: Tensor = self.base_dist.base_dist.scale
        return found
