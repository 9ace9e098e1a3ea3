"""The loops of one phase at one point of the parallel axes: nests, accumulators, remainders.

The innermost loop runs `unroll` copies of the body a trip, each with accumulators of its own, so
that additions do not wait for each other; a remainder loop follows, masked where the axis runs
across lanes. Short literal loops are unrolled away. The copies, then the lanes, merge by a fixed
tree. A long nest that sums is cut in runs of `CHUNK` trips at most, counted along its axes alone:
a run sums in float32 from nothing, and what the runs give adds up in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from graphc.codegen_cpu.emitter import Vec
from graphc.codegen_cpu.frame import Value
from graphc.codegen_cpu.integers import Int, iota
from graphc.codegen_cpu.map.lanes import weight
from graphc.codegen_cpu.map.reductions import Reduction
from graphc.codegen_cpu.scalar import cast, rounded
from graphc.codegen_cpu.statements import Point, scalar, spread
from graphc.ir.kernel import Axis, Dot, Reduce
from graphc.ir.kernel_uses import arguments
from graphc.ir.types import f64

if TYPE_CHECKING:
    from graphc.codegen_cpu.map.loops import Template

UNROLLED = 64  # weight of the statements of a phase whose literal loops are unrolled away
SHORT = 64  # trips of a summing nest that are not cut
CHUNK = 32  # trips of one that is before its sums join the outer ones

States = list[list[str]]


class Cut(NamedTuple):
    """A loop in runs of so many trips; the loops inside it belong to a run as a whole."""

    level: int
    trips: int


class Cell(NamedTuple):
    """One accumulator: of a reduction, for one copy of the lane axis."""

    statement: Reduce | Dot
    reduction: Reduction
    copy: int
    lanes: int

    def carried(self, outer: bool) -> Reduction:
        """What is carried inside a run, or from run to run: there a float sum is wide."""
        return (
            Reduction(self.reduction.op, f64)
            if outer and self.reduction.is_float_sum
            else self.reduction
        )


class PhaseLoops:
    """Emits one phase at a point; `laned` says that its innermost axis runs across lanes."""

    def __init__(self, template: Template, p: int, point: Point) -> None:
        self.t, self.p, self.point = template, p, point
        self.e, self.f = template.e, template.frame
        self.phase = template.kernel.phases[p]
        self.axes = template.phase_axes[p]
        self.laned = bool(template.plan.phase_lanes[p])
        self.width = template.plan.lanes if self.laned else 1
        self.unroll = template.plan.unroll[p]
        self.depth = len(template.parallel)
        reductions = [s for s in self.phase.body if isinstance(s, (Reduce, Dot))]
        self.cells = [cell for s in reductions for cell in self._cells(s)]
        self.cut = self._cut() if any(cell.reduction.is_float_sum for cell in self.cells) else None

    def _cells(self, s: Reduce | Dot) -> list[Cell]:
        dtypes, lane = self.t.uses.dtypes, self.t.plan.lane
        op, dtype = ("dot", s.dtype) if isinstance(s, Dot) else (s.op, s.dtype)
        if isinstance(s, Reduce) and op.startswith("arg"):
            dtype = dtypes[s.arg]
        signless = op == "max" and dtype.is_floating_point and arguments(s)[0] in self.t.signless
        reduction, lanes = Reduction(op, dtype, signless), self.t.plan.lanes
        if self.laned:
            return [Cell(s, reduction, 0, lanes)]
        if lane and any(lane in self.t.uses.axes.get(a, ()) for a in arguments(s)):
            return [Cell(s, reduction, copy, lanes) for copy in range(len(self.point.vectors))]
        return [Cell(s, reduction, 0, 1)]

    def run(self) -> None:
        """The whole phase; its reductions become values."""
        self.t.statements(self.p, self.depth, self.point)
        states = self._identities(first=True, outer=self.cut is not None)
        if not self.axes:
            states = self._stepped(states, "", self.point)
        elif all(a.extent != 0 for a in self.axes):
            states = self._nest(0, states, self.point)
        if self.cut is not None:
            states = self._narrowed(states)
        self._finish(states)

    def _finish(self, states: States) -> None:
        results: dict[str, Value] = {}
        for cell, state in zip(self.cells, states, strict=True):
            lanes, dtype = cell.lanes, cell.statement.dtype
            if self.laned:
                state, lanes = cell.reduction.across(self.e, lanes, state), 1
            value = rounded(self.e, dtype, lanes, state[-1])
            result = results.setdefault(cell.statement.name, Value(dtype, [], lanes > 1))
            result.parts.append(value)
        self.t.values.update(results)

    # ---- accumulators --------------------------------------------------------------------------

    def _identities(self, first: bool, outer: bool = False) -> States:
        return [cell.carried(outer).identity(cell.lanes, first) for cell in self.cells]

    def joined(self, outer: States, run: States) -> States:
        """The outer sums with those of a run."""
        joined = []
        for cell, a, b in zip(self.cells, outer, run, strict=True):
            reduction = cell.carried(outer=True)
            b = [*self._cast(cell, cell.reduction, reduction, b[0]), *b[1:]]
            joined.append(reduction.merge(self.e, cell.lanes, a, b))
        return joined

    def _narrowed(self, outer: States) -> States:
        return [
            [*self._cast(cell, cell.carried(outer=True), cell.reduction, state[0]), *state[1:]]
            for cell, state in zip(self.cells, outer, strict=True)
        ]

    def _cast(self, cell: Cell, source: Reduction, target: Reduction, x: str) -> list[str]:
        return [cast(self.e, cell.lanes, source.dtype, target.dtype, x)]

    def _merged(self, sets: list[States]) -> States:
        """Sets of accumulators as one, pairwise."""
        while len(sets) > 1:
            pairs = [
                self._pair(*sets[k : k + 2]) if k + 1 < len(sets) else sets[k]
                for k in range(0, len(sets), 2)
            ]
            sets = pairs
        return sets[0]

    def _pair(self, x: States, y: States) -> States:
        return [
            cell.reduction.merge(self.e, cell.lanes, a, b)
            for cell, a, b in zip(self.cells, x, y, strict=True)
        ]

    def _stepped(self, states: States, mask: str, point: Point) -> States:
        """The accumulators after the element at a point."""
        nexts = []
        for cell, state in zip(self.cells, states, strict=True):
            values = self._operands(cell, point)
            new = cell.reduction.step(self.e, cell.lanes, state, values)
            if mask:
                new = cell.reduction.masked(self.e, cell.lanes, mask, new, state)
            nexts.append(new)
        return nexts

    def _operands(self, cell: Cell, point: Point) -> list[str]:
        operands = []
        for name in arguments(cell.statement):
            value = self.t.values[name]
            wide = cell.lanes > 1
            x = spread(self.f, value, cell.copy, cell.lanes) if wide else scalar(value)
            operands.append(cast(self.e, cell.lanes, value.dtype, cell.reduction.dtype, x))
        if cell.reduction.is_arg:
            operands.append(self._position(cell.lanes, point))
        return operands

    def _position(self, lanes: int, point: Point) -> str:
        """The row-major position over the phase's axes."""
        f, total = self.f, self.f.size(0)
        for axis in self.phase.axes:
            total = f.add(f.mul(total, f.size(axis.extent)), point.index[axis.name])
        t = Vec("i64", lanes)
        start = f.splat(f.text(total), t)
        return self.e.once(f"add {t} {start}, {iota(t)}") if self.laned else start

    def _carried(
        self,
        start: Int,
        stop: Int,
        step: int,
        sets: list[States],
        trip: Callable[[Int, list[States]], list[States]],
        outer: bool = False,
    ) -> list[States]:
        """A loop that carries sets of accumulators."""
        held = [cell.carried(outer).types(cell.lanes) for cell in self.cells]
        types = [t for each in held for t in each]
        first = [x for states in sets for state in states for x in state]

        def packed(values: list[str]) -> list[States]:
            left = iter(values)
            return [[[next(left) for _ in each] for each in held] for _ in sets]

        def body(index: str, values: list[str]) -> list[str]:
            results = trip(index, packed(values))
            return [x for states in results for state in states for x in state]

        carried = list(zip(types * len(sets), first, strict=True))
        bounds = self.f.text(start), self.f.text(stop)
        return packed(self.e.carried_loop(*bounds, step, carried, body))

    # ---- loops ---------------------------------------------------------------------------------

    def _unrolls_away(self) -> bool:
        """Whether all loops are literal and few enough statements in all.

        Of a whole block: a tail of fewer vectors sums in the same order, so that a row's sum does
        not depend on how many rows there are.
        """
        if any(isinstance(a.extent, str) for a in self.axes):
            return False
        last = self.axes[-1]
        trips = prod(int(a.extent) for a in self.axes[:-1]) * -(-int(last.extent) // self.width)
        each = sum(weight(s) for s in self.phase.body) * self.t.plan.copies
        return trips * each <= UNROLLED

    def _cut(self) -> Cut | None:
        """Where a long nest is cut in runs, of equal lengths if they are known."""
        trips = [self._trips(level) for level in range(len(self.axes))]
        inside = 1
        if prod(SHORT + 1 if n is None else n for n in trips) <= SHORT or self._unrolls_away():
            return None
        for level in reversed(range(len(trips))):
            n, most = trips[level], max(CHUNK // inside, 1)
            if n is None:
                return Cut(level, most)
            if n > most:
                return Cut(level, -(-n // -(-n // most)))
            inside *= n
        return None

    def _trips(self, level: int) -> int | None:
        """Of a loop whose extent is known."""
        extent = self.axes[level].extent
        if isinstance(extent, str):
            return None
        return -(-extent // (self.width * self.unroll)) if level == len(self.axes) - 1 else extent

    def _nest(self, level: int, states: States, point: Point) -> States:
        axis, cut = self.axes[level], self.cut
        if level == len(self.axes) - 1:
            return self._innermost(axis, states, point)
        n, outer = self.f.size(axis.extent), cut is not None and level < cut.level
        if cut is not None and cut.level == level:
            return self._runs(n, cut.trips, states, partial(self._loop, level, point))
        if self._unrolls_away():
            for k in range(int(axis.extent)):
                states = self._trip(level, k, states, point)
            return states
        return self._loop(level, point, 0, n, states, outer)

    def _loop(
        self, level: int, point: Point, start: Int, stop: Int, states: States, outer: bool = False
    ) -> States:
        """Trips [start, stop) of a loop that has others inside."""

        def trip(index: Int, sets: list[States]) -> list[States]:
            return [self._trip(level, index, sets[0], point)]

        return self._carried(start, stop, 1, [states], trip, outer)[0]

    def _trip(self, level: int, index: Int, states: States, point: Point) -> States:
        inside = point.at(self.axes[level].name, index)
        self.t.statements(self.p, self.depth + level + 1, inside)
        self.t.addresses(self.phase, inside)
        return self._nest(level + 1, states, inside)

    def _runs(
        self, stop: Int, size: int, states: States, run: Callable[[Int, Int, States], States]
    ) -> States:
        """A loop in runs of `size`, whose sums join the outer ones one by one."""

        def trip(start: Int, sets: list[States]) -> list[States]:
            end = self.f.least(self.f.add(start, size), stop)
            return [self.joined(sets[0], run(start, end, self._identities(first=False)))]

        return self._carried(0, stop, size, [states], trip, outer=True)[0]

    def _body(self, axis: Axis, index: Int, mask: str, states: States, point: Point) -> States:
        """One copy of the innermost body."""
        if self.laned:
            inside = point.across(axis.name, self.width, [(index, mask)])
        else:
            inside = point.at(axis.name, index)
        self.t.statements(self.p, self.depth + len(self.axes), inside)
        return self._stepped(states, mask, inside)

    def _innermost(self, axis: Axis, states: States, point: Point) -> States:
        n, step = self.f.size(axis.extent), self.width * self.unroll
        if isinstance(n, int) and (self._unrolls_away() or n <= step):
            return self._straight(axis, point, 0, n, states)
        masked = self.laned and self.t.masks_all(n, self.unroll)
        main = n if masked else self.f.mul(self.f.div(n, step), step)
        trips = partial(self._main, axis, point, masked)
        rest = partial(self._rest, axis, point, main, n)
        if self.cut is None or self.cut.level < len(self.axes) - 1:
            states = trips(0, main, states)
            return states if main == n else rest(states)
        states = self._runs(main, self.cut.trips * step, states, trips)
        if main == n:
            return states
        return self.joined(states, rest(self._identities(first=False)))

    def _straight(self, axis: Axis, point: Point, start: int, n: int, states: States) -> States:
        """Literal trips [start, n) without a loop."""
        starts = range(start, n, self.width)
        count = min(self.unroll, len(starts)) if self.cells else 1
        sets = [states, *(self._identities(first=False) for _ in range(count - 1))]
        for k, index in enumerate(starts):
            mask = self.t.rest_mask(index, n) if self.laned else ""
            sets[k % count] = self._body(axis, index, mask, sets[k % count], point)
        return self._merged(sets)

    def _main(
        self, axis: Axis, point: Point, masked: bool, start: Int, stop: Int, states: States
    ) -> States:
        """Trips of `unroll` full copies each; `masked` if of one copy under a mask."""
        count = self.unroll if self.cells else 1
        sets = [states, *(self._identities(first=False) for _ in range(count - 1))]

        def trip(index: Int, sets: list[States]) -> list[States]:
            mask = self.t.rest_mask(index, self.f.size(axis.extent)) if masked else ""
            for k in range(self.unroll):
                here = self.f.add(index, k * self.width)
                sets[k % count] = self._body(axis, here, mask, sets[k % count], point)
            return sets

        return self._merged(self._carried(start, stop, self.width * self.unroll, sets, trip))

    def _rest(self, axis: Axis, point: Point, start: Int, n: Int, states: States) -> States:
        """The trips that do not fill the main loop, one copy each."""
        if isinstance(start, int) and isinstance(n, int):
            return self._straight(axis, point, start, n, states)

        def trip(index: Int, sets: list[States]) -> list[States]:
            mask = self.t.rest_mask(index, n) if self.laned else ""
            return [self._body(axis, index, mask, sets[0], point)]

        return self._carried(start, n, self.width, [states], trip)[0]

    # ---- a sweep's parts (`sweep.py`), of a single loop across which no lanes run --------------

    def runs(self) -> tuple[Int, int]:
        """The trips of the loop, and those of a run."""
        assert self.cut is not None
        return self.f.size(self.axes[0].extent), self.cut.trips

    def with_row(self, sums: States, row: Int) -> States:
        """The sums after one trip."""
        self.t.statements(self.p, self.depth, self.point)
        return self._body(self.axes[0], row, "", sums, self.point)

    def finish(self, outer: States) -> None:
        """What all runs came to becomes values."""
        self._finish(self._narrowed(outer))
