"""Operations of lists by simpler ones, of which groups take all that rounds once.

They are spelled as their meanings are, so the bits are the same; of a large sigmoid NumPy is left
with the exponential alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from graphc.frontend.eager.groups import LARGE
from graphc.ir.graph import Value
from graphc.ir.rewrite import replaced
from graphc.ir.types import f32


def _sigmoid(x: Value) -> Value:
    b = x.builder
    e = b.apply("exp", b.apply("neg", b.apply("abs", x)))  # never overflows
    above = b.apply("where", b.apply("le", b.constant(0.0, x.spec), x), 1.0, e)
    return b.apply("div", above, b.apply("add", e, 1.0))


def _rsqrt(x: Value) -> Value:
    b = x.builder
    return b.apply("div", b.constant(1.0, x.spec), b.apply("sqrt", x))


SPELLED: dict[str, Callable[[Value], Value]] = {"sigmoid": _sigmoid, "rsqrt": _rsqrt}


def spelled(order: Sequence[Value], wanted: Sequence[Value]) -> list[Value]:
    """The values of `wanted`, which `order` computes, with what is large and has a spelling written
    so."""
    new: dict[Value, Value] = {}
    for v in order:
        new[v] = replaced(v, tuple(new.get(a, a) for a in v.args), _spell)
    return [new.get(v, v) for v in wanted]


def _spell(v: Value) -> Value:
    spell = None if v.op is None else SPELLED.get(v.op.name)
    if spell is None or v.spec.dtype is not f32 or v.spec.numel < LARGE:
        return v
    return spell(v.args[0])
