"""What planning assumes of the parts of a contraction (`ir/kernel_contraction.py`) on a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from graphc.codegen_cpu.target import Target
from graphc.ir.kernel import Axis, Size
from graphc.ir.kernel_contraction import Contraction, Operand
from graphc.ir.types import bf16, f32

THREADS = 2, 4  # among which few tiles should be shared out evenly
UNKNOWN = 32  # the extent that planning assumes for a symbol, most often a batch


def guess(size: Size) -> int:
    return size if isinstance(size, int) else UNKNOWN


def points(axes: Iterable[Axis]) -> int:
    return math.prod(guess(a.extent) for a in axes)


def filled(extent: int, width: int) -> float:
    """Share of whole tiles, or vectors, that points of an axis fill."""
    return extent / (-(-extent // width) * width)


def reach(operand: Operand, axis: str) -> int:
    """The longest step in memory, in elements, that a step along the axis makes."""
    return max(abs(guess(load.at.stride(axis))) for load in operand.loads)


def footprint(operand: Operand, axes: Iterable[Axis]) -> int:
    """Bytes an operand reads over `axes`: points or, where it is known and less, the span."""
    axes, total = tuple(axes), 0
    for load in operand.loads:
        used = [a for a in axes if load.at.stride(a.name) != 0]
        count = points(used)
        strides = [load.at.stride(a.name) for a in used]
        if all(isinstance(s, int) for s in strides):
            steps = zip(strides, used)
            count = min(count, 1 + sum(abs(int(s)) * (guess(a.extent) - 1) for s, a in steps))
        total += count * load.dtype.itemsize
    return total


def shared_out(c: Contraction, blocks: Mapping[str, int]) -> float:
    """Share of the time that threads work on tiles of such blocks, if these are all there are;
    of results that are summed, samples make many."""
    if c.partials or any(isinstance(a.extent, str) for a in c.axes):
        return 1.0
    tiles = math.prod(-(-guess(a.extent) // blocks.get(a.name, 1)) for a in c.axes)
    return sum(filled(tiles, n) for n in THREADS) / len(THREADS)


def over_samples(c: Contraction) -> bool:
    """Whether the sum is over an unknown number of rows of two matrices, as a weight gradient's."""
    axis = c.reduced[0]
    known = len(c.reduced) > 1 or isinstance(axis.extent, int)
    return not (known or c.a.contiguous(axis.name) or c.b.contiguous(axis.name))


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of points that partial results are of: `cut` points of the first axis, and all of
    the others, outermost first."""

    axes: tuple[Axis, ...]
    cut: int

    def has(self, axis: str) -> bool:
        return any(a.name == axis for a in self.axes)

    def inside(self, axis: Axis) -> Axis:
        """The part of an axis that a run has."""
        return Axis(axis.name, self.cut) if axis == self.axes[0] else axis


def runs_of(c: Contraction) -> Runs | None:
    """How the partial results cut the points, if all alike and in literal parts."""
    names = {p.over for p in c.partials}
    axes = tuple(a for a in c.axes if c.partials and a.name in c.partials[0].over)
    run, *others = {p.run for p in c.partials}
    extents = [a.extent for a in axes if isinstance(a.extent, int)]
    if names != {tuple(a.name for a in axes)} or others or len(extents) < len(axes):
        return None
    inner = math.prod(extents[1:])
    whole = isinstance(run, int) and run % inner == 0 and extents[0] % (run // inner) == 0
    return Runs(axes, int(run) // inner) if whole else None


def row_counts(pair: tuple[Axis, ...], most: int) -> Iterator[tuple[int, ...]]:
    """Ways to tile the axes with at most `most` points, in equal parts of literal extents."""
    if not pair:
        yield ()
        return
    for n in _blocks(pair[0], most):
        for rest in row_counts(pair[1:], most // n):
            yield (n, *rest)


def _blocks(axis: Axis, most: int) -> list[int]:
    extent = axis.extent
    if isinstance(extent, str):
        return [n for n in (1, 2, 4, 6, 8, 12, 14, 24) if n <= most]
    return [n for n in range(1, most + 1) if -(-extent // -(-extent // n)) == n]


def used(axis: Axis, count: int) -> float:
    """Share of the tiles' rows that exist: the last tile is moved back over the one before."""
    if isinstance(axis.extent, str):
        return 0.85 if count > 1 else 1.0  # and a second version for an axis that is shorter
    return axis.extent / (-(-axis.extent // count) * count)


# ---- what a processor does in a cycle ----------------------------------------------------------


def fold_of(c: Contraction, target: Target) -> int:
    """Points of the reduction that a multiply-add of one lane takes: two, of bfloat16, where the
    processor has such an instruction."""
    narrow = all(o.statements[-1].dtype is bf16 for o in (c.a, c.b))
    return 2 if narrow and c.dtype is f32 and target.pairs else 1


def most_rows(target: Target, vectors: int, wide: bool) -> int:
    """Rows whose sums, with the vectors and what is broadcast, fill the registers.

    One register is left free: LLVM spills at the full count. NEON multiplies by a lane of a
    register, and LLVM loads the scalars of four rows into each; it cannot multiply by memory, so
    a `wide` tile needs registers for its loads.
    """
    spare, neon = target.registers - 1 - vectors, target.vector_bytes == 16
    if neon and wide:
        return target.registers // 4 // vectors
    return 4 * spare // (4 * vectors + 1) if neon else (spare - 1) // vectors


def rate_of(rows: int, vectors: int, wide: bool) -> float:
    """Vector multiply-adds a cycle.

    Two ports with latency 4; two loads a cycle; the vectors come from the second-level cache at
    about 24 bytes a cycle, or 3/8 of a vector.
    """
    work = rows * vectors
    loads = (work if wide else rows) + vectors
    cycles = max(work / 2, loads / 2, vectors * 8 / 3, 4.0)
    return work / (cycles + 0.15 * loads + 0.4)
