"""scan() in a compiled step: a loop whose body is traced once, on stand-ins for one trip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from graphc.errors import Untraceable
from graphc.frontend.modes import modes, no_grad
from graphc.frontend.storage import Storage
from graphc.frontend.tape import RuleNode, attach, edge_of
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.ir.graph import Value, depending
from graphc.ir.types import TensorSpec
from graphc.passes.autodiff import Edge, backpropagate, traced_by
from graphc.passes.loop_body import Body

Frontier = Callable[[Sequence[Tensor]], list[Edge]]


class Loop:
    """A scan while it is traced: its body runs on `carry` and `slice`, and `end` gives results."""

    def __init__(
        self, trace: Trace, init: Sequence[Tensor], xs: Sequence[Tensor], reverse: bool
    ) -> None:
        """`xs` are sliced along their first dimension; `reverse`: from the last slice on."""
        given = [trace.value(t) for t in (*init, *xs)]
        known = set(trace.current)
        carry = [stand_in(trace, "carry", t.spec, t.dtype.is_floating_point) for t in init]
        slices = [stand_in(trace, "x", _row_of(x.spec), x.requires_grad) for x in xs]
        self._begin(trace, init, xs, reverse, given, known, carry, slices)

    def _begin(
        self, trace: Trace, init: Sequence[Tensor], xs: Sequence[Tensor], reverse: bool,
        given: list[Value], known: set[Storage], carry: list[Tensor], slices: list[Tensor],
    ) -> None:  # fmt: skip
        self.trace, self.carry, self.slice, self._known = trace, carry, slices, known
        self._edges = [edge_of(t) for t in (*init, *xs)]
        carried, rows = ([trace.value(t) for t in ts] for ts in (carry, slices))
        self.body = Body(xs[0].spec.shape[0], reverse, carried, rows, given)
        self._hidden: dict[Storage, Value] = {}

    @classmethod
    def over(
        cls, trace: Trace, init: Sequence[Tensor], xs: Sequence[Tensor], reverse: bool,
        known: set[Storage], carry: list[Tensor], slices: list[Tensor],
    ) -> Loop:  # fmt: skip
        """The loop of a body that has run on these stand-ins; `known` was there before."""
        loop = cls.__new__(cls)
        given = [trace.value(t) for t in (*init, *xs)]
        loop._begin(trace, init, xs, reverse, given, known, carry, slices)
        return loop

    def end(
        self, after: Sequence[Tensor], ys: Sequence[Tensor], frontier: Frontier
    ) -> tuple[list[Tensor], list[Tensor]]:
        """The last carry and the stacked results, from what one trip gives.

        The node on the tape has outputs besides, what came into each trip: second derivatives read
        it."""
        trace, body = self.trace, self.body
        new = body.taken([trace.value(t) for t in (*after, *ys)])
        body.next = new[: len(after)]
        self._hide()
        lasts = [trace.wrap(body.last(j)) for j in range(len(after))]
        stacks = [trace.wrap(body.stack(v)) for v in new[len(after) :]]
        mine = [edge_of(t) for t in (*self.carry, *self.slice)]
        outer = [e for e in frontier([*after, *ys]) if e not in mine]
        if modes.grad and (outer or any(self._edges)):
            rule = _Derivative(self, after, [*ys, *self.carry], mine, outer, frontier)
            count = len(after) + len(ys) + len(self.carry)
            rule.node = RuleNode("scan", [*self._edges, *outer], rule.rule, count)
            for k, (t, one) in enumerate(zip((*lasts, *stacks), (*after, *ys), strict=True)):
                if one.requires_grad:
                    attach(t, rule.node, k)
        return lasts, stacks

    def read(self) -> list[Tensor]:
        """The stacked operands as they were, on the tape, and what came into each trip, not yet."""
        body, count = self.body, len(self.carry)
        found = [self.trace.wrap(v) for v in body.given[count:][: len(self.slice)]]
        for t, edge in zip(found, self._edges[count:], strict=True):
            if edge is not None:
                t.set_history(*edge)
        return found + [self.trace.wrap(body.before(j)) for j in range(count)]

    def _hide(self) -> None:
        """Values of one trip mean nothing outside: reading one is an error."""
        made = {s: v for s, v in self.trace.current.items() if s not in self._known}
        inside = depending({*self.body.carried, *self.body.slices}, list(made.values()))
        self._hidden |= {s: v for s, v in made.items() if v in inside}
        for s in self._hidden:
            self.trace.current.pop(s, None)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, the values of one trip can be read."""
        new = {s: v for s, v in self._hidden.items() if s not in self.trace.current}
        self.trace.current |= new
        try:
            yield
        finally:
            for s in new:
                self.trace.current.pop(s, None)


def stand_in(trace: Trace, name: str, spec: TensorSpec, grad: bool) -> Tensor:
    """A tensor of one trip; `grad`: whose derivative may be asked for."""
    out = trace.wrap(trace.builder.input(name, spec))
    if grad and modes.grad:
        out.set_history(RuleNode("trip", (), lambda _: ()), 0)
    return out


def _row_of(spec: TensorSpec) -> TensorSpec:
    return TensorSpec(spec.dtype, spec.shape[1:])


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
        outer: list[Edge], frontier: Frontier,
    ) -> None:  # fmt: skip
        self.loop, self.after, self.ys, self.wanted = loop, after, ys, [*mine, *outer]
        self.ends = {node for node, _ in outer}
        self.frontier = frontier
        self.node: RuleNode | None = None

    def rule(self, cotangents: list[Any]) -> list[Any]:
        trace = self.loop.trace
        before = _done(trace)
        with self.loop.shown():
            grads = self._again(cotangents) if modes.grad else self._once(cotangents)
        if _done(trace) != before:
            raise Untraceable(
                "a hook in the body of scan() does more than compute",
                why="the derivative of the body is traced once, for all slices",
                fix="hook what scan() gives or reads",
            )
        return grads

    def _once(self, cotangents: list[Any]) -> list[Tensor | None]:
        trace = self.loop.trace
        given = [None if g is None else trace.value(g) for g in cotangents]
        with no_grad():
            grads = self._grads(given)
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
        results = [*(self.after[j] for j in flows), *(self.ys[k] for k in stacked)]
        pulled = self._pulled(results, [loop.trace.wrap(v) for v in body.seeds])
        grads = [None if g is None else loop.trace.value(g) for g in pulled]
        there = [g for g in grads if g is not None]
        back, new = body.backward(ends, list(stacked.values()), there)
        mine = iter(new)
        inner = [None if g is None else next(mine) for g in grads]
        found = back.gradients(
            [inner[j] for j in flows], inner[count:][:kept], inner[count + kept :]
        )
        of = dict(zip(flows, found))
        return [of.get(j) for j in range(count)] + found[len(flows) :]

    def _again(self, given: list[Any]) -> list[Tensor | None]:
        """The same by a loop that is on the tape, and so has a derivative.

        Its trips compute forward trips again, from what came into these, on the stand-ins that the
        tape of the body knows; what is the same in all trips gets its gradient by a total that is
        carried."""
        loop, trace, count = self.loop, self.loop.trace, len(self.after)
        flows = [j for j, t in enumerate(loop.carry) if t.requires_grad]
        stacked = {k: g for k, g in enumerate(given[count:]) if g is not None}
        zeros = partial(_zeros, trace)
        ends = [zeros(loop.carry[j].spec) if (g := given[j]) is None else g for j in flows]
        known = set(trace.current)
        seeds = [stand_in(trace, "d", g.spec, True) for g in ends]
        seeds += [stand_in(trace, "dy", self.ys[k].spec, True) for k in stacked]
        results = [*(self.after[j] for j in flows), *(self.ys[k] for k in stacked)]
        grads = self._pulled(results, seeds)
        handed = [g if (g := grads[j]) is not None else zeros(loop.carry[j].spec) for j in flows]
        own = len(loop.carry) + len(loop.slice)
        rows = {k: g for k, g in enumerate(grads[count:own]) if g is not None}
        sums = {k: g for k, g in enumerate(grads[own:]) if g is not None}
        totals = [stand_in(trace, "total", g.spec, True) for g in sums.values()]
        back = Loop.over(
            trace, [*ends, *(zeros(g.spec) for g in sums.values())],
            [*stacked.values(), *self._read()], not loop.body.reverse, known,
            [*seeds[: len(ends)], *totals], [*seeds[len(ends) :], *loop.slice, *loop.carry],
        )  # fmt: skip
        back._hidden |= loop._hidden
        added = [t + g for t, g in zip(totals, sums.values(), strict=True)]
        lasts, stacks = back.end([*handed, *added], list(rows.values()), self.frontier)
        of = dict(zip(flows, lasts)) | dict(zip((count + k for k in rows), stacks))
        of |= zip((own + k for k in sums), lasts[len(flows) :])
        return [of.get(k) for k in range(len(grads))]

    def _read(self) -> list[Tensor]:
        """What the forward trips read, with its history."""
        found, node = self.loop.read(), self.node
        assert node is not None, "it pulls"
        first, at = len(self.loop.slice), node.count - len(self.loop.carry)
        for j, t in enumerate(self.loop.carry):
            if t.requires_grad:
                found[first + j].set_history(node, at + j)
        return found

    def _pulled(self, results: Sequence[Tensor], seeds: Sequence[Tensor]) -> list[Tensor | None]:
        """The tape of one trip, walked once from `seeds`."""
        starts = zip(results, seeds, strict=True)
        found = backpropagate(
            [(e, g) for t, g in starts if (e := edge_of(t)) is not None],
            [e for e in self.wanted if e is not None],
            everything=False,
            keep=True,
            ends=self.ends,
            at=traced_by(self.loop.trace.builder),
        )
        return [None if e is None else found.get(e) for e in self.wanted]


def _zeros(trace: Trace, spec: TensorSpec) -> Tensor:
    return trace.wrap(trace.builder.constant(0, spec))
