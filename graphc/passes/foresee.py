"""foresee: stores what its readers could not address, so that fusion and lowering never meet it.

A reader sees a value through movement ops as one affine address of what is in memory. A reshape of
dimensions whose strides do not merge has none. What a contraction, a gather or a routine reads has
to be in memory; a gather's table without borders, a routine's operands as whole arrays, row by row.

Behind this pass each chain of movement over a value in memory has an address. Which values are in
memory fusion decides, and it asks the same of itself: `materialise` lets nothing be computed again
where no address leads to what it is computed of.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from graphc.ir.graph import Graph, Value, uses
from graphc.passes.group import is_free, pads_with_more, parts_of, place_of
from graphc.passes.orders import identity, looks_through, merge_order, orders_of
from graphc.passes.profile import Profile
from graphc.passes.view import NotAffine, View, move, row_major, stored


def foresee(graph: Graph, profile: Profile) -> Graph:
    """The graph with `contiguous` where a reader needs its operand in memory."""
    return _Foresight(graph, profile).run()


class _Foresight:
    """One walk; `new` maps old values, and `views` says where the new ones would lie."""

    def __init__(self, graph: Graph, profile: Profile) -> None:
        self.graph = graph
        self.orders = orders_of(graph, profile)
        self.readers, self.outs = uses(graph), frozenset(graph.outs)
        self.parts = parts_of(graph)
        self.new: dict[Value, Value] = {}
        self.old: dict[Value, Value] = {}
        self.views: dict[Value, View] = {}
        self.copies: set[Value] = set()  # made here, each with memory of its own
        self.placed: set[Value] = set()  # parts, which lie in their wholes

    def run(self) -> Graph:
        for v in self.graph.values():
            w = v if v.op is None else self._visit(v)
            self.new[v] = w
            self.old[w] = v
            if w not in self.views:
                self.views[w] = place_of(v, self.parts, self.orders)
        return self.graph.with_outs(self.new[v] for v in self.graph.outs)

    def _visit(self, v: Value) -> Value:
        assert v.op is not None
        args = tuple(self.new[a] for a in v.args)
        rule = RULES.get(v.op.kind)
        since = v.builder.mark()
        with v.builder.at(v.where):
            if rule is not None:
                args = rule(self, v, args)
            w = v if args == v.args else v.builder.again(v, args)
            if v in self.parts:
                w = _another(w, self.copies)
                self.placed.add(w)
        v.builder.heir(w, v, since)
        if is_free(w) and v.op.kind == "movement":
            self.views[w] = self._moved(v, w)
        return w

    def _moved(self, v: Value, w: Value) -> View:
        assert v.op is not None
        (a,) = w.args
        try:
            return move(self.views[a], v.op.name, v.attrs)
        except NotAffine:  # readers look at what is before the reshape
            return stored(v.shape, merge_order(self.orders(a), a.shape, v.shape)[1])

    def _in_memory(self, a: Value, order: tuple[int, ...]) -> Value:
        copy = _another(a.builder.apply("contiguous", a, order=order), self.placed)
        self.views[copy] = stored(a.shape, order)
        self.copies.add(copy)
        return copy

    # ---- one rule for each kind of op ----------------------------------------------------------

    def _movement(self, v: Value, args: Operands) -> Operands:
        """A reshape of dimensions that do not merge, unless all readers look at what is before."""
        if not is_free(v):
            return args
        (a,) = args
        try:
            move(self.views[a], v.op.name if v.op else "", v.attrs)
        except NotAffine:
            if v in self.outs or not all(map(looks_through, self.readers[v])):
                return (self._in_memory(a, merge_order(self.orders(a), a.shape, v.shape)[0]),)
        return args

    def _contract(self, _: Value, args: Operands) -> Operands:
        return tuple(a if _has_memory(a) else self._in_memory(a, self.orders(a)) for a in args)

    def _index(self, v: Value, args: Operands) -> Operands:
        table, *rest = args
        scatters = v.op is not None and v.op.scatters
        if scatters or (_has_memory(table) and not self.views[table].guards):
            return args
        return (self._in_memory(table, self.orders(table)), *rest)

    def _attention(self, _: Value, args: Operands) -> Operands:
        """As a contraction's, without borders; a mask may be none, and single numbers are read.

        A constant is no operand: a result that is summed has a cotangent of ones.
        """
        return tuple(
            a
            if a.const is True
            or not a.shape
            or (a.const is None and _has_memory(a) and not self.views[a].guards)
            else self._in_memory(a, self.orders(a))
            for a in args
        )

    def _routine(self, _: Value, args: Operands) -> Operands:
        return tuple(a if self._is_whole(a) else self._in_memory(a, identity(a)) for a in args)

    def _loop(self, v: Value, args: Operands) -> Operands:
        """What is sliced lies in the arena, each slice row by row."""
        first = v.attrs["carried"]
        last = first + v.attrs["sliced"]
        slices = (a if self._has_slices(a) else self._in_memory(a, identity(a))
                  for a in args[first:last])  # fmt: skip
        return (*self._routine(v, args[:first]), *slices, *self._routine(v, args[last:]))

    def _has_slices(self, a: Value) -> bool:
        base = a
        while base.op is not None and base.op.kind == "movement" and is_free(base):
            base = base.args[0]
        base = self.old.get(base, base)
        owner = self.parts[base].whole if base in self.parts else base
        ours = not base.is_input and owner not in self.outs
        return ours and _has_memory(a) and has_row_major_slices(self.views[a])

    def _is_whole(self, a: Value) -> bool:
        return _has_memory(a) and is_row_major(self.views[a])


Operands = tuple[Value, ...]
RULES: Mapping[str, Callable[[_Foresight, Value, Operands], Operands]] = {
    "movement": _Foresight._movement,
    "contract": _Foresight._contract,
    "attention": _Foresight._attention,
    "index": _Foresight._index,
    "routine": _Foresight._routine,
    "loop": _Foresight._loop,
}


def _another(copy: Value, others: Collection[Value]) -> Value:
    """A copy that is none of the others: what is written alike is one value, and lies once."""
    while copy in others:
        copy = copy.builder.again(copy, (copy,))
    return copy


def is_row_major(view: View) -> bool:
    """Whether it shows a whole buffer, row by row."""
    wide = [k for k, n in enumerate(view.shape) if n > 1]
    strides = row_major(view.shape)
    at = view.address
    return not view.guards and not at.offset and all(at.strides[k] == strides[k] for k in wide)


def has_row_major_slices(view: View) -> bool:
    """Whether each slice along the first dimension lies row by row, wherever it begins."""
    shape, strides = view.shape, view.address.strides
    wide = [k for k, n in enumerate(shape) if n > 1 and k > 0]
    steps = row_major(shape)
    return not view.guards and all(strides[k] == steps[k] for k in wide)


def _has_memory(v: Value) -> bool:
    """Whether what is under the movement is an input or computed."""
    while v.op is not None and v.op.kind == "movement" and is_free(v):
        if pads_with_more(v):
            return False
        v = v.args[0]
    return v.is_input or not is_free(v)
