"""Max pooling over windows whose places are drawn, so that any output size is reached.

Graham 2014, as PyTorch places the windows: along each dimension at int((k + u) a) - int(u a), with
u in [0, 1) drawn for each channel, and the last at the end.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.errors import InvalidArgument, RefusedArgument
from graphc.frontend.api.creation import arange
from graphc.frontend.api.random import rand
from graphc.frontend.api.shapes import cat
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Shape, i64
from graphc.nn.functional.arguments import Sizes, per_dim

__all__ = [
    "fractional_max_pool2d",
    "fractional_max_pool2d_with_indices",
    "fractional_max_pool3d",
    "fractional_max_pool3d_with_indices",
]

Ratio = float | Sequence[float] | None


def _output(rank: int, given: Shape, output_size: Any, output_ratio: Ratio) -> Shape:
    if output_size is None and output_ratio is None:
        raise InvalidArgument(
            f"fractional_max_pool{rank}d requires specifying either an output_size or an "
            "output_ratio"
        )
    if output_size is not None:
        return per_dim(output_size, rank, "output_size")
    assert output_ratio is not None
    ratios = (output_ratio,) * rank if isinstance(output_ratio, float | int) else output_ratio
    return tuple(int(n * r) for n, r in zip(given, ratios))


def _starts(samples: Tensor, size: int, out: int, window: int) -> Tensor:
    """Where the windows of each channel begin along one dimension: [N, C, out]."""
    last = size - window
    end = (samples * 0).to(i64).unsqueeze(-1) + last
    if out == 1:
        return end
    alpha = last / (out - 1)
    u = samples.unsqueeze(-1)
    places = arange(out - 1, device=samples.device).to(samples.dtype)
    found = ((places + u) * alpha).to(i64) - (u * alpha).to(i64)
    return cat([found, end], -1)


def _pool(
    rank: int,
    input: Tensor,
    kernel_size: Sizes,
    output_size: Any,
    output_ratio: Ratio,
    samples: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """The largest element of each window, and its place in the flat image."""
    name = f"fractional_max_pool{rank}d"
    if input.dim() not in (rank + 1, rank + 2):
        raise RefusedArgument(
            f"{name}: expected {rank + 1}D or {rank + 2}D input, got {input.spec}"
        )
    floating(input, name)
    x = input if input.dim() == rank + 2 else input.unsqueeze(0)
    batch, channels, *image = x.spec.shape
    window = per_dim(kernel_size, rank, "kernel_size")
    out = _output(rank, tuple(image), output_size, output_ratio)
    for size, n, k in zip(image, out, window):
        if n < 1 or n + k - 1 > size:
            raise RefusedArgument(f"{name}: {n} windows of {k} do not fit {size} elements")
    if samples is None:
        samples = rand(batch, channels, rank, dtype=input.dtype, device=input.device)
    flat = None
    for k, (size, n, width) in enumerate(zip(image, out, window)):
        # PyTorch draws for the last dimension first in images, for the first one in volumes.
        drawn = samples[:, :, rank - 1 - k if rank == 2 else k]
        at = _starts(drawn, size, n, width).unsqueeze(-1) + arange(width, device=x.device)
        shape = [batch, channels, *(1,) * (2 * rank)]
        shape[2 + k], shape[2 + rank + k] = n, width
        at = at.reshape(shape)
        flat = at if flat is None else flat * size + at
    assert flat is not None
    places = flat.reshape(batch, channels, _product(out), _product(window))
    found = (
        x.reshape(batch, channels, _product(tuple(image)))
        .gather(2, places.flatten(2))
        .reshape(places.shape)
    )
    values, best = found.max(-1)
    indices = places.gather(-1, best.unsqueeze(-1)).squeeze(-1)
    lead = input.spec.shape[: input.dim() - rank]
    return values.reshape(*lead, *out), indices.reshape(*lead, *out)


def _product(sizes: Shape) -> int:
    out = 1
    for n in sizes:
        out *= n
    return out


def fractional_max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """x [B,C,H,W] or [C,H,W]; `_random_samples` [B,C,2] in [0, 1) places the windows."""
    found = _pool(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def fractional_max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:
    """x [B,C,T,H,W] or [C,T,H,W]; `_random_samples` [B,C,3] in [0, 1) places the windows."""
    found = _pool(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return found if return_indices else found[0]


def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool2d`, and where each value stood in its input, as flat indices (int64).

    Both [B, C, P, Q] or [C, P, Q].
    """
    return _pool(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: Sizes,
    output_size: Sizes | None = None,
    output_ratio: Ratio = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """`fractional_max_pool3d`, and where each value stood in its input, as flat indices (int64).

    Both [B, C, O, P, Q] or [C, O, P, Q].
    """
    return _pool(3, input, kernel_size, output_size, output_ratio, _random_samples)
