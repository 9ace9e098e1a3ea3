"""interpolate: other extents of the spatial dimensions, one dimension after the other.

Coordinates and weights depend on extents alone, so they are constants of the program.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import Any

import numpy as np

from graphc.errors import InvalidArgument, ShapeMismatch, Unsupported, warn
from graphc.frontend.api.creation import tensor
from graphc.frontend.api.formats import keep_channels_last
from graphc.frontend.api.limits import iinfo
from graphc.frontend.api.shapes import owned
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Array, DType, Shape, u8
from graphc.nn.functional.adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
)

__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

Factor = float | Sequence[float] | None
CUBIC = -0.75  # Keys' parameter, as PyTorch and OpenCV choose it
RANKS = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}
MODES = ("nearest", "nearest-exact", "area", *RANKS)
AREA = {1: adaptive_avg_pool1d, 2: adaptive_avg_pool2d, 3: adaptive_avg_pool3d}


def interpolate(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: Factor = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """x [B,C,*S] -> [B,C,*T] with T = `size`, or floor(S * scale_factor).

    `mode`: "nearest", "nearest-exact", "area", "linear" (3D input), "bilinear" and "bicubic" (4D),
    "trilinear" (5D). Raises NotImplementedError for a mode that does not fit the input.
    """
    rank = input.dim() - 2
    if mode not in MODES or rank not in (1, 2, 3):
        raise Unsupported(
            f"interpolate takes inputs of 3, 4 or 5 dimensions and modes {MODES}, got {input.spec} "
            f"and {mode!r}"
        )
    if RANKS.get(mode, rank) != rank:
        raise Unsupported(
            f"Got {input.dim()}D input, but {mode} mode needs {RANKS[mode] + 2}D input"
        )
    if align_corners is not None and mode not in RANKS:
        raise InvalidArgument(
            "align_corners option can only be set with the interpolating modes: "
            "linear | bilinear | bicubic | trilinear"
        )
    if antialias and (rank != 2 or mode not in ("bilinear", "bicubic")):
        raise InvalidArgument(
            f"interpolate: antialias is for 4-d tensors with mode bilinear or bicubic, got "
            f"{input.spec} and {mode!r}"
        )
    sizes, factors = _sizes(input.spec.shape[2:], size, scale_factor)
    if min(sizes, default=1) < 1 or 0 in input.spec.shape[1:]:
        raise ShapeMismatch(f"interpolate of {input.spec} to extents {sizes}: they must be above 0")
    if recompute_scale_factor and size is not None:
        raise InvalidArgument("recompute_scale_factor is not meaningful with an explicit size")
    if recompute_scale_factor:
        factors = (None,) * rank
    if mode == "area":
        return AREA[rank](input, sizes)
    if input.dtype is not u8 or mode in ("linear", "trilinear"):
        floating(input, f"interpolate by {mode}")
    whole = mode not in ("nearest", "nearest-exact") and not input.dtype.is_floating_point
    x = input.float() if whole else input
    along = _smooth_along if antialias else _along
    for k, (n, factor) in enumerate(zip(sizes, factors)):
        x = along(x, 2 + k, n, factor, mode, bool(align_corners))
    out = _nearest_whole(x, input.dtype) if whole else owned(x, input)
    return keep_channels_last(out, input)


def _nearest_whole(x: Tensor, dtype: DType) -> Tensor:
    """x as integers within their range, as images of bytes are resized."""
    limits = iinfo(dtype)
    return (x + 0.5).floor().clamp(limits.min, limits.max).to(dtype)


def upsample(
    input: Tensor,
    size: int | Sequence[int] | None = None,
    scale_factor: Factor = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """interpolate, under its old name. x [B, C, *S] -> [B, C, *T]."""
    warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.")
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: Factor = None
) -> Tensor:
    """interpolate to the nearest sample, under its old name. x [B, C, *S] -> [B, C, *T]."""
    return upsample(input, size, scale_factor)


def upsample_bilinear(
    input: Tensor, size: int | Sequence[int] | None = None, scale_factor: Factor = None
) -> Tensor:
    """interpolate between aligned corners, under its old name. x [B, C, H, W] -> [B, C, P, Q]."""
    return upsample(input, size, scale_factor, "bilinear", True)


def _sizes(
    old: Shape, size: int | Sequence[int] | None, factor: Factor
) -> tuple[Shape, tuple[float | None, ...]]:
    """The new extents, and the factors to place samples by where they were given."""
    if (size is None) == (factor is None):
        raise InvalidArgument("only one of size or scale_factor should be defined, and one must be")
    if size is not None:
        sizes = (size,) * len(old) if isinstance(size, int) else tuple(int(n) for n in size)
        _check_count(sizes, old, "size")
        return sizes, (None,) * len(old)
    assert factor is not None
    factors = (factor,) * len(old) if isinstance(factor, int | float) else tuple(factor)
    _check_count(factors, old, "scale_factor")
    return tuple(floor(n * f) for n, f in zip(old, factors)), tuple(map(float, factors))


def _check_count(given: Sequence[Any], old: Shape, name: str) -> None:
    if len(given) != len(old):
        raise InvalidArgument(
            f"Input and {name} must have the same number of spatial dimensions, but got input with "
            f"spatial dimensions of {list(old)} and {name} of {list(given)}"
        )


def _along(x: Tensor, axis: int, n: int, factor: float | None, mode: str, corners: bool) -> Tensor:
    """x with extent n along one axis."""
    old = x.spec.shape[axis]
    if mode.startswith("nearest"):
        return x if n == old and factor in (None, 1.0) else _nearest(x, axis, n, factor, mode)
    at = _places(old, n, factor, corners)
    taps = _cubic(at, old) if mode == "bicubic" else _linear(at, old)
    total: Tensor | None = None
    shape = [-1 if k == axis else 1 for k in range(x.dim())]
    for place, weight in taps:
        row = x.new_tensor(weight).reshape(shape)
        part = x.index_select(axis, tensor(place, device=x.device)) * row
        total = part if total is None else total + part
    assert total is not None
    return total


def _smooth_along(
    x: Tensor, axis: int, n: int, factor: float | None, mode: str, corners: bool
) -> Tensor:
    """As `_along`, with filters as wide as the new samples are apart, as Pillow resizes."""
    rows = x.new_tensor(_filters(x.spec.shape[axis], n, factor, mode, corners))
    out: Tensor = (x.movedim(axis, -1) @ rows.T).movedim(-1, axis)
    return out


def _filters(old: int, n: int, factor: float | None, mode: str, corners: bool) -> Array:
    """[n, old]: how much each sample counts in each new one."""
    if corners:
        apart = (old - 1) / (n - 1) if n > 1 else 0.0
    else:
        apart = 1.0 / factor if factor else old / n
    width = max(apart, 1.0)
    reach = width * (2.0 if mode == "bicubic" else 1.0)
    centers = apart * (np.arange(n)[:, None] + 0.5)
    low = np.maximum(np.floor(centers - reach + 0.5), 0)
    high = np.minimum(np.floor(centers + reach + 0.5), old)
    place = np.arange(old)[None, :]
    d = np.abs(place - centers + 0.5) / width
    shape = _keys(d) if mode == "bicubic" else np.maximum(1.0 - d, 0.0)
    inside: Array = np.where((place >= low) & (place < high), shape, 0.0)
    total: Array = inside.sum(1, keepdims=True)
    return np.divide(inside, total)


def _keys(d: Array) -> Array:
    """The cubic filter with Pillow's parameter -1/2."""
    near, far = (1.5 * d - 2.5) * d * d + 1.0, ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def _nearest(x: Tensor, axis: int, n: int, factor: float | None, mode: str) -> Tensor:
    old = x.spec.shape[axis]
    if n % old == 0 and (factor is None or n == old * factor):  # as a view, which fuses
        return x.repeat_interleave(n // old, axis)
    step = np.float32(1.0 / factor if factor else old / n)
    offset = np.float32(0.5 if mode == "nearest-exact" else 0.0)
    at = np.floor((np.arange(n, dtype=np.float32) + offset) * step).astype(np.int64)
    return x.index_select(axis, tensor(np.minimum(at, old - 1), device=x.device))


def _places(old: int, n: int, factor: float | None, corners: bool) -> Array:
    """Where each new sample lies, in units of the old ones."""
    grid = np.arange(n, dtype=np.float64)
    if corners:
        return grid * ((old - 1) / (n - 1) if n > 1 else 0.0)
    return (grid + 0.5) * (1.0 / factor if factor else old / n) - 0.5


Taps = list[tuple[Array, Array]]  # places to read, and their weights


def _linear(at: Array, old: int) -> Taps:
    at = np.maximum(at, 0.0)
    low = np.minimum(np.floor(at).astype(np.int64), old - 1)
    share = at - low
    return [(low, 1.0 - share), (np.minimum(low + 1, old - 1), share)]


def _cubic(at: Array, old: int) -> Taps:
    """Keys 1981: four samples by a piecewise cubic; the edge repeats."""
    low = np.floor(at).astype(np.int64)
    t = at - low
    weights = [_far(t + 1), _near(t), _near(1 - t), _far(2 - t)]
    return [(np.clip(low + k - 1, 0, old - 1), w) for k, w in enumerate(weights)]


def _near(d: Array) -> Array:
    return ((CUBIC + 2) * d - (CUBIC + 3)) * d * d + 1


def _far(d: Array) -> Array:
    return ((CUBIC * d - 5 * CUBIC) * d + 8 * CUBIC) * d - 4 * CUBIC
