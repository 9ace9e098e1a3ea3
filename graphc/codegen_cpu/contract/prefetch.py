"""What a tile asks memory for before it is read.

A processor foresees few streams that go on. It sees the rows of a tile side by side, a few lines of
each, and a chunk of a matrix of which each tile reads some columns. So a tile asks, spread over the
steps of its reduction, for

  the rows of the next tile     where they lie in one piece: pixels by channels, 1x1 convolutions
  columns of a later tile       where a chunk is some rows of a matrix: weights, of a data gradient
  its columns of the next chunk where both operands are rows of matrices: a weight gradient, also
                                of pixels some of which a stride leaves out
  its pixels of the next row    of a depthwise weight gradient: a line of each place, as below
  what its epilogue touches     where the sum is short, or the samples are few (`epilogue.py`); not
                                what goes past the caches

and each row of a depthwise convolution's tile, once summed, for what the same row of the tile below
reads of the image, and with its epilogue of other images: a line of each place, as far apart as
channels are many. (Asked for at once before the first step, they waited for each other.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from graphc.codegen_cpu import memory
from graphc.codegen_cpu.contract.operands import Bases, Stream
from graphc.codegen_cpu.contract.parts import guess
from graphc.codegen_cpu.contract.plan import Plan
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int
from graphc.codegen_cpu.target import LINE_BYTES
from graphc.ir.kernel import Axis, Load

TILES = 4  # until memory has answered
AHEAD = 48  # pixels, of nine multiply-adds each: what memory takes to answer


def next_rows(f: Frame, plan: Plan, scalars: Bases) -> str:
    """Where the rows of the next tile begin, if they and those of this one lie in one piece."""
    c = plan.contraction
    if plan.how != "lanes" or plan.wide or plan.chunk is not None or len(c.reduced) > 1:
        return ""
    if len(plan.rows) != 1 or len(plan.scalar.statements) > 1:
        return ""
    (load,), (reduced,), (rows,) = plan.scalar.loads, c.reduced, plan.rows
    apart = load.at.stride(rows.axis.name)
    if (load.at.stride(reduced.name), apart) != (1, reduced.extent):
        return ""
    return f.pointer(scalars[load.name], f.mul(f.size(apart), rows.count), load.dtype)


def _next_chunk(plan: Plan) -> tuple[Axis, int] | None:
    """What the next chunk begins with, if both operands are rows of matrices, or pixels that no
    other tap reads."""
    (axis, *others), row_wise = plan.contraction.reduced, plan.how == "lanes" and not plan.wide
    if not row_wise or plan.packed or plan.chunk != 0 or plan.apart or (others and plan.outer):
        return None
    steps_over = not any(plan.scalar.contiguous(a.name) for a in (axis, *others))
    return (axis, plan.chunk_size) if steps_over else None


def ask(
    f: Frame, plan: Plan, following: str, rows: Stream, columns: Stream, i: Int, steps: int
) -> None:
    """As much of it as `steps` steps from the `i`th on read of what this tile reads."""
    if following:
        dtype = plan.scalar.loads[0].dtype
        first = f.mul(i, plan.row_count)
        for line in range(0, steps * plan.row_count * dtype.itemsize, LINE_BYTES):
            at = f.add(first, line // dtype.itemsize)
            memory.fetch(f, f.pointer(following, at, dtype), near=True)
    if ahead := _next_chunk(plan):
        for step in range(steps):
            for pointer in _columns(f, rows, columns, step, *ahead):
                memory.fetch(f, pointer, near=False)
    beside = _beside(plan)
    for step in range(steps if beside else 0):
        (pointer,) = rows.pointers(0, step).values()
        memory.fetch(f, f.pointer(pointer, beside, plan.scalar.loads[0].dtype), near=True)
    if plan.wide and plan.chunk is not None and len(plan.contraction.reduced) > 1:
        for step, stream in product(range(steps), (rows, columns)):
            for pointer in _below(f, plan, stream, step):
                memory.fetch(f, pointer, near=False)


def _beside(plan: Plan) -> int:
    """Elements to what a later tile reads of each row, if tiles go along the rows of a matrix, of
    which a chunk has some; 0 if they do not, or if the rows are samples."""
    loads, (rows, *others) = plan.scalar.loads, plan.contraction.reduced
    if others or not isinstance(rows.extent, int) or not plan.packed or plan.chunk is None:
        return 0
    if len(loads) > 1:
        return 0
    along = [r.count for r in plan.rows if loads[0].at.stride(r.axis.name) == 1]
    return TILES * along[0] if len(plan.rows) == len(along) == 1 else 0


def _below(f: Frame, plan: Plan, stream: Stream, step: int) -> Iterator[str]:
    """What a tile reads some rows of the image later and no other tap of it reads here or before;
    of small images rows are short, so it is many of them."""
    row, pixel = plan.contraction.reduced[-2:]
    rows = -(-AHEAD // guess(pixel.extent))
    for load in stream.loads:
        down, across = (f.size(load.at.stride(a.name)) for a in (row, pixel))
        places = [cells[load.name] for cells in stream.cells]
        for point, (base, at) in enumerate(places):
            if down == 0 or any((base, f.add(at, s)) in places for s in (down, across) if s != 0):
                continue
            here = stream.pointers(point, step)[load.name]
            yield f.pointer(here, f.mul(down, rows), load.dtype)


def _columns(
    f: Frame, rows: Stream, columns: Stream, step: int, axis: Axis, ahead: int
) -> Iterator[str]:
    """Where the tile's columns of both matrices are, so many points of an axis ahead; those of its
    rows lie side by side."""
    for stream, points in ((rows, 1), (columns, len(columns.cells))):
        for load, j in product(stream.loads, range(points)):
            here, by = stream.pointers(j, step)[load.name], load.at.stride(axis.name)
            yield f.pointer(here, f.mul(f.size(by), ahead), load.dtype)


def ask_below(f: Frame, plan: Plan, read: Iterable[Load], index: Mapping[str, Int]) -> None:
    """Beside the vector of results at `index`, of a depthwise convolution: what the one below the
    tile reads, with its epilogue's loads `read`, and this one does not."""
    below = _rows_below(plan)
    if below is None:
        return
    image, (axis, rows) = plan.scalar.loads[0], below
    asked: list[tuple[Load, Int]] = [(image, at) for at in _lines_below(plan, image, axis, rows)]
    asked += [(s, f.mul(f.size(s.at.stride(axis)), rows)) for s in read]
    for s, away in asked:
        if away != 0:
            here = f.address(s.buffer, f.offset(s.at, index))
            memory.fetch(f, f.pointer(here, away, s.dtype), near=False)


def _rows_below(plan: Plan) -> tuple[str, int] | None:
    """The axis along a depthwise convolution's image from row to row, and how many of those a tile
    has; None of other kernels, and where steps are no literal numbers."""
    c, load = plan.contraction, plan.scalar.loads[0]
    if not plan.wide or plan.chunk is not None or len(c.reduced) != 2:
        return None
    taps, (down, across) = c.reduced[0].extent, (load.at.stride(a.name) for a in c.reduced)
    if not all(isinstance(n, int) and n > 0 for n in (taps, down, across)):
        return None
    counts = {r.axis.name: r.count for r in plan.rows}
    image = [name for step, name in _literal_steps(plan, load) if step % int(down) == 0]
    return (image[0], counts.get(image[0], 1)) if image else None


def _literal_steps(plan: Plan, load: Load) -> list[tuple[int, str]]:
    """From place to place of the image, the shortest first."""
    steps = ((load.at.stride(a.name), a.name) for a in plan.contraction.axes if a != plan.lane)
    return sorted((step, name) for step, name in steps if isinstance(step, int) and step > 0)


def _lines_below(plan: Plan, load: Load, axis: str, rows: int) -> list[int]:
    """Where the lines of the image are that are new to the tile below, from a place of this one."""
    row, place = plan.contraction.reduced
    sizes = row.extent, load.at.stride(row.name), load.at.stride(place.name)
    taps, down, across = map(int, sizes)
    (beside, _), *_ = _literal_steps(plan, load)
    step = int(load.at.stride(axis))
    new = range(max(0, taps - step // down), taps)
    return [rows * step + tap * down + at for tap in new for at in range(0, beside, across)]
