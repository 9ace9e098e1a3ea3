"""A contract kernel taken apart: two operands, the Dot, and the role of each axis.

Parallel axes fall into roles by which operand they index: `rows` only a, `cols` only b, `batch`
both or neither. Operands are swapped where that makes the output contiguous along `cols`, so the
tile of a product is always stored along its last dimension. Where tiles find statistics, what these
sum over are the rows, so that no tile has points of two runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import prod

from graphc.errors import InternalError
from graphc.ir.kernel import (
    Axis,
    Definition,
    Dot,
    Kernel,
    Load,
    Size,
    Statement,
    Store,
)
from graphc.ir.kernel_partials import one_run
from graphc.ir.kernel_uses import accesses, arguments
from graphc.ir.types import DType, f32, f64


@dataclass(frozen=True, slots=True)
class Operand:
    """One argument of the Dot and the statements that compute it, in order."""

    value: str
    statements: tuple[Definition, ...]

    @property
    def loads(self) -> tuple[Load, ...]:
        return tuple(s for s in self.statements if isinstance(s, Load))

    @property
    def bare(self) -> Load | None:
        """The load that is all of it; such values keep their type up to the tensor cores."""
        (first, *rest) = self.statements
        return first if isinstance(first, Load) and not rest else None

    def uses(self, axis: str) -> bool:
        return any(form.stride(axis) != 0 for s in self.statements for form in accesses(s))

    def unit(self, axis: str) -> bool:
        """Whether a step along the axis is one to the next element in memory."""
        return any(load.at.stride(axis) == 1 for load in self.loads)


@dataclass(frozen=True, slots=True)
class Contraction:
    """A contract kernel taken apart; axes are outermost in memory first."""

    kernel: Kernel
    a: Operand
    b: Operand
    dot: Dot
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    cols: tuple[Axis, ...]
    summed: tuple[Axis, ...]
    epilogue: tuple[Statement, ...]
    mixed: bool = False  # a row is of both operands or a column is: tiles, but of no matrix product

    @property
    def dtype(self) -> DType:
        """What products are computed and sums kept in."""
        if not self.dot.dtype.is_floating_point:
            return self.dot.dtype
        wide = any(s.dtype is f64 for o in (self.a, self.b) for s in o.statements)
        return f64 if wide or self.dot.dtype is f64 else f32

    @property
    def operand_dtype(self) -> DType:
        """What the product's two tiles are: a half type only where both are loaded as one."""
        loads = (self.a.bare, self.b.bare)
        types = {load.dtype for load in loads if load is not None}
        half = len(types) == 1 and None not in loads and self.dtype is f32
        return types.pop() if half and next(iter(types)).is_half else self.dtype


def dissect(kernel: Kernel) -> Contraction:
    """The parts of a kernel of kind "contract"."""
    first, *rest = kernel.phases
    dot = first.body[-1]
    if kernel.kind != "contract" or not isinstance(dot, Dot) or any(p.axes for p in rest):
        raise InternalError(f"{kernel.name} is not a contraction and its epilogue")
    a, b = _operand(first.body, dot.a), _operand(first.body, dot.b)
    epilogue = tuple(s for p in rest for s in p.body)
    lanes = _contiguous(kernel.axes, epilogue)
    if lanes is not None and a.uses(lanes) and not b.uses(lanes):
        a, b = b, a
    batch = tuple(x for x in kernel.axes if a.uses(x.name) == b.uses(x.name))
    rows = tuple(x for x in kernel.axes if a.uses(x.name) and not b.uses(x.name))
    cols = tuple(x for x in kernel.axes if b.uses(x.name) and not a.uses(x.name))
    mixed = False
    if kernel.partials:
        over = set(kernel.partials[0].over)
        if not all(set(p.over) == over and one_run(kernel, p) for p in kernel.partials):
            raise InternalError(f"{kernel.name}: statistics over other points, or a part of them")
        mixed = not cols or not over <= {x.name for x in rows}
        if mixed:
            kept = [x for x in kernel.axes if x.name not in over]
            cols = tuple(x for x in kept if x.name == lanes) or tuple(kept[-1:])
        rows = tuple(x for x in kernel.axes if x.name in over)
        batch = tuple(x for x in kernel.axes if x not in rows and x not in cols)
    return Contraction(kernel, a, b, dot, batch, rows, cols, first.axes, epilogue, mixed)


def product_dtype(kernel: Kernel) -> DType:
    """What its products' operands are: a half type only where both are in memory as one."""
    return dissect(kernel).operand_dtype


def _operand(body: tuple[Statement, ...], name: str) -> Operand:
    """The backward slice of `name`."""
    wanted: set[str] = {name}
    found: list[Definition] = []
    for s in reversed(body):
        if isinstance(s, Store | Dot) or s.name not in wanted:
            continue
        wanted.update(arguments(s))
        found.append(s)
    return Operand(name, tuple(reversed(found)))


def _contiguous(axes: tuple[Axis, ...], epilogue: tuple[Statement, ...]) -> str | None:
    """The axis along which most outputs lie side by side; points of one row say nothing."""
    stores = [s for s in epilogue if isinstance(s, Store)]
    counts = {x.name: sum(s.at.stride(x.name) == 1 for s in stores) for x in axes if x.extent != 1}
    best = max(counts, key=lambda name: counts[name], default=None)
    return best if best is not None and counts[best] else None


# ---- extents ----------------------------------------------------------------------------------


def count(axes: Iterable[Axis], sizes: dict[str, int]) -> int:
    """Points of the axes at these sizes."""
    return prod(number(a.extent, sizes) for a in axes)


def number(size: Size, sizes: dict[str, int]) -> int:
    return size if isinstance(size, int) else sizes[size]


def extents(axes: Iterable[Axis]) -> tuple[Size, ...]:
    return tuple(a.extent for a in axes)
