"""The choice of a contraction's plan: which axis plays which role, how big the register tile is.

Axes of a contraction fall into roles by which operand they index. The *vector* operand supplies
whole vectors along the lane axis; the *scalar* operand supplies one value for each row of the
tile, broadcast over the lanes. So with a register tile of R rows by N vectors each step of the
reduction costs R + N loads for R*N fused multiply-adds.

  lane axis   parallel, indexes the vector operand (not the scalar one, or with stride 1 in both:
              a depthwise convolution, whose "scalars" are vectors too)
  row axes    parallel, index the scalar operand alone; up to two are tiled, because a 7 pixel row
              is too short for a tile of 12
  outer axes  all others

When the lane axis is not contiguous the vector operand is copied, transposed, into a panel; or,
when the innermost reduction axis is contiguous in both operands, lanes run along that axis and are
summed at the end (`along`), which needs no copy and suits few rows and long reductions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

from graphc.codegen_cpu.contract.parts import (
    Runs,
    filled,
    fold_of,
    guess,
    most_rows,
    points,
    rate_of,
    reach,
    row_counts,
    runs_of,
    shared_out,
    used,
)
from graphc.codegen_cpu.contract.zeros import varies
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Axis, Load, Store
from graphc.ir.kernel_contraction import Contraction, Operand
from graphc.ir.types import f32

FAR = 0.98  # rows of two axes share fewer cache lines
PAGE_BYTES = 4096  # lines a multiple of this apart are kept in the same few places of the cache
WAYS = 8  # so many of them
CROWDED = 0.4  # the rate where more rows want to stay there
STREAMED = 4 / 3  # cycles for a vector of a row that is read in order, from the second-level cache
HALF = 0.8  # the rate of vectors of half the width: as many instructions give half the sums

How = Literal["lanes", "along"]


@dataclass(frozen=True, slots=True)
class Rows:
    """`count` consecutive points of a parallel axis in the register tile."""

    axis: Axis
    count: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A candidate and its rate: useful multiply-adds a cycle, in vectors."""

    rate: float
    how: How
    scalar: Operand
    vector: Operand
    lane: Axis
    lanes: int
    vectors: int
    rows: tuple[Rows, ...]
    fold: int


def best_choice(c: Contraction, target: Target) -> Choice | None:
    """The first of those with the highest rate; None where there is none."""
    best: Choice | None = None
    for roles in _roles(c, target):
        for choice in _tiles(c, target, roles, -1.0 if best is None else best.rate):
            best = choice
    return best


class _Roles(NamedTuple):
    """What is chosen before the tile; `factor`: of the rate."""

    how: How
    scalar: Operand
    vector: Operand
    lane: Axis
    lanes: int
    rows: list[Axis]
    fold: int
    factor: float


def _roles(c: Contraction, target: Target) -> Iterator[_Roles]:
    runs = runs_of(c) if c.partials else None
    for vector, scalar in ((c.b, c.a), (c.a, c.b)):
        for lane in c.axes:
            if not vector.uses(lane.name) or not scalar.contiguous(lane.name) or varies(c, lane):
                continue
            if runs is not None and not _in_runs(runs, vector, scalar, lane):
                continue
            rows = row_axes(c, scalar, vector)
            single = scalar.uses(lane.name) or varies(c, c.reduced[-1])
            fold = 1 if single else fold_of(c, target)
            if runs is not None:
                rows = [runs.inside(a) for a in rows if runs.has(a.name)]
            for how in _ways(c, vector, scalar, lane):
                factor = fold * _overhead(c, how, vector, lane, rows, fold)
                for lanes in _lanes(c, target, how, scalar, lane):
                    yield _Roles(how, scalar, vector, lane, lanes, rows, fold, factor)


def _lanes(c: Contraction, target: Target, how: How, scalar: Operand, lane: Axis) -> Iterator[int]:
    """Lanes of a vector: half as many may leave fewer of them empty."""
    lanes, n = target.lanes(c.dtype), lane.extent
    yield lanes
    plain = how == "lanes" and not c.partials and not scalar.uses(lane.name)
    known = target.halves and plain and isinstance(n, int)
    if known and filled(guess(n), lanes // 2) > filled(guess(n), lanes):
        yield lanes // 2


def _in_runs(runs: Runs, vector: Operand, scalar: Operand, lane: Axis) -> bool:
    """Whether tiles of these roles hold points of one run, one result of it in each lane, in a
    panel that all tiles of the run share."""
    if runs.has(lane.name) or not isinstance(lane.extent, int):
        return False
    shared = not any(vector.uses(a.name) for a in runs.axes)
    return shared or (scalar.uses(lane.name) and vector.contiguous(lane.name))


def row_axes(c: Contraction, scalar: Operand, vector: Operand) -> list[Axis]:
    rows = [a for a in c.axes if scalar.uses(a.name) and not vector.uses(a.name)]
    return [a for a in rows if not varies(c, a)]


def _ways(c: Contraction, vector: Operand, scalar: Operand, lane: Axis) -> Iterator[How]:
    if vector.contiguous(lane.name) or panel_fits(c):
        yield "lanes"
    inner = c.reduced[-1].name
    along = vector.contiguous(inner) and scalar.contiguous(inner)
    if along and vector.uses(inner) and scalar.uses(inner) and not scalar.uses(lane.name):
        yield "along"


def panel_fits(c: Contraction) -> bool:
    """A panel's size must be literal; chunking can cut its outermost axis only."""
    return all(isinstance(a.extent, int) for a in c.reduced[1:])


def _overhead(
    c: Contraction, how: How, vector: Operand, lane: Axis, rows: list[Axis], fold: int
) -> float:
    """Share of the time left for multiply-adds, from rough costs in cycles for each output."""
    depth = points(c.reduced) / fold
    multiply, extra = depth / 32, 0.0
    reached = [s for s in c.epilogue if isinstance(s, Load | Store)]
    apart = [s for s in reached if s.at.stride(lane.name) not in (0, 1)]
    if any(isinstance(s, Store) for s in apart):
        extra += 2.0 + len(apart)  # a scattered store, and all that is gathered or scattered
    if how == "along":
        extra += 3.0 + 0.15 * multiply  # folding lanes; vectors that straddle cache lines
    elif not vector.contiguous(lane.name):
        extra += 0.35 * depth / max(1, points(rows))  # transposing into the panel
    return multiply / (multiply + extra)


def _tiles(c: Contraction, target: Target, roles: _Roles, least: float) -> Iterator[Choice]:
    """Register tiles that fit, each with a higher rate than `least` and those before it."""
    how, scalar, vector, lane, lanes, rows, fold, factor = roles
    narrow = HALF if lanes < target.lanes(c.dtype) else 1.0
    ways = [*((r,) for r in rows), *combinations(rows, 2)] or [()]
    # Of tiles that are as good, the one whose rows share most cache lines comes first.
    pairs = sorted(ways, key=lambda pair: (len(pair), sum(_apart(c, scalar, r) for r in pair)))
    wide = scalar.uses(lane.name)  # the scalar operand's loads are vectors, none shared
    for vectors in (4, 3, 2, 1):
        width = vectors * lanes if how == "lanes" else vectors
        extent = guess(lane.extent)
        if how == "along" and (vectors > lanes or (vectors == 3 and c.partials)):
            continue  # columns are added in pairs until they fill one vector, or part of it
        if vectors > 1 and width - (lanes if how == "lanes" else 1) >= extent:
            continue
        lane_use = filled(extent, width)
        if how == "along":
            lane_use *= filled(guess(c.reduced[-1].extent), lanes)
        lane_use *= narrow
        most = most_rows(target, vectors, wide)
        for pair in pairs:
            for counts in row_counts(pair, most):
                rate = rate_of(math.prod(counts), vectors, wide)
                if lane_use * rate * factor <= least:
                    continue  # as what follows are shares
                tiled = tuple(Rows(a, n) for a, n in zip(pair, counts) if n > 1)
                use = lane_use * math.prod(used(a, n) for a, n in zip(pair, counts))
                use *= FAR ** max(0, len(tiled) - 1)
                if _is_crowded(scalar, tiled, c.dtype.itemsize):
                    use *= CROWDED
                use *= shared_out(c, {lane.name: width} | {r.axis.name: r.count for r in tiled})
                if along_samples(c, how):
                    rate = min(rate, _streamed(c, tiled, vectors))
                if (rate := use * rate * factor) > least:
                    least = rate
                    yield Choice(rate, how, scalar, vector, lane, lanes, vectors, tiled, fold)


def along_samples(c: Contraction, how: How) -> bool:
    """Whether lanes and sums go along rows of an unknown number of samples, of their images, whose
    samples lie innermost: all tiles want the same few rows at a time."""
    unknown = [isinstance(a.extent, str) for a in c.reduced]
    along = how == "along" and c.dtype is f32
    return along and sum(unknown) == unknown[-1] == 1 < len(unknown)


def _streamed(c: Contraction, tiled: Iterable[Rows], vectors: int) -> float:
    """The rate at which a step's vectors arrive, but for rows that find again what was read."""
    apart = math.prod(r.count for r in tiled if r.axis.name not in c.sliding)
    return vectors * math.prod(r.count for r in tiled) / ((apart + vectors) * STREAMED)


def _apart(c: Contraction, scalar: Operand, axis: Axis) -> int:
    """How far rows lie apart; as neighbours, those that a window's next step reads again."""
    unknown = any(isinstance(load.at.stride(axis.name), str) for load in scalar.loads)
    return 1 if unknown and axis.name in c.sliding else reach(scalar, axis.name)


def _is_crowded(scalar: Operand, rows: Iterable[Rows], itemsize: int) -> bool:
    """Whether more rows lie whole pages apart than the nearest cache keeps of such lines."""
    steps = ((reach(scalar, r.axis.name) * itemsize, r.count) for r in rows)
    return math.prod(count for step, count in steps if step % PAGE_BYTES == 0) > WAYS
