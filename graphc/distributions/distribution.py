"""Distribution: the base of all, with shapes and checks of arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, Self

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.errors import InvalidArgument, Unsupported
from graphc.frontend.api.creation import tensor
from graphc.frontend.api.special import logaddexp
from graphc.frontend.autograd import grad
from graphc.frontend.checked import checked
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.modes import drawing, get_default_dtype, modes, no_grad
from graphc.frontend.operands import broadcast_to
from graphc.frontend.promotion import is_number
from graphc.frontend.size import Size
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Shape, f64

__all__ = ["Distribution", "ExponentialFamily"]

Sample = Sequence[int]


def broadcast_all(*values: Any) -> list[Tensor]:
    """Tensors of one shape; numbers take the dtype of the first tensor, or the default."""
    for v in values:
        if not is_number(v) and not isinstance(v, Tensor):
            raise InvalidArgument(
                "Input arguments must all be instances of Number, graphc.Tensor, "
                f"got {type(v).__name__}"
            )
    known = [v for v in values if isinstance(v, Tensor)]
    dtype = known[0].dtype if known else get_default_dtype()
    where = known[0].device if known else None
    made = [v if isinstance(v, Tensor) else tensor(v, dtype=dtype, device=where) for v in values]
    shape = broadcast_shapes(*(v.spec.shape for v in made))
    return [broadcast_to(v, shape) for v in made]


def total(x: Tensor) -> Tensor:
    """The sum of a draw over its last axis, which stays: in float64, so that of the order of its
    terms, which compiled code chooses, nothing is seen in float32."""
    added: Tensor = x.sum(-1, keepdim=True, dtype=f64)
    return added.to(x.dtype)


def demanded(x: Tensor, good: Tensor, what: str, text: Callable[[], str] | None = None) -> Tensor:
    """x, to be read in place of what was given: ValueError unless `good` holds everywhere, with
    `text` at once, or in a step, where values have no text yet, with `what` when it runs."""
    if modes.trace is not None:
        each = good if good.spec.shape == x.spec.shape else good.all()
        return checked(x, each, what, InvalidArgument)
    if not bool(good.all()):
        raise InvalidArgument(text() if text else what)
    return x


class Distribution:
    """Over events of `event_shape`, one for each place of `batch_shape`."""

    has_rsample: ClassVar[bool] = False
    has_enumerate_support: ClassVar[bool] = False
    arg_constraints: ClassVar[Constraints] = {}
    parameters: ClassVar[tuple[str, ...]] = ()  # tensors that expand with the batch
    support: Any = None
    _validate_args: bool = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("rsample", "sample"):
            if name in vars(cls):
                setattr(cls, name, drawing(vars(cls)[name]))

    def __init__(
        self,
        batch_shape: Sequence[int] = (),
        event_shape: Sequence[int] = (),
        validate_args: bool | None = None,
    ) -> None:
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_arguments()

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check, unless they are told."""
        if not isinstance(value, bool):
            raise InvalidArgument(f"set_default_validate_args: a bool is expected, got {value!r}")
        Distribution._validate_args = value

    def _check_arguments(self) -> None:
        for name, constraint in self.arg_constraints.items():
            if name not in self.__dict__ or constraints.is_dependent(constraint):
                continue
            value = self.__dict__[name]
            self.__dict__[name] = demanded(
                value,
                constraint.check(value),
                f"parameter {name} of {type(self).__name__} outside {type(constraint).__name__}",
                partial(self._unmet, name, value, constraint),
            )

    def _unmet(self, name: str, value: Tensor, constraint: constraints.Constraint) -> str:
        return (
            f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
            f"distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid "
            f"values:\n{value.detach()}"
        )

    # ---- shapes --------------------------------------------------------------------------------

    @property
    def batch_shape(self) -> Size:
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        return self._event_shape

    def _extended(self, sample_shape: Sample = ()) -> Shape:
        return (*sample_shape, *self._batch_shape, *self._event_shape)

    def expand(self, batch_shape: Sample, _instance: Any = None) -> Self:
        """The same distribution for a larger batch; parameters are not copied."""
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        batch = Size(batch_shape)
        for name in self.parameters:
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                own = value.spec.shape[len(self._batch_shape) :]
                made.__dict__[name] = broadcast_to(value, (*batch, *own))
        made._batch_shape = batch
        return made

    # ---- what each gives -----------------------------------------------------------------------

    def _missing(self, what: str) -> Unsupported:
        return Unsupported(f"{type(self).__name__} has no {what}")

    @property
    def mean(self) -> Tensor:
        raise self._missing("mean")

    @property
    def mode(self) -> Tensor:
        raise self._missing("mode")

    @property
    def variance(self) -> Tensor:
        raise self._missing("variance")

    @property
    def stddev(self) -> Tensor:
        return self.variance.sqrt()

    def sample(self, sample_shape: Sample = ()) -> Tensor:
        """A draw of sample_shape + batch_shape + event_shape, without gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        """A draw whose gradient reaches the parameters."""
        raise self._missing("rsample")

    def sample_n(self, n: int) -> Tensor:
        return self.sample((n,))

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the density (or probability) at `value`."""
        raise self._missing("log_prob")

    def cdf(self, value: Tensor) -> Tensor:
        raise self._missing("cdf")

    def icdf(self, value: Tensor) -> Tensor:
        raise self._missing("icdf")

    def entropy(self) -> Tensor:
        raise self._missing("entropy")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        raise self._missing("enumerate_support")

    def perplexity(self) -> Tensor:
        return self.entropy().exp()

    def _check(self, value: Any) -> Any:
        """The value, to be read in place of what was given: ValueError for one of another shape, or
        outside the support."""
        if not self._validate_args:
            return value
        if not isinstance(value, Tensor):
            raise InvalidArgument("The value argument to log_prob must be a Tensor")
        events = len(self._event_shape)
        if value.spec.shape[value.dim() - events :] != tuple(self._event_shape):
            raise InvalidArgument(
                f"The right-most size of value must match event_shape: {value.spec} vs "
                f"{tuple(self._event_shape)}."
            )
        for i, j in zip(reversed(value.spec.shape), reversed(self._extended())):
            if i != 1 and j != 1 and i != j:
                raise InvalidArgument(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.spec} vs "
                    f"{self._extended()}."
                )
        support = self.support
        if support is None:
            return value
        return demanded(
            value,
            support.check(value),
            f"value outside the support of {type(self).__name__}, {type(support).__name__}",
            lambda: (
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) "
                f"to be within the support ({support!r}) of the distribution {self!r}, but "
                f"found invalid values:\n{value.detach()}"
            ),
        )

    def __repr__(self) -> str:
        names = [n for n in self.arg_constraints if n in self.__dict__]
        parts = []
        for name in names:
            value = self.__dict__[name]
            lone = value.numel() == 1 and not value.is_traced
            parts.append(f"{name}: {value.item() if lone else value.size()}")
        return f"{type(self).__name__}({', '.join(parts)})"


class ExponentialFamily(Distribution):
    """One whose density is exp(<natural parameters, t(x)> - log normalizer + carrier).

    A subclass that gives `_natural_params`, `_log_normalizer` and `_mean_carrier_measure` has an
    entropy, by the gradient of the normalizer.
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise self._missing("natural parameters")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise self._missing("log normalizer")

    @property
    def _mean_carrier_measure(self) -> float:
        raise self._missing("mean carrier measure")

    def entropy(self) -> Tensor:
        given = [p.detach().requires_grad_() for p in self._natural_params]
        norm = self._log_normalizer(*given)
        found = norm - self._mean_carrier_measure
        events = tuple(range(-len(self._event_shape), 0))
        for p, slope in zip(given, grad(norm.sum(), given, create_graph=True)):
            found = found - ((p * slope).sum(events) if events else p * slope)
        return found


def softplus(x: Tensor) -> Tensor:
    """log(1 + exp(x)) for every x, with a gradient of one half at 0."""
    return logaddexp(x, x.new_zeros(()))


def one_of(first: Any, second: Any, names: str) -> None:
    """ValueError unless exactly one is given."""
    if (first is None) == (second is None):
        raise InvalidArgument(f"Either {names} must be specified, but not both.")
