"""Elementwise kernels that read along one axis and write along another: blocks turned in registers.

    this thread's share of the units            # outer points by `UNIT` points of the axis read
      vectors of the axis that is written along
        `side` points of the axis that is read along
          of each lane as many elements as they lie, turned into a vector for each point
          at each point: the statements, which find those loads made

Lanes along either axis alone would gather, or scatter, an element at a time. A tile of this size
reads whole cache lines and writes whole ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from graphc.codegen_cpu import memory
from graphc.codegen_cpu.emitter import Emitter
from graphc.codegen_cpu.frame import Frame, Value
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.scalar import cast, register, reports
from graphc.codegen_cpu.statements import Point, Statements, Values
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.transpose import transposed
from graphc.ir.kernel import Apply, Axis, Kernel, Load, Store
from graphc.ir.kernel_uses import uses

ITEM_BYTES = 4  # of what is turned
SIDE = 8  # points turned at a time: half a cache line, of which the second half is still near
UNIT = 64  # points of the axis read, for which each lane has whole lines
LEAST = 4  # points of it that are worth turning
SMALL = 4096  # elements: below, one thread is quicker than sharing cache lines


@dataclass(frozen=True, slots=True)
class Plan:
    """Vectors of `lanes` along `lane`, `side` points of `along` at a time, for those loads."""

    lane: Axis
    along: Axis
    lanes: int
    side: int
    loads: tuple[Load, ...]


def plan(kernel: Kernel, target: Target) -> Plan | None:
    """How a kernel is turned; None if its loads and stores go along one axis, or it sums."""
    lanes = target.vector_bytes // ITEM_BYTES
    if len(kernel.phases) != 1 or kernel.phases[0].axes or lanes < LEAST or kernel.partials:
        return None
    body = kernel.phases[0].body
    stores = [s for s in body if isinstance(s, Store)]
    lane = _beside(kernel, stores)
    fails = any(isinstance(s, Apply) and reports(s.op) for s in body)
    if lane is None or fails or any(s.add or s.indirect for s in stores):
        return None
    if isinstance(lane.extent, int) and lane.extent < lanes:
        return None
    written = uses(kernel).written
    dtypes = {b.name: b.dtype for b in kernel.buffers}
    loads = [
        s
        for s in body
        if isinstance(s, Load) and not (s.guards or s.indirect or s.buffer in written)
        if s.at.stride(lane.name) not in (0, 1) and dtypes[s.buffer].itemsize == ITEM_BYTES
    ]
    along = _beside(kernel, loads)
    if along is None or (isinstance(along.extent, int) and along.extent < LEAST):
        return None
    return Plan(lane, along, lanes, min(SIDE, lanes), tuple(loads))


def _beside(kernel: Kernel, accesses: Iterable[Load | Store]) -> Axis | None:
    """The one axis along which all of them go from an element to its neighbour."""
    steps = [{name for name, stride in s.at.terms if stride == 1} for s in accesses]
    common = set.intersection(*steps) if steps else set[str]()
    return next((a for a in kernel.axes if a.name in common), None) if len(common) == 1 else None


def emit(kernel: Kernel, plan: Plan) -> Emitter:
    """The body of the kernel's function, under the kernel ABI."""
    turning = _Turning(kernel, plan)
    turning.function()
    return turning.e


class _Turning:
    """Emits the loops of one kernel."""

    def __init__(self, kernel: Kernel, chosen: Plan) -> None:
        self.kernel, self.plan, self.e = kernel, chosen, Emitter()
        ends = (chosen.lane, chosen.along)
        self.outer = [a for a in kernel.axes if a not in ends]
        self.f = Frame(self.e, kernel, [*self.outer, *ends])
        self.evaluator = Statements(self.f, kernel, uses(kernel))

    def function(self) -> None:
        f = self.f
        extents = [f.size(a.extent) for a in self.outer]
        rows, lanes = f.size(self.plan.along.extent), f.size(self.plan.lane.extent)
        cuts = f.ceil_div(rows, UNIT)
        units = f.product([*extents, cuts])
        work = f.product([*extents, rows, lanes])
        threads = f.select(f.less(work, SMALL), 1, "%nthreads")
        low = f.least(f.div(f.mul("%tid", units), threads), units)
        high = f.least(f.div(f.mul(f.add("%tid", 1), units), threads), units)
        with self.e.loop(f.text(low), f.text(high), 1, "unit") as unit:
            start = f.mul(f.rem(unit, cuts), UNIT)
            left, point = f.div(unit, cuts), Point()
            for axis, extent in reversed(list(zip(self.outer, extents, strict=True))):
                point = point.at(axis.name, f.rem(left, extent))
                left = f.div(left, extent)
            self._lanes(point, start, f.least(f.add(start, UNIT), rows))
        self.e.leave()

    def _lanes(self, point: Point, low: Int, high: Int) -> None:
        """Points [low, high) of the axis read, of every vector."""
        f, p = self.f, self.plan
        n = f.size(p.lane.extent)
        whole = isinstance(n, int) and n % p.lanes == 0
        with self.e.loop("0", f.text(n), p.lanes, "lane") as first:
            mask = "" if whole else f.below(f.sub(n, first), p.lanes)
            here = point.across(p.lane.name, p.lanes, [(first, mask)])
            rows = [self._rows(s, here, f.sub(n, 1)) for s in p.loads]
            with self.e.loop(f.text(low), f.text(high), p.side, "side") as at:
                self._blocks(here, rows, at, high)

    def _blocks(self, point: Point, rows: list[list[str]], at: Int, high: Int) -> None:
        """A block, whole where as many points are left."""
        p, block = self.plan, partial(self._block, point, rows, at, high)
        if isinstance(p.along.extent, int) and p.along.extent % p.side == 0:
            block(whole=True)
            return
        self.e.either(
            self.f.less(self.f.add(at, p.side - 1), high),
            whole=partial(block, whole=True),
            part=partial(block, whole=False),
        )

    def _rows(self, s: Load, point: Point, last: Int) -> list[str]:
        """Where each lane's row begins; lanes beyond the axis repeat its last."""
        f, lane = self.f, self.plan.lane.name
        first = point.index[lane]
        lanes = [f.least(f.add(first, k), last) for k in range(self.plan.lanes)]
        return [
            f.address(s.buffer, f.offset(s.at, {**point.index, lane: index})) for index in lanes
        ]

    def _block(
        self, point: Point, rows: list[list[str]], at: Int, high: Int, *, whole: bool
    ) -> None:
        """`side` points from `at` on, or those of them that there are."""
        f, p = self.f, self.plan
        mask = "" if whole else f.below(f.sub(high, at), p.side)
        turned = [self._turned(s, starts, at, mask) for s, starts in zip(p.loads, rows)]
        for k in range(p.side):
            index = f.add(at, k)
            known: Values = dict(self.f.arguments)
            for s, parts in zip(p.loads, turned, strict=True):
                known[s.name] = Value(s.dtype, [parts[k]], True)
            if whole:
                self._statements(point.at(p.along.name, index), known)
                continue
            with self.e.when(f.less(index, high), "there", "after"):
                self._statements(point.at(p.along.name, index), known)

    def _turned(self, s: Load, starts: list[str], at: Int, mask: str) -> list[str]:
        """What the load gives in all lanes at each of the points."""
        p, dtype = self.plan, self.f.dtypes[s.buffer]
        places = [self.f.pointer(start, at, dtype) for start in starts]
        pieces = [memory.load(self.f, place, dtype, p.side, "", mask) for place in places]
        vectors = transposed(self.e, register(dtype, p.lanes), pieces, p.side)
        return [cast(self.e, p.lanes, dtype, s.dtype, x) for x in vectors]

    def _statements(self, point: Point, known: Values) -> None:
        for s in self.kernel.phases[0].body:
            if s not in self.plan.loads:
                self.evaluator.run(s, point, known)
