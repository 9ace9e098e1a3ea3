"""Views as copies: `permute_copy` is `permute`, in memory of its own, and so on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from graphc.errors import Unsupported
from graphc.frontend.api import creation, diagonals, memory, shapes, strided
from graphc.frontend.autograd import detach
from graphc.frontend.operands import is_tensor
from graphc.frontend.registry import public
from graphc.frontend.tensor import Tensor
from graphc.ir import sugar as P
from graphc.ir.types import i64

__all__ = [
    "alias_copy",
    "as_strided_copy",
    "detach_copy",
    "diagonal_copy",
    "expand_copy",
    "narrow_copy",
    "permute_copy",
    "select_copy",
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


def _copied(x: Any) -> Any:
    return x.clone() if is_tensor(x) else tuple(y.clone() for y in x)


def _copying(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, whose results are clones."""
    name = f"{function.__name__}_copy"

    @functools.wraps(function)
    def copy(input: Any, *args: Any, **kwargs: Any) -> Any:
        return _copied(function(input, *args, **kwargs))

    signature = inspect.signature(function)
    first, *rest = signature.parameters.values()
    shown = signature.replace(parameters=[first.replace(name="input"), *rest])
    copy.__signature__ = shown  # type: ignore[attr-defined]  # what inspect looks for

    copy.__name__ = copy.__qualname__ = name
    copy.__module__ = __name__
    copy.__doc__ = f"`{function.__name__}`, in memory of its own."
    return copy


def alias_copy(input: Tensor) -> Tensor:
    """`clone`."""
    return input.clone()


as_strided_copy = _copying(strided.as_strided)
detach_copy = _copying(detach)
diagonal_copy = _copying(diagonals.diagonal)
expand_copy = _copying(shapes.expand)
narrow_copy = public(method="narrow_copy")(_copying(shapes.narrow))
permute_copy = _copying(shapes.permute)
select_copy = _copying(shapes.select)
split_copy = _copying(shapes.split)
squeeze_copy = _copying(shapes.squeeze)
t_copy = _copying(shapes.t)
transpose_copy = _copying(shapes.transpose)
unbind_copy = _copying(shapes.unbind)
unfold_copy = _copying(shapes.unfold)
unsqueeze_copy = _copying(shapes.unsqueeze)
view_copy = _copying(memory.view)


@public(method=True)
def split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Views of these sizes along `dim`."""
    found: tuple[Tensor, ...] = shapes.split(input, list(split_sizes), dim)
    return found


split_with_sizes_copy = _copying(split_with_sizes)


@public(method=True)
def unsafe_split(input: Tensor, split_size: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`split`."""
    found: tuple[Tensor, ...] = shapes.split(input, split_size, dim)
    return found


@public(method=True)
def unsafe_split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """`split_with_sizes`."""
    return split_with_sizes(input, split_sizes, dim)


@public(method=True)
def unsafe_chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """`chunk`."""
    found: tuple[Tensor, ...] = shapes.chunk(input, chunks, dim)
    return found


@public(method=True)
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None
) -> Tensor:
    """A copy of `input` whose elements at these strides are those of `src`."""
    if not input.is_contiguous():
        what = f"as_strided_scatter of {input.spec}, which does not lie row by row"
        raise Unsupported(what, fix="call contiguous() first")
    places = creation.full((), storage_offset or 0, dtype=i64, device=input.device)
    for n, step in zip(size, stride, strict=True):
        steps = creation.arange(n, dtype=i64, device=input.device) * step
        places = shapes.unsqueeze(places, -1) + steps
    values = P.cast(src, input.dtype).expand(tuple(size)).reshape(-1)
    flat = input.reshape(-1).scatter(0, places.reshape(-1), values)
    found: Tensor = flat.reshape(input.spec.shape)
    return found


__all__ += [
    "as_strided_scatter",
    "split_with_sizes",
    "unsafe_chunk",
    "unsafe_split",
    "unsafe_split_with_sizes",
]
