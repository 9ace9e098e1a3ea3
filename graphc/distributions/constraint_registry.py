"""Which transform leads from free numbers to a constraint: `biject_to` and `transform_to`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from graphc.distributions import constraints as C
from graphc.distributions import transforms as T
from graphc.errors import InvalidType, Unsupported
from graphc.frontend.promotion import is_number

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]

Factory = Callable[[Any], T.Transform]


class ConstraintRegistry:
    """Transforms by the constraint itself, else by its class."""

    def __init__(self) -> None:
        self._of_class: dict[type[Any], Factory] = {}
        self._of_one: dict[int, tuple[Any, Factory]] = {}

    def register(self, constraint: Any, factory: Factory | None = None) -> Any:
        """Say what makes the transform to a constraint, or to a class of them; or decorate it."""
        if factory is None:
            return lambda made: self.register(constraint, made)
        if isinstance(constraint, C.Constraint):
            if type(constraint) is C._Named:
                self._of_one[id(constraint)] = (constraint, factory)
                return factory
            constraint = type(constraint)
        if not (isinstance(constraint, type) and issubclass(constraint, C.Constraint)):
            what = f"Expected constraint to be a Constraint class or instance, got {constraint}"
            raise InvalidType(what)
        self._of_class[constraint] = factory
        return factory

    def __call__(self, constraint: Any) -> T.Transform:
        """The transform from free numbers to this constraint."""
        found = self._of_one.get(id(constraint))
        factory = found[1] if found else self._of_class.get(type(constraint))
        if factory is None:
            what = f"Cannot transform {type(constraint).__name__} constraints"
            raise Unsupported(what, fix="register a transform for its class")
        return factory(constraint)


biject_to, transform_to = ConstraintRegistry(), ConstraintRegistry()


def _above(constraint: Any) -> T.Transform:
    if constraint in (C.positive, C.nonnegative):
        return T.ExpTransform()
    return T.ComposeTransform([T.ExpTransform(), T.AffineTransform(constraint.lower_bound, 1)])


def _below(constraint: Any) -> T.Transform:
    return T.ComposeTransform([T.ExpTransform(), T.AffineTransform(constraint.upper_bound, -1)])


def _between(constraint: Any) -> T.Transform:
    low, high = constraint.lower_bound, constraint.upper_bound
    if is_number(low) and is_number(high) and (low, high) == (0, 1):
        return T.SigmoidTransform()
    return T.ComposeTransform([T.SigmoidTransform(), T.AffineTransform(low, high - low)])


def _fill(registry: ConstraintRegistry) -> None:
    def each(constraint: Any) -> T.Transform:
        base = registry(constraint.base_constraint)
        return T.IndependentTransform(base, constraint.reinterpreted_batch_ndims)

    def joined(constraint: Any) -> T.Transform:
        parts = [registry(c) for c in constraint.cseq]
        return T.CatTransform(parts, constraint.dim, constraint.lengths)

    rows: dict[Any, Factory] = {
        C.real: lambda c: T.identity_transform,
        C.independent: each,
        C.greater_than: _above,
        C.greater_than_eq: _above,
        C.less_than: _below,
        C.interval: _between,
        C.half_open_interval: _between,
        C.lower_cholesky: lambda c: T.LowerCholeskyTransform(),
        C.positive_definite: lambda c: T.PositiveDefiniteTransform(),
        C.positive_semidefinite: lambda c: T.PositiveDefiniteTransform(),
        C.corr_cholesky: lambda c: T.CorrCholeskyTransform(),
        C.cat: joined,
        C.stack: lambda c: T.StackTransform([registry(x) for x in c.cseq], c.dim),
    }
    for constraint, factory in rows.items():
        registry.register(constraint, factory)


for _registry in (biject_to, transform_to):
    _fill(_registry)
biject_to.register(C.simplex, lambda c: T.StickBreakingTransform())
transform_to.register(C.simplex, lambda c: T.SoftmaxTransform())
