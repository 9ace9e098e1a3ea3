"""Results whose size the data gives, or the caller: for compiled steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from graphc.errors import RefusedArgument, ShapeMismatch
from graphc.frontend import tensor as tensors
from graphc.frontend.api import creation, logic, scans, scatter, shapes, sorting
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.ternary import clamp
from graphc.frontend.checked import checked
from graphc.frontend.dims import axis_of
from graphc.frontend.modes import modes
from graphc.frontend.operands import data_sized
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["nonzero_static", "repeat_interleave"]


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


@public(method=True)
def repeat_interleave(
    input: Tensor,
    repeats: int | Tensor | None = None,
    dim: int | None = None,
    *,
    output_size: int | None = None,
) -> Tensor:
    """Each element `repeats` times in a row along `dim`; a tensor says how often for each.

    repeat_interleave(counts) alone repeats the numbers 0, 1, ... of the counts.

    [..., N, ...] -> [..., N * repeats, ...], or their sum.
    """
    if repeats is None:
        numbers = input.emit(OPS["iota"], shape=input.spec.shape, axis=0, dtype=i64.name)
        return repeat_interleave(numbers, input, 0, output_size=output_size)
    if dim is None:
        return repeat_interleave(shapes.ravel(input), repeats, 0, output_size=output_size)
    axis, shape = axis_of(input, dim), input.spec.shape
    if not isinstance(repeats, int):
        return _repeated_by(input, repeats, axis, output_size)
    if repeats < 0:
        raise ShapeMismatch(f"repeat_interleave: repeats must not be negative, got {repeats}")
    _check_output_size(shape[axis] * repeats, output_size)
    wide = (*shape[: axis + 1], repeats, *shape[axis + 1 :])
    out = (*shape[:axis], shape[axis] * repeats, *shape[axis + 1 :])
    return shapes.owned(P.reshape(P.expand(shapes.unsqueeze(input, axis + 1), wide), out), input)


def _check_output_size(size: int, said: int | None) -> None:
    """Raise where the caller of repeat_interleave has said another size."""
    if said not in (None, size):
        what = f"repeat_interleave: Invalid output_size, expected {size} but got {said}"
        raise ShapeMismatch(what)


def _repeated_by(x: Tensor, repeats: Tensor, axis: int, size: int | None) -> Tensor:
    """Slice k of x along `axis`, repeats[k] times; inside a trace `size` says how many in all."""
    if repeats.spec.shape not in ((), (1,), (x.spec.shape[axis],)):
        raise ShapeMismatch(
            f"repeat_interleave: repeats {repeats.spec} for dimension {axis} of {x.spec}"
        )
    if size is not None and modes.trace is not None:
        return _repeated(x, repeats, axis, size)
    fix = "give output_size, or repeats as a number"
    array = data_sized(repeats, "repeat_interleave() by a tensor", fix)
    counts = np.broadcast_to(array, (x.spec.shape[axis],))
    if counts.size and counts.min() < 0:
        raise ShapeMismatch("repeat_interleave: repeats must not be negative")
    _check_output_size(int(counts.sum()), size)
    number = tensors.wrapped(np.repeat(np.arange(counts.size), counts)).to(x.device)
    return x.emit(OPS["gather"], x, number, axis=axis)


def _repeated(x: Tensor, repeats: Tensor, axis: int, size: int) -> Tensor:
    """Slice k of x along `axis`, repeats[k] times: `size` slices in all."""
    count = x.spec.shape[axis]
    counts = P.expand(P.cast(repeats.reshape(-1), i64), (count,))
    ends = scans.cumsum(counts, 0)
    number = sorting.searchsorted(ends, creation.arange(size, device=x.device), right=True)
    total = P.expand(counts.sum().reshape(1), (size,))
    what = f"repeat_interleave: the repeats do not add up to output_size, {size}"
    number = checked(number, logic.eq(total, size), what, ShapeMismatch)
    fits = P.expand(logic.ge(counts, 0).all().reshape(1), (size,))
    what = "repeat_interleave: repeats must not be negative"
    number = checked(number, fits, what, ShapeMismatch)
    return x.emit(OPS["gather"], x, clamp(number, max=max(count - 1, 0)), axis=axis)
