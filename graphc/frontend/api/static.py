"""Results whose size the caller gives, where otherwise the data would: for compiled steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.errors import RefusedArgument
from graphc.frontend.api import creation, logic, scans, scatter, shapes
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.ternary import clamp
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["nonzero_static"]


@public(method=True)
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1) -> Tensor:
    """The first `size` rows of `nonzero(input)`; where there are fewer, rows of `fill_value`.

    [...] of rank R -> [size, R].
    """
    if size < 0:
        raise RefusedArgument(
            f"nonzero_static: 'size' must be an non-negative integer, got {size}",
            fix="give the most elements that may be chosen",
        )
    shape = input.spec.shape
    mask = P.reshape(logic.ne(input, 0), (input.numel(),))
    place = E.sub(scans.cumsum(mask, 0), 1)  # of each element among those that are chosen
    kept = E.where(mask, clamp(place, max=size), size)
    number = creation.arange(input.numel(), device=input.device)
    first = creation.full((size + 1,), -1, dtype=i64, device=input.device)
    flat = scatter.scatter(first, 0, kept, number)[:size]  # the last takes what is too much
    columns, step = [], input.numel()
    for n in shape:
        step = step // n if n else 1
        column = E.remainder(E.floor_divide(flat, max(step, 1)), max(n, 1))
        columns.append(E.where(logic.lt(flat, 0), fill_value, column))
    if not columns:
        return creation.full((size, 0), 0, dtype=i64, device=input.device)
    return shapes.stack(columns, 1)
