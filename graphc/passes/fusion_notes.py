"""fusion_notes: for each kernel, why it ends where it ends.

Asked after the walk of `fuse`: for each stored value, who reads it in another kernel, and which
rule of joining kept that reader out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from graphc.ir.graph import Value, uses
from graphc.ir.sizes import typical
from graphc.passes.group import ALONE, KEPT, Group, is_free, is_reduce, squeezed
from graphc.passes.orders import identity, reduced_source

if TYPE_CHECKING:
    from graphc.passes.fuse import Fuser


KINDS = {
    "attention": "attention",
    "contract": "a contraction",
    "loop": "a loop",
    "routine": "a routine",
    "scatter": "a scatter",
}


class Notes:
    """Why groups end where they end, by the rules of joining as they stand after the walk."""

    def __init__(self, fuser: Fuser, because: Mapping[Value, str]) -> None:
        self.fuser, self.of, self.because = fuser, fuser.of, because
        self.most = fuser.profile.max_members

    def _too_many(self) -> str:
        return f"would make too many members: more than {self.most}"

    @cached_property
    def readers(self) -> dict[Value, list[Value]]:
        return uses(self.fuser.graph)

    @cached_property
    def kept(self) -> dict[Value, list[str]]:
        """How the caller keeps an output."""
        found: dict[Value, list[str]] = {}
        for v, target in zip(self.fuser.graph.outs, self.fuser.graph.targets, strict=True):
            text = "returned" if target is None else f"new state {target.name}"
            found.setdefault(v, []).append(text)
        return found

    def note(self, g: Group) -> str:
        """For each stored output of g, who reads it elsewhere and why there."""
        return "; ".join(f"{v.name}: {', '.join(self._reasons(v, g))}" for v in g.outputs)

    def _reasons(self, v: Value, g: Group) -> list[str]:
        """How v is kept, and for each reason the readers that it keeps out."""
        out = [*self.kept.get(v, ())]
        why: dict[str, list[str]] = {}
        for reader in self._outside(v, g):
            why.setdefault(self._apart(v, g, reader), []).append(reader.name)
        out += [f"{' '.join(names)} {text}" for text, names in why.items()]
        if v in self.because:
            out.append(self.because[v])
        elif why:
            readers = len(self._outside(v, g))
            moved = (1 + readers) * typical(v.spec.size_bytes)
            out.append(f"{moved} bytes through memory, which fusing on would save")
        return out

    def _outside(self, v: Value, g: Group) -> list[Value]:
        """The first reader in each other group, and the wholes that v is a part of."""
        first: dict[Group | Value, Value] = {}
        stack = list(self.readers[v])
        while stack:
            u = stack.pop()
            again = self.of.get(u) is g and u not in g.outputs  # its readers may compute it again
            if again or (u not in self.of and is_free(u)):
                stack.extend(self.readers[u])
                continue
            key = self.of.get(u, u)
            if key is not g and (key not in first or u.number < first[key].number):
                first[key] = u
        return sorted(first.values(), key=lambda u: u.number)

    def _apart(self, v: Value, g: Group, u: Value) -> str:
        """Why u, which reads v of g, is in another group."""
        assert u.op is not None
        if u not in self.of:
            return "holds it as a part"
        memory = self._reads_memory(v, u)
        if memory:
            return f"needs it in memory: {memory}"
        if g.kind in ALONE:
            return f"cannot follow {KINDS[g.kind]}"
        if len(g.members) >= self.most:
            return self._too_many()
        if waits := self._waits(g, u):
            return f"also reads {waits}, which waits for this kernel"
        return self._elsewhere(g, u)

    def _reads_memory(self, v: Value, u: Value) -> str:
        """The kind of reader that takes no expression for v."""
        assert u.op is not None
        if u.op.kind in KINDS:
            return f"{KINDS[u.op.kind]} reads it"
        if u.op.kind == "index":
            return "a scatter reads it" if u.op.scatters else "a gather reads it"
        if u.op.name == "contiguous" and self.fuser.orders(u) != self.fuser.orders(v):
            return "it is laid out anew"
        return ""

    def _waits(self, g: Group, u: Value) -> str:
        """What u reads besides g that is computed from g's results."""
        for a in u.args:
            for h in self.fuser._behind([a]):
                if h is not g and h is not self.of[u] and self.fuser.needs[h.bit] >> g.bit & 1:
                    return a.name
        return ""

    def _elsewhere(self, g: Group, u: Value) -> str:
        """Other points, other sums, or sums that are not finished there."""
        if g.kind == "contract" and self.fuser._reads_kept(u, g):
            return "reads sums that are done when all tiles are"
        source, dims = reduced_source(u) if is_reduce(u) else (u, ())
        level = identity(source) if dims or is_reduce(u) else self.fuser._turned(u, g)
        kept = not is_reduce(u) and squeezed(u.shape) == squeezed(g.kept_shape)
        if (level is None or source.shape != g.domain) and not (kept and g.reduced):
            return f"has another domain: {list(source.shape)}, not {list(g.domain)}"
        if is_reduce(u) and g.kind == "contract":
            return "reduces a contraction's result"
        if is_reduce(u) and g.reduced not in (frozenset(dims), frozenset()):
            return f"reduces other axes: {sorted(dims)}, not {sorted(g.reduced)}"
        if g.reduced and not kept and self.fuser._reads_kept(u, g) and not self.fuser._rows(g):
            return "reads rows that are still being summed"
        if not self.fuser._reads_in_place(u, g, KEPT if kept else level or identity(u)):
            return "reads other elements of it at each point"
        h = self.of[u]
        if len(g.members) + len(h.members) > self.most:
            return self._too_many()
        other = next((a.name for a in u.args if self.fuser._resolve(a)[0] in h.members), "")
        return f"joined the kernel of {other}" if other else "began a kernel before"
