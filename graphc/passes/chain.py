"""chain: the movement ops between a value and the domain of the kernel that computes it."""

from __future__ import annotations

from graphc.errors import InternalError
from graphc.ir.graph import Value
from graphc.passes.view import NotAffine, View, move

Attrs = tuple[tuple[str, object], ...]
Step = tuple[str, Attrs, Value | None]  # a movement op, its attributes, and whose it is
Chain = tuple[Step, ...]  # from the value outwards to the domain


def step(op: str, **attrs: object) -> Step:
    """A step that the lowering itself takes."""
    return op, tuple(sorted(attrs.items())), None


def step_of(v: Value) -> Step:
    """The step of the movement op `v`."""
    assert v.op is not None
    return v.op.name, tuple(sorted(v.attrs.items())), v


def walk(view: View, chain: Chain) -> View:
    """The view through `chain`."""
    for op, attrs, owner in chain:
        try:
            view = move(view, op, dict(attrs))
        except NotAffine:
            name = owner.name if owner is not None else "a step"
            raise InternalError(f"{name} = {op} {dict(attrs)} cannot be addressed") from None
    return view
