"""Adaptive pooling: the number of windows is given, nearly equal stretches of each dimension."""

from __future__ import annotations

from math import prod

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend import primitives as P
from graphc.frontend.api.creation import tensor
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.formats import keep_channels_last, row_by_row
from graphc.frontend.api.shapes import owned
from graphc.frontend.operands import floating
from graphc.frontend.tape import stepwise
from graphc.frontend.tensor import Tensor
from graphc.frontend.whole import whole
from graphc.ir.types import Shape
from graphc.nn.functional.arguments import LARGEST
from graphc.nn.functional.pool_types import Wanted, adaptive_max_pool
from graphc.nn.functional.pooling import check_rank, largest

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]


@whole("adaptive_avg_pool1d")
def adaptive_avg_pool1d(input: Tensor, output_size: Wanted) -> Tensor:
    """Mean over `output_size` nearly equal stretches of [B,C,L] or [C,L]."""
    return _adaptive_avg_pool(1, input, output_size)


@whole("adaptive_avg_pool2d")
def adaptive_avg_pool2d(input: Tensor, output_size: Wanted) -> Tensor:
    """Mean over a grid of nearly equal cells of [B,C,H,W] or [C,H,W]; None keeps an extent."""
    return _adaptive_avg_pool(2, input, output_size)


@whole("adaptive_avg_pool3d")
def adaptive_avg_pool3d(input: Tensor, output_size: Wanted) -> Tensor:
    """Mean over a grid of nearly equal cells of [B,C,D,H,W] or [C,D,H,W]."""
    return _adaptive_avg_pool(3, input, output_size)


@adaptive_max_pool
def adaptive_max_pool1d(
    input: Tensor, output_size: Wanted, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest of each of `output_size` nearly equal stretches of [B,C,L] or [C,L]."""
    return _adaptive_max_pool(1, input, output_size, return_indices)


@adaptive_max_pool
def adaptive_max_pool2d(
    input: Tensor, output_size: Wanted, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest of each cell of a grid over [B,C,H,W] or [C,H,W], and its flat position if asked."""
    return _adaptive_max_pool(2, input, output_size, return_indices)


@adaptive_max_pool
def adaptive_max_pool3d(
    input: Tensor, output_size: Wanted, return_indices: bool = False
) -> Tensor | tuple[Tensor, Tensor]:
    """Largest of each cell of a grid over [B,C,D,H,W] or [C,D,H,W]."""
    return _adaptive_max_pool(3, input, output_size, return_indices)


def _sizes(rank: int, input: Tensor, output_size: Wanted, name: str) -> Shape:
    """The number of stretches of each spatial dimension."""
    check_rank(input, rank, f"{name}{rank}d")
    wanted = (output_size,) * rank if isinstance(output_size, int | None) else tuple(output_size)
    wanted = wanted * rank if len(wanted) == 1 else wanted
    if len(wanted) != rank:
        raise InvalidArgument(f"output_size must be {rank} sizes, got {len(wanted)}")
    sizes = tuple(n if m is None else m for n, m in zip(input.shape[-rank:], wanted))
    if not all(0 <= m <= LARGEST for m in sizes) or 0 in input.shape[-rank:]:
        raise ShapeMismatch(
            f"{name}{rank}d of {input.spec} to {sizes}: the output's extents must not be negative, "
            f"the input's not 0"
        )
    return sizes


def _stretches(n: int, count: int) -> list[tuple[int, int]]:
    """Where each stretch begins and ends; neighbours overlap where n does not divide."""
    return [(i * n // count, -(-(i + 1) * n // count)) for i in range(count)]


def _adaptive_avg_pool(rank: int, input: Tensor, output_size: Wanted) -> Tensor:
    sizes = _sizes(rank, input, output_size, "adaptive_avg_pool")
    floating(input, f"adaptive_avg_pool{rank}d")
    if all(m == 1 for m in sizes):
        out = input.mean(dim=tuple(range(-rank, 0)), keepdim=True)
        return keep_channels_last(out, input)
    if 0 in sizes:
        return stepwise(input.new_zeros(*input.shape[:-rank], *sizes), input)
    out = input
    for k, m in enumerate(sizes):
        out = _means(out, out.dim() - rank + k, m)
    out = owned(out, input)
    return keep_channels_last(out, input) if rank == 2 else row_by_row(out)  # as PyTorch's are


def _means(x: Tensor, axis: int, count: int) -> Tensor:
    """Mean over `count` stretches of `axis`, equal ones where its extent divides."""
    n = x.shape[axis]
    if n == count:
        return x
    if count and n % count == 0:
        split = P.reshape(x, (*x.shape[:axis], count, n // count, *x.shape[axis + 1 :]))
        return split.mean(dim=axis + 1)
    rows, wide = _windows(n, count), x.float() if x.dtype.is_half else x
    lengths = [b - a for a, b in _stretches(n, count)]
    ones = [1] * (x.dim() - axis - 1)
    within = [[j < length for j in range(len(row))] for row, length in zip(rows, lengths)]
    inside = tensor(within, device=x.device)
    kept = where(inside.reshape(count, -1, *ones), _in_windows(wide, axis, rows), 0.0)
    sums = kept.sum(dim=axis + 1)
    return (sums / wide.new_tensor(lengths).reshape(count, *ones)).to(x.dtype)


def _in_windows(x: Tensor, axis: int, rows: list[list[int]]) -> Tensor:
    """[.., n, ..] -> [.., count, width, ..]"""
    index = tensor([i for row in rows for i in row], device=x.device).long()
    width = len(rows[0]) if rows else 1
    shape = (*x.shape[:axis], len(rows), width, *x.shape[axis + 1 :])
    return x.index_select(axis, index).reshape(*shape)


def _adaptive_max_pool(
    rank: int, input: Tensor, output_size: Wanted, return_indices: bool
) -> Tensor | tuple[Tensor, Tensor]:
    sizes = _sizes(rank, floating(input, "adaptive_max_pool"), output_size, "adaptive_max_pool")
    x, lead = input, input.dim() - rank
    places = [_windows(n, m) for n, m in zip(input.shape[-rank:], sizes)]
    for k, rows in enumerate(places):  # [..., n, ...] -> [..., count, ..., width]
        x = _in_windows(x, lead + k, rows).movedim(lead + k + 1, -1)
    y, place = largest(x, rank)
    y = keep_channels_last(y, input) if rank == 2 else y  # as PyTorch's are
    if not return_indices:
        return y
    found = _positions(place, input.spec.shape[-rank:], places)
    return y, keep_channels_last(found, input) if rank == 2 else found


def _windows(n: int, count: int) -> list[list[int]]:
    """The elements of each stretch; short ones repeat their last, which never wins first."""
    stretches = _stretches(n, count)
    width = max((b - a for a, b in stretches), default=1)
    return [[min(a + j, b - 1) for j in range(width)] for a, b in stretches]


def _positions(place: Tensor, sizes: Shape, places: list[list[list[int]]]) -> Tensor:
    """Flat input positions of the chosen places."""
    lead = place.dim() - len(sizes)
    rest = prod(len(rows[0]) for rows in places)
    found: Tensor | None = None
    for k, (n, rows) in enumerate(zip(sizes, places)):
        rest //= len(rows[0])
        inside = (place // rest) % len(rows[0])
        shape = [-1 if j == lead + k else 1 for j in range(place.dim())]
        start = tensor([row[0] for row in rows], device=place.device).long().reshape(shape)
        at = start + inside
        found = at if found is None else found * n + at
    assert found is not None
    return found
