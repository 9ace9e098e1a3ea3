"""realise: which values have a buffer.

What one group computes and another reads is stored, unless computing it again wherever it is read
moves fewer bytes than storing and loading it: then it is inlined there. Contractions and gathers
read memory, so what they read is always stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from graphc.ir.graph import Graph, Value, uses
from graphc.passes.group import SCATTERS, Group, is_free, is_op

EXPENSIVE = frozenset(
    """exp expm1 log log1p sin cos tanh sigmoid erf erfc pow rsqrt sqrt div rem fmod floordiv
    """.split()  # noqa: SIM905  a table reads better so
)
STORE_AND_LOAD = 2  # passes over memory that a buffer costs beyond computing the value once
MAX_INLINED_OPS = 12


def realise(graph: Graph, of: Mapping[Value, Group]) -> set[Value]:
    """The values of `graph` that have buffers; `of` says which group computes each."""
    return _Realiser(graph, of).run()


class _Realiser:
    """Decides, in graph order, which values have buffers."""

    def __init__(self, graph: Graph, of: Mapping[Value, Group]) -> None:
        self.graph = graph
        self.of = of
        self.readers = uses(graph)
        wholes = [v for v in graph.values() if is_op(v, "assemble")]
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
