"""Blocks by formula, from a kernel, typical sizes and the target: how many points a program takes.

  flat    points along one dimension of lanes; loops of few trips, and scatters, run in order
  rows    the same of a scatter whose trips add to rows, which are shared out among programs
  tile    points in two dimensions, where loads and stores disagree about the innermost axis
  row     loops along lanes, what they read being contiguous; a program has some points beside
  column  points along lanes, being contiguous; loops along the other dimension

Enough programs for four on each multiprocessor come first, then 16 bytes an access of a thread. The
sizes are hints; only literal extents are known, so only they decide what has no loop or no mask,
and in which order a sum is added up: a process that began with another batch gives the same bits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from graphc.codegen_gpu.target import ACCESS_BYTES, WARP, Target
from graphc.ir.kernel import Axis, Kernel, Load, Phase, Reduce, Size, Statement, Store
from graphc.ir.kernel_uses import accesses, arguments

Form = Literal["flat", "rows", "tile", "row", "column"]
Mode = Literal["once", "whole", "looped", "serial"]

WAVES = 4  # programs for each multiprocessor, if there are points for them
WARPS = 4
PER_THREAD = 8  # elements of one thread: more is registers, less is latency
WHOLE = 4096  # elements of a phase that a program holds at once
ROOM = 8192  # elements of a block
UNROLLED = 32  # trips of a loop that is written out
LOOPED = 1024  # elements of a phase in one trip
SIDE = 32  # of a tile
SHARES = 512  # programs for the same points of a scatter: each looks at all indices
LEAST = 4  # trips of each
SHARED = 1024  # points of its programs
MANY = 48  # statements whose values fill a thread's registers sooner
DENSE = 40  # the same beside the sums of a column block, in float64
IN_FLIGHT = 4  # times as much of a column block, so that its few programs keep memory busy
MOST_EACH = 4  # points of axes that are written out
MOST_COLUMNS = 64  # points of a column block
READ = 4  # elements that a place of it reads, so that its registers hold all
UNKNOWN = 1 << 14  # points of an unknown number, where it decides how sums are added up


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """How a phase runs: without loop, all of it in lanes, lanes in a loop, or one by one."""

    mode: Mode
    block: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """How a kernel's points and loops become programs."""

    form: Form
    points: int  # along the dimension of points
    phases: tuple[PhasePlan, ...]
    tile: tuple[str, str] = ("", "")  # the axes of a tile: rows, columns
    warps: int = WARPS
    shares: int = 1  # programs for the same points of a scatter, each with some of the rows
    each: tuple[str, ...] = ()  # axes that are written out: a place computes all of their points


def power(n: int) -> int:
    """The power of two that is no less."""
    return 1 << max(n - 1, 0).bit_length()


def plan(kernel: Kernel, sizes: Sequence[int], target: Target) -> Plan:
    """The blocks of a map or scatter kernel."""
    return _Planner(kernel, dict(zip(kernel.sizes, sizes, strict=True)), target).plan()


def extent(axes: Sequence[Axis]) -> int | None:
    """The points of axes, if they are literals."""
    literal = [a.extent for a in axes if isinstance(a.extent, int)]
    return prod(literal) if len(literal) == len(axes) else None


def factor(axes: Sequence[Axis]) -> int:
    """What the number of points is surely a multiple of."""
    return prod(a.extent for a in axes if isinstance(a.extent, int))


@dataclass(frozen=True, slots=True)
class RowScatter:
    """A scatter whose trips each add to one row, whatever the point: `index` is its number."""

    index: str
    store: Store
    adding: Phase
    finding: tuple[Statement, ...]  # those of the phase that the index needs


def row_scatter(kernel: Kernel) -> RowScatter | None:
    """How a kernel adds to rows; None if it does other things. What it does before is to store
    each row once, by a loop over their numbers, or to compute what all trips need."""
    adding = [(p, s) for p in kernel.phases for s in p.body if isinstance(s, Store) and s.add]
    if kernel.kind != "scatter" or len(adding) != 1:
        return None
    ((phase, store),) = adding
    others = [s for s in phase.body if isinstance(s, Store) and s is not store]
    inner, outer = ({a.name for a in axes} for axes in (phase.axes, kernel.axes))
    moves = inner & {a for a, _ in store.at.terms}
    if others or moves or store.guards or len(store.indirect) != 1 or not phase.axes:
        return None
    first = kernel.phases[:-1]
    if phase is not kernel.phases[-1] or not all(_fills(p, store) for p in first if p.axes):
        return None
    if any(isinstance(s, Store | Reduce) for p in first if not p.axes for s in p.body):
        return None
    if any(isinstance(s, Load) and s.buffer == store.buffer for p in first for s in p.body):
        return None
    index, wanted = store.indirect[0].index, {store.indirect[0].index}
    finding: list[Statement] = []
    for s in reversed(phase.body):
        if isinstance(s, Store) or s.name not in wanted:
            continue
        wanted |= set(arguments(s))
        finding.append(s)
        if any(outer & {a for a, _ in form.terms} for form in accesses(s)):
            return None
    return RowScatter(index, store, phase, tuple(reversed(finding)))


def _fills(phase: Phase, add: Store) -> bool:
    """Whether each trip stores a point of the row of its number, and nothing else."""
    stores = [s for s in phase.body if isinstance(s, Store)]
    if len(phase.axes) != 1 or any(isinstance(s, Reduce) for s in phase.body):
        return False
    (axis,), (row,) = phase.axes, add.indirect
    return all(
        s.buffer == add.buffer
        and not (s.add or s.guards or s.indirect)
        and s.at.stride(axis.name) == row.stride
        and s.at.const == add.at.const
        and {t for t in s.at.terms if t[0] != axis.name} == set(add.at.terms)
        for s in stores
    )


class _Planner:
    def __init__(self, kernel: Kernel, sizes: Mapping[str, int], target: Target) -> None:
        self.kernel, self.sizes, self.target = kernel, sizes, target
        self.points = max(self.typical(kernel.axes), 1)

    def size(self, size: Size) -> int:
        return size if isinstance(size, int) else self.sizes[size]

    def typical(self, axes: Sequence[Axis]) -> int:
        return prod(self.size(a.extent) for a in axes)

    def nominal(self, axes: Sequence[Axis]) -> int:
        """Points, whatever the hints are."""
        return prod(a.extent if isinstance(a.extent, int) else UNKNOWN for a in axes)

    def plan(self) -> Plan:
        loops = [p for p in self.kernel.phases if p.axes]
        if row_scatter(self.kernel):
            return self.rows()
        columns = self.columns()
        if self.kernel.kind == "scatter" or all(self.serial(p, columns) for p in loops):
            tile = self.tile() if not loops else None
            if tile:
                phases = tuple(PhasePlan("once") for _ in self.kernel.phases)
                return Plan("tile", SIDE, phases, tile)
            phases = tuple(PhasePlan("serial" if p.axes else "once") for p in self.kernel.phases)
            return self.flat(phases) if loops else self.written_out(self.flat(phases))
        self.points = max(self.nominal(self.kernel.axes), 1)
        return self.column() if columns else self.row()

    # ---- points alone --------------------------------------------------------------------------

    def serial(self, phase: Phase, columns: bool) -> bool:
        """Whether its few trips run one after the other, each for a block of points."""
        trips = extent(phase.axes)
        few = trips is not None and trips <= UNROLLED
        many = self.nominal(self.kernel.axes) >= WARP * self.target.sms
        return few and (columns or trips == 1) and many

    def flat(self, phases: tuple[PhasePlan, ...], written: Sequence[str] = ()) -> Plan:
        """16 bytes of the narrowest element a thread; fewer warps for more programs. Axes that are
        `written` out decide most guards, so that fewer statements are left."""
        widths = [b.dtype.itemsize for b in self.kernel.buffers] or [4]
        each = min(max(ACCESS_BYTES // min(widths), 2), PER_THREAD)
        if not written and len(list(self.kernel.statements())) > MANY:
            each = max(each // 2, 1)
        axes = [a for a in self.kernel.axes if a.name not in written]
        block = self.enough(WARP * WARPS * each, WARP * each, axes)
        warps = max(min(block // (WARP * each), WARPS), 1)
        return Plan("flat", block, phases, warps=warps)

    def written_out(self, plan: Plan) -> Plan:
        """With the axes of few points by which guards alone decide: of the windows that overlap,
        each such point is in other ones, and each place then reads what any of them needs."""
        if self.kernel.kind != "map":
            return plan
        guards = {g for s in self.kernel.statements() if isinstance(s, Load) for g in s.guards}
        alone = Counter(
            g.at.terms[0][0] for g in guards if len(g.at.terms) == 1 and g.at.const == 0
        )
        last = {a for s in self.kernel.statements() if isinstance(s, Store) for a in
                self.contiguous(s)}  # fmt: skip
        each = [a for a in self.kernel.axes if a.extent in (2, 3, 4) and alone[a.name] > 1]
        each = [a for a in each if a.name not in last]
        if not each or self.typical(each) > MOST_EACH:
            return plan
        self.points = max(self.points // self.typical(each), 1)
        phases, written = plan.phases, tuple(a.name for a in each)
        return replace(self.flat(phases, written), each=written)

    def rows(self) -> Plan:
        """As many programs for the same points as leave each some trips, and fill the target."""
        block = min(power(self.points), SHARED)
        trips = self.typical(self.kernel.phases[-1].axes)
        free = WAVES * self.target.sms // -(-self.points // block)
        shares = max(power(min(trips // LEAST, free, SHARES) + 1) // 2, 1)
        phases = tuple(PhasePlan("serial") for _ in self.kernel.phases)
        return Plan("rows", block, phases, shares=shares)

    def enough(self, most: int, least: int, axes: Sequence[Axis] = ()) -> int:
        """A block of points that leaves enough programs, no larger than there are points."""
        known = extent(axes or self.kernel.axes)
        block = most
        while block > least and self.points < block * WAVES * self.target.sms:
            block //= 2
        return min(block, power(known)) if known else block

    # ---- contiguity ----------------------------------------------------------------------------

    def contiguous(self, s: Load | Store) -> list[str]:
        return [a for a, stride in s.at.terms if stride in (1, -1)]

    def columns(self) -> bool:
        """Whether points rather than trips lie side by side in memory, counted in bytes and by how
        much there is to read."""
        votes: Counter[bool] = Counter()
        dtypes = {b.name: b.dtype for b in self.kernel.buffers}
        for phase in self.kernel.phases:
            inner = {a.name: self.size(a.extent) for a in phase.axes}
            if not inner:
                continue
            outer = {a.name: self.size(a.extent) for a in self.kernel.axes}
            known = [a for a in (*phase.axes, *self.kernel.axes) if isinstance(a.extent, int)]
            for s in phase.body:
                if isinstance(s, Load | Store):
                    for a in self.contiguous(s):
                        n = inner.get(a, outer.get(a, 1))
                        each = dtypes[s.buffer].itemsize * min(n, WARP)
                        moved = [b for b in known if s.at.stride(b.name) != 0]
                        votes[a in outer] += each * max(self.typical(moved), 1)
        return votes[True] > votes[False]

    def tile(self) -> tuple[str, str] | None:
        """(axis that loads run along, axis that stores run along), where they differ."""
        wanted: dict[type, Counter[str]] = {Load: Counter(), Store: Counter()}
        for s in self.kernel.statements():
            if isinstance(s, Load | Store) and not s.indirect and len(s.at.terms) > 1:
                wanted[type(s)].update(self.contiguous(s))
        if not wanted[Store] or not wanted[Load]:
            return None
        columns = wanted[Store].most_common(1)[0][0]
        rows = wanted[Load].most_common(1)[0][0]
        sizes = {a.name: self.size(a.extent) for a in self.kernel.axes}
        if rows == columns or min(sizes[rows], sizes[columns]) < SIDE // 2:
            return None
        return rows, columns

    # ---- reductions ----------------------------------------------------------------------------

    def row(self) -> Plan:
        """Points are added to a short loop until a thread has enough to do."""
        widest = max(self.lanes(p) for p in self.kernel.phases)
        block = self.enough(max(LOOPED // widest, 1), 1)
        return self.with_loops("row", block)

    def column(self) -> Plan:
        inner = self.nominal(self.kernel.axes[-1:])
        most = WARP // 2 if self.dense else max(MOST_COLUMNS // self.crowd, WARP // 2)
        block = self.enough(min(power(inner), most), min(power(inner), WARP // 2))
        return self.with_loops("column", block)

    @property
    def dense(self) -> bool:
        return len(list(self.kernel.statements())) > DENSE

    @property
    def crowd(self) -> int:
        """How many times the usual number of elements a phase of a column block has in registers
        at once: what it reads for each trip of each point."""
        outer = {a.name for a in self.kernel.axes}

        def read(phase: Phase) -> int:
            inner = {a.name for a in phase.axes}
            moved = [{a for a, _ in s.at.terms} for s in phase.body if isinstance(s, Load)]
            return sum(bool(m & inner) and bool(m & outer) for m in moved)

        return power(max(map(read, self.kernel.phases))) // READ or 1

    def lanes(self, phase: Phase) -> int:
        trips = extent(phase.axes)
        if trips is not None and trips <= WHOLE:
            return power(trips)
        return min(power(self.nominal(phase.axes)), LOOPED)

    def with_loops(self, form: Form, block: int) -> Plan:
        phases = tuple(self.loop(p, form, block) for p in self.kernel.phases)
        largest = block * max(p.block for p in phases)
        many = WHOLE // 2 if form == "column" else WHOLE
        warps = 2 * WARPS if largest >= many else min(max(largest // (4 * WARP), 1), WARPS)
        return Plan(form, block, phases, warps=warps)

    def loop(self, phase: Phase, form: Form, block: int) -> PhasePlan:
        if not phase.axes:
            return PhasePlan("once")
        trips = extent(phase.axes)
        most = ROOM // 4 if form == "column" and self.dense else ROOM
        if trips is not None and trips <= WHOLE and power(trips) * block <= most:
            return PhasePlan("whole", power(trips))
        room = LOOPED
        if form == "column":
            sums = power(sum(isinstance(s, Reduce) for s in phase.body))  # each has registers
            room = (1 if self.dense else IN_FLIGHT) * LOOPED // (block * sums)
        least = max(WARP * WARPS // block, 1)  # a thread each
        return PhasePlan("looped", max(min(room, power(self.nominal(phase.axes))), least))
