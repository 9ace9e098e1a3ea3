"""loops: one loop for all its results, and nothing in it that nobody needs.

Input: a traced Graph, in which each result of a loop is a loop of its own. Output: the same, but
results of one loop share a body, which computes what some of them need. What is carried on and
stacked, too, is the trail of what was carried, written once; its last row is what is carried last.
Weights lie as the trips read them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value, topological
from graphc.ir.rewrite import bodies_of
from graphc.ir.sizes import same
from graphc.passes.loop_panels import in_panels
from graphc.passes.profile import Profile


def loops(graph: Graph, profile: Profile) -> Graph:
    """Results of one loop share its body, and weights lie as its trips read them."""
    return in_panels(_shared(graph), profile.panel) if bodies_of(graph) else graph


def _shared(graph: Graph) -> Graph:
    found: dict[Hashable, _Loop] = {}
    for v in graph.values():
        if v.op is not None and v.op.kind == "loop" and not _is_empty(v):
            found.setdefault(_key(v), _Loop(v)).add(v)
    new: dict[Value, Value] = {}
    for v in graph.values():
        if v.op is None:
            new[v] = v
            continue
        since = v.builder.mark()
        with v.builder.at(v.where):
            if _is_empty(v):
                w = v.builder.constant(0, v.spec)
            elif v.op.kind == "loop":
                w = found[_key(v)].result(v, new)
            else:
                args = tuple(new[a] for a in v.args)
                w = v if args == v.args else v.builder.again(v, args)
        new[v] = v.builder.heir(w, v, since)
    return graph.with_outs(new[v] for v in graph.outs)


def _is_empty(v: Value) -> bool:
    """Whether v has no elements: no trip needs to store any."""
    return v.op is not None and v.op.kind == "loop" and same(v.spec.numel, 0)


def _key(v: Value) -> Hashable:
    """What results of one loop have in common."""
    body, carried, a = v.attrs["body"], v.attrs["carried"], v.attrs
    own = carried + a["sliced"]
    same = v.args[:own], body.inputs[:own], body.outs[:carried]
    return same, a["trips"], a["reverse"]


class _Needed(NamedTuple):
    """What is left of a loop: numbers of what is carried, of slices, the inputs besides."""

    carried: list[int]
    slices: list[int]
    same: list[Value]


@dataclass(eq=False)
class _Loop:
    """All results of one loop."""

    first: Value
    same: dict[Value, Value] = field(default_factory=dict)  # by inputs that no trip changes
    stacks: dict[Value, None] = field(default_factory=dict)
    ends: set[int] = field(default_factory=set)
    trails: set[int] = field(default_factory=set)
    made: Graph | None = None
    needed: _Needed = field(default_factory=lambda: _Needed([], [], []))

    def add(self, v: Value) -> None:
        """Note what v asks for."""
        own = self._carried + v.attrs["sliced"]
        self.same |= zip(v.attrs["body"].inputs[own:], v.args[own:], strict=True)
        gives, index = v.attrs["gives"], v.attrs["index"]
        if gives == "stack":
            out = v.attrs["body"].outs[self._carried + index]
            if out in self._next:
                self.trails.add(self._next.index(out))
            else:
                self.stacks[out] = None
        else:
            (self.trails if gives == "trail" else self.ends).add(index)

    @property
    def _carried(self) -> int:
        carried: int = self.first.attrs["carried"]
        return carried

    @property
    def _inputs(self) -> tuple[Value, ...]:
        inputs: tuple[Value, ...] = self.first.attrs["body"].inputs
        return inputs

    @property
    def _next(self) -> tuple[Value, ...]:
        outs: tuple[Value, ...] = self.first.attrs["body"].outs[: self._carried]
        return outs

    def result(self, v: Value, new: dict[Value, Value]) -> Value:
        """What v is of the one loop."""
        if self.made is None:
            self.needed = self._needs()
            self.made = self._body()
        gives, index = v.attrs["gives"], v.attrs["index"]
        trips, reverse = v.attrs["trips"], v.attrs["reverse"]
        if gives == "stack":
            out = v.attrs["body"].outs[self._carried + index]
            if out not in self._next:
                return self._emit(v, "stack", list(self.stacks).index(out), new)
            trail = self._emit(v, "trail", self._next.index(out), new)
            return _rows(trail, int(not reverse), trips)
        if gives == "last" and index in self.trails:
            trail = self._emit(v, "trail", index, new)
            return P.reshape(_rows(trail, 0 if reverse else trips, 1), v.shape)
        return self._emit(v, gives, index, new)

    def _emit(self, v: Value, gives: str, index: int, new: dict[Value, Value]) -> Value:
        carried, slices, same = self.needed
        args = [v.args[j] for j in carried]
        args += [v.args[self._carried + k] for k in slices]
        args += [self.same[i] for i in same]
        attrs = {
            **v.attrs, "body": self.made, "carried": len(carried), "sliced": len(slices),
            "gives": gives, "index": index if gives == "stack" else carried.index(index),
        }  # fmt: skip
        assert v.op is not None
        return v.builder.emit(v.op, [new[a] for a in args], attrs)

    def _needs(self) -> _Needed:
        """What is carried for a result, or for what is carried for one, and what trips read."""
        carried = self.ends | self.trails
        read: set[Value] = set()
        while True:
            read = set(topological([*self.stacks, *(self._next[j] for j in carried)]))
            more = {j for j in range(self._carried) if self._inputs[j] in read}
            if more <= carried:
                break
            carried |= more
        own = self._inputs[self._carried :][: self.first.attrs["sliced"]]
        slices = [k for k, x in enumerate(own) if x in read]
        return _Needed(sorted(carried), slices, [i for i in self.same if i in read])

    def _body(self) -> Graph:
        carried, slices, same = self.needed
        inputs: Iterable[Value] = (
            *(self._inputs[j] for j in carried),
            *(self._inputs[self._carried + k] for k in slices),
            *same,
        )
        outs = (*(self._next[j] for j in carried), *self.stacks)
        inputs = tuple(inputs)
        return Graph("trip", inputs, ("arg",) * len(inputs), outs, (None,) * len(outs))


def _rows(trail: Value, first: int, count: int) -> Value:
    rest = trail.shape[1:]
    none = (0,) * len(rest)
    return P.slice(trail, (first, *none), (first + count, *rest))
