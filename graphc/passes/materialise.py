"""materialise: which values have a buffer.

What one group computes and another reads is stored, unless computing it again wherever it is read
moves fewer bytes than storing and loading it: then it is inlined there. What a reader reads anyway
costs it nothing: the mask of an activation is found again beside the gradient of a norm. What
contractions and gathers read has to be in memory, so that is always stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import NamedTuple

from graphc.ir.graph import Graph, Value, uses
from graphc.ir.sizes import typical
from graphc.passes.group import Chain, Group, is_free, is_op, moved, parts_of, place_of
from graphc.passes.orders import looks_through, orders_of
from graphc.passes.profile import Profile
from graphc.passes.view import NotAffine, View

Moves = tuple[tuple[str, tuple[tuple[str, object], ...]], ...]  # from a value to what is read


class Materialised(NamedTuple):
    """The values that have buffers, and why some of them are not computed again by each reader."""

    values: set[Value]
    stored_because: dict[Value, str]


def materialise(graph: Graph, of: Mapping[Value, Group], profile: Profile) -> Materialised:
    """The values of `graph` that have buffers; `of` says which group computes each."""
    return _Realiser(graph, of, profile).run()


class _Realiser:
    """Decides, in graph order, which values have buffers."""

    def __init__(self, graph: Graph, of: Mapping[Value, Group], profile: Profile) -> None:
        self.graph = graph
        self.profile = profile
        self.of = of
        self.readers = uses(graph)
        wholes = [v for v in graph.values() if is_op(v, "assemble")]
        self.materialised: set[Value] = {v for v in graph.outs if v in of}
        self.materialised.update(wholes, *(v.args for v in wholes))
        self.because: dict[Value, str] = {}
        self.parts, self.orders = parts_of(graph), orders_of(graph, profile)

    def run(self) -> Materialised:
        for v, group in self.of.items():
            readers = self._reading_groups(v)
            outside = [g for g in readers if g is not group]
            if outside and v not in self.materialised and not self._inlines(v, group, outside):
                self.materialised.add(v)
        return Materialised(self.materialised, self.because)

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
        if leaves is None or ops > self.profile.max_inlined_ops:
            self.because[v] = "too long to compute again for each reader"
            return False
        if not self._addressable(v):
            self.because[v] = "a reader's reshape of it has no address in what it is computed of"
            return False
        much = self.profile.much
        widest = max(typical(prod(g.domain)) for g in outside)
        if widest > much * typical(v.spec.numel) and (heavy or ops > self.profile.short_ops):
            again = widest * sum(u.spec.dtype.itemsize for u in leaves)
            stored = self._bytes_stored(v, leaves, heavy, len(outside), True)
            self.because[v] = (
                f"its readers would compute it again for many points: {again} bytes read by each, "
                f"not {stored} to store it"
            )
            return False
        inlined = self._bytes_inlined(v, leaves, heavy, outside)
        reads = sum(_share(v, g) for g in outside)
        stored = self._bytes_stored(v, leaves, heavy, reads, self._in_own_kernel(v, group))
        if inlined > stored or (inlined == stored and self._unstored(leaves)):
            n = len(outside)
            readers = "1 reader" if n == 1 else f"{n} readers"
            self.because[v] = f"{readers}: cheaper stored: {stored} of {inlined} bytes"
            return False
        self.materialised.update(self._unstored(leaves))
        return True

    def _addressable(self, v: Value) -> bool:
        """Whether readers that see v through a reshape would find what it is computed of."""
        ways = [way for way in self._ways(v) if any(is_op(m, "reshape") for m in way)]
        try:
            for view in self._sources(v) if ways else ():
                for way in ways:
                    moved(view, way)
        except NotAffine:
            return False
        return True

    def _ways(self, v: Value) -> Iterator[Chain]:
        """The movement from v to each of its readers; a source reads scalars alone."""
        stack: list[tuple[Value, Chain]] = [(u, ()) for u in self.readers[v]]
        while stack:
            u, way = stack.pop()
            if u in self.of:
                yield way[:-1] if looks_through(u) else way
            elif u.op is not None and u.op.kind == "movement" and is_free(u):
                stack.extend((r, (*way, u)) for r in self.readers[u])

    def _sources(self, v: Value) -> Iterator[View]:
        """What v is computed of where it is computed again, each as v's elements see it."""
        seen: set[tuple[Value, Chain]] = set()
        stack: list[tuple[Value, Chain]] = [(v, ())]
        while stack:
            u, way = stack.pop()
            if (u, way) in seen:
                continue
            seen.add((u, way))
            if u.op is not None and u.op.kind == "movement" and is_free(u):
                stack.append((u.args[0], (u, *way)))
            elif (
                u.op is not None
                and u.op.kind == "elementwise"
                and (u is v or u not in self.materialised)
            ):
                stack.extend((a, way) for a in u.args)
            else:
                yield moved(place_of(u, self.parts, self.orders), way)

    def _bytes_inlined(
        self, v: Value, leaves: list[Value], heavy: int, readers: list[Group]
    ) -> int:
        """Each reader reads the leaves, which costs nothing where it does so without v, too; a leaf
        without a buffer has to be stored for that."""
        weights = {u: self._weight(u, v) for u in leaves}
        anyway = [self._read_beside(v, g) for g in readers]
        reads = sum(
            int(weights[u] * _share(v, g))
            for g, known in zip(readers, anyway, strict=True)
            for u in leaves
            if u not in known
        )
        again = len(readers) * heavy * typical(v.spec.size_bytes)
        return reads + again + sum(weights[u] for u in self._unstored(leaves))

    def _unstored(self, leaves: list[Value]) -> list[Value]:
        """Those that would have to be stored where what is computed of them is not."""
        return [u for u in leaves if not u.is_input and u not in self.materialised]

    def _read_beside(self, v: Value, group: Group) -> set[Value]:
        """What a group reads for other things than v, as far as it is known what it computes; not
        what it would read again for each of many more points than v has."""
        if typical(prod(group.domain)) > typical(v.spec.numel):
            return set()
        seen, stack = {v}, [a for m in group.members for a in m.args]
        while stack:
            u = stack.pop()
            if u in seen:
                continue
            seen.add(u)
            here = self.of.get(u, group) is group or u.number < v.number
            if here and u not in self.materialised and _is_computed(u):
                stack.extend(u.args)
        return seen

    def _bytes_stored(
        self, v: Value, leaves: list[Value], heavy: int, readers: float, shared: bool
    ) -> int:
        """One store, a load for each reader; the leaves are read once, unless they are anyway."""
        read = sum(self._weight(u, v) for u in leaves) + heavy * typical(v.spec.size_bytes)
        once = 0 if shared else read
        return once + int((1 + readers) * typical(v.spec.size_bytes))

    def _in_own_kernel(self, v: Value, group: Group) -> bool:
        """Whether v's own group has other reasons to exist."""
        return any(u is not v and u in self.materialised for u in group.members) or any(
            v in u.args for u in group.members
        )

    def _is_operand(self, v: Value) -> bool:
        """Contractions and gathers read memory, not expressions."""
        stack = list(self.readers[v])
        while stack:
            u = stack.pop()
            if u.op is None:
                continue
            reads = u.op.kind == "index" and not u.op.scatters
            if u.op.kind in ("contract", "attention", "routine", "loop") or reads:
                return True
            if is_free(u):
                stack.extend(self.readers[u])
        return False

    def _tree(self, v: Value) -> tuple[list[Value] | None, int, int]:
        """The stored values that v's expression reads, its number of ops, and of expensive ops.

        What is read through different movement is computed at different points: it counts anew.
        """
        leaves: dict[Value, None] = {}
        seen: set[tuple[Value, Moves]] = set()
        stack: list[tuple[Value, Moves]] = [(v, ())]
        ops = heavy = 0
        while stack:
            u, moves = stack.pop()
            if (u, moves) in seen:
                continue
            seen.add((u, moves))
            if u.is_input or (u in self.materialised and u is not v):
                leaves[u] = None
            elif u.op is None or (
                u.op.kind in ("source", "movement") and u.op.name != "contiguous"
            ):
                if u.op is not None and u.op.kind == "movement":
                    moves = (*moves, (u.op.name, tuple(sorted(u.attrs.items()))))
                stack.extend((a, moves) for a in u.args)
                heavy += self.profile.accesses(u.op.cost) if u.op is not None else 0
            elif u.op.kind == "elementwise":
                if u.op.checks:
                    return None, 0, 0
                ops += 1
                heavy += self.profile.accesses(u.op.cost)
                stack.extend((a, moves) for a in u.args)
            else:
                leaves[u] = None
            if ops > self.profile.max_inlined_ops:
                return None, ops, heavy
        return list(leaves), ops, heavy

    def _weight(self, leaf: Value, v: Value) -> int:
        """The bytes of a leaf, or of as much of it as v has places for; what is much smaller than v
        stays in cache."""
        size = min(typical(leaf.spec.numel), typical(v.spec.numel))
        large = self.profile.much * size >= typical(v.spec.numel)
        return size * leaf.spec.dtype.itemsize if large else 0


def _share(v: Value, reader: Group) -> float:
    """The part of v that a reader sees: an epilogue reads each place once, and of what several
    contractions interleave, each has some."""
    if reader.kind != "contract":
        return 1.0
    return min(1.0, typical(prod(reader.domain)) / max(1, typical(v.spec.numel)))


def _is_computed(v: Value) -> bool:
    """Whether v is movement or arithmetic, done where it is read unless it is stored."""
    return is_free(v) or (v.op is not None and v.op.kind == "elementwise")
