"""Views as copies: `permute_copy` and the like, which exported graphs hold in place of views."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any

from graphc.errors import ShapeMismatch
from graphc.frontend.api import arrangements, creation, diagonals, memory, shapes, strided
from graphc.frontend.dims import axis_of
from graphc.frontend.options import contiguous_format
from graphc.frontend.registry import public
from graphc.ir.sizes import index as index_of
from graphc.ir.types import DType

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "alias_copy",
    "as_strided_copy",
    "as_strided_scatter",
    "detach_copy",
    "diagonal_copy",
    "expand_copy",
    "narrow_copy",
    "permute_copy",
    "select_copy",
    "slice_copy",
    "split_copy",
    "split_with_sizes_copy",
    "squeeze_copy",
    "t_copy",
    "transpose_copy",
    "unbind_copy",
    "unfold_copy",
    "unsqueeze_copy",
    "view_copy",
]


def _copying(view: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose results, views, are copied: row by row, in memory of their own."""

    @wraps(view)
    def copied(*args: Any, **kwargs: Any) -> Any:
        found = view(*args, **kwargs)
        if isinstance(found, tuple):
            return tuple(part.clone(memory_format=contiguous_format) for part in found)
        return found.clone(memory_format=contiguous_format)

    name = f"{view.__name__}_copy"
    copied.__name__ = copied.__qualname__ = name
    copied.__module__ = __name__
    copied.__doc__ = f"`{view.__name__}`, copied row by row. Of the shape that the view has."
    return copied


def alias(input: Tensor) -> Tensor:
    return input


def detach(input: Tensor) -> Tensor:
    return input.detach()


def split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    return shapes.split(input, split_size, dim)


def slice(
    input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    axis = axis_of(input, dim)
    a, b, s = builtins.slice(start, end, index_of(step)).indices(input.spec.shape[axis])
    return shapes.slice_along(input, axis, a, max(a, b), s)


def view(input: Tensor, size: Any) -> Tensor:
    if isinstance(size, DType):
        return memory.reinterpreted(input, size)
    return shapes.view(input, size=size)


def permute(input: Tensor, dims: Sequence[int]) -> Tensor:
    return shapes.permute(input, dims=dims)


def expand(input: Tensor, size: Sequence[int], *, implicit: bool = False) -> Tensor:
    return shapes.expand(input, size=size)


def unfold(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    return shapes.unfold(input, dimension, size, step)


alias_copy = public(out=True)(_copying(alias))
as_strided_copy = public(out=True)(_copying(strided.as_strided))
detach_copy = public(out=True)(_copying(detach))
diagonal_copy = public(out=True)(_copying(diagonals.diagonal))
expand_copy = public(out=True)(_copying(expand))
narrow_copy = public(method=True, out=True)(_copying(shapes.narrow))
permute_copy = public(out=True)(_copying(permute))
select_copy = public(out=True)(_copying(shapes.select))
slice_copy = public(out=True)(_copying(slice))
split_copy = _copying(split)
split_with_sizes_copy = _copying(arrangements.split_with_sizes)
squeeze_copy = public(out=True)(_copying(shapes.squeeze))
t_copy = public(out=True)(_copying(shapes.t))
transpose_copy = public(out=True)(_copying(shapes.transpose))
unbind_copy = _copying(shapes.unbind)
unfold_copy = public(out=True)(_copying(unfold))
unsqueeze_copy = public(out=True)(_copying(shapes.unsqueeze))
view_copy = public(out=True)(_copying(view))


@public(method=True)
def as_strided_scatter(
    input: Tensor,
    src: Tensor,
    size: Sequence[int],
    stride: Sequence[int],
    storage_offset: int | None = None,
) -> Tensor:
    """A copy of `input` with `src` in those of its elements that `as_strided` shows.

    src of the shape `size`; the shape of input stays.
    """
    numbers = creation.arange(input.numel(), device=input.device).reshape(input.spec.shape)
    places = strided.as_strided(numbers, size, stride, storage_offset)
    if src.spec.shape != places.spec.shape:
        raise ShapeMismatch(f"as_strided_scatter: {src.spec} is no {places.spec} of {input.spec}")
    flat: Tensor = shapes.ravel(input).scatter(0, shapes.ravel(places), shapes.ravel(src))
    return shapes.reshape(flat, input.spec.shape)
