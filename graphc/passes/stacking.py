"""Sums over the trips of a loop, taken in front of it or behind it, not in it.

sum_t dot(a_t, b_t) is one dot of the stacked a and b over one more dimension; likewise a sum.
"""

from __future__ import annotations

from typing import Protocol

from graphc.ir import sugar as P
from graphc.ir.graph import Value, topological


class Trips(Protocol):
    """A loop whose results these are."""

    trips: int
    carried: list[Value]
    slices: list[Value]
    given: list[Value]
    captured: dict[Value, Value]

    def stack(self, out: Value) -> Value: ...


class Stacking:
    """What values of one trip are for all of them."""

    def __init__(self, loop: Trips) -> None:
        self.loop = loop

    def sums(self, v: Value) -> bool:
        """Whether the sum of `v` over the trips is one of what they stack."""
        while _passes(v):
            (v,) = v.args
        if v.op is not None and v.op.name == "add":
            return all(map(self.sums, v.args))
        return v.op is not None and (
            v.op.name == "sum" or (v.op.name == "dot" and all(map(self._varies, v.args)))
        )

    def total(self, v: Value) -> Value:
        """The sum of `v` over all trips."""
        assert v.op is not None
        if _passes(v) or v.op.name == "add":
            return v.builder.emit(v.op, [self.total(a) for a in v.args], v.attrs)
        if v.op.name == "sum":
            axes = tuple(k + 1 for k in v.attrs["axes"])
            return P.sum(self.stacked(v.args[0]), (0, *axes))
        batch, contract = (
            tuple((i + 1, j + 1) for i, j in v.attrs[pairs]) for pairs in ("batch", "contract")
        )
        a, b = map(self.stacked, v.args)
        return v.builder.apply("dot", a, b, batch=batch, contract=((0, 0), *contract))

    def stacked(self, v: Value) -> Value:
        """What `v` was in each trip."""
        loop = self.loop
        if v in loop.slices:
            return loop.given[len(loop.carried) + loop.slices.index(v)]
        if v.op is not None and v.op.name in ("reshape", "transpose") and self._varies(v):
            (a,) = v.args
            whole = self.stacked(a)
            if v.op.name == "reshape":
                return P.reshape(whole, (loop.trips, *v.shape))
            return P.transpose(whole, (0, *(k + 1 for k in v.attrs["perm"])))
        product = self.product(v)
        return loop.stack(v) if product is None else product

    def product(self, v: Value) -> Value | None:
        """A product with what is the same in all trips, of all trips as one; None of others."""
        if v.op is None or v.op.name != "dot" or v.attrs["batch"]:
            return None
        a, b = v.args
        first = self._varies(a)
        if first == self._varies(b):
            return None
        sides = (
            (self.stacked(a), self._outside(b)) if first else (self._outside(a), self.stacked(b))
        )
        contract = tuple((i + first, j + (not first)) for i, j in v.attrs["contract"])
        found: Value = v.builder.apply("dot", *sides, batch=(), contract=contract)
        at = 0 if first else len(a.shape) - len(contract)  # where the trips are
        rest = tuple(k for k in range(len(found.shape)) if k != at)
        return P.transpose(found, (at, *rest))

    def _outside(self, v: Value) -> Value:
        """What is the same in all trips, in front of the loop."""
        outside = {inner: outer for outer, inner in self.loop.captured.items()}
        for u in topological([v]):
            if u not in outside:
                args = [outside[a] for a in u.args]
                outside[u] = u if u.op is None else u.builder.emit(u.op, args, u.attrs)
        return outside[v]

    def _varies(self, v: Value) -> bool:
        own = {*self.loop.carried, *self.loop.slices}
        return not own.isdisjoint(topological([v]))


def _passes(v: Value) -> bool:
    """Whether a sum goes through it."""
    moves = v.op is not None and v.op.kind == "movement" and v.op.linear
    return moves or (v.op is not None and v.op.name == "cast")
