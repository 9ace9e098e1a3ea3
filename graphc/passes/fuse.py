"""fuse: which values share a kernel, and which values have a buffer at all.

Input: a laid-out Graph. Output: `Group`s, one per kernel, in no particular order.

A group is a domain (a shape), the dimensions of it that its reductions fold (`reduced`), and the
values computed there: at every point of the domain (level "full"), or once per kept point (level
"kept"). Values join greedily in graph order:
  - an elementwise value joins a producer that computes its operand at the same points, be it an
    elementwise chain, a reduction (epilogue or, for rows, the next phase) or a contraction (epilogue);
  - a reduction joins the chain that computes its operand, and other reductions of the same axes;
  - groups that meet in one consumer and fit become one.
A join that would make two groups wait for each other is refused.

What one group computes and another reads gets a buffer (is *realised*), unless computing it again is
cheaper than storing and loading it: then it is *inlined* wherever it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Literal, NamedTuple

from graphc.ir.graph import Graph, Value, uses
from graphc.ir.types import Shape
from graphc.passes.order import Orders, folded_source
from graphc.passes.view import Form, NotAffine, View, move, row_major, slice_, stored

Level = Literal["full", "kept"]
Chain = tuple[Value, ...]  # movement ops from the inside out

MAX_MEMBERS = 64
SMALL_ROW = 1 << 8  # rows this short may be folded over the batch and be read again
EXPENSIVE = frozenset(
    [
        "exp",
        "expm1",
        "log",
        "log1p",
        "sin",
        "cos",
        "tanh",
        "sigmoid",
        "erf",
        "erfc",
        "pow",
        "rsqrt",
        "sqrt",
        "div",
        "rem",
        "fmod",
        "floordiv",
    ]
)
SCATTERS = frozenset({"scatter_add", "put_along"})


@dataclass(eq=False)
class Group:
    """The values of one kernel."""

    domain: Shape
    kind: Literal["map", "contract", "scatter"]
    members: list[Value] = field(default_factory=list)
    levels: dict[Value, Level] = field(default_factory=dict)
    reduced: frozenset[int] = frozenset()
    outputs: list[Value] = field(default_factory=list)
    note: str = ""
    bit: int = 0  # this group in the masks of `_Fuser.needs`

    @property
    def kept_shape(self) -> Shape:
        """The domain with its reduced dimensions of size 1."""
        return tuple(1 if k in self.reduced else n for k, n in enumerate(self.domain))

    def place(self, v: Value) -> Form:
        """The row-major number of the element of `v` at each point of the domain."""
        return place(v, self.domain, self.levels[v], self.kept_shape)


def place(v: Value, domain: Shape, level: Level, kept: Shape) -> Form:
    if level == "full":
        return Form(_used(row_major(v.shape), domain))
    steps = row_major(kept)
    return Form(tuple(0 if n == 1 else s for n, s in zip(kept, steps)))


def _used(strides: Shape, shape: Shape) -> Shape:
    return tuple(0 if n == 1 else s for s, n in zip(strides, shape))


@dataclass(frozen=True, slots=True)
class Fusion:
    """The groups and the values that have buffers."""

    groups: tuple[Group, ...]
    realised: frozenset[Value]
    parts: Mapping[Value, Part]

    def home(self, v: Value, orders: Orders) -> View:
        """Where a realised value or an input lies in its buffer."""
        part = self.parts.get(v)
        if part is None:
            return stored(v.shape, orders(v))
        whole = stored(part.whole.shape, orders(part.whole))
        stop = tuple(a + (n - 1) * s + 1 for n, a, s in zip(v.shape, part.start, part.step))
        return slice_(whole, start=part.start, stop=stop, step=part.step)


class Part(NamedTuple):
    """A value that is computed right into its place in another one."""

    whole: Value
    start: Shape
    step: Shape


def parts_of(graph: Graph) -> dict[Value, Part]:
    """The parts of every `assemble`."""
    return {
        part: Part(v, start, step)
        for v in graph.values()
        if _is(v, "assemble")
        for part, start, step in zip(v.args, v.attrs["starts"], v.attrs["steps"], strict=True)
    }


def _is(v: Value, name: str) -> bool:
    return v.op is not None and v.op.name == name


STORES = frozenset({"contiguous", "assemble"})


def is_free(v: Value) -> bool:
    """Computed nowhere and stored nowhere: inputs, constants, sources and movement."""
    return (
        v.op is None
        or v.op.kind == "source"
        or (v.op.kind == "movement" and v.op.name not in STORES)
    )


def moved(view: View, chain: Iterable[Value]) -> View:
    for m in chain:
        assert m.op is not None
        view = move(view, m.op.name, m.attrs)
    return view


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
            if not is_free(v) and not _is(v, "assemble"):
                self._place(v)
        groups = [g for g in self.groups if g.members]
        realised = _Realiser(self.graph, self.of).run()
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
            self._join(v, twin, "kept" if twin.reduced else "full", sources)
        else:
            self._begin(v, sources)

    def _sources(self, v: Value) -> list[Group]:
        """The groups that compute what `v` reads."""
        bases = []
        stack = list(v.args)
        while stack:
            base, _ = self._resolve(stack.pop())
            if base in self.of:
                bases.append(self.of[base])
            else:
                stack.extend(base.args)
        return list(dict.fromkeys(bases))

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
        kind: Literal["map", "contract", "scatter"] = "map"
        domain, level, reduced = v.shape, "full", frozenset[int]()
        if v.op.kind == "reduce":
            source, axes = folded_source(v)
            domain, level, reduced = source.shape, "kept", frozenset(axes)
        elif v.op.kind == "contract":
            kind = "contract"
        elif v.op.name in SCATTERS:
            kind, domain = "scatter", v.args[0].shape
        g = Group(domain, kind, reduced=reduced, bit=len(self.groups))
        self.groups.append(g)
        self.needs.append(1 << g.bit)
        self._add(v, g, "full" if level == "full" else "kept", sources)

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
        folds = _is_reduce(v)
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
            if _is_reduce(v):
                if _is_reduce(u) and data & self._data(operands(u)[0]):
                    return True
            elif any(data & self._data(a) for a in operands(u) if a.shape == v.shape):
                return self.orders(u) == self.orders(v)
        return False

    def _data(self, v: Value) -> set[Value]:
        """Large values that v's expression reads, up to the next value that is no arithmetic."""
        found: set[Value] = set()
        stack = [v]
        while stack:
            u = stack.pop()
            inner = is_free(u) or (u.op is not None and u.op.kind == "elementwise")
            if inner and u.args:
                stack.extend(a for a in u.args if 4 * a.type.numel >= v.type.numel)
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
        if len(g.members) >= MAX_MEMBERS or g.kind == "scatter":
            return None
        if v.op.kind == "reduce":
            return "kept" if self._reduce_fits(v, g) else None
        if v.op.kind != "elementwise":
            return None
        if v.shape == g.domain and self._reads_in_place(v, g, "full"):
            return "full" if not g.reduced or self._may_read_back(v, g) else None
        if g.reduced and _squeezed(v.shape) == _squeezed(g.kept_shape):
            return "kept" if self._reads_in_place(v, g, "kept") else None
        return None

    def _reduce_fits(self, v: Value, g: Group) -> bool:
        source, dims = folded_source(v)
        axes = frozenset(dims)
        fits = g.kind == "map" and source.shape == g.domain and g.reduced in (axes, frozenset())
        if not fits or not self._reads_in_place(v, g, "full"):
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
                    if g.levels[base] == "kept":
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
        """Every operand that g computes is read at the very point where g computes it."""
        for a in operands(v):
            base, chain = self._resolve(a)
            if self.of.get(base) is g and self._read_form(base, chain, g, level) != g.place(base):
                return False
        return True

    def _read_form(self, u: Value, path: Chain, g: Group, level: Level) -> Form | None:
        """The number of the element of u that v reads, as a form over g's domain."""
        try:
            view = moved(stored(u.shape, tuple(range(len(u.shape)))), path)
            if level == "kept":
                view = move(view, "reshape", {"shape": g.kept_shape})
                view = move(view, "expand", {"shape": g.domain})
        except NotAffine:
            return None
        if view.guards:
            return None
        return Form(_used(view.address.strides, view.shape), view.address.offset)

    # ---- groups that meet ----------------------------------------------------------------------

    def _merge_others(self, v: Value, g: Group, sources: list[Group]) -> None:
        for h in sources:
            if h is not g and self._mergeable(g, h):
                self._merge(g, h)

    def _mergeable(self, g: Group, h: Group) -> bool:
        if g.domain != h.domain or h.kind != "map" or g.kind == "scatter":
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
            level: Level = "full" if v.op.kind == "reduce" else g.levels[v]
            for a in operands(v):
                base, chain = self._resolve(a)
                if self.of.get(base) is not h:
                    continue
                if v.op.kind == "contract" or self._read_form(base, chain, h, level) != h.place(
                    base
                ):
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


def _is_reduce(v: Value) -> bool:
    return v.op is not None and v.op.kind == "reduce"


def operands(v: Value) -> tuple[Value, ...]:
    """What a kernel reads to compute v."""
    if v.op is not None and v.op.kind == "reduce":
        return (folded_source(v)[0],)
    return v.args


def _squeezed(shape: Shape) -> Shape:
    return tuple(n for n in shape if n != 1)


# ---- buffers -----------------------------------------------------------------------------------

STORE_AND_LOAD = 2  # passes over memory that a buffer costs beyond computing the value once
MAX_INLINED_OPS = 12


class _Realiser:
    """Decides, in graph order, which values have buffers."""

    def __init__(self, graph: Graph, of: dict[Value, Group]) -> None:
        self.graph = graph
        self.of = of
        self.readers = uses(graph)
        wholes = [v for v in graph.values() if _is(v, "assemble")]
        self.realised: set[Value] = {v for v in graph.outs if v in of}
        self.realised.update(wholes, *(v.args for v in wholes))

    def run(self) -> set[Value]:
        for v, group in self.of.items():
            readers = self._reading_groups(v)
            outside = [g for g in readers if g is not group]
            if outside and v not in self.realised and not self._inlines(v, group, outside):
                self.realised.add(v)
        return self.realised

    def _reading_groups(self, v: Value) -> list[Group]:
        """Groups that read v directly or through movement."""
        found: dict[Group, None] = {}
        stack = list(self.readers[v])
        while stack:
            u = stack.pop()
            if u in self.of:
                found[self.of[u]] = None
            elif is_free(u):
                stack.extend(self.readers[u])
        return list(found)

    def _inlines(self, v: Value, group: Group, outside: list[Group]) -> bool:
        """Whether computing v again in each reader costs less than a buffer."""
        if v.op is None or v.op.kind != "elementwise" or self._is_operand(v):
            return False
        leaves, ops, heavy = self._tree(v)
        if leaves is None or ops > MAX_INLINED_OPS:
            return False
        widest = max(prod(g.domain) for g in outside)
        if widest > 4 * v.type.numel and (heavy or ops > 2):
            return False
        if len(outside) == 1 and not self._in_own_kernel(v, group):
            return self._realise_leaves(leaves)
        full = [u for u in leaves if 4 * u.type.numel >= v.type.numel]
        again = len(outside) * (len(full) + heavy)
        once = len(full) + heavy + STORE_AND_LOAD + len(outside) - 1
        return again <= once and self._realise_leaves(leaves)

    def _in_own_kernel(self, v: Value, group: Group) -> bool:
        """Whether v's own group has other reasons to exist."""
        return any(u is not v and u in self.realised for u in group.members) or any(
            v in u.args for u in group.members
        )

    def _is_operand(self, v: Value) -> bool:
        """Contractions and gathers read memory, not expressions."""
        stack = list(self.readers[v])
        while stack:
            u = stack.pop()
            if u.op is None:
                continue
            if u.op.kind == "contract" or (u.op.kind == "index" and u.op.name not in SCATTERS):
                return True
            if is_free(u):
                stack.extend(self.readers[u])
        return False

    def _tree(self, v: Value) -> tuple[list[Value] | None, int, int]:
        """The stored values that v's expression reads, its number of ops, and of expensive ops."""
        leaves: dict[Value, None] = {}
        seen: set[Value] = set()
        stack, ops, heavy = [v], 0, 0
        while stack:
            u = stack.pop()
            if u in seen:
                continue
            seen.add(u)
            if u.is_input or (u in self.realised and u is not v):
                leaves[u] = None
            elif u.op is None or (
                u.op.kind in ("source", "movement") and u.op.name != "contiguous"
            ):
                stack.extend(u.args)
                heavy += 3 if u.op is not None and u.op.name == "random_bits" else 0
            elif u.op.kind == "elementwise":
                if u.op.name == "check_index":
                    return None, 0, 0
                ops += 1
                heavy += u.op.name in EXPENSIVE
                stack.extend(u.args)
            else:
                leaves[u] = None
            if ops > MAX_INLINED_OPS:
                return None, ops, heavy
        return list(leaves), ops, heavy

    def _realise_leaves(self, leaves: list[Value]) -> bool:
        """An inlined expression reads buffers, so what it reads must have them."""
        self.realised.update(u for u in leaves if not u.is_input)
        return True
