"""grid_sample and affine_grid: images and volumes read at places that are data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import product
from math import prod

from graphc.errors import DTypeMismatch, InvalidArgument, ShapeMismatch, Unsupported
from graphc.frontend import primitives as P
from graphc.frontend.api.elementwise import where
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.ir.types import i64

__all__ = ["affine_grid", "grid_sample"]


def affine_grid(theta: Tensor, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """The sampling grid of an affine map: theta [B,2,3], size (B,C,H,W) -> [B,H,W,2].

    Or theta [B,3,4], size (B,C,D,H,W) -> [B,D,H,W,3]; coordinates -1..1, x first. They are those of
    the corners' centres with `align_corners`, otherwise of their outer edges.
    """
    if not theta.dtype.is_floating_point:
        raise InvalidArgument(f"Expected theta to have floating point type, but got {theta.spec}")
    space = tuple(size[2:])
    rank = len(space)
    if rank not in (2, 3):
        raise Unsupported(f"affine_grid only supports 4D and 5D sizes, got {tuple(size)}")
    if theta.spec.shape != (size[0], rank, rank + 1):
        raise InvalidArgument(
            f"Expected a batch of {rank}D affine matrices of shape Nx{rank}x{rank + 1} for size "
            f"{tuple(size)}. Got {theta.spec}"
        )
    if min(size) < 1:
        raise InvalidArgument(f"Expected non-zero, positive output size. Got {tuple(size)}")
    out: Tensor | None = None
    for k, n in enumerate(space):  # dimension k of the output is coordinate rank - 1 - k
        at = theta.new_tensor(_centres(n, bool(align_corners)))
        at = at.reshape([1, *(n if j == k else 1 for j in range(rank)), 1])
        column = theta[:, :, rank - 1 - k].reshape(size[0], *(1,) * rank, rank)
        part = at * column
        out = part if out is None else out + part
    assert out is not None
    return out + theta[:, :, rank].reshape(size[0], *(1,) * rank, rank)


def _centres(n: int, align: bool) -> list[float]:
    """Coordinates of n elements: from -1 to 1, or half an element inside."""
    if align:
        return [2.0 * i / (n - 1) - 1.0 if n > 1 else 0.0 for i in range(n)]
    return [(2.0 * i + 1.0) / n - 1.0 for i in range(n)]


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """Read [B,C,H,W] at grid [B,P,Q,2], or [B,C,D,H,W] at [B,O,P,Q,3], into [B,C,P,Q] or with O.

    Coordinates are -1..1, x first; `mode` bilinear, nearest or (4-d) bicubic; outside stand zeros,
    the border's elements, or the image mirrored ("reflection").
    """
    rank = floating(input, "grid_sample").dim() - 2
    _check(input, grid, mode, padding_mode, rank)
    align = bool(align_corners)
    space = input.spec.shape[2:]
    at = [_unscaled(grid[..., rank - 1 - k], n, align) for k, n in enumerate(space)]
    if mode == "bicubic":
        return _cubic(input, at, padding_mode, align)
    at = [_kept_inside(x, n, padding_mode, align) for x, n in zip(at, space)]
    if mode == "nearest":
        return _fetch(input, [x.detach().round() for x in at])
    low = [x.detach().floor() for x in at]
    corners = product(*([(b, 1.0 - (x - b)), (b + 1.0, x - b)] for x, b in zip(at, low)))
    return _weighted(input, [list(c) for c in corners])


def _check(input: Tensor, grid: Tensor, mode: str, padding_mode: str, rank: int) -> None:
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise InvalidArgument(
            "nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', "
            f"but got: {mode!r}"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise InvalidArgument(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or "
            f"'reflection', but got: {padding_mode!r}"
        )
    if input.dtype is not grid.dtype:
        raise DTypeMismatch(
            f"grid_sampler(): expected input and grid to have same dtype, but input is "
            f"{input.spec} and grid {grid.spec}"
        )
    fits = rank in (2, 3) and grid.dim() == rank + 2 and grid.spec.shape[-1] == rank
    if not fits or grid.spec.shape[0] != input.spec.shape[0]:
        raise ShapeMismatch(
            f"grid_sampler(): expected a 4D or 5D input and a grid of the same rank and batch size "
            f"with a coordinate per spatial dimension, but got input {input.spec} and grid "
            f"{grid.spec}"
        )
    if mode == "bicubic" and rank != 2:
        raise ShapeMismatch(f"grid_sampler(): bicubic interpolation needs 4D input: {input.spec}")
    if 0 in input.spec.shape[2:]:
        raise ShapeMismatch(f"grid_sampler(): expected non-empty spatial dimensions: {input.spec}")


def _unscaled(x: Tensor, n: int, align: bool) -> Tensor:
    """-1..1 as places 0..n-1."""
    return (x + 1.0) * ((n - 1) / 2) if align else ((x + 1.0) * float(n) - 1.0) * 0.5


def _kept_inside(x: Tensor, n: int, padding_mode: str, align: bool) -> Tensor:
    """Places as `padding_mode` reads them; those that stay outside read zeros."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        x = _mirrored(x, 0.0, n - 1.0) if align else _mirrored(x, -0.5, n - 0.5)
    return x.clamp(0.0, n - 1.0)


def _mirrored(x: Tensor, low: float, high: float) -> Tensor:
    """x folded back and forth into low..high."""
    span = high - low
    if span == 0.0:
        return x * 0.0
    away = (x - low).abs()
    turns = (away.detach() / span).floor()
    rest = away - turns * span
    return where(turns % 2.0 == 0.0, rest, span - rest) + low


def _fetch(input: Tensor, places: list[Tensor]) -> Tensor:
    """input [B,C,*S] at integral places [B,*P] of each dimension -> [B,C,*P]; outside zero."""
    space = input.spec.shape[2:]
    inside: list[Tensor] = []
    flat: Tensor | None = None
    for x, n in zip(places, space):
        inside.append((x >= 0.0) & (x <= n - 1.0))
        # A large n - 1 has been rounded to the dtype of the grid: only the whole number is safe.
        at = where(inside[-1], x, 0.0).to(i64).clamp(0, n - 1)
        flat = at if flat is None else flat * n + at
    assert flat is not None
    batch, channels = input.spec.shape[:2]
    shape = flat.spec.shape[1:]
    index = P.expand(P.reshape(flat, (batch, 1, prod(shape))), (batch, channels, prod(shape)))
    rows = P.reshape(input, (batch, channels, prod(space)))
    taken: Tensor = P.apply("take_along", rows, index, axis=2)
    y = P.reshape(taken, (batch, channels, *shape))
    return where(reduce(lambda a, b: a & b, inside).unsqueeze(1), y, 0.0)


def _weighted(input: Tensor, corners: list[list[tuple[Tensor, Tensor]]]) -> Tensor:
    """The sum over corners of what stands there times the product of its weights."""
    total: Tensor | None = None
    for corner in corners:
        weight = reduce(lambda a, b: a * b, [w for _, w in corner])
        part = _fetch(input, [x for x, _ in corner]) * weight.unsqueeze(1)
        total = part if total is None else total + part
    assert total is not None
    return total


_A = -0.75  # Keys, 1981


def _near(x: Tensor) -> Tensor:
    y: Tensor = ((_A + 2) * x - (_A + 3)) * x * x + 1
    return y


def _far(x: Tensor) -> Tensor:
    y: Tensor = ((_A * x - 5 * _A) * x + 8 * _A) * x - 4 * _A
    return y


def _cubic(input: Tensor, at: list[Tensor], padding_mode: str, align: bool) -> Tensor:
    """Sixteen taps; each one's place is kept inside on its own."""
    sides = []
    for x, n in zip(at, input.spec.shape[2:]):
        base = x.detach().floor()
        t = x - base
        weights = [_far(t + 1.0), _near(t), _near(1.0 - t), _far(2.0 - t)]
        places = [_kept_inside(base + k, n, padding_mode, align) for k in (-1.0, 0.0, 1.0, 2.0)]
        sides.append(list(zip(places, weights)))
    return _weighted(input, [list(c) for c in product(*sides)])
