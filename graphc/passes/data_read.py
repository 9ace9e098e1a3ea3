"""data_read: which large values an expression reads, so that groups that share some are found."""

from __future__ import annotations

from functools import reduce
from operator import or_

from graphc.ir.graph import Value
from graphc.ir.sizes import typical
from graphc.passes.group import is_free


class DataRead:
    """Large values that an expression reads, up to the next value that is no arithmetic: a mask.

    Large is by the size of the whole expression: what is broadcast into it does not count.
    """

    def __init__(self, much: int) -> None:
        self._much = much
        self._known: dict[tuple[Value, int], int] = {}
        self._bits: dict[Value, int] = {}

    def __call__(self, v: Value) -> int:
        size, known = typical(v.spec.numel), self._known
        stack = [v]
        while stack:
            u = stack[-1]
            if (u, size) in known:
                stack.pop()
                continue
            inner = is_free(u) or (u.op is not None and u.op.kind == "elementwise")
            if not inner or not u.args:
                known[u, size] = 0 if u.const is not None else 1 << self._bit(u)
                continue
            large = [a for a in u.args if self._much * typical(a.spec.numel) >= size]
            if unknown := [a for a in large if (a, size) not in known]:
                stack += unknown
            else:
                known[u, size] = reduce(or_, (known[a, size] for a in large), 0)
        return known[v, size]

    def _bit(self, v: Value) -> int:
        return self._bits.setdefault(v, len(self._bits))
