"""MixtureSameFamily: one of several distributions of one kind, drawn by a categorical."""

from __future__ import annotations

from typing import Any

from graphc.distributions.constraints import MixtureSameFamilyConstraint
from graphc.distributions.discrete import Categorical
from graphc.distributions.distribution import Distribution, Sample
from graphc.errors import InvalidArgument
from graphc.frontend.modes import no_grad
from graphc.frontend.operands import broadcast_to
from graphc.frontend.size import Size
from graphc.frontend.tensor import Tensor

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """`component_distribution`, whose last batch dimension is chosen by `mixture_distribution`."""

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(mixture_distribution, Categorical):
            raise InvalidArgument(
                " The Mixture distribution needs to be an instance of "
                "graphc.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise InvalidArgument(
                "The Component distribution need to be an instance of "
                "graphc.distributions.Distribution"
            )
        shape = component_distribution.batch_shape
        for a, b in zip(reversed(mixture_distribution.batch_shape), reversed(shape[:-1])):
            if a != 1 and b != 1 and a != b:
                raise InvalidArgument(
                    f"`mixture_distribution.batch_shape` ({mixture_distribution.batch_shape}) is "
                    f"not compatible with `component_distribution.batch_shape` ({shape})"
                )
        if not shape or mixture_distribution._num_events != shape[-1]:
            raise InvalidArgument(
                "`mixture_distribution` component does not equal "
                "`component_distribution.batch_shape[-1]`"
            )
        self._mixture, self._component = mixture_distribution, component_distribution
        super().__init__(shape[:-1], component_distribution.event_shape, validate_args)

    def expand(self, batch_shape: Sample, _instance: Any = None) -> Any:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        n = self._mixture._num_events
        made._mixture = self._mixture.expand(batch_shape)
        made._component = self._component.expand((*batch_shape, n))
        made._batch_shape = Size(batch_shape)
        return made

    @property
    def support(self) -> Any:
        return MixtureSameFamilyConstraint(self._component.support)

    @property
    def mixture_distribution(self) -> Categorical:
        return self._mixture

    @property
    def component_distribution(self) -> Distribution:
        return self._component

    def _averaged(self, x: Tensor) -> Tensor:
        """Over the components, by their probabilities."""
        events = len(self._event_shape)
        probs = self._mixture.probs
        probs = probs.reshape((*probs.shape, *(1,) * events))
        return (probs * x).sum(-1 - events)

    @property
    def mean(self) -> Tensor:
        return self._averaged(self._component.mean)

    @property
    def variance(self) -> Tensor:
        away = self._component.mean - self.mean.unsqueeze(-1 - len(self._event_shape))
        return self._averaged(self._component.variance) + self._averaged(away.square())

    def _spread(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1 - len(self._event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        found = self._component.log_prob(self._spread(value))
        return (found + self._mixture.logits).logsumexp(-1)

    def cdf(self, value: Tensor) -> Tensor:
        return (self._component.cdf(self._spread(value)) * self._mixture.probs).sum(-1)

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        events = len(self._event_shape)
        chosen = self._mixture.sample(sample_shape)
        drawn = self._component.sample(sample_shape)
        at = chosen.reshape((*chosen.shape, *(1,) * (events + 1)))
        at = broadcast_to(at, (*chosen.shape, 1, *self._event_shape))
        lead = (*sample_shape, *self._batch_shape)
        at = broadcast_to(at, (*lead, 1, *self._event_shape))
        return drawn.gather(-1 - events, at).squeeze(-1 - events)

    def __repr__(self) -> str:
        return f"MixtureSameFamily(\n  {self._mixture},\n  {self._component})"
