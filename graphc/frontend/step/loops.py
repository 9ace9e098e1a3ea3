"""scan() in a compiled step: a loop whose body is traced once, on stand-ins for one trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphc.errors import InvalidState, Untraceable
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.storage import Storage
from graphc.frontend.tape import RuleNode, attach, edge_of
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.ir.graph import Value, depending
from graphc.ir.types import TensorSpec
from graphc.passes.autodiff import Edge, backpropagate
from graphc.passes.loop_body import Body

Frontier = Callable[[Sequence[Tensor]], list[Edge]]


class Loop:
    """A scan while it is traced: its body runs on `carry` and `slice`, and `end` gives results."""

    def __init__(
        self, trace: Trace, init: Sequence[Tensor], xs: Sequence[Tensor], reverse: bool
    ) -> None:
        """`xs` are sliced along their first dimension; `reverse`: from the last slice on."""
        self.trace, self.init, self.xs = trace, init, xs
        builder = trace.builder
        given = [trace.value(t) for t in (*init, *xs)]
        self._known = set(trace.current)
        carried = [builder.input("carry", t.spec) for t in init]
        slices = [builder.input("x", TensorSpec(x.spec.dtype, x.spec.shape[1:])) for x in xs]
        self.body = Body(xs[0].spec.shape[0], reverse, carried, slices, given)
        self.carry = [self._stand_in(v, v.spec.dtype.is_floating_point) for v in carried]
        self.slice = [self._stand_in(v, x.requires_grad) for v, x in zip(slices, xs, strict=True)]
        self._hidden: dict[Storage, Value] = {}

    def _stand_in(self, value: Value, grad: bool) -> Tensor:
        out = self.trace.wrap(value)
        if grad and modes.grad:
            out.set_history(RuleNode("trip", (), lambda _: ()), 0)
        return out

    def end(
        self, after: Sequence[Tensor], ys: Sequence[Tensor], frontier: Frontier
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The last carry and the stacked results, from what one trip gives."""
        trace, body = self.trace, self.body
        new = body.taken([trace.value(t) for t in (*after, *ys)])
        body.next = new[: len(after)]
        self._hide()
        lasts = [trace.wrap(body.last(j)) for j in range(len(after))]
        stacks = [trace.wrap(body.stack(v)) for v in new[len(after) :]]
        mine = [edge_of(t) for t in (*self.carry, *self.slice)]
        outer = [e for e in frontier([*after, *ys]) if e not in mine]
        edges = [edge_of(t) for t in (*self.init, *self.xs)]
        if modes.grad and (outer or any(edges)):
            rule = _Derivative(self, after, ys, mine, outer).rule
            node = RuleNode("scan", [*edges, *outer], rule, len(after) + len(ys))
            for k, (t, one) in enumerate(zip((*lasts, *stacks), (*after, *ys), strict=True)):
                if one.requires_grad:
                    attach(t, node, k)
        return lasts, stacks

    def _hide(self) -> None:
        """Values of one trip mean nothing outside: reading one is an error."""
        made = {s: v for s, v in self.trace.current.items() if s not in self._known}
        inside = depending({*self.body.carried, *self.body.slices}, list(made.values()))
        self._hidden = {s: v for s, v in made.items() if v in inside}
        for s in self._hidden:
            del self.trace.current[s]

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, the values of one trip can be read."""
        self.trace.current |= self._hidden
        try:
            yield
        finally:
            for s in self._hidden:
                self.trace.current.pop(s, None)


def _done(trace: Trace) -> tuple[int, ...]:
    """What the step does besides computing."""
    draws = sum(trace.draws.values())
    return len(trace.after_commit), len(trace.deferred), len(trace.checks), len(trace.grads), draws


class _Derivative:
    """From cotangents of what a loop gives to those of what it reads.

    The gradients of one trip go to what is carried and to slices, which are `mine`, and to all
    else, which is `outer`.
    """

    def __init__(
        self, loop: Loop, after: Sequence[Tensor], ys: Sequence[Tensor], mine: list[Edge | None],
        outer: list[Edge],
    ) -> None:  # fmt: skip
        self.loop, self.after, self.ys, self.wanted = loop, after, ys, [*mine, *outer]
        self.ends = {node for node, _ in outer}

    def rule(self, cotangents: list[Any]) -> list[Any]:
        if modes.grad:
            raise InvalidState(
                "a second derivative through scan() or a recurrent layer in a compiled step",
                why="the derivative of its loop is a loop that is not differentiated again",
                fix="leave out create_graph=True, or compute this one outside the compiled step",
            )
        trace = self.loop.trace
        given = [None if g is None else trace.value(g) for g in cotangents]
        before = _done(trace)
        with self.loop.shown(), no_grad():
            grads = self._grads(given)
        if _done(trace) != before:
            raise Untraceable(
                "a hook in the body of scan() does more than compute",
                why="the derivative of the body is traced once, for all slices",
                fix="hook what scan() gives or reads",
            )
        return [None if v is None else trace.wrap(v) for v in grads]

    def _grads(self, given: list[Value | None]) -> list[Value | None]:
        loop, body = self.loop, self.loop.body
        builder, count, kept = loop.trace.builder, len(self.after), len(loop.slice)
        flows = [j for j, t in enumerate(loop.carry) if t.requires_grad]
        stacked = {k: g for k, g in enumerate(given[count:]) if g is not None}
        ends = [
            builder.constant(0, loop.carry[j].spec) if (g := given[j]) is None else g for j in flows
        ]
        body.seeds = [builder.input("d", g.spec) for g in ends]
        body.seeds += [builder.input("dy", self.ys[k].spec) for k in stacked]
        grads = self._pulled([*(self.after[j] for j in flows), *(self.ys[k] for k in stacked)])
        there = [g for g in grads if g is not None]
        back, new = body.backward(ends, list(stacked.values()), there)
        mine = iter(new)
        inner = [None if g is None else next(mine) for g in grads]
        found = back.gradients(
            [inner[j] for j in flows], inner[count:][:kept], inner[count + kept :]
        )
        of = dict(zip(flows, found))
        return [of.get(j) for j in range(count)] + found[len(flows) :]

    def _pulled(self, results: Sequence[Tensor]) -> list[Value | None]:
        """The tape of one trip, walked once from `seeds`."""
        trace = self.loop.trace
        starts = zip(results, self.loop.body.seeds, strict=True)
        found = backpropagate(
            [(e, trace.wrap(v)) for t, v in starts if (e := edge_of(t)) is not None],
            [e for e in self.wanted if e is not None],
            everything=False,
            keep=True,
            ends=self.ends,
            at=lambda where: trace.builder.at(where._replace(phase="bw")),
        )
        grads = [None if e is None else found.get(e) for e in self.wanted]
        return [None if g is None else trace.value(g) for g in grads]
