"""Differences, integrals, histograms and powers over points."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc import return_types
from graphc.errors import (
    DTypeMismatch,
    DTypeNotImplemented,
    InvalidArgument,
    InvalidType,
    ShapeMismatch,
)
from graphc.frontend import tensor as tensors
from graphc.frontend.api import arrangements, creation, logic, scans, shapes, sorting
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import reductions as R
from graphc.frontend.checked import checked, required
from graphc.frontend.dims import axis_of
from graphc.frontend.modes import get_default_dtype
from graphc.frontend.operands import as_float, is_tensor
from graphc.frontend.promotion import is_number
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import DType, Scalar, bool_, f32, f64, i64, u8

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "cumulative_trapezoid",
    "frombuffer",
    "gradient",
    "histogram",
    "range",
    "renorm",
    "vander",
]


@public(method=True, inplace=True, out=True)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float) -> Tensor:
    """Slices along `dim` whose p-norm exceeds `maxnorm` are scaled down to it. [...] -> [...]."""
    if not input.dtype.is_floating_point:
        raise DTypeMismatch(f"renorm of {input.spec}", fix="use x.float()")
    what = f"renorm of {input.spec}: p={p}, maxnorm={maxnorm}"
    fix = "two dimensions or more, p above 0, maxnorm of 0 or more"
    if len(input.spec.shape) < 2:
        raise ShapeMismatch(what, fix=fix)
    p = required(p, lambda p: p > 0, what, ShapeMismatch, fix=fix)
    maxnorm = required(maxnorm, lambda most: most >= 0, what, ShapeMismatch, fix=fix)
    axis = axis_of(input, dim)
    others = tuple(k for k in builtins.range(len(input.spec.shape)) if k != axis)
    norms = R.norm(input, p, others, True)
    over = norms > maxnorm
    return input * E.where(over, maxnorm / (E.where(over, norms, 1.0) + 1e-7), 1.0)


def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """Powers of the numbers, falling unless `increasing`: [n] -> [n, N]."""
    if len(x.spec.shape) != 1:
        raise ShapeMismatch(f"vander: x must be a vector, got {x.spec}")
    count = x.spec.shape[0] if N is None else N
    if count < 0:
        raise ShapeMismatch(f"vander: N must be 0 or more, got {count}")
    found = powers(x, count)
    return found if increasing else shapes.flip(found, -1)


def powers(x: Tensor, count: int) -> Tensor:
    """[..., n] -> [..., n, count]: 1, x, x * x, ..."""
    x = R.accumulator(x, None)
    exponents = creation.arange(count, dtype=x.dtype, device=x.device)
    return E.pow(shapes.unsqueeze(x, -1), exponents)


def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: Scalar | None = None, dim: int = -1
) -> Tensor:
    """Running integrals of `y` by the trapezoidal rule, over points `x` or steps of `dx`.

    [..., N, ...] -> [..., N - 1, ...].
    """
    if bool_ in (y.dtype, y.dtype if x is None else x.dtype):
        raise DTypeMismatch("cumulative_trapezoid does not take bool tensors", fix="use y.long()")
    axis = axis_of(y, dim)
    n = y.spec.shape[axis]
    if n == 0:
        return y.clone()
    pairs = E.add(shapes.narrow(y, axis, 0, n - 1), shapes.narrow(y, axis, 1, n - 1))
    if x is None:
        return E.mul(scans.cumsum(pairs, axis), (1 if dx is None else dx) / 2)
    gaps = arrangements.diff(x, dim=-1 if len(x.spec.shape) == 1 else axis)
    if len(x.spec.shape) == 1:
        lone = (-1 if k == axis else 1 for k in builtins.range(len(y.spec.shape)))
        gaps = shapes.reshape(gaps, *lone)
    return E.div(scans.cumsum(E.mul(pairs, gaps), axis), 2)


# ---- gradient ----------------------------------------------------------------------------------


def _points(spacing: Any) -> bool:
    """Whether it is a list of tensors of coordinates, not of distances."""
    return isinstance(spacing, list | tuple) and any(map(is_tensor, spacing))


def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Slopes along each of the dimensions, by central differences; at the ends by `edge_order`.

    `spacing`: a number, one for each dimension, or the coordinates along each as tensors. All have
    the shape of the input: [...] -> [...] for each.
    """
    spacing = 1 if spacing is None else spacing
    if edge_order not in (1, 2):
        raise ShapeMismatch(f"gradient: edge_order must be 1 or 2, got {edge_order!r}")
    if input.dtype is u8 or (input.dtype is bool_ and not _points(spacing)):
        raise DTypeMismatch(f"gradient of {input.spec}: differences may be negative")
    if is_tensor(spacing):
        raise InvalidType("gradient: spacing is a number, or a list of numbers or of tensors")
    rank = len(input.spec.shape)
    given = builtins.range(rank) if dim is None else [dim] if isinstance(dim, int) else dim
    axes = [axis_of(input, d) for d in given]
    if len(set(axes)) != len(axes):
        raise ShapeMismatch(f"gradient: a dimension appears twice in {dim}")
    steps = [spacing] * len(axes) if is_number(spacing) else list(spacing)
    if len(steps) != len(axes):
        what = f"gradient: spacing must be one for each of {len(axes)} dimensions"
        raise ShapeMismatch(what, fix="give a number, or a list as long as dim")
    x = input if input.dtype.is_floating_point else P.cast(input, get_default_dtype())
    return tuple(_slope(x, axis, step, edge_order) for axis, step in zip(axes, steps))


def _slope(x: Tensor, axis: int, step: Any, edge_order: int) -> Tensor:
    n = x.spec.shape[axis]
    if n < edge_order + 1:
        what = f"gradient: dimension {axis} of {x.spec} needs {edge_order + 1} elements or more"
        raise ShapeMismatch(what)
    x = shapes.movedim(x, axis, -1)
    if is_tensor(step):
        if step.spec.shape != (n,):
            raise ShapeMismatch(f"gradient: coordinates {step.spec} for a dimension of {n}")
        parts = _between(x, as_float(arrangements.diff(step)), edge_order)
    else:
        parts = _evenly(x, step, edge_order)
    return shapes.movedim(shapes.cat(parts, -1), -1, axis).contiguous()


def _evenly(x: Tensor, step: Scalar, edge_order: int) -> list[Tensor]:
    """Slopes at the first point, between the ends, and at the last one."""
    left, right = (x[..., 1:2] - x[..., :1]) / step, (x[..., -1:] - x[..., -2:-1]) / step
    if edge_order == 2:
        left = (x[..., 1:2] * 4 - x[..., :1] * 3 - x[..., 2:3]) / (2 * step)
        right = (x[..., -1:] * 3 - x[..., -2:-1] * 4 + x[..., -3:-2]) / (2 * step)
    return [left, (x[..., 2:] - x[..., :-2]) / (2 * step), right]


def _between(x: Tensor, gaps: Tensor, edge_order: int) -> list[Tensor]:
    """The same of points with these gaps between them."""
    rises = arrangements.diff(x) / gaps
    left, right = rises[..., :1], rises[..., -1:]
    before, after = gaps[:-1], gaps[1:]
    inner = (rises[..., :-1] * after + rises[..., 1:] * before) / (before + after)
    if edge_order == 2:
        bend = arrangements.diff(rises)
        left = left - bend[..., :1] * (gaps[0] / (gaps[0] + gaps[1]))
        right = right + bend[..., -1:] * (gaps[-1] / (gaps[-1] + gaps[-2]))
    return [left, inner, right]


# ---- histogram ---------------------------------------------------------------------------------


@public(method=True, out=True)
def histogram(
    input: Tensor,
    bins: Any = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
) -> return_types.histogram:
    """How many elements (or how much of `weight`) fall in each bin, and the edges of the bins.

    `bins`: how many, equally wide over `range` or the data's; or the edges, rising. [...] -> [bins]
    and [bins + 1].
    """
    if input.dtype not in (f32, f64):
        raise DTypeNotImplemented(f"histogram of {input.spec}", fix="use x.float()")
    x = shapes.ravel(input.detach())
    if is_tensor(bins) and (bins.dtype is not x.dtype or bins.dim() != 1 or not bins.numel()):
        raise ShapeMismatch(f"histogram of {input.spec}: the edges are a vector, got {bins.spec}")
    edges = bins if is_tensor(bins) else _edges(x, bins, range)
    n = edges.spec.shape[0] - 1
    place = sorting.searchsorted(edges, x, right=True) - 1
    place = E.where(x == edges[-1], n - 1, place)
    inside = (place >= 0) & (place < n)
    amount: Any = P.cast(inside, x.dtype)
    if weight is not None:
        if (weight.numel(), weight.dtype) != (input.numel(), input.dtype):
            raise ShapeMismatch(f"histogram: weight {weight.spec} for {input.spec}")
        amount = amount * shapes.ravel(weight)
    places = P.cast(E.where(inside, place, 0), i64)
    hist = creation.zeros(n, dtype=x.dtype, device=x.device).scatter_add(0, places, amount)
    if density:
        hist = hist / (R.sum(hist) * arrangements.diff(edges))
    return return_types.histogram(hist, edges)


def _edges(x: Tensor, bins: int, limits: Sequence[float] | None) -> Tensor:
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ShapeMismatch(f"histogram: bins must be positive, got {bins!r:.40}")
    if limits is not None:
        low, high = (x.new_full((), float(v)) for v in limits)
        if limits[0] > limits[1] or not all(map(math.isfinite, limits)):
            raise ShapeMismatch(f"histogram: range {tuple(limits)}")
    elif x.numel():
        low, high = R.amin(x), R.amax(x)
        finite = logic.isfinite(low) & logic.isfinite(high)
        low = checked(low, finite, "histogram: the data's range is not finite", ShapeMismatch)
    else:
        low, high = x.new_zeros(()), x.new_ones(())
    flat = low == high
    low, high = E.where(flat, low - 0.5, low), E.where(flat, high + 0.5, high)
    k = creation.arange(bins + 1, dtype=x.dtype, device=x.device)
    return E.where(k < bins, low + (high - low) * (k / bins), high)


# ---- creation ----------------------------------------------------------------------------------


@public(out=True)
def range(
    start: float = 0, end: float | None = None, step: float = 1, *, dtype: DType | None = None,
    device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """`arange` with the end inside, in the default dtype unless told: [count]."""
    if end is None:
        start, end = 0, start
    if step == 0 or (end - start) / step < 0:
        raise ShapeMismatch(f"range({start}, {end}, {step}): the step leads nowhere")
    count = math.floor((end - start) / step) + 1
    kind = get_default_dtype() if dtype is None else dtype
    points = creation.arange(count, dtype=kind, device=device) * step + start
    made: Tensor = P.cast(points, kind)
    return made.requires_grad_() if requires_grad else made


def frombuffer(
    buffer: Any, *, dtype: DType, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """The bytes of a buffer as elements of `dtype`, in the same memory: [count]."""
    size = memoryview(buffer).nbytes
    whole = (size - offset) // dtype.itemsize if count < 0 else count
    if count == 0 or offset < 0 or whole <= 0 or offset + whole * dtype.itemsize > size:
        what = f"frombuffer of {size} bytes: dtype {dtype}, count {count}, offset {offset}"
        raise InvalidArgument(what, fix="what is asked for must lie within the buffer")
    if count < 0 and (size - offset) % dtype.itemsize:
        what = f"frombuffer: {size - offset} bytes are no whole number of {dtype}"
        raise InvalidArgument(what, fix="give count")
    array = np.frombuffer(buffer, dtype.numpy, whole, offset)
    made = tensors.wrapped(array)
    return made.requires_grad_() if requires_grad else made
