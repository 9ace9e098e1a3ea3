"""fuse: which values share a kernel, and which values have a buffer at all.

Input: a laid-out Graph. Output: `Group`s, one per kernel, in no particular order.

Values join groups greedily in graph order:
  - an elementwise value joins a producer that computes its operand at the same points, be it an
    elementwise chain, a reduction (epilogue or, for rows, the next phase) or a contraction
    (epilogue); its dimensions may be a permutation of the producer's;
  - a reduction joins the chain that computes its operand, and other reductions of the same axes;
  - groups that meet in one consumer and fit become one.
A join that would make two groups wait for each other is refused.

`realise` then decides which members have buffers.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from graphc.ir.graph import Graph, Value
from graphc.ir.types import Shape
from graphc.passes.group import (
    KEPT,
    SCATTERS,
    Chain,
    Fusion,
    Group,
    Level,
    is_free,
    is_op,
    is_reduce,
    moved,
    operands,
    parts_of,
    used,
)
from graphc.passes.order import Orders, folded_source, identity
from graphc.passes.realise import realise
from graphc.passes.view import Form, NotAffine, move, stored

MAX_MEMBERS = 64
SMALL_ROW = 1 << 8  # rows this short may be folded over the batch and be read again


def fuse(graph: Graph) -> Fusion:
    """Group the values of `graph` and choose which of them have buffers."""
    return _Fuser(graph).run()


class _Fuser:
    """The greedy walk. `needs[g]` is the mask of groups that g waits for, itself included."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.orders = Orders(graph)
        self.groups: list[Group] = []
        self.needs: list[int] = []
        self.of: dict[Value, Group] = {}

    def run(self) -> Fusion:
        for v in self.graph.values():
            if not is_free(v) and not is_op(v, "assemble"):
                self._place(v)
        groups = [g for g in self.groups if g.members]
        realised = realise(self.graph, self.of)
        for g in groups:
            g.outputs = [v for v in g.members if v in realised]
        kept = tuple(g for g in groups if g.outputs)
        return Fusion(kept, frozenset(realised), parts_of(self.graph))

    # ---- placing one value ---------------------------------------------------------------------

    def _place(self, v: Value) -> None:
        sources = self._sources(v)
        for g in self._candidates(v, sources):
            level = self._fits(v, g)
            if level is not None and self._acyclic(g, sources):
                self._join(v, g, level, sources)
                self._merge_others(v, g, sources)
                return
        twin = self._twin(v, sources)
        if twin is not None:
            self._join(v, twin, KEPT if twin.reduced else identity(v), sources)
        else:
            self._begin(v, sources)

    def _sources(self, v: Value) -> list[Group]:
        """The groups that compute what `v` reads."""
        return self._behind(v.args)

    def _behind(self, values: Iterable[Value]) -> list[Group]:
        """The groups that compute these values, or the parts that they are assembled from."""
        found = []
        stack = list(values)
        while stack:
            base, _ = self._resolve(stack.pop())
            if base in self.of:
                found.append(self.of[base])
            else:
                stack.extend(base.args)
        return list(dict.fromkeys(found))

    def _reads_parts(self, v: Value, g: Group) -> bool:
        """Whether v reads something whole that has parts in g: all of g must be done before."""
        bases = [self._resolve(a)[0] for a in operands(v)]
        return g in self._behind([b for b in bases if b not in self.of])

    def _resolve(self, v: Value) -> tuple[Value, Chain]:
        chain: list[Value] = []
        while v not in self.of and is_free(v) and v.op is not None and v.op.kind == "movement":
            chain.append(v)
            v = v.args[0]
        return v, tuple(reversed(chain))

    def _candidates(self, v: Value, sources: list[Group]) -> list[Group]:
        """Contractions first (an epilogue saves a whole pass), then the largest domains."""
        return sorted(sources, key=lambda g: (g.kind != "contract", -prod(g.domain), g.bit))

    def _begin(self, v: Value, sources: list[Group]) -> None:
        assert v.op is not None
        g = Group(v.shape, "map", len(self.groups))
        level: Level = identity(v)
        if v.op.kind == "reduce":
            source, axes = folded_source(v)
            g.domain, g.reduced, level = source.shape, frozenset(axes), KEPT
        elif v.op.kind == "contract":
            g.kind = "contract"
        elif v.op.kind == "routine":
            g.kind = "routine"
        elif v.op.name in SCATTERS:
            g.kind, g.domain = "scatter", v.args[0].shape
        self.groups.append(g)
        self.needs.append(1 << g.bit)
        self._add(v, g, level, sources)

    def _join(self, v: Value, g: Group, level: Level, sources: list[Group]) -> None:
        if v.op is not None and v.op.kind == "reduce":
            g.reduced = frozenset(folded_source(v)[1])
        self._add(v, g, level, sources)

    def _add(self, v: Value, g: Group, level: Level, sources: list[Group]) -> None:
        g.members.append(v)
        g.levels[v] = level
        self.of[v] = g
        mask = self.needs[g.bit]
        for h in sources:
            mask |= self.needs[h.bit]
        self._raise(g, mask)

    def _raise(self, g: Group, mask: int) -> None:
        """g now needs `mask`; so does everyone that needs g."""
        if mask == self.needs[g.bit]:
            return
        for k, need in enumerate(self.needs):
            if need >> g.bit & 1:
                self.needs[k] = need | mask

    def _twin(self, v: Value, sources: list[Group]) -> Group | None:
        """A group over the same points that reads the same data, so that it is read once.

        Only for what has no better place in time: reductions (two statistics of one tensor), and
        stores of results beside the optimizer's reading of them.
        """
        assert v.op is not None
        folds = is_reduce(v)
        if not folds and (v.op.name != "contiguous" or v not in self.graph.outs):
            return None
        source, dims = folded_source(v) if folds else (v, ())
        data = self._data(operands(v)[0])
        for g in reversed(self.groups):
            if (
                g.kind == "map"
                and g.domain == source.shape
                and g.reduced == frozenset(dims)
                and len(g.members) < MAX_MEMBERS
                and all(h is not g for h in sources)
                and self._acyclic(g, sources)
                and self._shares(g, v, data)
            ):
                return g
        return None

    def _shares(self, g: Group, v: Value, data: set[Value]) -> bool:
        """Whether g reads some of `data`, and stores in the order that v wants."""
        for u in g.members:
            if is_reduce(v):
                if is_reduce(u) and data & self._data(operands(u)[0]):
                    return True
            elif any(data & self._data(a) for a in operands(u) if a.shape == v.shape):
                return self.orders(u) == self.orders(v)
        return False

    def _data(self, v: Value) -> set[Value]:
        """Large values that v's expression reads, up to the next value that is no arithmetic."""
        found: set[Value] = set()
        seen: set[Value] = set()
        stack = [v]
        while stack:
            u = stack.pop()
            if u in seen:
                continue
            seen.add(u)
            inner = is_free(u) or (u.op is not None and u.op.kind == "elementwise")
            if inner and u.args:
                stack.extend(a for a in u.args if 4 * a.spec.numel >= v.spec.numel)
            elif u.const is None:
                found.add(u)
        return found

    # ---- the rules of joining ------------------------------------------------------------------

    def _acyclic(self, g: Group, sources: list[Group]) -> bool:
        """No other source waits for g."""
        return all(h is g or not self.needs[h.bit] >> g.bit & 1 for h in sources)

    def _fits(self, v: Value, g: Group) -> Level | None:
        """The level at which `v` could join `g`, or None."""
        assert v.op is not None
        if len(g.members) >= MAX_MEMBERS or g.kind in ("scatter", "routine"):
            return None
        if v.op.kind == "reduce":
            return KEPT if self._reduce_fits(v, g) else None
        stores = v.op.name == "contiguous"
        if v.op.kind != "elementwise" and not stores:
            return None
        level = self._turned(v, g)
        if level is not None and self._reads_in_place(v, g, level):
            if stores and tuple(level.index(k) for k in self.orders(v)) != g.order(self.orders):
                return None
            return level if not g.reduced or self._may_read_back(v, g) else None
        if g.reduced and _squeezed(v.shape) == _squeezed(g.kept_shape):
            return KEPT if self._reads_in_place(v, g, KEPT) else None
        return None

    def _turned(self, v: Value, g: Group) -> Shape | None:
        """The permutation that takes the dimensions of v to those of g's domain."""
        if v.shape == g.domain:
            return identity(v)
        for a in operands(v):
            base, chain = self._resolve(a)
            level = g.levels.get(base)
            if level is None or level == KEPT or any(not is_op(m, "transpose") for m in chain):
                continue
            perm = identity(base)
            for m in chain:
                perm = tuple(perm[k] for k in m.attrs["perm"])
            turned = tuple(perm.index(k) for k in level)
            if tuple(v.shape[k] for k in turned) == g.domain:
                return turned
        return None

    def _reduce_fits(self, v: Value, g: Group) -> bool:
        source, dims = folded_source(v)
        axes = frozenset(dims)
        fits = g.kind == "map" and source.shape == g.domain and g.reduced in (axes, frozenset())
        if not fits or not self._reads_in_place(v, g, identity(source)):
            return False
        return not self._reads_kept(v, g) or self._rows(g)

    def _may_read_back(self, v: Value, g: Group) -> bool:
        """A full-level value may follow a reduction only where the rows are still in cache."""
        return self._rows(g) or not self._reads_kept(v, g)

    def _reads_kept(self, v: Value, g: Group) -> bool:
        """Whether v reads, perhaps through full-level members, the result of g's reductions."""
        seen: set[Value] = set()
        stack = [v]
        while stack:
            u = stack.pop()
            for a in u.args:
                base, _ = self._resolve(a)
                if self.of.get(base) is g and base not in seen:
                    if g.levels[base] == KEPT:
                        return True
                    seen.add(base)
                    stack.append(base)
        return False

    def _rows(self, g: Group) -> bool:
        """The folded dimensions are innermost in memory, or the whole domain stays in cache."""
        if prod(g.domain[1:]) <= SMALL_ROW:  # not the batch: another one must not change kernels
            return True
        first = g.members[0]
        v = first if first.shape == g.domain else operands(first)[0]
        if v.shape != g.domain:
            return False
        tail = self.orders(v)[len(g.domain) - len(g.reduced) :]
        return set(tail) == set(g.reduced)

    def _reads_in_place(self, v: Value, g: Group, level: Level) -> bool:
        """Some operand is computed by g, and each such one is read at the very same point."""
        reads = [self._resolve(a) for a in operands(v)]
        mine = [(base, chain) for base, chain in reads if self.of.get(base) is g]
        if not mine or self._reads_parts(v, g):
            return False
        return all(self._read_form(base, chain, g, level) == g.place(base) for base, chain in mine)

    def _read_form(self, u: Value, path: Chain, g: Group, level: Level) -> Form | None:
        """The number of the element of u that v reads, as a form over g's domain."""
        try:
            view = moved(stored(u.shape, tuple(range(len(u.shape)))), path)
            if level == KEPT:
                if prod(view.shape) != prod(g.kept_shape):
                    return None  # v is what another group keeps of a fold
                view = move(view, "reshape", {"shape": g.kept_shape})
                view = move(view, "expand", {"shape": g.domain})
            else:
                view = move(view, "transpose", {"perm": level})
        except NotAffine:
            return None
        if view.guards:
            return None
        return Form(used(view.address.strides, view.shape), view.address.offset)

    # ---- groups that meet ----------------------------------------------------------------------

    def _merge_others(self, v: Value, g: Group, sources: list[Group]) -> None:
        for h in sources:
            if h is not g and self._mergeable(g, h):
                self._merge(g, h)

    def _mergeable(self, g: Group, h: Group) -> bool:
        if g.domain != h.domain or h.kind != "map" or g.kind in ("scatter", "routine"):
            return False
        if len(g.members) + len(h.members) > MAX_MEMBERS:
            return False
        if h.reduced and (g.kind == "contract" or g.reduced not in (h.reduced, frozenset())):
            return False
        if (g.reduced or h.reduced) and not (self._rows(h) if h.reduced else self._rows(g)):
            return False
        if not self._same_points(g, h):
            return False
        others = self.needs[g.bit] & ~(1 << g.bit) & ~(1 << h.bit)
        between = any(
            others >> k & 1 and self.needs[k] >> h.bit & 1 for k in range(len(self.groups))
        )
        backwards = self.needs[h.bit] >> g.bit & 1
        return not between and not backwards

    def _same_points(self, g: Group, h: Group) -> bool:
        """What g reads of h, it reads where h computes it."""
        for v in g.members:
            assert v.op is not None
            level = identity(folded_source(v)[0]) if is_reduce(v) else g.levels[v]
            if self._reads_parts(v, h):
                return False
            for a in operands(v):
                base, chain = self._resolve(a)
                if self.of.get(base) is not h:
                    continue
                anywhere = v.op.kind == "contract" or (v.op.kind == "index" and a is v.args[0])
                if anywhere or self._read_form(base, chain, h, level) != h.place(base):
                    return False
        return True

    def _merge(self, g: Group, h: Group) -> None:
        members = sorted({*g.members, *h.members}, key=lambda v: v.number)
        g.reduced = g.reduced | h.reduced
        g.members = members
        g.levels |= h.levels
        for v in h.members:
            self.of[v] = g
        h.members = []
        mask = (self.needs[g.bit] | self.needs[h.bit]) & ~(1 << h.bit)
        for k, need in enumerate(self.needs):
            if need >> h.bit & 1 or need >> g.bit & 1:
                self.needs[k] = (need & ~(1 << h.bit)) | mask | 1 << g.bit
        self.needs[h.bit] = 0


def _squeezed(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)
