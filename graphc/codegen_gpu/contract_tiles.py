"""How large the tiles of a contraction are, by formula from its sizes and the target.

Two ways to compute sums of products:

  product  tiles of rows by cols, summed over `depth` points at a time by `tl.dot`: tensor cores, or
           fused multiply-adds where float32 is to be exact
  sums     points of all parallel axes in one line, each its own sum over `depth` points at a time:
           depthwise convolutions, few channels, matrix times vector, integers
  block    the same over tiles of rows by cols, of what finds statistics of its rows

Where the target moves them, a product's tiles may be boxes of places (`contract_boxes.py`).

Where the tiles are too few for the target, the sum is cut into `splits` parts that add up in a
fixed order. Sizes are hints: they decide how fast code is, never what it gives. So in which order a
sum is added up, its depth and its parts, follows from literal extents alone, the others being taken
for what is usual: processes that began with other batches give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Literal

from graphc.codegen_gpu.contract_boxes import LEAST_SIDE, Boxer, Boxes, full
from graphc.codegen_gpu.contract_parts import Product, count
from graphc.codegen_gpu.target import WARP, Target
from graphc.codegen_gpu.tiles import power
from graphc.ir.kernel import Axis, Load
from graphc.ir.types import f32, f64

How = Literal["product", "sums", "block"]

NARROW, TALL = (64, 128), (128, 64)  # sides of tiles with much of an epilogue, of exact ones
LEAST = 16  # points of each side of a product; padding up to half of a tile is worth it
THIN = 8  # rows, cols or depth below which products are mostly padding
DEPTH_BYTES = 128  # of one row of an operand's tile: what a warp group reads of swizzled memory
FFMA_DEPTH = 16  # of exact float32: operands are held in registers for the whole depth, so that
# a thread has 16 sums at most beside them
WAVES = 2  # programs for each multiprocessor, below which tiles shrink and sums are split
MIN_STEPS = 8  # of a part of a split sum: less does not pay for adding the parts up
MAX_SPLITS = 64
LONG = 4  # times `MIN_STEPS`, of parts for which a tile is not made smaller
NEARLY = 0.95  # of the programs wanted, which are enough
PART_BYTES = 4
LONG_SPLITS = 32  # of sums along one loop of unknown extent, one program a multiprocessor
PARTS = 1 << 19  # elements of the parts that one program adds up
IMAGES = 128  # the same where products are computed by boxes
ALONE = 0.55  # steps' time of a program that has its multiprocessor for itself
PART = 1.5  # steps' time of storing a part, and of adding it up
TAPS = 32  # summed points up to which `sums` goes one by one
POINTS = 256  # of a program of `sums` that goes point by point
DEEP = 64  # summed points beside each other of `sums` that are longer
BLOCK = 2048  # elements of a block of `sums`
UNKNOWN = 1 << 12  # points of a loop of unknown extent, where it decides how sums are added up
PLACES = 1 << 15  # the same of a convolution's images and their places, in one loop
SUMMED = 1 << 16  # the same of one that is summed over, whose parts are found when it is launched
FEW = 1 << 7  # rows that a product of unknown rows may have
BATCH = 32  # the same of its outermost dimension, where the others are known
LITTLE = 12  # statements of an epilogue that the largest tiles have registers for
SPARE = 1.1  # times the points of a run, that its tiles may have rows
LEAST_RUN = 32  # rows of such a tile
COLUMNS = 64  # cols of a block whose rows are summed
MOST_VALUES = 256  # of a thread, as many as it may have registers
MOST_WARPS = 8
GROUP_ROWS, GROUP_WARPS = 64, 4  # of a product that a group of warps computes, at least
GROUP = 8  # rows of tiles that are neighbours in time, so that they share operands in the cache


@dataclass(frozen=True, slots=True)
class Tile:
    """What one program computes. `inner` are the summed axes that depth runs along, in one line.

    With `boxes`, the places of a tile are those of boxes, and all summed axes are inner ones.
    """

    how: How
    rows: int
    cols: int
    depth: int
    inner: int  # how many of the last summed axes
    splits: int
    warps: int
    stages: int
    boxes: Boxes | None = None


def tile(c: Product, sizes: dict[str, int], target: Target, tf32: bool) -> Tile:
    """The tile of a contraction at these sizes."""
    usual = usual_sizes(c)
    m, n, k = (count(axes, usual) for axes in (c.rows, c.cols, c.reduced))
    if c.kernel.partials and (c.mixed or min(m, n, k) < THIN):
        rows, cols = _run_rows(m, 128), min(COLUMNS, power(n))
        return Tile("block", min(rows, BLOCK // cols), cols, 1, 0, 1, 4, 2)
    if not c.dot.dtype.is_floating_point or min(m, n, k) < THIN:
        return _sums(c, sizes, usual, target)
    halves = c.operand_dtype.is_half or (c.operand_dtype is f32 and tf32)
    boxed = _boxed(c, sizes, usual, target) if target.has_descriptors and halves else None
    return boxed or _product(c, sizes, usual, target, tf32)


def usual_sizes(c: Product) -> dict[str, int]:
    """Sizes to choose by whatever the hints are: of a loop over images and their known points so
    many images, of any other that is unknown so many points."""
    parts = {r.loop: r.extents for r in c.kernel.roles}
    images = any("c" in r.names for r in c.kernel.roles)  # a convolution's channels
    found = {name: UNKNOWN for name in c.kernel.sizes}
    for a in (*c.batch, *c.rows, *c.cols, *c.reduced):
        known = [n for n in parts.get(a.name, ()) if isinstance(n, int)]
        if not isinstance(a.extent, str):
            continue
        if known or (c.kernel.partials and a in c.batch):
            found[a.extent] = BATCH * prod(known)
        elif (a,) == c.reduced:
            found[a.extent] = SUMMED
        elif images and (a,) == c.rows:
            found[a.extent] = PLACES
    return found


def _run_rows(points: int, most: int) -> int:
    """Rows of a tile, so that those of the last one of a run are not much padding."""
    rows = min(most, max(LEAST, power(points)))
    while rows > LEAST_RUN and -(-points // rows) * rows > SPARE * points:
        rows //= 2
    return rows


# ---- products ----------------------------------------------------------------------------------


def _product(
    c: Product, sizes: dict[str, int], usual: dict[str, int], target: Target, tf32: bool
) -> Tile:
    k = count(c.reduced, usual)
    summing = bool(c.kernel.partials)  # so that the rows of a tile say how a sum is added up
    exact = c.operand_dtype is f64 or (c.operand_dtype is f32 and not tf32)
    most = FFMA_DEPTH if exact else DEPTH_BYTES // c.operand_dtype.itemsize
    inner = _inner(c.reduced, usual, most)
    depth = min(most, power(count(c.reduced[len(c.reduced) - inner :], usual)))
    depth = max(LEAST, depth)
    steps = -(-k // depth)

    limits = TALL if exact else _with_epilogue(c, steps, count(c.cols, usual))
    limits = (32, 32) if c.dtype is f64 else limits

    parts = 1 if summing else max(1, steps // MIN_STEPS)
    one_loop = not exact and not summing and usual.get(str(c.reduced[0].extent)) == SUMMED

    def tiles(sizes: dict[str, int]) -> tuple[int, int, int]:
        """Rows and cols of one, and how many there are."""
        batch, m, n = (count(axes, sizes) for axes in (c.batch, c.rows, c.cols))
        large = not exact and limits == (128, 128) and not _tiles_read(c) and not one_loop
        wide = batch * -(-m // 128) * -(-n // 256)
        if large and len(c.epilogue) <= LITTLE and full(wide, target.sms):
            return 128, 256, wide
        rows, cols = _sides(m, n, batch, parts, target, limits, one_loop)
        rows = _run_rows(m, rows) if c.kernel.partials else rows
        return rows, cols, batch * -(-m // rows) * -(-n // cols)

    rows, cols, _ = tiles(usual if summing else sizes)
    groups = target.has_groups and not exact and tiles(usual)[0] >= GROUP_ROWS
    if groups:  # whatever the hints are: other instructions may round another way
        rows = max(rows, GROUP_ROWS)
    splits = 1 if summing else _product_splits(c, usual, tiles, k, steps, one_loop, target)

    easy = inner == 1 or not summing  # to find the elements of a step: else warps have enough to do
    reads = limits != TALL and (not summing or steps == 1 or _tiles_read(c))
    warps = _product_warps(c, rows * cols, groups, easy and not reads)
    stage = (rows + cols) * depth * c.operand_dtype.itemsize
    room = target.shared_bytes // max(stage, 1)
    short = exact or (summing and easy)
    stages = max(3, min(3 if short else 4, room // 2))  # for two programs at once
    stages = max(2, min(room, stages, steps))
    return Tile("product", rows, cols, depth, inner, splits, warps, stages)


def _product_splits(
    c: Product,
    usual: dict[str, int],
    tiles: Callable[[dict[str, int]], tuple[int, int, int]],
    k: int,
    steps: int,
    one_loop: bool,
    target: Target,
) -> int:
    """Parts of its sum: what is added up stays small beside what is read, with few rows, too."""
    unknown = [a.extent for a in c.rows if isinstance(a.extent, str)]
    few = {name: FEW for name in unknown if usual[name] == UNKNOWN}
    a, b, found = tiles(usual | few)
    most = min(MAX_SPLITS, max(1, PARTS // (a * b)))
    for many, other in ((c.rows, c.cols), (c.cols, c.rows)):
        if any(isinstance(x.extent, str) for x in many):  # parts take no more than they read
            each = count(other, usual) * PART_BYTES
            most = min(most, k * c.operand_dtype.itemsize // max(each, 1))
    if one_loop:
        most = min(most, LONG_SPLITS, max(1, target.sms // found))
        return 1 << max(most.bit_length() - 1, 0)
    return _splits(found, steps, target, most)


def _product_warps(c: Product, area: int, groups: bool, busy: bool) -> int:
    """`busy`: a tile of 64 by 128 has sums enough for eight."""
    warps = 8 if area >= 128 * 128 else 4 if area >= 32 * 64 else 2
    warps = max(warps, GROUP_WARPS) if groups else warps
    if busy and area == 64 * 128:
        warps = 8
    return _room_beside(c, area, warps)


def _boxed(c: Product, sizes: dict[str, int], usual: dict[str, int], target: Target) -> Tile | None:
    """A product by boxes, where those are possible and worth it: that follows from literals alone.

    Two programs share a multiprocessor and have three stages each, but for the largest tiles, which
    fill one.
    """
    usual = {name: IMAGES if n == UNKNOWN else n // BATCH * IMAGES for name, n in usual.items()}
    boxer = Boxer(c, usual, DEPTH_BYTES // c.operand_dtype.itemsize)
    summing = bool(c.kernel.partials)
    parts = 1 if summing else max(1, min(MAX_SPLITS, boxer.steps // MIN_STEPS))
    enough = target.sms if summing else -(-WAVES * target.sms // parts)
    first = boxer.boxes(usual, enough, target.sms)
    if first is None or min(first.area) < LEAST_SIDE:
        return None
    b = first if summing else boxer.boxes(sizes, enough, target.sms) or first
    named = any(isinstance(a.extent, str) for a in (*c.batch, *c.rows, *c.cols))
    splits = 1
    if not summing and not named:  # there may be many tiles, where their number is not known
        splits = _parts(boxer.tiles(first, usual), boxer.steps, target)
    (rows, cols), depth = b.area, prod(b.summed)
    small, large = rows * cols < 128 * 64, rows * cols > 128 * 128
    stages = 4 if small or large else 3
    warps = _room_beside(c, rows * cols, 8 if rows * cols >= 128 * 128 else 4)
    return Tile("product", rows, cols, depth, len(c.reduced), splits, warps, stages, b)


def _parts(tiles: int, steps: int, target: Target) -> int:
    """Parts of a long sum by boxes, for the shortest time: that of steps, with two programs on a
    multiprocessor at once, and that of the program that adds the parts up."""

    def time(parts: int) -> float:
        programs = tiles * parts
        rounds = ALONE if programs <= target.sms else -(-programs // (2 * target.sms))
        more = PART if parts > 1 else 0.0
        return rounds * (-(-steps // parts) + more) + more * parts

    return min(range(1, max(1, min(MAX_SPLITS, steps // MIN_STEPS)) + 1), key=time)


def _room_beside(c: Product, area: int, warps: int) -> int:
    """Eight warps where the threads of fewer have no registers for the sums and all that an
    epilogue reads beside them; of more than eight, each has fewer."""
    each = area // (warps * WARP) * (1 + _tiles_read(c))
    return max(warps, MOST_WARPS) if each > MOST_VALUES else warps


def _tiles_read(c: Product) -> int:
    """Loads of the epilogue that have an element for each point."""
    rows, cols = ({a.name for a in axes} for axes in (c.rows, c.cols))
    reads = [{a for a, _ in s.at.terms} for s in c.epilogue if isinstance(s, Load)]
    return sum(bool(r & rows) and bool(r & cols) for r in reads)


def _with_epilogue(c: Product, steps: int, cols: int) -> tuple[int, int]:
    """The largest sides: where a sum is short beside its epilogue, several programs are wanted on
    a multiprocessor, whose loads, sums and stores take turns, rather than few reads of operands.
    """
    if c.kernel.partials or (steps <= 2 and _tiles_read(c) > 1):
        return NARROW if cols > 64 else TALL
    return (128, 128)


def _sides(
    m: int, n: int, batch: int, parts: int, target: Target, most: tuple[int, int], long: bool
) -> tuple[int, int]:
    """Rows and cols: as large as registers allow, while there are tiles for all of the target.

    Smaller tiles read their operands more often, so a sum that has many `parts` is rather split: a
    `long` one in as many as there are multiprocessors, each with some of them for itself.
    """
    rows, cols = (max(LEAST, min(limit, power(n))) for limit, n in zip(most, (m, n), strict=True))
    wanted = (1 if long else WAVES) * target.sms * NEARLY

    def programs() -> int:
        splits = min(parts // LONG, PARTS // (rows * cols), LONG_SPLITS) if long else 1
        return batch * -(-m // rows) * -(-n // cols) * max(1, splits)

    parts = min(MAX_SPLITS, parts) if not long else parts

    while programs() < wanted and rows * cols > 64 * 64:
        rows, cols = (rows // 2, cols) if rows > cols else (rows, cols // 2)
    while (
        batch * -(-m // rows) * -(-n // cols) < target.sms // 2 // parts and rows * cols > 32 * 32
    ):
        rows, cols = (rows // 2, cols) if rows > cols else (rows, cols // 2)
    return rows, cols


def _inner(summed: tuple[Axis, ...], sizes: dict[str, int], depth: int) -> int:
    """Axes that depth runs along: the last, and more while a part of its steps would be padding.

    What is left out is counted step by step, so its place costs nothing at each element.
    """
    for inner in range(1, len(summed) + 1):
        points = count(summed[len(summed) - inner :], sizes)
        steps = -(-points // depth)
        if points >= 0.75 * steps * depth:
            return inner
    return len(summed)


def _splits(tiles: int, steps: int, target: Target, most: int = MAX_SPLITS) -> int:
    """Parts of the sum, a power of two; 1 where the tiles alone are enough."""
    splits = 1
    while (
        2 * splits <= most
        and tiles * splits < WAVES * target.sms * NEARLY
        and steps // (2 * splits) >= MIN_STEPS
    ):
        splits *= 2
    return splits


# ---- sums --------------------------------------------------------------------------------------


def _sums(c: Product, sizes: dict[str, int], usual: dict[str, int], target: Target) -> Tile:
    points, k = count(c.kernel.axes, sizes), count(c.reduced, usual)
    if k <= TAPS:
        block = min(POINTS, max(32, power(-(-points // target.sms))))
        return Tile("sums", block, 1, 1, 0, 1, max(1, block // 64), 2)
    depth = min(DEEP, power(k))
    most = BLOCK // depth
    points = count(c.kernel.axes, usual)  # how lanes share the depth says how a sum is added up
    rows = max(1, min(most, power(points)))
    inner = _inner(c.reduced, usual, depth)
    splits = _splits(-(-points // most), -(-k // depth), target)
    return Tile("sums", rows, 1, depth, inner, splits, 4, 2)
