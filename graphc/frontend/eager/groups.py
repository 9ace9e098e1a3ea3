"""Groups: elementwise lines over large arrays that compiled code runs as one loop.

One after the other NumPy would read and write all of memory for each, and every temporary is new
memory that the system clears page by page. Only what is rounded once takes part, which has the same
bits however it is computed; so it does not matter when a group begins to be compiled, which is once
it is met again. A group of one domain is compiled for all sizes, unless something in it repeats
along some dimensions alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

from graphc.frontend.eager.compiled import ELEMENTWISE
from graphc.ir.graph import Value
from graphc.ir.ops import Op
from graphc.ir.types import Array, DType, Shape, bool_, f32

LARGE = 1 << 10  # elements of a line that takes part
CALL = 1 << 13  # elements that NumPy computes in the time that it takes to call it
WORTH = 3 << 15  # elements and calls of all lines; less NumPy does while a program is being started
MOST = 48  # lines of a group
TYPES = (f32, bool_)

Reads = Mapping[Value, Sequence[Any]]


class Step(NamedTuple):
    """An operation on inputs and earlier steps, by number, and constants, by text."""

    op: Op
    reads: tuple[int | str, ...]
    attrs: tuple[tuple[str, Any], ...]
    dtypes: tuple[DType, ...]  # of what it reads


class Recipe(NamedTuple):
    """What a group computes: hashable, whatever its domain is made of."""

    inputs: tuple[tuple[DType, tuple[bool, ...]], ...]  # which of the domain's dimensions each has
    steps: tuple[Step, ...]
    outs: tuple[int, ...]
    dtypes: tuple[DType, ...]  # of the results


Runner = Callable[[Sequence[Array], Sequence[Array]], bool]  # fills its second; False: it did not
MAKERS: list[Callable[[Recipe, Shape], Runner]] = []  # the last one serves: who has a compiler


class Group(NamedTuple):
    """Lines to be run as one: what they read from outside, and what others read of them."""

    members: tuple[Value, ...]
    given: tuple[Value, ...]
    wanted: tuple[Value, ...]
    recipe: Recipe
    sizes: Shape


# ---- which lines go together ---------------------------------------------------------------------


class _Part:
    """Lines that are run together; what has to be there before they can."""

    __slots__ = ("behind", "domain", "members", "whole")

    def __init__(self, v: Value, behind: set[_Part], domain: Shape | None) -> None:
        self.members = [v]
        self.behind = behind
        self.domain = domain
        self.whole: _Part | None = None  # what it has become part of

    def found(self) -> _Part:
        part = self
        while part.whole is not None:
            part = part.whole
        return part


def grouped(order: Sequence[Value], reads: Reads, wanted: Sequence[Value]) -> list[Value | Group]:
    """The lines in an order in which those of a group follow each other."""
    parts = _parted(order, reads)
    if all(p.whole is None for p in parts.values()):
        return list(order)
    outside = _read_outside(order, reads, parts, wanted)
    made: list[Value | Group] = []
    for part in _in_order(order, parts):
        calls = len(part.members)
        if calls == 1 or calls * (prod(part.domain or ()) + CALL) < WORTH:
            made.extend(part.members)
        else:
            made.append(_group(part, reads, [v for v in part.members if v in outside]))
    return made


def _parted(order: Sequence[Value], reads: Reads) -> dict[Value, _Part]:
    parts: dict[Value, _Part] = {}
    readers: dict[Value, list[_Part]] = {}
    for v in order:
        operands = [*_operands(v, reads)]
        behind = [*dict.fromkeys(parts[a].found() for a in operands if a in parts)]
        part = parts[v] = _Part(v, set(behind), v.spec.shape if _takes_part(v) else None)
        if part.domain is None:
            continue
        large = [a for a in operands if a.spec.shape == part.domain]
        for other in [*behind, *(p for a in large for p in readers.get(a, ()))]:
            part = _joined(part.found(), other.found())
        for a in large:
            readers.setdefault(a, []).append(part)
    return parts


def _takes_part(v: Value) -> bool:
    op = v.op
    if op is None or op.kind != "elementwise" or v.spec.numel < LARGE:
        return False
    same_bits = op.exact or op.correct or op.name in ELEMENTWISE
    plain = same_bits and not op.aliases and op.may_fail == "never"
    return plain and all(a.spec.dtype in TYPES for a in (v, *v.args))


def _operands(v: Value, reads: Reads) -> Iterator[Value]:
    """The values that it reads, but constants."""
    for a in reads[v]:
        a = _read(a, reads) if _takes_part(v) else a
        if isinstance(a, Value) and a.const is None:
            yield a


def _read(a: Any, reads: Reads) -> Value:
    """What a member of a group reads: of what is repeated, what that repeats."""
    v: Value = a[0] if isinstance(a, tuple) else a
    return v.args[0] if v in reads and v.op is not None and v.op.name == "expand" else v


def _joined(part: _Part, other: _Part) -> _Part:
    """The two as one, unless something has to run between them."""
    if part is other or part.domain != other.domain:
        return part
    if len(part.members) + len(other.members) > MOST:
        return part
    if _between(part, other) or _between(other, part):
        return part
    first, second = sorted((part, other), key=lambda p: p.members[0].number)
    first.members = sorted([*first.members, *second.members], key=lambda v: v.number)
    first.behind = {p.found() for p in first.behind | second.behind} - {first, second}
    second.whole = first
    return first


def _between(after: _Part, before: _Part) -> bool:
    """Whether a third part reads of `before` and is read for `after`."""
    stack = [p for p in map(_Part.found, after.behind) if p is not before]
    seen = set(stack)
    while stack:
        for p in map(_Part.found, stack.pop().behind):
            if p is before:
                return True
            if p not in seen:
                seen.add(p)
                stack.append(p)
    return False


def _read_outside(
    order: Sequence[Value], reads: Reads, parts: Mapping[Value, _Part], wanted: Sequence[Value]
) -> set[Value]:
    """What others than its own part read."""
    found = set(wanted)
    for v in order:
        part = parts[v].found()
        found.update(a for a in _operands(v, reads) if a in parts and parts[a].found() is not part)
    return found


def _in_order(order: Sequence[Value], parts: Mapping[Value, _Part]) -> Iterator[_Part]:
    """Each part once all that it reads is there, as early as its last line was."""
    last = {parts[v].found(): k for k, v in enumerate(order)}
    missing = {p: {*map(_Part.found, p.behind)} - {p} for p in last}
    readers: dict[_Part, list[_Part]] = {p: [] for p in last}
    for p, behind in missing.items():
        for b in behind:
            readers[b].append(p)
    ready = [(last[p], p) for p in last if not missing[p]]
    heapq.heapify(ready)
    while ready:
        _, p = heapq.heappop(ready)
        yield p
        for reader in readers[p]:
            missing[reader].discard(p)
            if not missing[reader]:
                heapq.heappush(ready, (last[reader], reader))


# ---- what a group computes -----------------------------------------------------------------------


def _group(part: _Part, reads: Reads, wanted: list[Value]) -> Group:
    members = part.members
    inside = set(members)
    given = tuple(dict.fromkeys(a for v in members for a in _operands(v, reads) if a not in inside))
    domain = members[0].spec.shape
    sizes, kept = _runs(domain, [a.spec.shape for a in given])
    inputs = tuple((a.spec.dtype, mask) for a, mask in zip(given, kept))
    number = {v: k for k, v in enumerate((*given, *members))}

    def read(a: Any) -> int | str:
        a = _read(a, reads)
        return repr(a.const) if a.const is not None else number[a]

    steps = tuple(
        Step(_op(v), tuple(map(read, reads[v])), tuple(sorted(v.attrs.items())),
             tuple(a.spec.dtype for a in v.args))
        for v in members
    )  # fmt: skip
    outs = tuple(number[v] for v in wanted)
    recipe = Recipe(inputs, steps, outs, tuple(v.spec.dtype for v in wanted))
    return Group(tuple(members), given, tuple(wanted), recipe, sizes)


def _op(v: Value) -> Op:
    assert v.op is not None
    return v.op


def _runs(domain: Shape, shapes: Sequence[Shape]) -> tuple[Shape, list[tuple[bool, ...]]]:
    """The domain with dimensions put together that all inputs have or repeat alike, and which of
    these each input has."""
    shapes = [(1,) * (len(domain) - len(s)) + tuple(s) for s in shapes]
    sizes: list[int] = []
    columns: list[tuple[bool, ...]] = []
    for k, n in enumerate(domain):
        if n == 1:
            continue
        column = tuple(s[k] == n for s in shapes)
        if columns and columns[-1] == column:
            sizes[-1] *= n
        else:
            sizes.append(n)
            columns.append(column)
    return tuple(sizes), [tuple(c[i] for c in columns) for i in range(len(shapes))]
