"""What parameters and samples of distributions must satisfy; each knows how to check a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import linalg, logic
from graphc.frontend.api.shapes import cat as join
from graphc.frontend.api.shapes import stack as pile
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor

__all__ = [
    "Constraint",
    "MixtureSameFamilyConstraint",
    "boolean",
    "cat",
    "corr_cholesky",
    "dependent",
    "dependent_property",
    "greater_than",
    "greater_than_eq",
    "half_open_interval",
    "independent",
    "integer_interval",
    "interval",
    "is_dependent",
    "less_than",
    "lower_cholesky",
    "lower_triangular",
    "multinomial",
    "nonnegative",
    "nonnegative_integer",
    "one_hot",
    "positive",
    "positive_definite",
    "positive_integer",
    "positive_semidefinite",
    "real",
    "real_vector",
    "simplex",
    "square",
    "stack",
    "symmetric",
    "unit_interval",
]


class Constraint:
    """A test of tensors, over the last `event_dim` dimensions at a time. Subclasses override
    `holds`, or `check` as in PyTorch."""

    is_discrete: bool = False
    event_dim: int = 0

    def check(self, value: Tensor) -> Tensor:
        """bool: whether each element (or event) satisfies it."""
        with no_grad():
            return self.holds(value)

    def holds(self, x: Tensor) -> Tensor:
        """What `check` answers."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__.removeprefix('_')}()"


Constraints = Mapping[str, Constraint]


class _Named(Constraint):
    """A constraint without arguments."""

    def __init__(
        self, name: str, test: Callable[[Tensor], Tensor], event_dim: int = 0,
        is_discrete: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.test = name, test
        self.event_dim, self.is_discrete = event_dim, is_discrete

    def holds(self, x: Tensor) -> Tensor:
        return self.test(x)

    def __repr__(self) -> str:
        return f"{self.name}()"


class _Dependent(Constraint):
    """On other parameters: nothing is known beforehand."""

    def __init__(self, *, is_discrete: bool = False, event_dim: int = 0) -> None:
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, *, is_discrete: bool = False, event_dim: int = 0) -> _Dependent:
        """The same, with what is known."""
        return _Dependent(is_discrete=is_discrete, event_dim=event_dim)

    def check(self, value: Tensor) -> Tensor:
        raise InvalidArgument("Cannot determine validity of dependent constraint")


class dependent_property(property, _Dependent):
    """A property of a distribution that gives a constraint, `support` say."""

    def __init__(
        self, fn: Callable[..., Any] | None = None, *, is_discrete: bool = False, event_dim: int = 0
    ) -> None:
        property.__init__(self, fn)
        _Dependent.__init__(self, is_discrete=is_discrete, event_dim=event_dim)

    def __call__(self, fn: Any) -> Any:  # type: ignore[override]  # a decorator with arguments
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


def is_dependent(constraint: Any) -> bool:
    """Whether it depends on other parameters."""
    return isinstance(constraint, _Dependent)


# ---- bounds ------------------------------------------------------------------------------------


class _Bounded(Constraint):
    """What is told by bounds, which are numbers or tensors."""

    shown = ""

    def __init__(self, *, lower_bound: Any = None, upper_bound: Any = None) -> None:
        self.bounds = {"lower_bound": lower_bound, "upper_bound": upper_bound}
        self.bounds = {k: b for k, b in self.bounds.items() if b is not None}
        self.lower_bound, self.upper_bound = lower_bound, upper_bound

    def __repr__(self) -> str:
        return f"{self.shown}({', '.join(f'{k}={b}' for k, b in self.bounds.items())})"


class greater_than(_Bounded):
    """(lower_bound, inf]."""

    shown = "GreaterThan"

    def __init__(self, lower_bound: Any) -> None:
        super().__init__(lower_bound=lower_bound)

    def holds(self, x: Tensor) -> Tensor:
        answer: Tensor = x > self.lower_bound
        return answer


class greater_than_eq(greater_than):
    """[lower_bound, inf)."""

    shown = "GreaterThanEq"

    def holds(self, x: Tensor) -> Tensor:
        answer: Tensor = x >= self.lower_bound
        return answer


class less_than(_Bounded):
    """[-inf, upper_bound)."""

    shown = "LessThan"

    def __init__(self, upper_bound: Any) -> None:
        super().__init__(upper_bound=upper_bound)

    def holds(self, x: Tensor) -> Tensor:
        answer: Tensor = x < self.upper_bound
        return answer


class interval(_Bounded):
    """[lower_bound, upper_bound]."""

    shown = "Interval"

    def __init__(self, lower_bound: Any, upper_bound: Any) -> None:
        super().__init__(lower_bound=lower_bound, upper_bound=upper_bound)

    def holds(self, x: Tensor) -> Tensor:
        answer: Tensor = (x >= self.lower_bound) & (x <= self.upper_bound)
        return answer


class half_open_interval(interval):
    """[lower_bound, upper_bound)."""

    shown = "HalfOpenInterval"

    def holds(self, x: Tensor) -> Tensor:
        answer: Tensor = (x >= self.lower_bound) & (x < self.upper_bound)
        return answer


class integer_interval(interval):
    """The whole numbers of [lower_bound, upper_bound]."""

    shown = "IntegerInterval"
    is_discrete = True

    def holds(self, x: Tensor) -> Tensor:
        return (x % 1 == 0) & super().holds(x)


class integer_from(greater_than):
    """The whole numbers from lower_bound on."""

    shown = "IntegerGreaterThan"
    is_discrete = True

    def holds(self, x: Tensor) -> Tensor:
        answer: Tensor = (x % 1 == 0) & (x >= self.lower_bound)
        return answer


# ---- of several constraints, or of one over more dimensions ------------------------------------


class independent(Constraint):
    """`base_constraint` of all elements of the last dimensions."""

    def __init__(self, base_constraint: Any, reinterpreted_batch_ndims: int) -> None:
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        good: Tensor = self.base_constraint.check(value)
        count = self.reinterpreted_batch_ndims
        if good.dim() < count:
            what = f"Expected value.dim() >= {self.event_dim} but got {value.dim()}"
            raise InvalidArgument(what)
        return good.flatten(good.dim() - count).all(-1) if count else good

    def __repr__(self) -> str:
        return f"IndependentConstraint({self.base_constraint}, {self.reinterpreted_batch_ndims})"


class MixtureSameFamilyConstraint(Constraint):
    """`base_constraint` of every component of a mixture."""

    def __init__(self, base_constraint: Any) -> None:
        self.base_constraint = base_constraint
        self.is_discrete, self.event_dim = base_constraint.is_discrete, base_constraint.event_dim

    def check(self, value: Tensor) -> Tensor:
        good: Tensor = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        events = value.dim() - self.event_dim
        return good.flatten(events).all(-1) if good.dim() > events else good

    def __repr__(self) -> str:
        return f"MixtureSameFamilyConstraint({self.base_constraint})"


class cat(Constraint):
    """A constraint for each stretch of a dimension; `lengths` of 1 without them."""

    def __init__(
        self, cseq: Sequence[Any], dim: int = 0, lengths: Sequence[int] | None = None
    ) -> None:
        self.cseq = list(cseq)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        self.dim = dim
        self.is_discrete = any(c.is_discrete for c in self.cseq)
        self.event_dim = max(c.event_dim for c in self.cseq)

    def check(self, value: Tensor) -> Tensor:
        parts = value.split(self.lengths, self.dim)
        return join([c.check(part) for c, part in zip(self.cseq, parts)], self.dim)


class stack(Constraint):
    """A constraint for each place along a dimension."""

    def __init__(self, cseq: Sequence[Any], dim: int = 0) -> None:
        self.cseq, self.dim = list(cseq), dim
        self.is_discrete = any(c.is_discrete for c in self.cseq)
        self.event_dim = max(c.event_dim for c in self.cseq) + (dim < 0)

    def check(self, value: Tensor) -> Tensor:
        parts = value.unbind(self.dim)
        return pile([c.check(part) for c, part in zip(self.cseq, parts)], self.dim)


class multinomial(Constraint):
    """Counts that sum to `upper_bound`."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any) -> None:
        self.upper_bound = upper_bound

    def holds(self, x: Tensor) -> Tensor:
        answer: Tensor = (x >= 0).all(-1) & (x.sum(-1) <= self.upper_bound)
        return answer


# ---- of whole vectors and matrices -------------------------------------------------------------


def _simplex(x: Tensor) -> Tensor:
    return (x >= 0).all(-1) & (E.abs(x.sum(-1) - 1) < 1e-6)


def _one_hot(x: Tensor) -> Tensor:
    return (logic.eq(x, 0) | logic.eq(x, 1)).all(-1) & logic.eq(x.sum(-1), 1)


def _all(x: Tensor) -> Tensor:
    return x.flatten(x.dim() - 2).all(-1)


def _square(x: Tensor) -> Tensor:
    fits = x.spec.shape[-1] == x.spec.shape[-2]
    return _all(logic.eq(x, x) | True) if fits else _all(logic.eq(x, x) & False)


def _triangular(x: Tensor) -> Tensor:
    return _all(logic.eq(x.tril(), x))


def _lower_cholesky(x: Tensor) -> Tensor:
    return _triangular(x) & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


def _corr_cholesky(x: Tensor) -> Tensor:
    rounding = 10 * x.spec.shape[-1] * (2.0**-52 if x.dtype.itemsize == 8 else 2.0**-23)
    unit = (E.abs(E.sqrt(x.square().sum(-1)) - 1) <= rounding).all(-1)
    return _lower_cholesky(x) & unit


def _symmetric(x: Tensor) -> Tensor:
    if x.spec.shape[-1] != x.spec.shape[-2]:
        return _square(x)
    return _all(E.abs(x - x.mT) <= 1e-6 + 1e-5 * E.abs(x))


def _semidefinite(x: Tensor) -> Tensor:
    if x.spec.shape[-1] != x.spec.shape[-2]:
        return _square(x)
    return _symmetric(x) & (linalg.eigvalsh(x) >= 0).all(-1)


def _positive_definite(x: Tensor) -> Tensor:
    if x.spec.shape[-1] != x.spec.shape[-2]:
        return _square(x)
    return _symmetric(x) & (linalg.eigvalsh(x) > 0).all(-1)


real = _Named("Real", lambda x: logic.eq(x, x))
real_vector = independent(real, 1)
boolean = _Named("Boolean", lambda x: logic.eq(x, 0) | logic.eq(x, 1), 0, True)
one_hot = _Named("OneHot", _one_hot, 1, True)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
nonnegative_integer = integer_from(0)
positive_integer = integer_from(1)
simplex = _Named("Simplex", _simplex, 1)
lower_triangular = _Named("LowerTriangular", _triangular, 2)
lower_cholesky = _Named("LowerCholesky", _lower_cholesky, 2)
corr_cholesky = _Named("CorrCholesky", _corr_cholesky, 2)
square = _Named("Square", _square, 2)
symmetric = _Named("Symmetric", _symmetric, 2)
positive_semidefinite = _Named("PositiveSemidefinite", _semidefinite, 2)
positive_definite = _Named("PositiveDefinite", _positive_definite, 2)
dependent = _Dependent()
