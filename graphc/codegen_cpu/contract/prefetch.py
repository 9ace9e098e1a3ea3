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

and, before its first step, for what a tile of a depthwise convolution that lies below it reads of
the image: a line of each place, as far apart as channels are many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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


def ask_below(f: Frame, plan: Plan, scalars: Bases, rows: Sequence[Mapping[str, Int]]) -> None:
    """What the tile below one of a depthwise convolution reads and this one does not."""
    (load, *_), lanes = plan.scalar.loads, range(0, plan.width, plan.lanes)
    for below, row, lane in product(_lines_below(plan, load), rows, lanes):
        at = f.pointer(scalars[load.name], f.add(row[load.name], below + lane), load.dtype)
        memory.fetch(f, at, near=False)


def _lines_below(plan: Plan, load: Load) -> list[int]:
    """Where it is, from a row of the tile on; nothing where that is no literal number."""
    c, counts = plan.contraction, {r.axis.name: r.count for r in plan.rows}
    if not plan.wide or plan.chunk is not None or len(c.reduced) != 2:
        return []
    taps, (down, across) = c.reduced[0].extent, (load.at.stride(a.name) for a in c.reduced)
    steps = ((load.at.stride(a.name), a.name) for a in c.axes if a != plan.lane)
    literal = sorted((step, name) for step, name in steps if isinstance(step, int) and step > 0)
    if not (
        literal and isinstance(taps, int) and isinstance(down, int) and isinstance(across, int)
    ):
        return []
    image = [(step, name) for step, name in literal if down > 0 and step % down == 0]
    if not image or across <= 0:
        return []
    (step, name), (beside, _) = image[0], literal[0]
    new = range(max(0, taps - step // down), taps)
    first = counts.get(name, 1) * step
    return [first + tap * down + at for tap in new for at in range(0, beside, across)]
