"""TransformedDistribution: what a transform makes of draws, with the density that follows."""

from __future__ import annotations

from typing import Any, Self

from graphc.distributions import constraints
from graphc.distributions.distribution import Distribution, Sample
from graphc.distributions.independent import Independent, summed_last
from graphc.distributions.transform import ComposeTransform, Transform
from graphc.errors import InvalidArgument
from graphc.frontend.modes import no_grad
from graphc.frontend.size import Size
from graphc.frontend.tensor import Tensor

__all__ = ["TransformedDistribution"]


class TransformedDistribution(Distribution):
    """The distribution of `transforms`, one after the other, of what `base_distribution` draws."""

    def __init__(
        self, base_distribution: Distribution, transforms: Any, validate_args: bool | None = None
    ) -> None:
        given = [transforms] if isinstance(transforms, Transform) else transforms
        if not isinstance(given, list) or not all(isinstance(t, Transform) for t in given):
            what = f"transforms must be a Transform or a list of Transforms, got {transforms!r}"
            raise InvalidArgument(what)
        self.transforms: list[Transform] = given
        whole = ComposeTransform(given)
        base = base_distribution
        shape = (*base.batch_shape, *base.event_shape)
        events = len(base.event_shape)
        if len(shape) < whole.domain.event_dim:
            raise InvalidArgument(
                "base_distribution needs to have shape with size at least "
                f"{whole.domain.event_dim}, but got {shape}."
            )
        made = whole.forward_shape(shape)
        needed = whole.inverse_shape(made)
        if needed != shape:
            base = base.expand(needed[: len(needed) - events])
        more = whole.domain.event_dim - events
        self.base_dist = Independent(base, more) if more > 0 else base
        change = whole.codomain.event_dim - whole.domain.event_dim
        cut = len(made) - max(whole.codomain.event_dim, events + change)
        super().__init__(made[:cut], made[cut:], validate_args)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # as the base has it
        return self.base_dist.has_rsample

    @property
    def support(self) -> Any:
        if not self.transforms:
            return self.base_dist.support
        found = self.transforms[-1].codomain
        more = len(self.event_shape) - found.event_dim
        return constraints.independent(found, more) if more > 0 else found

    def expand(self, batch_shape: Sample, _instance: Any = None) -> Self:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        shape = ComposeTransform(self.transforms).inverse_shape((*batch_shape, *self.event_shape))
        made.base_dist = self.base_dist.expand(
            shape[: len(shape) - len(self.base_dist.event_shape)]
        )
        made._batch_shape = Size(batch_shape)
        return made

    def sample(self, sample_shape: Sample = ()) -> Tensor:
        with no_grad():
            return self._forward(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        return self._forward(self.base_dist.rsample(sample_shape))

    def _forward(self, x: Tensor) -> Tensor:
        for t in self.transforms:
            x = t(x)
        return x

    def _backward(self, y: Tensor) -> Tensor:
        for t in reversed(self.transforms):
            y = t.inv(y)
        return y

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        events, y = len(self.event_shape), value
        total: Any = 0.0
        for t in reversed(self.transforms):
            x = t.inv(y)
            events += t.domain.event_dim - t.codomain.event_dim
            total = total - summed_last(t.log_abs_det_jacobian(x, y), events - t.domain.event_dim)
            y = x
        base = self.base_dist.log_prob(y)
        answer: Tensor = summed_last(base, events - len(self.base_dist.event_shape)) + total
        return answer

    def _turned(self, share: Tensor) -> Tensor:
        """A share below as one above where the transforms fall."""
        sign: Any = 1
        for t in self.transforms:
            sign = sign * t.sign
        if isinstance(sign, int | float) and sign == 1:
            return share
        found: Tensor = sign * (share - 0.5) + 0.5
        return found

    def cdf(self, value: Tensor) -> Tensor:
        value = self._check(value)
        return self._turned(self.base_dist.cdf(self._backward(value)))

    def icdf(self, value: Tensor) -> Tensor:
        return self._forward(self.base_dist.icdf(self._turned(value)))

    def __repr__(self) -> str:
        if type(self) is TransformedDistribution:
            return f"{type(self).__name__}({self.base_dist!r}, {self.transforms!r})"
        return super().__repr__()
