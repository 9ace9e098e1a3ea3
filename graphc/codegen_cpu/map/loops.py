"""The general kernel template: any Kernel as loops over vectors, split between threads.

    prologue: buffers, sizes, scalars
    this thread's contiguous range of units (outer points, or blocks of the lane axis)
      for each outer axis: for each block of the lane axis: full vectors, then a masked tail
        at each point within those lanes, written out
          for each phase: its loops, unrolled with an accumulator each, merged by a fixed tree

A statement is emitted in the outermost loop that knows all it depends on. Sums are cascaded: a
long nest adds up runs in float64, so the error does not grow with its length. What order a
sum has depends on extents and the target only; threads choose who runs a unit, never how.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import NamedTuple

from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int, first_lanes, iota
from graphc.codegen_cpu.map.lanes import Plan, plan
from graphc.codegen_cpu.map.phases import PhaseLoops
from graphc.codegen_cpu.map.sweep import sweep_of
from graphc.codegen_cpu.scalar import reports
from graphc.codegen_cpu.statements import Point, Statements, Values
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Apply, Axis, Dot, Kernel, Load, Phase, Reduce, Statement, Store
from graphc.ir.kernel_uses import Uses, accesses, arguments, depends, uses

SMALL = 4096  # statements executed: below, one thread is quicker than sharing cache lines
UNITS = 64  # enough units to share: only so many outer axes are split between threads


def emit(kernel: Kernel, target: Target) -> Emitter:
    """The body of the kernel's function, under the kernel ABI."""
    template = Template(kernel, target)
    template.function()
    return template.e


Visit = Callable[[Point], object]  # what is done at a block of lanes
Lanes = list[tuple[Int, str]]  # vectors of the lane axis: first index, live lanes


class Share(NamedTuple):
    """The units of one thread: the first and the last one, by index along each split axis."""

    first: list[Int]
    last: list[Int]


class Template:
    """One kernel being emitted."""

    def __init__(self, kernel: Kernel, target: Target) -> None:
        self.kernel, self.target, self.e = kernel, target, Emitter()
        self.uses: Uses = uses(kernel)
        self.plan: Plan = plan(kernel, target)
        lane = self.plan.lane
        within = self.plan.within
        self.outer = [a for a in kernel.axes if a.name != lane and a.name not in within]
        self.lane_axis = next((a for a in kernel.axes if a.name == lane), None)
        self.within = [a for a in kernel.axes if a.name in within]
        self.parallel = self.outer + ([self.lane_axis] if self.lane_axis else []) + self.within
        self.phase_axes = [self._ordered(p) for p in range(len(kernel.phases))]
        self.depths = self._depths()
        applied = (s for s in kernel.statements() if isinstance(s, Apply))
        self.signless = {s.name for s in applied if s.op == "abs"}
        self.frame = Frame(self.e, kernel, [*self.parallel, *chain(*self.phase_axes)])
        self.evaluator = Statements(self.frame, kernel, self.uses)
        self.values: Values = dict(self.frame.arguments)
        self.sweep = sweep_of(self)

    def _ordered(self, p: int) -> list[Axis]:
        """The axes of a phase, the one across lanes innermost."""
        lane = self.plan.phase_lanes[p]
        axes = self.kernel.phases[p].axes
        return [a for a in axes if a.name != lane] + [a for a in axes if a.name == lane]

    # ---- where statements go -------------------------------------------------------------------

    def _depths(self) -> list[list[int]]:
        """For each statement, the number of loops it needs to be in."""
        base = len(self.parallel)
        found: dict[str, int] = {}
        rows = []
        for p, phase in enumerate(self.kernel.phases):
            nest = [a.name for a in [*self.parallel, *self.phase_axes[p]]]
            rows.append([self._depth(s, nest, base, found) for s in phase.body])
        return rows

    def _depth(self, s: Statement, nest: list[str], base: int, found: dict[str, int]) -> int:
        inputs = max((found.get(a, 0) for a in arguments(s)), default=0)
        own = max((nest.index(a) + 1 for a in depends(s, self.uses) if a in nest), default=0)
        depth = max(inputs, own)
        pinned = isinstance(s, Store) or (isinstance(s, Load) and s.buffer in self.uses.written)
        if pinned or (isinstance(s, Apply) and reports(s.op) and len(nest) > base):
            depth = len(nest)
        if isinstance(s, (Reduce, Dot)):
            found[s.name] = base  # its value is there after the phase
            return len(nest)
        if not isinstance(s, Store):
            found[s.name] = depth
        return depth

    def _enter_level(self, depth: int, point: Point) -> None:
        """Inside `depth` parallel loops: statements of all phases that need no more, addresses."""
        for p, phase in enumerate(self.kernel.phases):
            if depth < len(self.parallel):  # deeper ones may need the reductions of earlier phases
                self.statements(p, depth, point)
            self.addresses(phase, point)

    def addresses(self, phase: Phase, point: Point) -> None:
        """Sum the parts of all addresses that the loops entered so far fix."""
        for s in phase.body:
            for at in accesses(s):
                self.frame.offset(at, point.index)

    def statements(self, p: int, depth: int, point: Point, but: type = Reduce) -> None:
        """The statements of a phase that belong `depth` loops deep, in order, but those of a kind;
        reductions are the loops'."""
        phase = self.kernel.phases[p]
        hoisted = bool(phase.axes) and depth < len(self.parallel) + len(phase.axes)
        point = replace(point, live=self._nonempty(phase) if hoisted else "")
        for s, d in zip(phase.body, self.depths[p], strict=True):
            if d == depth and not isinstance(s, (Reduce, Dot, but)):
                self.evaluator.run(s, point, self.values)

    def _nonempty(self, phase: Phase) -> str:
        """i1: the loops of the phase have a trip, so that what is hoisted out may read memory."""
        f, some = self.frame, "true"
        for axis in phase.axes:
            some = f.both(some, f.less(0, f.size(axis.extent)))
        return "" if some == "true" else some

    # ---- the function --------------------------------------------------------------------------

    def function(self) -> None:
        if not any(a.extent == 0 for a in self.parallel):
            share, point = self._share(), Point()
            self._enter_level(0, point)
            self._outer(0, share, ("true", "true"), point)
        self.e.leave()

    # ---- threads -------------------------------------------------------------------------------

    def _blocks(self) -> Int:
        """Blocks of the lane axis, the last perhaps partial."""
        assert self.lane_axis is not None
        return self.frame.ceil_div(self.frame.size(self.lane_axis.extent), self.span)

    @property
    def span(self) -> int:
        """Lanes of a block."""
        return self.plan.lanes * self.plan.copies

    def _split_axes(self) -> list[Int]:
        """Extents of the outermost axes that make enough units; the lane blocks if need be."""
        extents: list[Int] = []
        units = 1
        for axis in self.outer:
            if units >= UNITS:
                return extents
            extents.append(self.frame.size(axis.extent))
            units *= axis.extent if isinstance(axis.extent, int) else 1
        if self.lane_axis and units < UNITS:
            extents.append(self._blocks())
        return extents

    def _share(self) -> Share:
        """The units of this thread; leaves if it has none."""
        e, f, split = self.e, self.frame, self._split_axes()
        units = f.product(split)
        work: Int = len(list(self.kernel.statements()))
        work = f.product([work, *(f.size(axis.extent) for axis in self.parallel)])
        work = f.mul(work, self._phase_work())
        threads = f.select(f.less(work, SMALL), 1, "%nthreads")
        start = f.div(f.mul("%tid", units), threads)
        stop = f.div(f.mul(f.add("%tid", 1), units), threads)
        # Threads beyond the chosen number begin past the end.
        stop = f.least(stop, units)
        some = f.less(start, stop)
        run, leave = e.fresh("run"), e.fresh("leave")
        e.do(f"br i1 {some}, label %{run}, label %{leave}")
        e.block(leave)
        e.do("ret void")
        e.block(run)
        return Share(self._digits(start, split), self._digits(f.sub(stop, 1), split))

    def _phase_work(self) -> Int:
        """Trips of the phases' loops, added up."""
        total: Int = 0
        for phase in self.kernel.phases:
            trips = self.frame.product(self.frame.size(axis.extent) for axis in phase.axes)
            total = self.frame.add(total, trips)
        return total

    def _digits(self, unit: Int, split: list[Int]) -> list[Int]:
        """A unit's index along each split axis."""
        digits: list[Int] = []
        for n in reversed(split[1:]):
            quotient = self.frame.div(unit, n)
            digits.append(self.frame.sub(unit, self.frame.mul(quotient, n)))
            unit = quotient
        return [unit, *reversed(digits)] if split else []

    # ---- loops over parallel points ------------------------------------------------------------

    @contextmanager
    def loop(self, start: Int, stop: Int, step: int = 1) -> Iterator[Int]:
        """A loop, or nothing but its body where there is one trip for certain."""
        if isinstance(start, int) and isinstance(stop, int) and 0 < stop - start <= step:
            yield start
            return
        with self.e.loop(self.frame.text(start), self.frame.text(stop), step) as index:
            yield index

    def _outer(self, level: int, share: Share, ends: tuple[str, str], point: Point) -> None:
        """Loops over the outer axes from `level` in; `ends`: whether at the share's two ends."""
        f, split = self.frame, len(share.first)
        start: Int = 0
        stop = self._extent(level)
        if level < split:
            start = f.select(ends[0], share.first[level], 0)
            stop = f.select(ends[1], f.add(share.last[level], 1), stop)
        if level == len(self.outer):
            if self.sweep is None:
                self.lane_blocks(start, stop, point, self._phases)
            else:
                self.sweep.run(start, stop, point)
            return
        with self.loop(start, stop) as index:
            inside = point.at(self.outer[level].name, index)
            self._enter_level(level + 1, inside)
            if level + 1 < split:
                first = f.both(ends[0], f.equal(index, share.first[level]))
                ends = first, f.both(ends[1], f.equal(index, share.last[level]))
            self._outer(level + 1, share, ends, inside)

    def _extent(self, level: int) -> Int:
        if level < len(self.outer):
            return self.frame.size(self.outer[level].extent)
        return self._blocks() if self.lane_axis else 1

    def lane_blocks(self, start: Int, stop: Int, point: Point, visit: Visit) -> None:
        """The blocks [start, stop) of the lane axis: full ones, then the masked tail."""
        if self.lane_axis is None:
            visit(point)
            return
        f, span = self.frame, self.span
        n = f.size(self.lane_axis.extent)
        if self.masks_all(n, self.plan.copies):
            past, mixed = f.least(f.mul(stop, span), n), replace(point, mixed=True)
            with self.loop(f.mul(start, span), past, span) as index:
                self._lane_point([(index, self.rest_mask(index, n))], mixed, visit)
            return
        full = f.div(n, span)
        end = f.least(stop, full)
        if full != 0:
            with self.loop(f.mul(start, span), f.mul(end, span), span) as index:
                self._lane_point(self._full_vectors(index), point, visit)
        if isinstance(n, int) and n % span == 0:
            return
        if isinstance(n, int) and full == 0:
            self._tail(0, n, point, visit)
            return
        with self.e.when(f.less(full, stop), "tail", "after"):
            self._tail(f.mul(full, span), n, point, visit)

    def one_vector(self, point: Point) -> None:
        """All lanes, where they are no more than one vector's."""
        assert self.lane_axis is not None
        mask = self.rest_mask(0, self.frame.size(self.lane_axis.extent))
        self._lane_point([(0, mask)], point, self._phases)

    def _full_vectors(self, index: Int) -> Lanes:
        width = self.plan.lanes
        return [(self.frame.add(index, width * c), "") for c in range(self.plan.copies)]

    def _tail(self, start: Int, n: Int, point: Point, visit: Visit) -> None:
        """The lanes from `start` to `n`: at once if their number is known, else a vector a trip, of
        which the last one takes a mask."""
        width = self.plan.lanes
        if isinstance(start, int) and isinstance(n, int):
            starts = range(start, n, width)
            self._lane_point([(s, first_lanes(n - s, width)) for s in starts], point, visit)
            return
        f, last = self.frame, start
        if self.plan.copies > 1:
            last = f.add(start, f.mul(f.div(f.sub(n, start), width), width))
            with self.loop(start, last, width) as index:
                self._lane_point([(index, "")], point, visit)
        with self.loop(last, n, width) as index:
            self._lane_point([(index, self.rest_mask(index, n))], point, visit)

    def masks_all(self, n: Int, copies: int) -> bool:
        """Whether every vector of a loop takes a mask, which saves a second body for the last.

        Where masks cost nothing and the body is large, so that it has one copy.
        """
        width = self.plan.lanes
        exact = isinstance(n, int) and (n % width == 0 or n < width)
        return self.target.has_masks and copies == 1 and not exact

    def rest_mask(self, index: Int, n: Int) -> str:
        """The lanes of the vector at `index` that are below `n`."""
        f, width = self.frame, self.plan.lanes
        if isinstance(index, int) and isinstance(n, int):
            return first_lanes(n - index, width)
        t = Vec("i32", width)
        rest = f.least(f.sub(n, index), width)
        count = f.splat(self.e.once(f"trunc i64 {f.text(rest)} to i32"), t)
        return self.e.once(f"icmp slt {t} {iota(t)}, {count}")

    def _lane_point(self, vectors: Lanes, point: Point, visit: Visit) -> None:
        assert self.lane_axis is not None
        inside = point.across(self.lane_axis.name, self.plan.lanes, vectors)
        self._within(self.within, inside, visit)

    def _within(self, axes: list[Axis], point: Point, visit: Visit) -> None:
        """Every point along `axes`, at each what depends on them."""
        self._enter_level(len(self.parallel) - len(axes), point)
        if not axes:
            visit(point)
            return
        axis, *others = axes
        woven = partial(self._woven, axis, point)
        apart = partial(self._each, axis, others, point, visit)
        if axis.name != self.plan.woven:
            apart()
        elif (fits := self._lie_woven(axis)) == "true":
            woven()
        else:
            self.e.either(fits, woven=woven, apart=apart)

    def _each(self, axis: Axis, others: list[Axis], point: Point, visit: Visit) -> None:
        assert isinstance(axis.extent, int)
        for index in range(axis.extent):
            self._within(others, point.at(axis.name, index), visit)

    def _stores(self) -> list[Store]:
        return [s for s in self.kernel.statements() if isinstance(s, Store)]

    def _lie_woven(self, axis: Axis) -> str:
        """i1: what lies side by side along the axis fills the steps from lane to lane."""
        f, fits = self.frame, "true"
        for s in self._stores():
            fits = f.both(fits, f.equal(f.size(s.at.stride(self.plan.lane)), f.size(axis.extent)))
        return fits

    def _woven(self, axis: Axis, point: Point) -> None:
        """All points of the axis, whose vectors are stored together."""
        assert isinstance(axis.extent, int)
        depth, stores, copies = len(self.parallel), self._stores(), range(len(point.vectors))
        kept: list[list[list[str]]] = [[] for _ in stores]
        for index in range(axis.extent):
            inside = point.at(axis.name, index)
            self._enter_level(depth, inside)
            self.statements(0, depth, inside, but=Store)
            for s, rows in zip(stores, kept, strict=True):
                known = self.values
                rows.append([self.evaluator.stored(s, point.lanes, k, known) for k in copies])
        n = self.frame.size(self.uses.extents[self.plan.lane])
        for s, rows in zip(stores, kept, strict=True):
            self.evaluator.store_woven(s, point.at(axis.name, 0), rows, n)

    def _phases(self, point: Point) -> None:
        """All phases at one point (or block of points) of the parallel axes."""
        for p in range(len(self.kernel.phases)):
            PhaseLoops(self, p, point).run()
