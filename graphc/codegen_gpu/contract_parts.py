"""A contraction as a matrix product: the role of each axis.

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
from graphc.ir.kernel import Axis, Kernel, Size, Statement, Store
from graphc.ir.kernel_contraction import Contraction, dissect
from graphc.ir.kernel_partials import one_run
from graphc.ir.types import DType, f32


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(Contraction):
    """A contraction, and what its parallel axes index; axes are outermost in memory first."""

    kernel: Kernel
    batch: tuple[Axis, ...]
    rows: tuple[Axis, ...]
    cols: tuple[Axis, ...]
    mixed: bool = False  # a row is of both operands or a column is: tiles, but of no matrix product

    @property
    def operand_dtype(self) -> DType:
        """What the product's two tiles are: a half type only where both are loaded as one."""
        loads = (self.a.bare, self.b.bare)
        types = {load.dtype for load in loads if load is not None}
        half = len(types) == 1 and None not in loads and self.dtype is f32
        return types.pop() if half and next(iter(types)).is_half else self.dtype


def as_product(kernel: Kernel) -> Product:
    """A kernel of kind "contract" as a product."""
    c = dissect(kernel)
    if c is None:
        raise InternalError(f"{kernel.name} is not a contraction and its epilogue")
    a, b = c.a, c.b
    lanes = _contiguous(c.axes, c.epilogue)
    if lanes is not None and a.uses(lanes) and not b.uses(lanes):
        a, b = b, a
    batch = tuple(x for x in c.axes if a.uses(x.name) == b.uses(x.name))
    rows = tuple(x for x in c.axes if a.uses(x.name) and not b.uses(x.name))
    cols = tuple(x for x in c.axes if b.uses(x.name) and not a.uses(x.name))
    mixed = False
    if c.partials:
        over = set(c.partials[0].over)
        if not all(set(p.over) == over and one_run(kernel, p) for p in c.partials):
            raise InternalError(f"{kernel.name}: statistics over other points, or a part of them")
        mixed = not cols or not over <= {x.name for x in rows}
        if mixed:
            kept = [x for x in c.axes if x.name not in over]
            cols = tuple(x for x in kept if x.name == lanes) or tuple(kept[-1:])
        rows = tuple(x for x in c.axes if x.name in over)
        batch = tuple(x for x in c.axes if x not in rows and x not in cols)
    rest = c.dot, c.axes, c.reduced, c.epilogue, c.partials
    return Product(a, b, *rest, kernel=kernel, batch=batch, rows=rows, cols=cols, mixed=mixed)


def product_dtype(kernel: Kernel) -> DType:
    """What its products' operands are: a half type only where both are in memory as one."""
    return as_product(kernel).operand_dtype


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
