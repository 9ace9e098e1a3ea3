"""Memory formats: how results lie where one is asked for, or where PyTorch keeps channels last.

What programs compute with lies as they choose; these are the strides that eager code is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.errors import ShapeMismatch
from graphc.frontend import layouts
from graphc.frontend import tensor as tensors
from graphc.frontend.geometry import shown_strides, strides_as
from graphc.frontend.options import channels_last_rank, contiguous_format, preserve_format
from graphc.frontend.places import arranged
from graphc.frontend.registry import public
from graphc.frontend.views import row_major
from graphc.ir.ops import OPS
from graphc.ir.types import Shape

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


@public(method=True)
def contiguous(x: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """x itself if its elements lie row by row, or in the order of the format given; else a copy."""
    if memory_format is preserve_format:
        raise ShapeMismatch(
            "preserve memory format is unsupported by the contiguous operator",
            fix="leave the format out, or use clone()",
        )
    if x.is_contiguous(memory_format):
        return x
    if channels_last_rank(memory_format):
        return tensors.copied_as(x, strides_as(x, memory_format))
    return x.emit(OPS["contiguous"], x)


def suggested(x: Tensor) -> Shape:
    """The memory order of channels last if x lies like that, also with gaps; else ()."""
    shape = x._spec.shape
    strides = shown_strides(x)
    if strides and layouts.is_channels_last(shape, strides):
        return layouts.CHANNELS_LAST[len(shape)]
    return ()


def in_format(x: Tensor, memory_format: Any) -> bool:
    """Whether x needs no copy to be in a memory format, as PyTorch's `to` sees it."""
    if memory_format is None or memory_format is preserve_format:
        return True
    rank = channels_last_rank(memory_format)
    strides_as(x, memory_format)  # which refuses a rank
    order = suggested(x)
    return len(order) == rank if rank else not order


def arrange(out: Tensor, strides: Shape) -> Tensor:
    """A result that nobody else has seen, so that it has these strides."""
    if shown_strides(out) == strides:
        return out
    if out.views:
        return tensors.copied_as(out, strides)
    if out.array is not None:
        order = layouts.order_of(out._spec.shape, strides or row_major(out._spec.shape))
        out.array = out.storage.array = arranged(out.array, order)
    out.storage.strides = strides
    return out


def like(out: Tensor, input: Tensor, memory_format: Any = None) -> Tensor:
    """A new tensor of input's shape, in the format given or else as `input` lies."""
    return arrange(out, strides_as(input, memory_format))


def keep_channels_last(out: Tensor, *inputs: Tensor) -> Tensor:
    """A result, channels last if one of `inputs` is, else row-major."""
    rank = len(out._spec.shape)
    orders = [suggested(x) for x in inputs if x.storage.strides or x.views]
    order = next((order for order in orders if len(order) == rank), ())
    if not order:
        return row_by_row(out)
    if any(out.storage is x.storage for x in inputs):
        return out
    return arrange(out, layouts.strides_in(out._spec.shape, order))


def row_by_row(out: Tensor) -> Tensor:
    """A result, row-major."""
    return arrange(out, ()) if out.storage.strides else out
