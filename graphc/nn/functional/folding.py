"""unfold and fold: sliding blocks of an image as columns, and columns summed into an image."""

from __future__ import annotations

from math import prod

from graphc.errors import ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Shape, bool_
from graphc.nn.functional.arguments import Sizes, per_dim

__all__ = ["fold", "unfold"]


def unfold(
    input: Tensor,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """x [B,C,H,W] or [C,H,W] -> [B, C*R*S, L]: each of the L blocks as a column."""
    if input.dtype is not bool_:  # PyTorch copies bools, but no integers
        floating(input, "unfold")
    x = _batched(input, 4, "unfold")
    kernel, gaps, widths, steps = _arguments(kernel_size, dilation, padding, stride)
    x = P.pad(x, (0, 0, *widths), (0, 0, *widths))
    for k in range(2):
        x = P.apply("unfold", x, axis=2 + k, size=kernel[k], step=steps[k], dilation=gaps[k])
    b, c, rows, columns = x.shape[:4]
    y = x.permute(0, 1, 4, 5, 2, 3).reshape(b, c * prod(kernel), rows * columns)
    return y if input.dim() == 4 else y.squeeze(0)


def fold(
    input: Tensor,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Tensor:
    """x [B, C*R*S, L] or [C*R*S, L] -> [B,C,H,W]: columns added up where their blocks stand."""
    x = _batched(input, 3, "fold")
    kernel, gaps, widths, steps = _arguments(kernel_size, dilation, padding, stride)
    sizes = per_dim(output_size, 2, "output_size")
    padded = tuple(n + 2 * w for n, w in zip(sizes, widths))
    counts = tuple(
        (n - (k - 1) * d - 1) // s + 1 for n, k, d, s in zip(padded, kernel, gaps, steps)
    )
    b, rows, columns = x.shape
    if rows % prod(kernel) or columns != prod(counts):
        raise ShapeMismatch(
            f"fold of {input.spec}: with output_size={sizes} and kernel_size={kernel} expected "
            f"size(1) divisible by {prod(kernel)} and size(2) = {prod(counts)}"
        )
    c = rows // prod(kernel)
    y = x.reshape(b, c, *kernel, *counts).permute(0, 1, 4, 5, 2, 3)
    for k in (1, 0):
        y = P.apply("fold", y, axis=2 + k, length=padded[k], step=steps[k], dilation=gaps[k])
    start, stop = (0, 0, *widths), (b, c, *(n - w for n, w in zip(padded, widths)))
    y = P.slice(y, start, stop)
    return y if input.dim() == 3 else y.squeeze(0)


def _arguments(*given: Sizes) -> list[Shape]:
    names = ("kernel_size", "dilation", "padding", "stride")
    return [per_dim(value, 2, name) for value, name in zip(given, names)]


def _batched(input: Tensor, rank: int, name: str) -> Tensor:
    if input.dim() not in (rank - 1, rank):
        raise ShapeMismatch(f"{name}: expected a {rank - 1}D or {rank}D input, got {input.spec}")
    return input if input.dim() == rank else input.unsqueeze(0)
