"""The general kernel template: any Kernel as loops over vectors, split between threads.

    prologue: buffers, sizes, scalars
    this thread's contiguous range of units (outer points, or blocks of the lane axis)
      for each outer axis: for each block of the lane axis: full vectors, then a masked tail
        for each phase: its loops, unrolled with an accumulator each, merged by a fixed tree

A statement is emitted in the outermost loop that knows all it depends on. Sums are cascaded: a
long nest adds up runs in float64, so the error does not grow with its length. What order a
sum has depends on extents and the target only; threads choose who runs a unit, never how.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.codegen_cpu.map.body import ZEROS, Body, Value, Vector
from graphc.codegen_cpu.map.lanes import Plan, plan
from graphc.codegen_cpu.map.phases import PhaseLoops
from graphc.codegen_cpu.map.scope import ZERO, Int, Scope, first_lanes, iota
from graphc.codegen_cpu.scalar import from_memory, in_memory, reports
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Apply, Axis, Dot, Kernel, Load, Phase, Reduce, Statement, Store
from graphc.ir.kernel_uses import Uses, accesses, arguments, depends, uses
from graphc.ir.types import i64

SMALL = 4096  # statements executed: below, one thread is quicker than sharing cache lines
UNITS = 64  # enough units to share: only so many outer axes are split between threads


def emit(kernel: Kernel, target: Target) -> Emitter:
    """The body of the kernel's function, under the kernel ABI."""
    template = Template(kernel, target)
    template.function()
    return template.e


class Template:
    """One kernel being emitted."""

    def __init__(self, kernel: Kernel, target: Target) -> None:
        self.kernel, self.target, self.e = kernel, target, Emitter()
        self.uses: Uses = uses(kernel)
        self.plan: Plan = plan(kernel, target)
        sizes = {name: f"%n{k}" for k, name in enumerate(kernel.sizes)}
        self.scope = Scope(self.e, sizes)
        self.body = Body(self.e, self.scope, kernel, self.uses)
        lane = self.plan.lane
        outer = [a for a in kernel.axes if a.name != lane]
        self.outer = outer
        self.lane_axis = next((a for a in kernel.axes if a.name == lane), None)
        self.parallel = outer + ([self.lane_axis] if self.lane_axis else [])
        self.phase_axes = [self._ordered(p) for p in range(len(kernel.phases))]
        self.depths = self._depths()

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

    def _enter_level(self, depth: int) -> None:
        """Inside `depth` parallel loops: statements of all phases that need no more, addresses."""
        for p, phase in enumerate(self.kernel.phases):
            if depth < len(self.parallel):  # deeper ones may need the reductions of earlier phases
                self.statements(p, depth)
            self.addresses(phase)

    def addresses(self, phase: Phase) -> None:
        """Sum the parts of all addresses that the loops entered so far fix."""
        for s in phase.body:
            for at in accesses(s):
                self.body.offset(at)

    def statements(self, p: int, depth: int) -> None:
        """The statements of a phase that belong `depth` loops deep, in order."""
        phase = self.kernel.phases[p]
        hoisted = bool(phase.axes) and depth < len(self.parallel) + len(phase.axes)
        self.body.nonempty = self._nonempty(phase) if hoisted else ""
        for s, d in zip(phase.body, self.depths[p], strict=True):
            if d == depth and not isinstance(s, (Reduce, Dot)):
                self.body.run(s)
        self.body.nonempty = ""

    def _nonempty(self, phase: Phase) -> str:
        """i1: the loops of the phase have a trip, so that what is hoisted out may read memory."""
        scope, some = self.scope, "true"
        for axis in phase.axes:
            some = scope.both(some, scope.less(ZERO, scope.size(axis.extent)))
        return "" if some == "true" else some

    # ---- the function --------------------------------------------------------------------------

    def function(self) -> None:
        self._prologue()
        if any(a.extent == 0 for a in self.parallel):
            self.e.do("ret void")
            return
        self.body.order = {a.name: k for k, a in enumerate(self.parallel)}
        for axes in self.phase_axes:
            for k, axis in enumerate(axes):
                self.body.order[axis.name] = len(self.parallel) + k
        self.body.lane, self.body.width = self.plan.lane, self.plan.lanes if self.plan.lane else 1
        split = self._split_axes()
        first, last = self._range(split)
        self._enter_level(0)
        self._outer(0, split, first, last, "true", "true")
        self.e.do("ret void")

    def _prologue(self) -> None:
        e, cell = self.e, 1

        def argument(t: str) -> str:
            nonlocal cell
            place = e.value(f"getelementptr i64, ptr %args, i64 {cell}")
            cell += 1
            return f"load {t}, ptr {place}"

        for k in range(len(self.kernel.buffers)):
            e.do(f"%b{k} = {argument('ptr')}")
        for k, name in enumerate(self.kernel.sizes):
            e.do(f"%n{k} = {argument('i64')}")
            self.body.values[name] = Value(i64, [f"%n{k}"], False)
        for scalar in self.kernel.scalars:
            raw = e.value(argument(str(in_memory(scalar.dtype, 1))))
            value = from_memory(e, scalar.dtype, 1, raw)
            self.body.values[scalar.name] = Value(scalar.dtype, [value], False)
        statements = list(self.kernel.statements())
        if any(isinstance(s, Load) for s in statements):
            e.do(f"%zeros = alloca [{ZEROS} x i8], align 64")
            e.do(f"store <{ZEROS} x i8> zeroinitializer, ptr %zeros, align 64")

    # ---- threads -------------------------------------------------------------------------------

    def _blocks(self) -> Int:
        """Blocks of the lane axis, the last perhaps partial."""
        assert self.lane_axis is not None
        span = self._span()
        n = self.scope.size(self.lane_axis.extent)
        return self.scope.div(self.scope.add(n, Int("", span - 1)), Int("", span))

    def _span(self) -> int:
        return self.plan.lanes * self.plan.copies

    def _split_axes(self) -> list[Int]:
        """Extents of the outermost axes that make enough units; the lane blocks if need be."""
        extents: list[Int] = []
        units = 1
        for axis in self.outer:
            if units >= UNITS:
                return extents
            extents.append(self.scope.size(axis.extent))
            units *= axis.extent if isinstance(axis.extent, int) else 1
        if self.lane_axis and units < UNITS:
            extents.append(self._blocks())
        return extents

    def _range(self, split: list[Int]) -> tuple[list[Int], list[Int]]:
        """The first and last (inclusive) unit of this thread, by axis; leaves if it has none."""
        e, scope = self.e, self.scope
        units = Int("", 1)
        for n in split:
            units = scope.mul(units, n)
        work = Int("", len(list(self.kernel.statements())))
        for axis in self.parallel:
            work = scope.mul(work, scope.size(axis.extent))
        work = scope.mul(work, self._phase_work())
        small = scope.less(work, Int("", SMALL))
        threads = scope.select(small, Int("", 1), Int("%nthreads", 0))
        tid = Int("%tid", 0)
        start = scope.div(scope.mul(tid, units), threads)
        stop = scope.div(scope.mul(scope.add(tid, Int("", 1)), units), threads)
        # Threads beyond the chosen number begin past the end.
        stop = scope.minimum(stop, units)
        some = scope.less(start, stop)
        run, leave = e.fresh("run"), e.fresh("leave")
        e.do(f"br i1 {some}, label %{run}, label %{leave}")
        e.block(leave)
        e.do("ret void")
        e.block(run)
        return self._digits(start, split), self._digits(scope.sub(stop, Int("", 1)), split)

    def _phase_work(self) -> Int:
        """Trips of the phases' loops, added up."""
        total = ZERO
        for phase in self.kernel.phases:
            trips = Int("", 1)
            for axis in phase.axes:
                trips = self.scope.mul(trips, self.scope.size(axis.extent))
            total = self.scope.add(total, trips)
        return total

    def _digits(self, unit: Int, split: list[Int]) -> list[Int]:
        """A unit's index along each split axis."""
        digits: list[Int] = []
        for n in reversed(split[1:]):
            quotient = self.scope.div(unit, n)
            digits.append(self.scope.sub(unit, self.scope.mul(quotient, n)))
            unit = quotient
        return [unit, *reversed(digits)] if split else []

    # ---- loops over parallel points ------------------------------------------------------------

    @contextmanager
    def loop(self, start: Int, stop: Int, step: int = 1) -> Iterator[Int]:
        """A loop, or nothing but its body where there is one trip for certain."""
        if start.is_literal and stop.is_literal and 0 < stop.literal - start.literal <= step:
            yield start
            return
        first, last = self.scope.text(start), self.scope.text(stop)
        with self.e.loop(first, last, step) as index, self.scope.inner():
            yield Int(index, 0)

    def _outer(
        self, level: int, split: list[Int], first: list[Int], last: list[Int],
        at_first: str, at_last: str,
    ) -> None:  # fmt: skip
        """Loops over the outer axes from `level` in; flags: whether at the ends of the range."""
        scope = self.scope
        whole = self._extent(level)
        if level < len(split):
            start = scope.select(at_first, first[level], ZERO)
            stop = scope.select(at_last, scope.add(last[level], Int("", 1)), whole)
        else:
            start, stop = ZERO, whole
        if level == len(self.outer):
            self._lane_blocks(start, stop)
            return
        with self.loop(start, stop) as index:
            self.body.indices[self.outer[level].name] = index
            self._enter_level(level + 1)
            if level + 1 < len(split):
                here = scope.once(f"icmp eq i64 {scope.text(index)}, {scope.text(first[level])}")
                at_first = scope.both(at_first, here)
                here = scope.once(f"icmp eq i64 {scope.text(index)}, {scope.text(last[level])}")
                at_last = scope.both(at_last, here)
            self._outer(level + 1, split, first, last, at_first, at_last)
            del self.body.indices[self.outer[level].name]

    def _extent(self, level: int) -> Int:
        if level < len(self.outer):
            return self.scope.size(self.outer[level].extent)
        return self._blocks() if self.lane_axis else Int("", 1)

    def _lane_blocks(self, start: Int, stop: Int) -> None:
        """The blocks [start, stop) of the lane axis: full ones, then the masked tail."""
        if self.lane_axis is None:
            self._point()
            return
        scope, span = self.scope, self._span()
        n = scope.size(self.lane_axis.extent)
        if self.masks_all(n, self.plan.copies):
            past = scope.minimum(scope.mul(stop, Int("", span)), n)
            with self.loop(scope.mul(start, Int("", span)), past, span) as index:
                self._lane_point([Vector(index, self.rest_mask(index, n))])
            return
        full = scope.div(n, Int("", span))
        end = scope.minimum(stop, full)
        if full != ZERO:
            first, past = (scope.mul(b, Int("", span)) for b in (start, end))
            with self.loop(first, past, span) as index:
                self._lane_point(self._full_vectors(index))
        if n.is_literal and n.literal % span == 0:
            return
        if n.is_literal and full == ZERO:
            self._tail(ZERO, n)
            return
        tail, after = self.e.fresh("tail"), self.e.fresh("after")
        self.e.do(f"br i1 {scope.less(full, stop)}, label %{tail}, label %{after}")
        self.e.block(tail)
        with scope.inner():
            self._tail(scope.mul(full, Int("", span)), n)
        self.e.do(f"br label %{after}")
        self.e.block(after)

    def _full_vectors(self, index: Int) -> list[Vector]:
        width = self.plan.lanes
        return [
            Vector(self.scope.add(index, Int("", width * c)), "") for c in range(self.plan.copies)
        ]

    def _tail(self, start: Int, n: Int) -> None:
        """The lanes from `start` to `n`: at once if their number is known, else a vector a trip."""
        width = self.plan.lanes
        if n.is_literal:
            starts = range(start.literal, n.literal, width)
            self._lane_point(
                [Vector(Int("", s), first_lanes(n.literal - s, width)) for s in starts]
            )
            return
        with self.loop(start, n, width) as index:
            self._lane_point([Vector(index, self.rest_mask(index, n))])

    def masks_all(self, n: Int, copies: int) -> bool:
        """Whether every vector of a loop takes a mask, which saves a second body for the last.

        Where masks cost nothing and the body is large, so that it has one copy.
        """
        exact = n.is_literal and (n.literal % self.plan.lanes == 0 or n.literal < self.plan.lanes)
        return self.target.has_masks and copies == 1 and not exact

    def rest_mask(self, index: Int, n: Int) -> str:
        """The lanes of the vector at `index` that are below `n`."""
        width = self.plan.lanes
        if index.is_literal and n.is_literal:
            return first_lanes(n.literal - index.literal, width)
        scope, t = self.scope, Vec("i32", width)
        rest = scope.minimum(scope.sub(n, index), Int("", width))
        count = scope.splat(scope.once(f"trunc i64 {scope.text(rest)} to i32"), t)
        return scope.once(f"icmp slt {t} {iota(t)}, {count}")

    def _lane_point(self, vectors: list[Vector]) -> None:
        assert self.lane_axis is not None
        self.body.vectors = vectors
        self.body.enter(0)
        self._enter_level(len(self.parallel))
        self._point()
        del self.body.indices[self.lane_axis.name]

    def _point(self) -> None:
        """All phases at one point (or block of points) of the parallel axes."""
        for p in range(len(self.kernel.phases)):
            PhaseLoops(self, p).run()
