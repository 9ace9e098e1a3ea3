"""`verify` accepts what the builder makes and names what is wrong with anything else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from graphc.errors import InternalError
from graphc.ir import types as T
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value, Where
from graphc.ir.types import TensorSpec
from graphc.ir.verify import verify

F32 = TensorSpec(T.f32, (2, 3))


def good() -> Graph:
    b = Builder()
    x, w = b.input("x", F32, Where()), b.input("w", F32, Where())
    return Graph("f", (x, w), ("arg", "state"), (x + 1.0, x * w), (None, w))


def forged(v: Value, **changes: object) -> Value:
    """A value the builder would not have made."""
    return replace(v, **changes)  # type: ignore[arg-type]  # that is the point


def test_what_the_builder_makes_is_well_formed() -> None:
    verify(good())


def wrong() -> list[tuple[str, Graph]]:
    g = good()
    (x, w), (a, m) = g.inputs, g.outs
    two = (None, None)
    stray = Builder().input("stray", F32, Where())
    row = TensorSpec(T.f32, (3,))
    narrow, short = x.builder.apply("sum", m, axes=(0,)), x.builder.constant(1.0, row)

    def outs(*outs: Value) -> Graph:
        return Graph("f", g.inputs, g.roles, outs, (None,) * len(outs))

    return [
        ("2 inputs have 1 roles", Graph("f", g.inputs, ("arg",), g.outs, g.targets)),
        ("2 outputs have 1 targets", Graph("f", g.inputs, g.roles, g.outs, (None,))),
        ("unknown role 'argument'", Graph("f", g.inputs, ("arg", "argument"), g.outs, two)),
        ("is no input", Graph("f", (x, w, a), ("arg", "state", "arg"), g.outs, two)),
        ("%x is declared 2 times", Graph("f", (x, w, x), ("arg", "state", "arg"), g.outs, two)),
        ("state %w is written 2 times", Graph("f", g.inputs, g.roles, g.outs, (w, w))),
        ("target %x is no state input", Graph("f", g.inputs, g.roles, g.outs, (x, None))),
        ("becomes", Graph("f", g.inputs, g.roles, (a, narrow), (None, w))),
        ("%w is read but not declared", Graph("f", (x,), ("arg",), g.outs, two)),
        ("%stray is read", outs(a, stray)),
        ("the op gives f32[2,3]", outs(forged(m, _spec=row))),
        ("made after its use", outs(forged(m, number=0))),
        ("two values are called", outs(a, forged(m, name=a.name))),
        ("differ in shape", outs(forged(m, args=(x, short), number=99))),
    ]


@pytest.mark.parametrize("complaint, graph", wrong(), ids=[c for c, _ in wrong()])
def test_each_defect_is_named(complaint: str, graph: Graph) -> None:
    with pytest.raises(InternalError) as e:
        verify(graph, "fold")
    assert complaint in e.value.what
    assert "after fold" in e.value.what
