"""Statements at a point: each becomes scalar code where it is the same for all lanes, else a vector
per copy of the lane axis. The one evaluator, for the loops of both templates.

A `Point` says all that the loops around have fixed; it never changes, a loop makes a new one. The
values so far are a table that the caller keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import NamedTuple

from graphc.codegen_cpu import bounded, memory
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.frame import Frame, Value
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.math.philox import aligned_bits
from graphc.codegen_cpu.scalar import apply, cast, register, reports
from graphc.codegen_cpu.weave import weave
from graphc.ir.kernel import (
    Affine,
    Apply,
    Const,
    Guard,
    Index,
    Inside,
    Kernel,
    Load,
    Statement,
    Store,
)
from graphc.ir.kernel_uses import Uses, arguments, depends

Values = dict[str, Value]  # by the name of what computes them


@dataclass(frozen=True, slots=True)
class Vector:
    """A vector of the lane axis: the index of each axis at its first lane, and its live lanes."""

    index: Mapping[str, Int]
    mask: str = ""  # "": all lanes


@dataclass(frozen=True, slots=True)
class Point:
    """Where statements run: the axes entered so far, one of them perhaps across lanes."""

    vectors: tuple[Vector, ...] = (Vector({}),)
    lane: str = ""  # the axis across lanes; "" for scalar code
    lanes: int = 1
    live: str = ""  # i1: accesses happen only where it holds; "" for always
    aligned: bool = True  # vectors begin at multiples of their lanes
    mixed: bool = False  # masks are of all lanes but in the last vector

    @property
    def index(self) -> Mapping[str, Int]:
        """Of code that is the same for all lanes."""
        return self.vectors[0].index

    def at(self, axis: str, index: Int) -> Point:
        """The same lanes at an index of another axis."""
        inside = (Vector({**v.index, axis: index}, v.mask) for v in self.vectors)
        return replace(self, vectors=tuple(inside))

    def across(self, axis: str, lanes: int, vectors: Iterable[tuple[Int, str]]) -> Point:
        """An axis across lanes: first index and live lanes of each vector."""
        inside = (Vector({**self.index, axis: start}, mask) for start, mask in vectors)
        return replace(self, vectors=tuple(inside), lane=axis, lanes=lanes)

    def where(self, live: str) -> Point:
        return replace(self, live=live)


class Condition(NamedTuple):
    """Guards: an i1 for all lanes ("" if none) and a mask of lanes ("" if none)."""

    scalar: str
    mask: str


# ---- values ------------------------------------------------------------------------------------


def scalar(value: Value) -> str:
    """A value that is the same for all lanes."""
    if value.constant is not None:
        return literal(value.constant, register(value.dtype, 1))
    return value.parts[0]


def spread(f: Frame, value: Value, copy: int, lanes: int) -> str:
    """A value in `lanes` lanes."""
    t = register(value.dtype, lanes)
    if value.varying:
        return value.parts[copy]
    if value.constant is not None:
        return literal(value.constant, t)
    return f.splat(value.parts[0], t)


def compute(f: Frame, s: Apply | Const, values: Values, lanes: int, masks: Iterable[str]) -> Value:
    """A statement that neither addresses nor guards anything, for each vector of live lanes."""
    if isinstance(s, Const):
        return Value(s.dtype, [], False, s.value)
    inputs = [values[a] for a in s.args]
    dtypes = [x.dtype for x in inputs]
    if not any(x.varying for x in inputs):
        return Value(s.dtype, [apply(f.e, 1, s.op, s.dtype, dtypes, [*map(scalar, inputs)])], False)
    results = []
    for copy, mask in enumerate(masks):
        args = [spread(f, x, copy, lanes) for x in inputs]
        f.e.active = mask if reports(s.op) else ""
        results.append(apply(f.e, lanes, s.op, s.dtype, dtypes, args))
        f.e.active = ""
    return Value(s.dtype, results, True)


# ---- statements --------------------------------------------------------------------------------


class Statements:
    """Emits the statements of a kernel that are no reductions."""

    def __init__(self, f: Frame, kernel: Kernel, u: Uses) -> None:
        self.f, self.e, self.uses = f, f.e, u
        self._indexed = {s.name: s for s in kernel.statements() if isinstance(s, Index)}

    def run(self, s: Statement, point: Point, values: Values) -> None:
        """Emit one statement; what it computes joins `values`."""
        if isinstance(s, Store):
            self._store(s, point, values)
        elif isinstance(s, Apply) and self._counts_by_fours(s, point, values):
            values[s.name] = self._aligned_bits(s, point, values)
        elif isinstance(s, Apply | Const):
            masks = [v.mask for v in point.vectors]
            values[s.name] = compute(self.f, s, values, point.lanes, masks)
        else:
            varying = self.varies(s, point, values)
            at = point if varying else replace(point, vectors=point.vectors[:1], lanes=1)
            parts = [self._value(s, at, k, values) for k in range(len(at.vectors))]
            values[s.name] = Value(s.dtype, parts, varying)

    def varies(self, s: Statement, point: Point, values: Values) -> bool:
        """Whether lanes differ in what it does."""
        along = bool(point.lane) and point.lane in depends(s, self.uses)
        return along or any(values[a].varying for a in arguments(s))

    def _value(self, s: Statement, point: Point, copy: int, values: Values) -> str:
        """At one vector, or at a scalar point."""
        f, lanes, vector = self.f, point.lanes, point.vectors[copy]
        match s:
            case Load():
                return self._load(s, point, copy, values)
            case Index():
                start = f.offset(s.at, vector.index)
                if lanes == 1:
                    return f.text(start)
                t = Vec("i64", lanes)
                first = f.splat(f.text(start), t)
                steps = f.steps(f.size(s.at.stride(point.lane)), lanes)
                return self.e.once(f"add {t} {first}, {steps}")
            case Inside():
                condition = self.condition(s.guards, point, vector)
                if lanes == 1:
                    return condition.scalar or "true"
                m = Vec("i1", lanes)
                scalar = self.f.splat(condition.scalar, m) if condition.scalar else ""
                return self._both(condition.mask, scalar, m)
        raise AssertionError(s)

    def _counts_by_fours(self, s: Apply, point: Point, values: Values) -> bool:
        """Whether random bits are asked for at consecutive indices from a multiple of four."""
        if s.op != "random_bits" or not point.aligned or point.lanes % 4:
            return False
        seed, draw, index = s.args
        at = self._indexed[index].at if index in self._indexed else Affine()
        parts = [at.const, *(stride for axis, stride in at.terms if axis != point.lane)]
        uniform = not (values[seed].varying or values[draw].varying)
        fours = all(isinstance(x, int) and x % 4 == 0 for x in parts)
        return uniform and fours and at.stride(point.lane) == 1

    def _aligned_bits(self, s: Apply, point: Point, values: Values) -> Value:
        seed, draw = (scalar(values[a]) for a in s.args[:2])
        at = self._indexed[s.args[2]].at
        parts = []
        for vector in point.vectors:
            first = self.f.text(self.f.offset(at, vector.index))
            parts.append(aligned_bits(self.e, point.lanes, seed, draw, first))
        return Value(s.dtype, parts, True)

    # ---- addresses -----------------------------------------------------------------------------

    def _address(self, s: Load | Store, vector: Vector, values: Values) -> str:
        """Of the first lane, without indirect terms that vary across lanes."""
        total = self.f.offset(s.at, vector.index)
        for term in s.indirect:
            value = values[term.index]
            if not value.varying:
                index = value.parts[0] if value.parts else int(value.constant or 0)
                total = self.f.add(total, self.f.mul(index, self.f.size(term.stride)))
        return self.f.address(s.buffer, total)

    def _offsets(self, s: Load | Store, point: Point, copy: int, values: Values) -> str:
        """i64 lanes: how far each lane is from the first; "" if they lie side by side."""
        f, t = self.f, Vec("i64", point.lanes)
        varying = [i for i in s.indirect if values[i.index].varying]
        stride = s.at.stride(point.lane)
        if point.lanes == 1 or (stride == 1 and not varying):
            return ""
        total = f.steps(f.size(stride), point.lanes)
        for term in varying:
            by = f.spread(f.size(term.stride), point.lanes)
            moved = self.e.once(f"mul {t} {values[term.index].parts[copy]}, {by}")
            total = self.e.once(f"add {t} {total}, {moved}")
        return total

    # ---- guards --------------------------------------------------------------------------------

    def condition(self, guards: tuple[Guard, ...], point: Point, vector: Vector) -> Condition:
        """All of `guards` at a vector."""
        f, live, mask, m = self.f, "true", "", Vec("i1", point.lanes)
        for guard in guards:
            at, lo, hi = f.offset(guard.at, vector.index), f.size(guard.lo), f.size(guard.hi)
            stride = f.size(guard.at.stride(point.lane)) if point.lane else 0
            if stride == 0:
                live = f.both(live, f.less(at, hi))
                if lo != 0 or at not in vector.index.values():  # a bare index is never negative
                    live = f.both(live, f.less(f.sub(lo, 1), at))
                continue
            here = self._range_mask(at, stride, lo, hi, point.lanes)
            mask = f.both(mask, here, m) if mask else here
        return Condition("" if live == "true" else live, mask)

    def _range_mask(self, at: Int, stride: Int, lo: Int, hi: Int, lanes: int) -> str:
        """lo <= at + lane * stride < hi, by lane."""
        f, t = self.f, Vec("i64", lanes)
        steps = f.steps(stride, lanes)
        first, last = (f.splat(f.text(f.sub(bound, at)), t) for bound in (lo, hi))
        above = self.e.once(f"icmp sge {t} {steps}, {first}")
        below = self.e.once(f"icmp slt {t} {steps}, {last}")
        return self.e.once(f"and {t.of('i1')} {above}, {below}")

    def _both(self, x: str, y: str, t: Vec | None = None) -> str:
        """Conjunction of conditions or masks that are "" where they always hold."""
        return self.f.both(x, y, t) if x and y else x or y

    # ---- loads and stores ----------------------------------------------------------------------

    def _load(self, s: Load, point: Point, copy: int, values: Values) -> str:
        vector, lanes, dtype = point.vectors[copy], point.lanes, self.f.dtypes[s.buffer]
        condition = self.condition(s.guards, point, vector)
        pointer = self._address(s, vector, values)
        live = self._both(condition.scalar, point.live)
        offsets, mask = "", ""
        step: Int = 1
        if lanes > 1:
            mask = self._both(vector.mask, condition.mask, Vec("i1", lanes))
            if any(values[i.index].varying for i in s.indirect):
                offsets = self._offsets(s, point, copy, values)
            else:
                step = self.f.size(s.at.stride(point.lane))
        x = memory.load(self.f, pointer, dtype, lanes, offsets, mask, live, step)
        return cast(self.e, lanes, dtype, s.dtype, x)

    def _store(self, s: Store, point: Point, values: Values) -> None:
        """One store per copy of the lane axis; a single scalar one where no lane matters."""
        varying = self.varies(s, point, values)
        at = point if varying else replace(point, vectors=point.vectors[:1], lanes=1)
        for copy, vector in enumerate(at.vectors):
            condition = self.condition(s.guards, at, vector)
            live = self._both(condition.scalar, point.live)
            if not live:
                self._write(s, at, copy, condition.mask, values)
                continue
            with self.e.when(live, "store", "after"):
                self._write(s, at, copy, condition.mask, values)

    def stored(self, s: Store, lanes: int, copy: int, values: Values) -> str:
        """What a vector of it stores."""
        value = values[s.value]
        x = spread(self.f, value, copy, lanes) if lanes > 1 else scalar(value)
        return cast(self.e, lanes, value.dtype, self.f.dtypes[s.buffer], x)

    def store_woven(self, s: Store, point: Point, rows: list[list[str]], n: Int) -> None:
        """What `rows` have for each vector, side by side from `point` on: of each of the `n` lanes,
        one of every row."""
        f, lanes, dtype = self.f, point.lanes, self.f.dtypes[s.buffer]
        for copy, vector in enumerate(point.vectors):
            first = self._address(s, vector, {})
            live = f.mul(f.sub(n, vector.index[point.lane]), len(rows))
            mixed = weave(self.e, register(dtype, lanes), [row[copy] for row in rows])
            for start, x in zip(count(0, lanes), mixed):
                mask = f.below(f.sub(live, start), lanes) if vector.mask else ""
                memory.store(f, f.pointer(first, start, dtype), dtype, lanes, x, mask=mask)

    def _write(self, s: Store, point: Point, copy: int, guarded: str, values: Values) -> None:
        vector, lanes, dtype = point.vectors[copy], point.lanes, self.f.dtypes[s.buffer]
        pointer = self._address(s, vector, values)
        x = self.stored(s, lanes, copy, values)
        offsets, mask = "", ""
        if lanes > 1:
            mask = self._both(vector.mask, guarded, Vec("i1", lanes))
            offsets = self._offsets(s, point, copy, values)
        if s.bound is not None:
            t, site = register(dtype, lanes), scalar(values[s.bound.site])
            bounded.keep(self.e, t, x, mask, s.bound, site)
        past = self.f.past.get(s.buffer, "false") if point.aligned else "false"
        if mask and not (point.mixed and not guarded):
            past = "false"
        memory.store(self.f, pointer, dtype, lanes, x, offsets, mask, s.add, past)
