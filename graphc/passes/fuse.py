"""fuse: which values share a kernel, and which values have a buffer at all.

Input: a laid-out Graph. Output: `Group`s, one per kernel, in no particular order.

Values join groups greedily in graph order:
  - an elementwise value joins a producer that computes its operand at the same points, be it an
    elementwise chain, a reduction (epilogue or, for rows, the next phase) or a contraction
    (epilogue); its dimensions may be a permutation of the producer's;
  - a reduction joins the chain that computes its operand, and other reductions of the same axes;
    a sum may join a contraction, too, whose tiles then give partial sums (`statistics.py`);
  - groups that meet in one consumer and fit become one.
A join that would make two groups wait for each other is refused.

`materialise` then decides which members have buffers. Each group's note says for each of them who
else reads it, and which rule kept that reader out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import reduce
from math import prod
from operator import or_

from graphc.ir.graph import Graph, Value
from graphc.ir.sizes import typical
from graphc.ir.types import Shape
from graphc.ir.winograd import TAPS
from graphc.passes.data_read import DataRead
from graphc.passes.fusion_notes import Notes
from graphc.passes.group import (
    ALONE,
    KEPT,
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
    same_call,
    squeezed,
    used,
)
from graphc.passes.materialise import materialise
from graphc.passes.orders import identity, orders_of, reduced_source
from graphc.passes.profile import Profile
from graphc.passes.statistics import sums_products, tiled
from graphc.passes.view import Form, NotAffine, move, splits_only, stored


def fuse(graph: Graph, profile: Profile) -> Fusion:
    """Group the values of `graph` and choose which of them have buffers."""
    return Fuser(graph, profile).run()


class Fuser:
    """The greedy walk. Sets of groups are masks of their bits, sets of values of their places.

    `needs[g]` is what g waits for, itself included; `feeds[g]` is who reads g directly, and
    `reads[g]` whom g reads. A group that was merged into another waits for nothing, and its bit in
    other masks means nothing any more.
    """

    def __init__(self, graph: Graph, profile: Profile) -> None:
        self.graph = graph
        self.profile = profile
        self.orders = orders_of(graph, profile)
        self.outs = frozenset(graph.outs)
        self.groups: list[Group] = []
        self.needs: list[int] = []
        self.feeds: list[int] = []
        self.reads: list[int] = []
        self.of: dict[Value, Group] = {}
        self.data = DataRead(profile.much)
        self.over: dict[tuple[Shape, frozenset[int]], int] = {}  # map groups by what they cover
        self.folding: dict[int, int] = {}  # groups with a reduction that reads the value's bit
        self.reading: dict[int, int] = {}  # map groups that read it at each of their points
        self.returned = {v.shape for v in graph.outs if is_op(v, "contiguous")}

    def run(self) -> Fusion:
        for v in self.graph.values():
            if not is_free(v) and not is_op(v, "assemble"):
                self._place(v)
        self._merge_scalars()
        groups = [g for g in self.groups if g.members]
        materialised, because = materialise(self.graph, self.of, self.profile)
        for g in groups:
            g.outputs = [v for v in g.members if v in materialised]
        kept = tuple(g for g in groups if g.outputs)
        note = Notes(self, because).note
        return Fusion(kept, frozenset(materialised), parts_of(self.graph), note)

    # ---- placing one value ---------------------------------------------------------------------

    def _place(self, v: Value) -> None:
        sources = self._sources(v)
        for g in self._candidates(v, sources):
            level = self._fits(v, g)
            if level is not None and self._acyclic(g, sources):
                self._join(v, g, level, sources)
                self._merge_others(v, g, sources)
                return
        twin = same_call(v, self.groups, self.profile.attention_apart) or self._twin(v, sources)
        if twin is not None:
            self._join(v, twin, KEPT if twin.reduced else identity(v), sources)
        else:
            self._begin(v, sources)

    def _sources(self, v: Value) -> list[Group]:
        """The groups that compute what `v` reads."""
        return self._behind(v.args)

    def _behind(self, values: Iterable[Value]) -> list[Group]:
        """The groups that compute these values, or the parts that they are assembled from."""
        found: dict[Group, None] = {}
        seen: set[Value] = set()
        stack = list(values)
        while stack:
            base, _ = self._resolve(stack.pop())
            if base in self.of:
                found[self.of[base]] = None
            elif base not in seen:
                seen.add(base)
                stack.extend(base.args)
        return list(found)

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
        if len(sources) < 2:
            return sources
        return sorted(
            sources, key=lambda g: (g.kind != "contract", -typical(prod(g.domain)), g.bit)
        )

    def _begin(self, v: Value, sources: list[Group]) -> None:
        assert v.op is not None
        g = Group(v.shape, "map", len(self.groups))
        level: Level = identity(v)
        if v.op.kind == "reduce":
            source, axes = reduced_source(v)
            g.domain, g.reduced, level = source.shape, frozenset(axes), KEPT
        elif v.op.kind == "contract":
            g.kind = "contract"
        elif v.op.kind in ("attention", "routine", "loop"):
            g.kind = v.op.kind
        elif v.op.scatters:
            g.kind, g.domain = "scatter", v.args[0].shape
        self.groups.append(g)
        self.needs.append(1 << g.bit)
        self.feeds.append(0)
        self.reads.append(0)
        self._add(v, g, level, sources)

    def _join(self, v: Value, g: Group, level: Level, sources: list[Group]) -> None:
        if v.op is not None and v.op.kind == "reduce":
            g.reduced = frozenset(reduced_source(v)[1])
        self._add(v, g, level, sources)

    def _add(self, v: Value, g: Group, level: Level, sources: list[Group]) -> None:
        g.members.append(v)
        g.levels[v] = level
        self.of[v] = g
        mask = self.needs[g.bit]
        for h in sources:
            mask |= self.needs[h.bit]
            if h is not g:
                self.feeds[h.bit] |= 1 << g.bit
                self.reads[g.bit] |= 1 << h.bit
        self._note(g, [v])
        self._raise(g, mask)

    def _note(self, g: Group, members: list[Value]) -> None:
        """Let `_twin` find g, which has new members."""
        if g.kind == "map":
            if g.reduced:
                self._forget(g, frozenset())
            key = g.domain, g.reduced
            self.over[key] = self.over.get(key, 0) | 1 << g.bit
            own, returned = 1 << g.bit, not g.reduced and g.domain in self.returned
            for v in members:
                if is_reduce(v):
                    for bit in bits(self.data(operands(v)[0])):
                        self.folding[bit] = self.folding.get(bit, 0) | own
                elif returned:
                    for bit in bits(self._read_at_points(v, g.domain)):
                        self.reading[bit] = self.reading.get(bit, 0) | own

    def _read_at_points(self, v: Value, domain: Shape) -> int:
        """What v reads of the data that it meets at each point of the domain."""
        return reduce(or_, (self.data(a) for a in operands(v) if a.shape == domain), 0)

    def _forget(self, g: Group, reduced: frozenset[int]) -> None:
        key = g.domain, reduced
        self.over[key] = self.over.get(key, 0) & ~(1 << g.bit)

    def _raise(self, g: Group, mask: int) -> None:
        """g now needs `mask`; so does everyone that needs g."""
        stack = [g.bit]
        while stack:
            k = stack.pop()
            if mask & ~self.needs[k]:
                self.needs[k] |= mask
                stack.extend(bits(self.feeds[k]))

    def _twin(self, v: Value, sources: list[Group]) -> Group | None:
        """A group over the same points that reads the same data, so that it is read once.

        Only for what has no better place in time: reductions (two statistics of one tensor), and
        stores of results beside the optimizer's reading of them.
        """
        assert v.op is not None
        reduces = is_reduce(v)
        if not reduces and (v.op.name != "contiguous" or v not in self.outs):
            return None
        source, dims = reduced_source(v) if reduces else (v, ())
        data = self.data(operands(v)[0])
        found = self.over.get((source.shape, frozenset(dims)), 0)
        for h in sources:
            found &= ~self.needs[h.bit]  # a source, or one that a source waits for
        readers = self.folding if reduces else self.reading
        found &= reduce(or_, (readers.get(bit, 0) for bit in bits(data)), 0)
        while found:
            g = self.groups[found.bit_length() - 1]
            found ^= 1 << g.bit
            few = len(g.members) < self.profile.max_members
            if few and g.reduced == frozenset(dims) and self._shares(g, v, data):
                return g
        return None

    def _shares(self, g: Group, v: Value, data: int) -> bool:
        """Whether g reads some of `data`, and stores in the order that v wants."""
        for u in g.members:
            if is_reduce(v):
                if is_reduce(u) and data & self.data(operands(u)[0]):
                    return True
            elif data & self._read_at_points(u, v.shape):
                return self.orders(u) == self.orders(v)
        return False

    # ---- the rules of joining ------------------------------------------------------------------

    def _acyclic(self, g: Group, sources: list[Group]) -> bool:
        """No other source waits for g."""
        return all(h is g or not self.needs[h.bit] >> g.bit & 1 for h in sources)

    def _fits(self, v: Value, g: Group) -> Level | None:
        """The level at which `v` could join `g`, or None."""
        assert v.op is not None
        if len(g.members) >= self.profile.max_members or g.kind in ALONE:
            return None
        if v.op.kind == "reduce":
            return KEPT if self._reduce_fits(v, g) else None
        stores = v.op.name == "contiguous"
        if (v.op.kind != "elementwise" and not stores) or _sums_tiles(g):
            return None
        level = self._turned(v, g)
        if level is not None and self._reads_in_place(v, g, level):
            if self._breaks_tiles(v, g):
                return None
            if stores and tuple(level.index(k) for k in self.orders(v)) != g.order(self.orders):
                return None
            return level if not g.reduced or self._may_read_back(v, g) else None
        if g.kind == "map" and g.reduced and squeezed(v.shape) == squeezed(g.kept_shape):
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
        source, dims = reduced_source(v)
        axes = frozenset(dims)
        fits = source.shape == g.domain and g.reduced in (axes, frozenset())
        if not fits or not self._reads_in_place(v, g, identity(source)):
            return False
        if g.kind == "contract":
            return self._in_tiles(v, source, dims, g)
        return not self._reads_kept(v, g) or self._rows(g)

    def _in_tiles(self, v: Value, source: Value, dims: Shape, g: Group) -> bool:
        """Whether the tiles of a contraction can sum what they computed, over these dimensions."""
        if v.op is None or v.op.combine != "add" or self._reads_kept(v, g):
            return False
        parts = tiled(source, dims, self.orders, self.profile)
        return parts and g.order(self.orders) == self.orders(source) and self._plain(g)

    def _plain(self, g: Group) -> bool:
        """Whether the contraction runs in tiles: no padding is read where it is to be stored, and
        nothing may fail."""
        if any(v.op is not None and v.op.can_fail(v.spec.dtype) for v in g.members):
            return False
        first = next(v for v in g.members if v.op is not None and v.op.kind == "contract")
        chains = [self._resolve(a)[1] for a in first.args]
        padded = any(is_op(m, "pad") for chain in chains for m in chain)
        return (not padded or not self.profile.stored_halo) and sums_products(first, self.profile)

    def _breaks_tiles(self, v: Value, g: Group) -> bool:
        """Whether a contraction whose tiles find partial sums could not hold v."""
        if g.kind != "contract" or not g.reduced:
            return False
        fails = v.op is not None and v.op.can_fail(v.spec.dtype)
        return fails or self._reads_kept(v, g)

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
        """The reduced dimensions are innermost in memory, or the whole domain stays in cache."""
        if typical(prod(g.domain[1:])) <= self.profile.small_row:  # whatever the batch is
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
        return all(
            (not chain and level == g.levels[base] != KEPT)
            or self._read_form(base, chain, g, level) == g.place(base)
            for base, chain in mine
        )

    def _read_form(self, u: Value, path: Chain, g: Group, level: Level) -> Form | None:
        """The number of the element of u that v reads, as a form over g's domain.

        What u reads is seen through the same path, whatever its strides: so no dimensions merge.
        """
        if any(is_op(m, "reshape") and not splits_only(m.args[0].shape, m.shape) for m in path):
            return None
        try:
            view = moved(stored(u.shape, tuple(range(len(u.shape)))), path)
            if level == KEPT:
                if prod(view.shape) != prod(g.kept_shape):
                    return None  # v is what another group keeps of a reduction
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
        if g.domain != h.domain or h.kind != "map" or g.kind in ALONE:
            return False
        if len(g.members) + len(h.members) > self.profile.max_members:
            return False
        if h.reduced and (g.kind == "contract" or g.reduced not in (h.reduced, frozenset())):
            return False
        loops = g.kind == "map" and (g.reduced or h.reduced)
        if loops and not (self._rows(h) if h.reduced else self._rows(g)):
            return False
        if g.reduced and any(self._breaks_tiles(v, g) for v in h.members):
            return False
        ends = 1 << g.bit | 1 << h.bit
        between = self.needs[g.bit] & self.feeds[h.bit] & ~ends
        backwards = self.needs[h.bit] >> g.bit & 1
        return not between and not backwards and self._same_points(g, h)

    def _same_points(self, g: Group, h: Group) -> bool:
        """What g reads of h, it reads where h computes it."""
        for v in g.members:
            assert v.op is not None
            level = identity(reduced_source(v)[0]) if is_reduce(v) else g.levels[v]
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

    def _merge_scalars(self) -> None:
        """Updates of single numbers that wait for nothing, such as counters, share a launch."""
        last: Group | None = None
        for h in self.groups:
            waits = self.needs[h.bit] != 1 << h.bit
            if h.domain or h.kind != "map" or not h.members or waits:
                continue
            stored = any(v in self.outs for v in h.members)
            if not stored or any(v.op.checks for v in h.members if v.op):
                continue
            if last and len(last.members) + len(h.members) <= self.profile.max_members:
                self._merge(last, h)
            else:
                last = h

    def _merge(self, g: Group, h: Group) -> None:
        members = sorted({*g.members, *h.members}, key=lambda v: v.number)
        g.reduced = g.reduced | h.reduced
        g.members = members
        g.levels |= h.levels
        for v in h.members:
            self.of[v] = g
        self._forget(h, h.reduced)
        self._note(g, h.members)
        h.members = []
        self._take_edges(g, h)

    def _take_edges(self, g: Group, h: Group) -> None:
        """Whoever waited for h waits for g, and g for what h waited for."""
        ends = 1 << g.bit | 1 << h.bit
        for edges, back in ((self.feeds, self.reads), (self.reads, self.feeds)):
            for k in bits(edges[h.bit] & ~ends):
                back[k] = back[k] & ~(1 << h.bit) | 1 << g.bit
            edges[g.bit] = (edges[g.bit] | edges[h.bit]) & ~ends
        mask = (self.needs[g.bit] | self.needs[h.bit]) & ~(1 << h.bit)
        self.needs[g.bit] &= ~(1 << h.bit)
        self.needs[h.bit] = 0
        self._raise(g, mask)
        for k in bits(self.feeds[g.bit]):
            self._raise(self.groups[k], mask)


def _sums_tiles(g: Group) -> bool:
    """Whether g is the gradient of a weight by Winograd's algorithm. It has a block of channels of
    each tap at a time: an update there goes over weights and momenta in short rows, and takes
    longer than a pass of its own over all of them."""
    first = g.members[0]
    by_tiles = is_op(first, "conv") and first.attrs.get("winograd", 0)
    return bool(by_tiles) and first.args[1].shape[2:] != (TAPS, TAPS)


def bits(mask: int) -> Iterator[int]:
    """The places of the ones in a mask."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
