"""What planning assumes of the parts of a contraction (`ir/kernel_contraction.py`) on a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from graphc.ir.kernel import Axis, Size
from graphc.ir.kernel_contraction import Contraction, Operand

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
