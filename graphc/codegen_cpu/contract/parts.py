"""What planning assumes of the parts of a contraction (`ir/kernel_contraction.py`) on a CPU."""

from __future__ import annotations

import math
from collections.abc import Iterable

from graphc.ir.kernel import Axis, Size
from graphc.ir.kernel_contraction import Contraction, Operand

UNKNOWN = 32  # the extent that planning assumes for a symbol, most often a batch


def guess(size: Size) -> int:
    return size if isinstance(size, int) else UNKNOWN


def points(axes: Iterable[Axis]) -> int:
    return math.prod(guess(a.extent) for a in axes)


def reach(operand: Operand, axis: str) -> int:
    """The longest step in memory, in elements, that a step along the axis makes."""
    return max(abs(guess(load.at.stride(axis))) for load in operand.loads)


def over_samples(c: Contraction) -> bool:
    """Whether the sum is over an unknown number of rows of two matrices, as a weight gradient's."""
    axis = c.reduced[0]
    known = len(c.reduced) > 1 or isinstance(axis.extent, int)
    return not (known or c.a.contiguous(axis.name) or c.b.contiguous(axis.name))
