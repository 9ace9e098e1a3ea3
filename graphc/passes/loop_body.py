"""loop_body: a loop while it is made, and the loop that is its derivative.

A `Body` is one trip as values over inputs of its own. Its derivative is a loop the other way round,
whose body is what the tape gives of one trip (`frontend/step/loops.py`). What that needs of the
forward trips is stacked, as the cheapest cut of the body says (`partition.py`). A gradient of what
is the same in all trips, a weight's above all, is a sum over them: of products or sums it is one
contraction of what the trips stack, not one for each (`stacking.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value, depending, topological
from graphc.ir.ops import OPS
from graphc.ir.sizes import same, typical
from graphc.passes.partition import cut
from graphc.passes.stacking import Stacking

LOOP = OPS["loop"]
# Loops are made while the user's code is traced, before any back end is asked: one graph for all
# machines, so its numbers are about what a loop holds and what ops cost (`Op.cost`), not about one.
GROWTH = 8  # times its operands that the product of all trips may hold, which one trip's would not
CHEAP = 6  # the cost in additions up to which a trip's backward computes again what it could keep


@dataclass(eq=False)
class Body:
    """One trip: what it reads besides what is carried and its slices becomes an input, too.

    `given` are the operands of the loop: first values of what is carried, and stacked slices.
    """

    trips: int
    reverse: bool
    carried: list[Value]
    slices: list[Value]
    given: list[Value]
    next: list[Value] = field(default_factory=list)
    captured: dict[Value, Value] = field(default_factory=dict)  # outside -> input
    seeds: list[Value] = field(default_factory=list)  # cotangents of one trip
    _new: dict[Value, Value] = field(default_factory=dict)

    def taken(self, outs: Sequence[Value]) -> list[Value]:
        """`outs` over inputs alone."""
        inside = depending({*self.carried, *self.slices, *self.seeds}, outs)
        for v in topological(outs):
            if v in inside and v not in self._new:
                args = [self._new[a] if a in inside else self._read(a) for a in v.args]
                w = _over(v, args)
                self._new[v] = w if self.seeds else self._hoisted(w)
        return [self._new[v] if v in inside else self._read(v) for v in outs]

    def _hoisted(self, v: Value) -> Value:
        """A product of slices alone is one product in front of the loop, and then a slice."""
        if v.op is None or v.op.name != "dot" or v in self.slices:
            return v
        large = typical(v.spec.numel) > GROWTH * max(typical(a.spec.numel) for a in v.args)
        carries = not set(self.carried).isdisjoint(topological([v]))
        if large or carries or not all(map(self._is_moved, v.args)):
            return v
        whole = Stacking(self).product(v)
        if whole is None:
            return v
        self.given.append(whole)
        self.slices.append(v.builder.input("product", v.spec, v.where))
        return self.slices[-1]

    def _is_moved(self, v: Value) -> bool:
        """Whether v is there before the loop: an input, moved."""
        while v.op is not None and v.op.kind == "movement" and len(v.args) == 1:
            (v,) = v.args
        return v in self.slices or v in self.captured.values()

    def _read(self, v: Value) -> Value:
        """What is the same in all trips: movement is repeated, what it moves is an input."""
        chain: list[Value] = []
        while v.op is not None and v.op.kind == "movement" and len(v.args) == 1:
            chain.append(v)
            (v,) = v.args
        if v.const is None and (v.op is None or v.op.kind != "source" or v.args):
            if v not in self.captured:
                self.captured[v] = v.builder.input(v.name.removeprefix("%"), v.spec, v.where)
            v = self.captured[v]
        for m in reversed(chain):
            v = _over(m, [v])
        return v

    # ---- results of the loop -------------------------------------------------------------------

    def last(self, j: int) -> Value:
        """What is carried in the end."""
        return self._emit("last", j)

    def stack(self, out: Value) -> Value:
        """A value of each trip."""
        return self._emit("stack", 0, out)

    def before(self, j: int) -> Value:
        """What came into each trip."""
        return self._rows(self._emit("trail", j), int(self.reverse))

    def after(self, j: int) -> Value:
        """What each trip carried on."""
        return self._rows(self._emit("trail", j), int(not self.reverse))

    def _rows(self, trail: Value, first: int) -> Value:
        rest = trail.shape[1:]
        none = (0,) * len(rest)
        return P.slice(trail, (first, *none), (first + self.trips, *rest))

    def _emit(self, gives: str, index: int, out: Value | None = None) -> Value:
        inputs = (*self.carried, *self.slices, *self.captured.values())
        outs = (*self.next, *(() if out is None else (out,)))
        body = Graph("trip", inputs, ("arg",) * len(inputs), outs, (None,) * len(outs))
        attrs = {
            "body": body, "carried": len(self.carried), "sliced": len(self.slices),
            "trips": self.trips, "reverse": self.reverse, "gives": gives, "index": index,
        }  # fmt: skip
        return inputs[0].builder.emit(LOOP, (*self.given, *self.captured), attrs)

    # ---- the derivative ------------------------------------------------------------------------

    def stacked(self, v: Value) -> Value:
        """What a value of the body was in each trip."""
        if v in self.slices:
            return self.given[len(self.carried) + self.slices.index(v)]
        if v in self.carried:
            return self.before(self.carried.index(v))
        return self.after(self.next.index(v)) if v in self.next else self.stack(v)

    def backward(
        self, ends: Sequence[Value], stacks: Sequence[Value], grads: Sequence[Value]
    ) -> tuple[Body, list[Value]]:
        """The loop the other way round, and what `grads` are in its body.

        `grads` are made of `seeds`: cotangents of what is carried, which are `ends` behind the last
        trip, then of what is stacked, which are `stacks`.
        """
        grads = self.taken(grads)
        carried, slices = self.seeds[: len(ends)], self.seeds[len(ends) :]
        back = Body(self.trips, not self.reverse, carried, slices, [*ends, *stacks])
        new: dict[Value, Value] = {}
        outside = {i: o for o, i in self.captured.items()}
        for v in self._kept(grads):
            new[v] = v.builder.input(v.name.removeprefix("%"), v.spec, v.where)
            if v in outside:
                back.captured[outside[v]] = new[v]
            else:
                back.slices.append(new[v])
                back.given.append(self.stacked(v))
        for v in topological(grads):
            if v not in new:
                new[v] = side_by_side(_over(v, [new[a] for a in v.args]))
        return back, [new[v] for v in grads]

    def _kept(self, grads: Sequence[Value]) -> list[Value]:
        """What the backward trips read of the forward ones."""
        anyway = {*self.slices, *self.captured.values(), *self.next}
        later = depending(set(self.seeds), grads)
        read = [a for v in topological(grads) if v in later for a in v.args]
        needed = [v for v in (*read, *grads) if v not in later and v.const is None]
        return cut(list(dict.fromkeys(needed)), set(self.carried), anyway, CHEAP)

    def gradients(
        self, flows: Sequence[Value | None], slices: Sequence[Value | None],
        same: Sequence[Value | None],
    ) -> list[Value | None]:  # fmt: skip
        """What this backward loop gives: of what its trips hand on, of what they stack, and of what
        they sum."""
        zeros = [v.builder.constant(0, v.spec) for v in self.carried]
        self.next = [z if v is None else v for v, z in zip(flows, zeros, strict=True)]
        stacking = Stacking(self)
        added: dict[Value, int] = {}
        for v in same:
            if v is not None and v not in added and not stacking.sums(v):
                at = added[v] = len(self.carried)
                self.carried.append(v.builder.input("total", v.spec))
                self.given.insert(at, v.builder.constant(0, v.spec))
                self.next.append(self.carried[at] + v)
        found: list[Value | None] = [self.last(j) for j in range(len(flows))]
        found += [None if v is None else stacking.stacked(v) for v in slices]
        sums = stacking.total
        return found + [
            None if v is None else self.last(added[v]) if v in added else sums(v) for v in same
        ]


def side_by_side(v: Value) -> Value:
    """A sum of what zeros were put around, such as the gradients of chunks: a concatenation, of
    the very same numbers, if they leave no gap. (-0 + 0 is 0.)"""
    parts: list[Value] = []
    stack = [v]
    while stack:
        u = stack.pop()
        if u.op is not None and u.op.name == "add":
            stack += u.args
        elif u.op is not None and u.op.name == "pad" and repr(u.attrs["value"]) == "0.0":
            parts.append(u)
        else:
            return v
    padded = {k for p in parts for k, n in enumerate((*p.attrs["low"], *p.attrs["high"])) if n}
    axes = {k % len(v.shape) for k in padded}
    if len(parts) < 2 or len(axes) != 1 or not v.spec.dtype.is_floating_point:
        return v
    (axis,) = axes
    parts.sort(key=lambda p: typical(p.attrs["low"][axis]))
    at = 0
    for p in parts:
        if not same(p.attrs["low"][axis], at):
            return v
        at += p.args[0].shape[axis]
    if not same(at, v.shape[axis]):
        return v
    with v.builder.at(v.where):
        return v.builder.apply("concat", *(p.args[0] + 0.0 for p in parts), axis=axis)


def _over(v: Value, args: list[Value]) -> Value:
    """`v` of other arguments."""
    if v.op is None or args == [*v.args]:
        return v
    with v.builder.at(v.where):
        return v.builder.emit(v.op, args, v.attrs)
