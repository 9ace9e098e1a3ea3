"""Sums of the columns of a matrix, row by row as it lies.

    as many blocks of lanes as there is room for
      each run of rows
        each row: each block: the row joins the sums of the run, which are in the thread's room
        each block: the sums of the run join those of all runs
      each block: what its sums came to, and what follows

A block that went through all rows by itself would read a few lines of each, and processors, which
foresee rows, would fetch lines that the next block asks for when they are gone again. Where a row
is one vector, its sums stay in registers.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from graphc.codegen_cpu.emitter import Vec
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.map.lanes import walks_columns
from graphc.codegen_cpu.map.phases import PhaseLoops, States
from graphc.codegen_cpu.statements import Point
from graphc.ir.kernel import Dot, Reduce

if TYPE_CHECKING:
    from graphc.codegen_cpu.map.loops import Template

LANES = 1024  # whose sums wait at a time


class Room(NamedTuple):
    """Where the sums of a reduction wait: of one type, each of nothing at first."""

    name: str
    at: str
    t: Vec
    nothing: str


def sweep_of(template: Template) -> Sweep | None:
    """How the template's kernel goes, if it sums columns of several blocks in a single loop."""
    lane, phases = template.lane_axis, template.kernel.phases
    looping = [p for p, phase in enumerate(phases) if phase.axes]
    if lane is None or template.within or len(looping) != 1:
        return None
    (p,) = looping
    sums = [s for phase in phases for s in phase.body if isinstance(s, (Reduce, Dot))]
    alone = len(phases[p].axes) == 1 and sums and all(s in phases[p].body for s in sums)
    wide = not isinstance(lane.extent, int) or lane.extent > template.span
    if not (alone and wide and walks_columns(phases[p], lane.name)):
        return None
    first = [(0, "")] * template.plan.copies
    loops = PhaseLoops(template, p, Point().across(lane.name, template.plan.lanes, first))
    in_lanes = all(cell.lanes > 1 and cell.reduction.is_float_sum for cell in loops.cells)
    return Sweep(template, loops) if loops.cut is not None and in_lanes else None


class Sweep:
    """The loops of such a kernel over blocks of lanes; scratch is reserved now."""

    def __init__(self, template: Template, loops: PhaseLoops) -> None:
        self.t, self.e, self.f, self.loops = template, template.e, template.frame, loops
        self.blocks = max(1, LANES // template.span)
        self.of_run, self.of_all = self._rooms(outer=False), self._rooms(outer=True)

    def _rooms(self, outer: bool) -> list[Room]:
        """Room for the sums of each reduction, by run or of all runs."""
        count, cells = self.blocks * self.t.span, {c.statement.name: c for c in self.loops.cells}
        found = []
        for name, cell in cells.items():
            (t,), (nothing,) = (
                cell.carried(outer).types(cell.lanes),
                cell.carried(outer).identity(cell.lanes, first=outer),
            )
            found.append(Room(name, self.f.scratch(count, t), t, nothing))
        return found

    def run(self, start: Int, stop: Int, point: Point) -> None:
        """The blocks [start, stop) of the lane axis, at a point of the others."""
        assert self.t.lane_axis is not None
        one = self.f.less(self.f.size(self.t.lane_axis.extent), self.t.plan.lanes + 1)
        many = partial(self._rows, start, stop, point)
        if one == "false":
            many()
        else:
            self.e.either(one, one=partial(self.t.one_vector, point), many=many)

    def _rows(self, start: Int, stop: Int, point: Point) -> None:
        f, span, n, size = self.f, self.t.span, *self.loops.runs()
        with self.t.loop(start, stop, self.blocks) as first:
            last, low = f.least(f.add(first, self.blocks), stop), f.mul(first, span)
            each, count = partial(self.t.lane_blocks, first, last, point), f.sub(last, first)
            self._clear(self.of_all, f.mul(count, span))
            with self.e.loop("0", f.text(n), size, "run") as at:
                self._clear(self.of_run, f.mul(count, span))
                with self.e.loop(at, f.text(f.least(f.add(at, size), n)), 1, "row") as row:
                    each(partial(self._add, low, row))
                each(partial(self._join, low))
            each(partial(self._end, low))

    def _clear(self, rooms: list[Room], count: Int) -> None:
        for room in rooms:
            with self.e.loop("0", self.f.text(count), room.t.lanes, "clear") as k:
                self.e.do(f"store {room.t} {room.nothing}, ptr {self._place(room, k)}, align 64")

    # ---- at a block of lanes, whose sums wait from lane `low` on -------------------------------

    def _add(self, low: Int, row: Int, point: Point) -> None:
        loops = self._loops(point)
        self._keep(
            loops, self.of_run, low, loops.with_row(self._kept(loops, self.of_run, low), row)
        )

    def _join(self, low: Int, point: Point) -> None:
        loops = PhaseLoops(self.t, self.loops.p, point)
        run, all_runs = (self._kept(loops, rooms, low) for rooms in (self.of_run, self.of_all))
        self._keep(loops, self.of_all, low, loops.joined(all_runs, run))

    def _end(self, low: Int, point: Point) -> None:
        loops = self._loops(point)
        loops.finish(self._kept(loops, self.of_all, low))
        for p in range(loops.p + 1, len(self.t.kernel.phases)):
            PhaseLoops(self.t, p, point).run()

    def _loops(self, point: Point) -> PhaseLoops:
        """Those that sum, behind what comes before."""
        for p in range(self.loops.p):
            PhaseLoops(self.t, p, point).run()
        return PhaseLoops(self.t, self.loops.p, point)

    def _kept(self, loops: PhaseLoops, rooms: list[Room], low: Int) -> States:
        places = self._places(loops, rooms, low)
        return [[self.e.value(f"load {t}, ptr {place}, align 64")] for t, place in places]

    def _keep(self, loops: PhaseLoops, rooms: list[Room], low: Int, states: States) -> None:
        for [x], (t, place) in zip(states, self._places(loops, rooms, low), strict=True):
            self.e.do(f"store {t} {x}, ptr {place}, align 64")

    def _places(self, loops: PhaseLoops, rooms: list[Room], low: Int) -> list[tuple[Vec, str]]:
        """The type and the place of each of the block's sums."""
        by_name, point = {room.name: room for room in rooms}, loops.point
        at = [self.f.sub(v.index[point.lane], low) for v in point.vectors]
        found = [(by_name[c.statement.name], at[c.copy]) for c in loops.cells]
        return [(room.t, self._place(room, k)) for room, k in found]

    def _place(self, room: Room, k: Int) -> str:
        return self.e.once(f"getelementptr {room.t.element}, ptr {room.at}, i64 {self.f.text(k)}")
