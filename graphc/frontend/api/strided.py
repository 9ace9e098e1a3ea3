"""Views by strides, and the view functions that change a tensor's own shape in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend import dims, layouts
from graphc.frontend.api import shapes
from graphc.frontend.operands import broadcast_to
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.ops import OPS

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["as_strided"]


def _whole_storage(x: Tensor) -> Tensor:
    """All the memory that x is a view of, without history."""
    out: Tensor = x.alias()
    out.views, out.array, out._spec, out._value = (), x.storage.array, x.storage.spec, None
    return out


def _in_memory_order(x: Tensor) -> Tensor | None:
    """A vector over the elements of x as they lie; None where they leave gaps."""
    x.storage.unpack()
    shape, strides = x.spec.shape, x.strides()
    if not layouts.is_dense(shape, strides):
        return None
    return shapes.ravel(P.transpose(x, layouts.order_of(shape, strides)))


def _flat_memory(x: Tensor, first: int, last: int) -> tuple[Tensor, int]:
    """A vector over the memory of x from `first` to `last`, and where in the storage it starts."""
    start = x.storage_offset()
    inside = start <= first and last < start + x.numel()
    if inside and (flat := _in_memory_order(x)) is not None:
        return flat, start
    if x.requires_grad or x.is_traced:
        raise InvalidArgument(
            f"as_strided: elements {first} to {last} of the storage lie outside {x.spec}",
            fix="apply as_strided to the tensor that this is a view of",
        )
    whole = _in_memory_order(_whole_storage(x))
    if whole is None:
        raise InvalidArgument("as_strided: the storage is not contiguous", fix="clone() first")
    return whole, 0


@public(method=True)
def as_strided(
    input: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """The memory of `input` seen with another size and strides (in elements); a view.

    -> shape `size`.
    """
    shape, steps = dims.sizes((size,)), dims.sizes((stride,))
    first = input.storage_offset() if storage_offset is None else storage_offset
    if len(shape) != len(steps) or min((*shape, *steps, first)) < 0:
        raise ShapeMismatch(f"as_strided: size {shape}, stride {steps}, offset {first}")
    if 0 in shape:
        return shapes.reshape(shapes.narrow(shapes.ravel(input), 0, 0, 0), shape)
    last = first + sum((n - 1) * s for n, s in zip(shape, steps))
    if last >= _whole_storage(input).numel():
        raise ShapeMismatch(
            f"as_strided: size {shape}, stride {steps}, offset {first} needs {last + 1} elements, "
            f"{input.spec} has {_whole_storage(input).numel()}"
        )
    y, start = _flat_memory(input, first, last)
    y = shapes.slice_along(y, 0, first - start, y.numel())
    moving = [n > 1 and s > 0 for n, s in zip(shape, steps)]
    for n, s, moves in zip(shape, steps, moving):
        if moves:
            y = y.emit(OPS["unfold"], y, axis=0, size=n, step=1, dilation=s)
    y = shapes.select(y, 0, 0)
    y = P.reshape(y, tuple(n if moves else 1 for n, moves in zip(shape, moving)))
    return shapes.alias_view(y) if y.spec.shape == shape else broadcast_to(y, shape)
