"""What parameters and samples of distributions must satisfy; each knows how to check a tensor."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graphc.frontend.api import elementwise as E
from graphc.frontend.api import linalg, logic
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor

__all__ = [
    "Constraint",
    "boolean",
    "dependent",
    "greater_than",
    "greater_than_eq",
    "half_open_interval",
    "independent",
    "integer_interval",
    "interval",
    "lower_cholesky",
    "nonnegative",
    "nonnegative_integer",
    "positive",
    "positive_definite",
    "positive_integer",
    "real",
    "real_vector",
    "simplex",
    "unit_interval",
]


class Constraint:
    """A named test of tensors, over the last `event_dim` dimensions at a time."""

    def __init__(
        self, name: str, test: Callable[[Tensor], Tensor] | None, event_dim: int = 0
    ) -> None:
        self.name = name
        self.test = test
        self.event_dim = event_dim
        self.is_discrete = "integer" in name or name == "Boolean()"

    def check(self, value: Tensor) -> Tensor:
        """bool: whether each element (or event) satisfies it."""
        if self.test is None:
            raise ValueError("Cannot determine validity of dependent constraint")
        with no_grad():
            return self.test(value)

    def __repr__(self) -> str:
        return self.name


Constraints = Mapping[str, Constraint]


def greater_than(lower_bound: Any) -> Constraint:
    return Constraint(f"GreaterThan(lower_bound={lower_bound})", lambda x: x > lower_bound)


def greater_than_eq(lower_bound: Any) -> Constraint:
    return Constraint(f"GreaterThanEq(lower_bound={lower_bound})", lambda x: x >= lower_bound)


def interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    name = f"Interval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(name, lambda x: (x >= lower_bound) & (x <= upper_bound))


def half_open_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    name = f"HalfOpenInterval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(name, lambda x: (x >= lower_bound) & (x < upper_bound))


def integer_interval(lower_bound: Any, upper_bound: Any) -> Constraint:
    name = f"integer_interval(lower_bound={lower_bound}, upper_bound={upper_bound})"
    return Constraint(name, lambda x: (x % 1 == 0) & (x >= lower_bound) & (x <= upper_bound))


def integer_from(lower_bound: int) -> Constraint:
    name = f"IntegerGreaterThan(lower_bound={lower_bound})"
    return Constraint(f"{name} integer", lambda x: (x % 1 == 0) & (x >= lower_bound))


def independent(base: Constraint, count: int) -> Constraint:
    """`base` of all elements of the last `count` dimensions."""

    def test(x: Tensor) -> Tensor:
        good = base.check(x)
        return good.flatten(good.dim() - count).all(-1) if count else good

    return Constraint(f"IndependentConstraint({base}, {count})", test, base.event_dim + count)


def _simplex(x: Tensor) -> Tensor:
    return (x >= 0).all(-1) & (E.abs(x.sum(-1) - 1) < 1e-6)


def _lower_cholesky(x: Tensor) -> Tensor:
    triangular = logic.eq(x.tril(), x).flatten(x.dim() - 2).all(-1)
    return triangular & (x.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


def _positive_definite(x: Tensor) -> Tensor:
    close = E.abs(x - x.mT) <= 1e-6 + 1e-5 * E.abs(x)
    return close.flatten(x.dim() - 2).all(-1) & (linalg.eigvalsh(x) > 0).all(-1)


real = Constraint("Real()", lambda x: logic.eq(x, x))
real_vector = independent(real, 1)
boolean = Constraint("Boolean()", lambda x: logic.eq(x, 0) | logic.eq(x, 1))
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
nonnegative_integer = integer_from(0)
positive_integer = integer_from(1)
simplex = Constraint("Simplex()", _simplex, 1)
lower_cholesky = Constraint("LowerCholesky()", _lower_cholesky, 2)
positive_definite = Constraint("PositiveDefinite()", _positive_definite, 2)
dependent = Constraint("Dependent()", None)
