"""repeats: groups that are alike are lowered once, as those of a net's equal layers are.

Two groups are alike where everything that lowering looks at is: ops, attributes, types, levels,
how values lie, what has a buffer, and which value each reads. Of the later ones only the buffers,
the name and the lines that statements come from are their own. Groups whose checks tell the user
where they failed are lowered one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import NamedTuple

from graphc.ir.graph import Value
from graphc.ir.kernel import retold, sources
from graphc.passes.group import Fusion, Group
from graphc.passes.nest import Lowered
from graphc.passes.orders import Orders

ONE_BY_ONE = frozenset(("loop", "routine"))  # kinds of group


class _Known(NamedTuple):
    """What a group became, told by the numbers of its values."""

    lowered: Lowered
    buffers: tuple[int, ...]
    places: tuple[tuple[int, ...], ...]  # values of one line, for each line that a statement has
    lines: tuple[int, ...]  # for each statement, which of `places`

    @staticmethod
    def of(lowered: Lowered, values: Sequence[Value]) -> _Known | None:
        """None where a buffer, or a statement's line, is of no value that was looked at."""
        number = {v: k for k, v in enumerate(values)}
        by_line: dict[str, list[int]] = {}
        for k, v in enumerate(values):
            by_line.setdefault(str(v.where), []).append(k)
        by_line[""] = []  # what no line asked for
        wanted = list(sources(lowered.kernel))
        if not (by_line.keys() >= set(wanted) and number.keys() >= set(lowered.buffers)):
            return None
        lines = {line: n for n, line in enumerate(dict.fromkeys(wanted))}
        return _Known(
            lowered,
            tuple(number[v] for v in lowered.buffers),
            tuple(tuple(by_line[line]) for line in lines),
            tuple(lines[line] for line in wanted),
        )

    def over(self, group: Group, values: Sequence[Value]) -> Lowered | None:
        """The same of another group; None where its lines are shared in another way."""
        found = []
        for place in self.places:
            where = {values[k].where for k in place}
            if len(where) > 1:
                return None
            found.append("".join(map(str, where)))
        kernel = retold(self.lowered.kernel, group.name(), "", [found[n] for n in self.lines])
        buffers = tuple(values[k] for k in self.buffers)
        return replace(self.lowered, kernel=kernel, buffers=buffers, members=tuple(group.members))


class Repeats:
    """The groups of one graph that were lowered, by what lowering saw of them."""

    def __init__(self, fusion: Fusion, orders: Orders) -> None:
        self._fusion, self._orders = fusion, orders
        self._known: dict[Hashable, _Known | None] = {}

    def lowered(self, group: Group, lower: Callable[[], Lowered]) -> Lowered:
        """What `lower` makes of the group, or made of one that is like it."""
        if group.kind in ONE_BY_ONE:
            return lower()
        seen = self._seen(group)
        if seen is None:
            return lower()
        key, values = seen
        known = self._known.get(key)
        if known is not None and (again := known.over(group, values)) is not None:
            return again
        made = lower()
        if key not in self._known:
            self._known[key] = _Known.of(made, values)
        return made

    def _seen(self, group: Group) -> tuple[Hashable, list[Value]] | None:
        """What lowering looks at, and the values in the order of their numbers; None where one of
        them may fail."""
        members = frozenset(group.members)
        numbers: dict[Value, int] = {}
        rows: list[Hashable] = [group.kind, group.domain, group.reduced]
        for member in group.members:
            stack = [member]
            while stack:
                v = stack[-1]
                if v in numbers:
                    stack.pop()
                    continue
                leaf = self._is_leaf(v, members)
                if not leaf and (new := [a for a in v.args if a not in numbers]):
                    stack.extend(reversed(new))
                    continue
                if not leaf and v.op is not None and v.op.can_fail(v.spec.dtype):
                    return None
                stack.pop()
                args = () if leaf else tuple([numbers[a] for a in v.args])
                numbers[v] = len(numbers)
                rows.append(self._row(v, args, leaf))
                if v in members:
                    rows.append((group.levels[v], v in group.outputs))
        rows.append(tuple([numbers[v] for v in group.members]))
        rows.append(tuple([numbers[v] for v in group.outputs]))
        return tuple(rows), list(numbers)

    def _is_leaf(self, v: Value, members: frozenset[Value]) -> bool:
        """Whether a kernel reads v from memory, whatever it was computed of."""
        return v.is_input or (v in self._fusion.materialised and v not in members)

    def _row(self, v: Value, args: tuple[int, ...], leaf: bool) -> Hashable:
        part = self._fusion.parts.get(v)
        lies = None
        if part is not None:
            lies = part.whole.spec, self._orders(part.whole), part.start, part.step
        const = None if v.const is None else (type(v.const), repr(v.const))
        if leaf:
            return v._spec, self._orders(v), lies
        attrs = tuple(sorted(v.attrs.items())) if v.attrs else ()
        return v.op, attrs, v._spec, self._orders(v), lies, const, args
