"""Contract kernel -> Plan: to the roles and register tile of the best choice (`choice.py`) comes
what memory wants: the order of the tiles, panels, chunks, and how few samples are taken.

Every choice depends on the literal sizes of the kernel and the target alone, never on the number
of threads; sums run in the order of the reduction axes whatever the tile (`along`: lane by lane).
A long sum is cut in strips of some steps and chunks of strips, by position along its axes alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from graphc.codegen_cpu.contract.choice import (
    Choice,
    How,
    Rows,
    along_samples,
    best_choice,
    panel_fits,
    row_axes,
)
from graphc.codegen_cpu.contract.parts import (
    UNKNOWN,
    Runs,
    footprint,
    guess,
    over_samples,
    points,
    reach,
    runs_of,
)
from graphc.codegen_cpu.contract.zeros import are_bounds
from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Apply, Axis, Kernel, Size
from graphc.ir.kernel_contraction import Contraction, Operand, plain_contraction
from graphc.ir.ops import OPS
from graphc.ir.types import f32

MANY = 4096  # samples that a weight gradient sums over, a batch of sequences, as planning assumes
FEW = 64  # samples up to which a weight gradient is bound by the memory of the weights
STRIP_BYTES = 8192  # of a row that tiles of few samples go along before they turn to other rows
L2_BYTES = 1 << 20  # what one thread may count on staying in its second-level cache
CHUNK_BYTES = L2_BYTES // 2  # what the tiles of one panel read of one chunk
SIDE = 16  # bytes: what shuffles within a vector move cheaply
PANEL_BYTES = 640 << 10  # of a panel
LONG = 8192  # points up to which a float32 sum is one chain
CHUNK_STEPS = 2048  # of a longer one: its chunks add up in float64
LONE_VECTORS, LONE_STEPS = 4, 8  # of the tiles and chunks for a single sample
ROW_STEPS = 256  # of the chunks of rows of samples
STRIP_STEPS = 64  # and the strips of a chunk in float32
GROUP_BYTES = 192 << 10  # partial sums of the tiles that share a chunk of the reduction
DIRECT_STATEMENTS = 6  # at an addition's cost; a longer epilogue loops over the rows
DIRECT_SUMMED = 12  # of one whose statistics are summed: in registers, if it does not loop


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the emitters decide from; see the module's text for the roles."""

    contraction: Contraction
    how: How
    scalar: Operand
    vector: Operand
    lane: Axis
    lanes: int  # of one vector
    registers: int  # vector registers of the target
    vectors: int  # of the tile; with `along`: columns
    rows: tuple[Rows, ...]  # outermost first, at most two
    outer: tuple[Axis, ...]
    shared: tuple[Axis, ...]  # those of `outer` that index the vector operand
    lane_first: bool  # tiles that share the vector operand's lanes are neighbours
    packed: bool  # those lanes are copied to a panel
    chunk: int | None  # position of the chunked reduction axis; None: all in one go
    chunk_size: int
    long: bool  # sums are cut in strips and chunks that add up
    apart: bool  # the chunks are for the sums' sake, so a tile goes through them by itself
    few: Plan | None = None  # where `samples` are no more than `most`
    samples: Size = 0
    most: int = FEW
    strip: int = 0  # tiles along the lanes that are neighbours; 0: all
    runs: Runs | None = (
        None  # of points that partial results are of: a thread's tiles are whole runs
    )
    lane_last: bool = False  # tiles of other lanes come between those of a run
    own_rows: bool = False  # whether threads share the rows of few samples' panels, not the panels
    fold: int = 1  # neighbouring points of the reduction that a multiply-add of a lane takes

    @property
    def direct(self) -> bool:
        """Whether the epilogue takes the sums from registers: few statements, no partial tile."""
        whole = all(
            isinstance(r.axis.extent, int) and r.axis.extent % r.count == 0 for r in self.rows
        )
        epilogue = self.contraction.epilogue
        small = len(epilogue) <= (DIRECT_SUMMED if self.runs else DIRECT_STATEMENTS) and all(
            OPS[s.op].cost == 1 for s in epilogue if isinstance(s, Apply)
        )
        return self.how == "lanes" and self.chunk is None and whole and small

    @property
    def wide(self) -> bool:
        """Whether the scalar operand also varies along the lanes (a depthwise convolution)."""
        return self.how == "lanes" and self.scalar.uses(self.lane.name)

    @property
    def step(self) -> int:
        """Points of the innermost reduction axis that a step takes."""
        return self.fold * self.lanes if self.how == "along" else self.fold

    @property
    def row_count(self) -> int:
        return math.prod(r.count for r in self.rows)

    @property
    def width(self) -> int:
        """Points of the lane axis in one tile."""
        return self.vectors * self.lanes if self.how == "lanes" else self.vectors

    @property
    def of_rows(self) -> bool:
        """Whether a chunk is as many rows of samples as make it long, or a part of one."""
        reduced, last = self.contraction.reduced, len(self.contraction.reduced) - 1
        unknown = isinstance(reduced[last].extent, str)
        return self.how == "along" and unknown and self.chunk == last > 0 and not self.apart

    @property
    def out_lanes(self) -> int:
        """Lanes of a vector of results; of columns, which are added in pairs, a power of two."""
        return self.lanes if self.how == "lanes" else 1 << (self.vectors - 1).bit_length()

    @property
    def run_lanes(self) -> int:
        """Points of the lane axis whose partial results wait at a time."""
        tiles = -(-guess(self.lane.extent) // self.width) if self.lane_last else 1
        return tiles * self.width


# ---- choosing ----------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def plan(kernel: Kernel, target: Target) -> Plan | None:
    """The best plan, or None if the kernel is no contraction that this template takes."""
    c = plain_contraction(kernel)
    if c is None or any(a.extent == 0 for a in (*c.axes, *c.reduced)):
        return None
    if c.guards and (_is_long(c) or not are_bounds(c)):
        return None
    if c.partials and runs_of(c) is None:
        return None
    best = best_choice(c, target)
    if best is None:
        return None
    chosen = _finish(c, best, target)
    return replace(chosen, own_rows=_own_rows(kernel, chosen))


def _own_rows(kernel: Kernel, p: Plan) -> bool:
    """Whether the scalars are a matrix that another kernel writes anew, in one strip of each row,
    so that a thread which always takes the same rows finds them in its own cache."""
    renewed = {b.name for b in kernel.buffers if b.renewed}
    if not p.packed or p.chunk is not None or p.runs or p.outer or len(p.rows) != 1:
        return False
    (axis,), inner = (r.axis for r in p.rows), p.contraction.reduced[-1]
    row = reach(p.scalar, axis.name) * p.contraction.dtype.itemsize
    whole = isinstance(axis.extent, int) and p.scalar.contiguous(inner.name)
    return whole and row <= STRIP_BYTES and all(x.buffer in renewed for x in p.scalar.loads)


# ---- order, panel, chunks ----------------------------------------------------------------------


def _finish(c: Contraction, best: Choice, target: Target) -> Plan:
    """Add to a choice of roles what memory wants, for many samples and for few."""
    if c.partials or not over_samples(c):
        plan = _in_memory(c, best, target, _depth(c))
        fits = best.how == "lanes" and not isinstance(best.lane.extent, int) and not c.partials
        return plan if not fits or plan.long else replace(plan, **_of_few(c, best, target))
    many = _in_memory(c, best, target, MANY)
    if not many.packed or _needs_panel(c, best, target):
        return many
    strip = _strip(best, best.lanes, c.dtype.itemsize)
    few = replace(
        many, packed=False, chunk=None, chunk_size=0, lane_first=False, strip=strip, long=False
    )
    return replace(many, few=few, samples=c.reduced[0].extent)


def _depth(c: Contraction) -> int:
    """Points of the reduction: samples by places, if any of them are unknown, are many."""
    known = all(isinstance(a.extent, int) for a in c.reduced)
    return points(c.reduced) if known else max(points(c.reduced), MANY)


def _of_few(c: Contraction, best: Choice, target: Target) -> dict[str, Any]:
    """Plans for samples that fill half a vector, or one of several: of others most lanes would be
    empty, and all of them take their time. A large matrix has one for a single sample."""
    lanes, depth, few = target.lanes(c.dtype), points(c.reduced), dict[str, Any]()
    large = depth * points(r.axis for r in best.rows) * c.dtype.itemsize > L2_BYTES
    if large and (lone := _lone(c, best, target)):
        few = {"few": lone, "samples": best.lane.extent, "most": 1}
    for n in (lanes // 2, lanes) if large else (lanes // 2,):
        if n * c.dtype.itemsize >= SIDE and n < best.vectors * best.lanes:
            one = _in_memory(c, replace(best, vectors=1, lanes=n), target, depth)
            few = {"few": replace(one, **few), "samples": best.lane.extent, "most": n}
    return few


def _lone(c: Contraction, best: Choice, target: Target) -> Plan | None:
    """For a single sample: lanes along rows of the matrix, a few of which are read at a time."""
    rows = [r.axis for r in best.rows if best.scalar.contiguous(r.axis.name)]
    known = all(isinstance(a.extent, int) for a in (*rows, *c.reduced))
    fits = known and len(rows) == len(c.reduced) == best.fold == 1 and not c.guards
    if not fits or points(rows) % (LONE_VECTORS * best.lanes):
        return None
    turned = replace(best, scalar=best.vector, vector=best.scalar, lane=rows[0], rows=())
    plan = _in_memory(c, replace(turned, vectors=LONE_VECTORS), target, 1)
    return replace(plan, packed=False, chunk=0, chunk_size=LONE_STEPS, lane_first=True)


def _strip(best: Choice, lanes: int, itemsize: int) -> int:
    """Neighbouring tiles along the lanes, in equal strips: the samples' part of one stays cached,
    and the rows of the weights are read and written two pages at a time."""
    if not isinstance(best.lane.extent, int):
        return 0
    tiles = -(-best.lane.extent // (best.vectors * lanes))
    most = STRIP_BYTES // (best.vectors * lanes * itemsize)
    return max(n for n in range(1, tiles + 1) if tiles % n == 0 and n <= max(most, 1))


def _in_memory(c: Contraction, best: Choice, target: Target, depth: int) -> Plan:
    """The panel and the chunks, if the reduction has `depth` points."""
    names = {r.axis.name for r in best.rows} | {best.lane.name}
    outer = tuple(a for a in c.axes if a.name not in names)
    shared = tuple(a for a in outer if best.vector.uses(a.name))
    large = depth * guess(best.lane.extent) * _itemsize(c, best) > L2_BYTES // 2
    packed = best.how == "lanes" and _wants_panel(c, best, target, large)
    chunk, chunk_size = _chunk(c, best, best.lanes, depth, packed)
    lane_first, long = large or packed or chunk is not None, _is_long(c)
    runs = runs_of(c) if c.partials else None
    apart = long and chunk is None
    if apart:
        chunk, chunk_size = _chunk_of_steps(c, _step(best))
    return Plan(
        c, best.how, best.scalar, best.vector, best.lane, best.lanes, target.registers,
        best.vectors, best.rows, outer, shared, lane_first, packed, chunk, chunk_size, long, apart,
        runs=runs, lane_last=runs is not None and not packed and _lane_last(c, best, runs),
        fold=best.fold,
    )  # fmt: skip


def _step(best: Choice) -> int:
    """Points of the innermost reduction axis that a step takes."""
    return best.fold * (best.lanes if best.how == "along" else 1)


def _itemsize(c: Contraction, best: Choice) -> int:
    """Bytes of what a multiply-add reads for a point."""
    return c.dtype.itemsize // best.fold


def _lane_last(c: Contraction, best: Choice, runs: Runs) -> bool:
    """Whether what a run reads would be gone from the cache before the next lanes turn to it."""
    axes = (*c.reduced, best.lane, *map(runs.inside, runs.axes))
    slabs = [o for o in (c.a, c.b) if any(o.uses(a.name) for a in runs.axes)]
    return sum(footprint(o, axes) for o in slabs) > L2_BYTES // 2


def _is_long(c: Contraction) -> bool:
    """Whether so many points add up that one chain of float32 may be too inexact."""
    unknown = any(isinstance(a.extent, str) for a in c.reduced)
    return c.dtype is f32 and (unknown or points(c.reduced) > LONG)


def _few_steps(cut: Iterable[Axis], step: int) -> bool:
    """Whether the chunk `cut` is short enough, `step` points at a time."""
    return all(isinstance(a.extent, int) for a in cut) and points(cut) <= CHUNK_STEPS * step


def _chunk_of_steps(c: Contraction, step: int) -> tuple[int, int]:
    """The largest chunk that is short enough."""
    for at, axis in enumerate(c.reduced):
        for size in _chunk_sizes(axis, step if axis == c.reduced[-1] else 1):
            if _few_steps((Axis(axis.name, size), *c.reduced[at + 1 :]), step):
                return at, size
    return len(c.reduced) - 1, step


def _needs_panel(c: Contraction, best: Choice, target: Target) -> bool:
    """Whether a copy is the only way: lanes not contiguous, or masks slow."""
    lane = best.lane
    if not best.vector.contiguous(lane.name):
        return True
    if not panel_fits(c) or best.scalar.uses(lane.name):
        return False
    ragged = not isinstance(lane.extent, int) or lane.extent % best.lanes != 0
    return ragged and not target.has_masks


def _wants_panel(c: Contraction, best: Choice, target: Target, large: bool) -> bool:
    """Whether to copy: if need be, or where rows of a large matrix are far apart."""
    if _needs_panel(c, best, target):
        return True
    lane = best.lane
    if not panel_fits(c) or best.scalar.uses(lane.name):
        return False
    reuse = points(a for a in c.axes if best.scalar.uses(a.name))
    if best.fold > 1 and reuse >= 32:
        return True  # pairs are made once, not for every tile
    if len(c.reduced) > 1 and points(c.axes) * c.dtype.itemsize <= GROUP_BYTES:
        return False  # tiles of all lanes go through a chunk of the pixels together
    return large and guess(lane.extent) > best.vectors * best.lanes and reuse >= 32


def _chunk(
    c: Contraction, best: Choice, lanes: int, depth: int, packed: bool
) -> tuple[int | None, int]:
    """Cut the reduction so that what the tiles of a panel read of a chunk stays in cache.

    Where the reduction steps over memory (a weight gradient steps from pixel to pixel), tiles of
    neighbouring rows read the same cache lines, so the rows of all tiles of a group count.
    """
    if c.guards or (best.scalar.uses(best.lane.name) and not packed):
        return None, 0  # of few terms; or every tile reads lanes of its own
    long = _is_long(c)
    if best.how == "along" and not long and depth <= CHUNK_STEPS:
        return None, 0  # a tile goes along a few lines, which its neighbours find in the cache
    row_count, itemsize = math.prod(r.count for r in best.rows), _itemsize(c, best)
    first, *others = c.reduced
    group = group_of(row_count * best.vectors * lanes, c.dtype.itemsize)
    step = best.vectors * itemsize * (lanes if best.how == "lanes" else 1)
    rows = row_axes(c, best.scalar, best.vector)
    finest = min((reach(best.scalar, a.name) for a in rows), default=UNKNOWN)
    interleaved = best.how == "along" or finest < reach(best.scalar, c.reduced[-1].name)
    read = depth * row_count * itemsize
    if interleaved:
        whole = Axis(first.name, -(-depth // points(others)))
        read = footprint(best.scalar, (whole, *others, *rows))
    fits = read + depth * step <= CHUNK_BYTES
    if packed:
        fits = fits and depth * step <= PANEL_BYTES and isinstance(c.reduced[0].extent, int)
    if along_samples(c, best.how):
        return len(c.reduced) - 1, ROW_STEPS * _step(best)
    if fits:
        return None, 0
    for at, axis in enumerate(c.reduced):
        inner = c.reduced[at + 1 :]
        for size in _chunk_sizes(axis, 1 if inner else _step(best)):
            cut = (Axis(axis.name, size), *inner)
            panel = points(cut) * step
            read = points(cut) * row_count * itemsize
            if interleaved:
                read = min(read * group, footprint(best.scalar, (*cut, *rows)))
            few = not long or _few_steps(cut, _step(best))
            if few and panel <= PANEL_BYTES and panel + read <= CHUNK_BYTES:
                return at, size
    return len(c.reduced) - 1, lanes


def group_of(tile_sums: int, itemsize: int) -> int:
    """Tiles that go through a chunk together."""
    return max(1, GROUP_BYTES // (tile_sums * itemsize))


def _chunk_sizes(axis: Axis, multiple: int) -> list[int]:
    """Sizes to try, largest first: about equal parts of a literal extent."""
    if isinstance(axis.extent, str):
        parts = {n * multiple for n in (256, 64, 32, 16, 8, 4, 2, 1)}
    else:
        parts = {-(-axis.extent // k) for k in range(1, axis.extent + 1)}
    return sorted({-(-n // multiple) * multiple for n in parts}, reverse=True)
