"""while_loop() in a compiled step, by a condition on data: an op whose two graphs the host runs.

Condition and body are traced once, on stand-ins for what is carried. How often they run is known at
each call alone, so they are no launches of the program but a routine: NumPy computes the trips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import AutogradError
from graphc.frontend import primitives as P
from graphc.frontend.modes import modes
from graphc.frontend.step.loops import stand_in
from graphc.frontend.tape import RuleNode, attach, edge_of
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.ir.graph import Graph, Value, depending
from graphc.ir.meaning.loops import HALF
from graphc.ir.ops import OPS
from graphc.ir.types import TensorSpec, i64
from graphc.passes.loop_body import Body

WHILE = OPS["while_loop"]


class While:
    """A loop while it is traced: its functions run on `carry`, and `end` gives results."""

    def __init__(self, trace: Trace, init: Sequence[Tensor]) -> None:
        self.trace, self.init = trace, init
        given = [trace.value(t) for t in init]
        self._known, self._checks = set(trace.current), dict(trace.checks)
        self.carry = [stand_in(trace, "carry", t.spec, t.requires_grad) for t in init]
        self.body = Body(0, False, [trace.value(t) for t in self.carry], [], given)

    def traced(self, function: Callable[[], Sequence[Tensor]]) -> list[Value]:
        """What it gives, then what may raise in it, over inputs of the body."""
        trace = self.trace
        before, trace.checks = trace.checks, {}
        outs = [trace.value(t) for t in function()]
        made, trace.checks = trace.checks, before
        return self.body.taken([*outs, *made])

    def end(self, holds: list[Value], after: list[Value], grad: bool) -> list[Tensor]:
        """What is carried in the end; `grad`: as if it had a derivative, which is refused."""
        trace, body = self.trace, self.body
        made = {s: v for s, v in trace.current.items() if s not in self._known}
        inside = depending(set(body.carried), list(made.values()))
        for s, v in made.items():
            if v in inside:  # a value of one trip means nothing outside
                trace.current.pop(s, None)
        inputs = (*body.carried, *body.captured.values())
        graphs = {
            name: Graph(name, inputs, ("arg",) * len(inputs), tuple(outs), (None,) * len(outs))
            for name, outs in (("holds", holds), ("body", after))
        }
        args = [trace.wrap(v) for v in (*body.given, *body.captured)]
        found = args[0].emit(WHILE, *args, carried=len(self.carry), **graphs)
        lasts = unpacked(found.detach(), [t.spec for t in self.init])
        if modes.grad and grad:
            edges = [edge_of(t) for t in self.init]
            node = RuleNode("while_loop", edges, _refuse, len(lasts))
            for k, t in enumerate(lasts):
                if t.dtype.is_floating_point:
                    attach(t, node, k)
        return lasts


def unpacked(x: Tensor, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """The tensors that `meaning.loops.packed` put one behind the other."""
    at, found = 0, []

    def taken(spec: TensorSpec) -> Tensor:
        nonlocal at
        start, at = at, at + spec.numel
        return P.reshape(P.cast(P.slice(x, (start,), (at,)), spec.dtype), spec.shape)

    for spec in specs:
        part = taken(spec)
        found.append(part * (1 << HALF) + taken(spec) if spec.dtype is i64 else part)
    return found


def _refuse(cotangents: list[Any]) -> Any:
    raise AutogradError(
        "the derivative of while_loop() by a condition on data",
        why="how many trips there were is known at run time only, so none are kept for a backward",
        fix="loop a fixed number of times with scan(), keeping the carry by "
        "graphc.where(condition, new, old); or detach() what the loop reads",
    )
