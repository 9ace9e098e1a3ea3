"""Power-average pooling, and the partial inverse of max pooling."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.api.elementwise import where
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Shape, i64
from graphc.nn.functional.arguments import Sizes, per_dim
from graphc.nn.functional.pooling import avg_pool1d, avg_pool2d, avg_pool3d, check_rank

__all__ = [
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
]

AVERAGE = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}


def lp_pool1d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p)^(1/p) over each window of [B,C,L] or [C,L]."""
    return _lp_pool(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p)^(1/p) over each window of [B,C,H,W] or [C,H,W]."""
    return _lp_pool(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """(sum of x^p)^(1/p) over each window of [B,C,D,H,W] or [C,D,H,W]."""
    return _lp_pool(3, input, norm_type, kernel_size, stride, ceil_mode)


def _lp_pool(
    rank: int,
    input: Tensor,
    norm_type: float,
    kernel_size: Sizes,
    stride: Sizes | None,
    ceil_mode: bool,
) -> Tensor:
    count = prod(per_dim(kernel_size, rank, "kernel_size"))
    mean = AVERAGE[rank](input**norm_type, kernel_size, stride, 0, ceil_mode)
    return ((mean.sign() * mean.abs().relu()) * count) ** (1.0 / norm_type)


def max_unpool1d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """[B,C,P] put where `max_pool1d(..., return_indices=True)` found it; zeros elsewhere."""
    return _max_unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """[B,C,P,Q] put where `max_pool2d(..., return_indices=True)` found it; zeros elsewhere."""
    return _max_unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """[B,C,O,P,Q] put where `max_pool3d(..., return_indices=True)` found it; zeros elsewhere."""
    return _max_unpool(3, input, indices, kernel_size, stride, padding, output_size)


def _max_unpool(
    rank: int,
    input: Tensor,
    indices: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    output_size: Sequence[int] | None,
) -> Tensor:
    check_rank(floating(input, "max_unpool"), rank, f"max_unpool{rank}d")
    if indices.dtype is not i64 or indices.shape != input.shape:
        raise ShapeMismatch(
            f"max_unpool{rank}d: indices must be int64 and of the input's shape, got "
            f"{indices.spec} for {input.spec}"
        )
    kernel = per_dim(kernel_size, rank, "kernel_size")
    steps = kernel if stride is None else per_dim(stride, rank, "stride")
    widths = per_dim(padding, rank, "padding")
    sizes = tuple(
        (n - 1) * s + k - 2 * p for n, s, k, p in zip(input.shape[-rank:], steps, kernel, widths)
    )
    if output_size is not None:
        sizes = _wanted(tuple(output_size), sizes, steps)
    lead = input.spec.shape[:-rank]
    cells = P.reshape(input, (*lead, prod(input.shape[-rank:])))
    index = P.reshape(indices, cells.spec.shape)
    index = P.apply("check_index", index, bound=prod(sizes), what="max_unpool index")
    return P.reshape(_placed(cells, index, (*lead, prod(sizes))), (*lead, *sizes))


def _placed(x: Tensor, index: Tensor, shape: Shape) -> Tensor:
    """x at `index` along the last dimension of zeros.

    Overlapping windows choose one element several times, with one value: their sum is divided by
    how many they are, outside autograd, for in PyTorch every one of them gets the whole gradient.
    """
    axis = len(shape) - 1
    total: Tensor = P.put_along(x, index, axis, shape)
    ones = P.full_like(x.detach(), 1.0)
    times: Tensor = P.put_along(ones, index, axis, shape)
    plain = total.detach()
    return where(times > 1.0, total + (plain / times - plain), total)


def _wanted(output_size: Shape, default: Shape, steps: Shape) -> Shape:
    """The extents asked for, if they are within a stride of those that pooling implies."""
    wanted = output_size[-len(default) :]
    if len(wanted) != len(default) or any(
        not n - s < m < n + s for m, n, s in zip(wanted, default, steps)
    ):
        raise InvalidArgument(
            f"invalid output_size {output_size}: each extent must be within a stride of {default}"
        )
    return wanted
