"""interleaved: what is done with an image that contractions interleave is done by each of them.

    where(mask, 0, assemble(a, b, ..))  =>  assemble(where(mask[a's places], 0, a), ..)
    sum(assemble(a, b, ..))             =>  sum(a) + sum(b) + ..

Input: a decomposed Graph, in which the data gradient of a strided convolution is one dense
convolution for every remainder of the stride. Output: one with the same meaning in which their
epilogues do what its only reader does, at the places that each has, and their tiles find its sums.
Else a kernel between them and the next contractions would read and write all of it once more.

A value with several readers goes to its parts only for a sum: what the others compute of it, such
as a norm's gradient, waits for all parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial, reduce
from math import prod
from operator import add

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value, uses
from graphc.ir.rewrite import replaced
from graphc.ir.sizes import typical
from graphc.ir.types import Shape, TensorSpec
from graphc.passes.group import is_op
from graphc.passes.halo import is_epilogue
from graphc.passes.profile import Profile


def interleaved(graph: Graph, profile: Profile) -> Graph:
    """Take elementwise values and sums to the parts of what contractions interleave."""
    if not profile.parts_apart or not any(is_op(v, "assemble") for v in graph.values()):
        return graph
    return _Interleaved(graph, profile.partial_reductions).run()


class _Interleaved:
    """One walk; `new` maps old values, `behind` a whole to what is computed of it."""

    def __init__(self, graph: Graph, points: int) -> None:
        self.graph, self.points = graph, points
        self.readers, self.outs = uses(graph), frozenset(graph.outs)
        self.new: dict[Value, Value] = {}
        self.behind: dict[Value, set[Value]] = {}  # by the old value: it and what waits for it

    def run(self) -> Graph:
        for v in self.graph.values():
            args = tuple(self.new[a] for a in v.args)
            self.new[v] = v if v.op is None else replaced(v, args, partial(self._visit, v))
            self._follow(v)
        return self.graph.with_outs(self.new[v] for v in self.graph.outs)

    def _visit(self, v: Value, w: Value) -> Value:
        wholes = [a for a in v.args if _is_interleaved(self.new[a])]
        if not wholes:
            return w
        whole = self.new[wholes[0]]
        if is_op(v, "sum"):
            return self._sum(v, w, whole)
        return _in_parts(w, whole) if self._goes_to_parts(v, wholes, whole) else w

    def _follow(self, v: Value) -> None:
        """Remember that v waits for the wholes that its operands wait for."""
        for known in self.behind.values():
            if not known.isdisjoint(v.args):
                known.add(v)
        if _is_interleaved(self.new[v]):
            self.behind[v] = {v}

    def _goes_to_parts(self, v: Value, wholes: list[Value], whole: Value) -> bool:
        """Whether v is done at each point of a whole, for nobody else's sake, and nothing else that
        it reads waits for that."""
        if v.op is None or v.op.kind != "elementwise" or v.op.can_fail(v.spec.dtype):
            return False
        if any(a.shape != v.shape for a in v.args) or v in self.outs:
            return False
        alone = all(self.readers[a] == [v] and a not in self.outs for a in wholes)
        if not alone and not all(self._is_summed(u, whole) for u in self.readers[v]):
            return False
        others = {*v.args} - {*wholes}
        alike = len({_places(self.new[a]) for a in wholes}) == 1
        return alike and all(self.behind[a].isdisjoint(others) for a in wholes)

    def _is_summed(self, v: Value, whole: Value) -> bool:
        """Whether v is a sum over places of a whole, so many that the tiles of each part find it;
        each part has one of every result."""
        if not is_op(v, "sum"):
            return False
        axes, rank = v.attrs["axes"], len(whole.shape)
        mixed = {k for step in whole.attrs["steps"] for k in range(rank) if step[k] != 1}
        points = min(prod(typical(part.shape[k]) for k in mixed) for part in whole.args)
        return mixed <= {*axes} and 0 < self.points <= points

    def _sum(self, v: Value, w: Value, whole: Value) -> Value:
        if not self._is_summed(v, whole):
            return w
        return reduce(add, (P.sum(part, v.attrs["axes"]) for part in whole.args))


def _in_parts(w: Value, whole: Value) -> Value:
    """`w`, which is elementwise, of what each part of `whole` and its other operands have there."""
    assert w.op is not None and whole.op is not None
    parts = [
        w.builder.emit(w.op, [_part(a, place) for a in w.args], w.attrs) for place in _each(whole)
    ]
    return w.builder.emit(whole.op, parts, whole.attrs)


class _Place:
    """Part `number` of a whole."""

    __slots__ = ("number", "shape", "start", "step", "whole")

    def __init__(self, whole: Value, number: int) -> None:
        self.whole, self.number = whole, number
        self.start: Shape = whole.attrs["starts"][number]
        self.step: Shape = whole.attrs["steps"][number]
        self.shape: Shape = whole.args[number].shape


def _each(whole: Value) -> Iterable[_Place]:
    return (_Place(whole, k) for k in range(len(whole.args)))


def _part(a: Value, place: _Place) -> Value:
    """What of `a` stands at the places of a part."""
    if a.const is not None:
        return a.full(a.const, TensorSpec(a.spec.dtype, place.shape))
    if _is_interleaved(a) and _places(a) == _places(place.whole):
        return a.args[place.number]
    if is_op(a, "expand"):
        return _expanded(a, place)
    ends = zip(place.start, place.shape, place.step, strict=True)
    return P.slice(a, place.start, tuple(s + (n - 1) * d + 1 for s, n, d in ends), place.step)


def _expanded(a: Value, place: _Place) -> Value:
    """Of what is the same at many points, that along the dimensions where it is not."""
    (x,) = a.args
    own = [n == whole for n, whole in zip(x.shape, a.shape, strict=True)]
    start = tuple(s if k else 0 for s, k in zip(place.start, own, strict=True))
    step = tuple(d if k else 1 for d, k in zip(place.step, own, strict=True))
    sizes = tuple(n if k else 1 for n, k in zip(place.shape, own, strict=True))
    ends = zip(start, sizes, step, strict=True)
    part = P.slice(x, start, tuple(s + (n - 1) * d + 1 for s, n, d in ends), step)
    return P.expand(part, place.shape)


def _is_interleaved(v: Value) -> bool:
    """Whether contractions, or nothing but zeros, give the elements of `v` by turns.

    Not those of a depthwise convolution, of a product or a few for each element: they take as long
    as their accesses, and are slower with more of them than a kernel that goes over all at once.
    """
    if not is_op(v, "assemble") or all(d == 1 for step in v.attrs["steps"] for d in step):
        return False
    computed = [part for part in v.args if part.const is None]
    if any(is_op(part, "conv") and part.args[1].shape[1] == 1 for part in computed):
        return False
    return bool(computed) and all(map(is_epilogue, computed))


def _places(whole: Value) -> tuple[object, ...]:
    return tuple(whole.attrs[k] for k in ("shape", "starts", "steps"))
