"""Sorting and what is found by it: everything is a gather by the indices of one stable `argsort`.

NaN counts as the largest element. Functions whose result has as many elements as the data says
(`unique`, `bincount`) read it, so they do not work inside a compiled step.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from graphc import return_types
from graphc.errors import (
    DTypeMismatch,
    DTypeNotImplemented,
    InvalidArgument,
    InvalidIndex,
    ShapeMismatch,
    Unsupported,
)
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import formats, logic, shapes, ternary
from graphc.frontend.api import reductions as R
from graphc.frontend.checked import checked, required
from graphc.frontend.dims import axis_of
from graphc.frontend.hostvalue import is_undecided
from graphc.frontend.operands import data_sized, is_tensor, numeric
from graphc.frontend.promotion import result_type, wrap
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import DType, TensorSpec, bool_, f32, f64, i32, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "argsort",
    "bincount",
    "bucketize",
    "histc",
    "kthvalue",
    "median",
    "mode",
    "msort",
    "nanmedian",
    "nanquantile",
    "quantile",
    "searchsorted",
    "sort",
    "topk",
    "unique",
    "unique_consecutive",
]


def _order(x: Tensor, axis: int, descending: bool = False) -> Tensor:
    """i64 of x's shape: which element stands at each rank along `axis`."""
    if not x.spec.shape:
        return x.full(0, TensorSpec(i64, ()))
    return x.emit(OPS["argsort"], x, axis=axis, descending=bool(descending))


def _take(x: Tensor, index: Tensor, axis: int) -> Tensor:
    return x.emit(OPS["take_along"], x, index, axis=axis) if x.spec.shape else x.clone()


@public(method=True)
def argsort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False
) -> Tensor:
    """The indices that sort `input` along `dim`; always stable. The shape stays."""
    return formats.like(_order(input, axis_of(input, dim), descending), input)


@public(method=True, out=True)
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None
) -> return_types.sort:
    """The elements in order along `dim`, and where they stood; always stable.

    Both have its shape.
    """
    axis = axis_of(input, dim)
    index = _order(input, axis, descending)
    values = _take(input, index, axis)
    return return_types.sort(formats.like(values, input), formats.like(index, input))


@public(method=True, out=True)
def msort(input: Tensor) -> Tensor:
    """Sorted along the first dimension; the shape stays."""
    return sort(input, 0).values


@public(method=True, out=True)
def topk(
    input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True
) -> return_types.topk:
    """The k largest (or smallest) elements along `dim`, the best first, and their indices.

    [..., N, ...] -> two of [..., k, ...].
    """
    axis = axis_of(input, dim)
    if input.dtype is bool_:
        raise DTypeMismatch(f"topk of a bool tensor, {input.spec}", fix="use x.long()")
    if not 0 <= k <= (input.spec.shape[axis] if input.spec.shape else 1):
        raise ShapeMismatch(f"topk: k = {k} is out of range for dimension {dim} of {input.spec}")
    index = _order(input, axis, largest)
    if input.spec.shape:
        index = shapes.slice_along(index, axis, 0, k).contiguous()
    return return_types.topk(_take(input, index, axis), index)


def _chosen(x: Tensor, axis: int, rank: Tensor | int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The element at a rank along `axis` (an i64 tensor of size 1 there), and its index."""
    order = _order(x, axis)
    if not x.spec.shape:
        return x.clone(), order
    if isinstance(rank, int):
        index = shapes.slice_along(order, axis, rank, rank + 1).contiguous()
    else:
        index = order.emit(OPS["take_along"], order, rank, axis=axis)
    values = _take(x, index, axis)
    if keepdim:
        return values, index
    shape = tuple(n for k, n in enumerate(x.spec.shape) if k != axis)
    return P.reshape(values, shape), P.reshape(index, shape)


@public(method=True, out=True)
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> return_types.kthvalue:
    """The k-th smallest element (counted from 1) along `dim`, and its index.

    [..., N, ...] -> two of [...] without `dim` (1 with `keepdim`).
    """
    axis = axis_of(numeric(input, "kthvalue"), dim)
    if not 1 <= k <= (input.spec.shape[axis] if input.spec.shape else 1):
        what = f"kthvalue(): selected number k = {k} is out of range"
        raise ShapeMismatch(f"{what} for dimension {dim} of {input.spec}")
    return return_types.kthvalue(*_chosen(input, axis, k - 1, keepdim))


# ---- medians -----------------------------------------------------------------------------------


def _nan_count(x: Tensor, axis: int) -> Tensor:
    return R.sum(P.cast(logic.isnan(x), i64), axis, True)


def _median_along(x: Tensor, dim: int, keepdim: bool, skip: bool) -> tuple[Tensor, Tensor]:
    axis = axis_of(x, dim)
    n = x.spec.shape[axis] if x.spec.shape else 1
    if n == 0:
        raise InvalidIndex(f"median(): expected dimension {dim} to be of nonzero size, {x.spec}")
    if not x.spec.shape or not numeric(x, "median").dtype.is_floating_point:
        return _chosen(x, axis, (n - 1) // 2, keepdim)
    lost = _nan_count(x.detach(), axis)
    if skip:
        rank = E.floor_divide(ternary.clamp(n - 1 - lost, min=0), 2)
    else:
        rank = ternary.clamp(E.where(lost > 0, n - lost, (n - 1) // 2), max=n - 1)
    return _chosen(x, axis, rank, keepdim)


def _median(x: Tensor, skip: bool) -> Tensor:
    """Of all elements; elements equal to it share the gradient."""
    flat = shapes.ravel(numeric(x, "median"))
    if x.numel() == 0:
        if not x.dtype.is_floating_point:
            raise ShapeMismatch(f"median() of an empty tensor, {x.spec}")
        return R.sum(flat) * float("nan")
    found = _median_along(flat.detach(), 0, False, skip)[0]
    if not x.requires_grad:
        return found
    same = E.where(logic.isnan(found), logic.isnan(flat), logic.eq(flat, found))
    return R.whole("max", E.where(same, flat, -float("inf")))


@overload
def median(input: Tensor, dim: None = None) -> Tensor: ...
@overload
def median(input: Tensor, dim: int, keepdim: bool = False) -> return_types.median: ...
@public(method=True, out=True)
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of all elements, or along `dim` with indices; NaN if any is NaN.

    [...] -> [], or two of [...] without `dim` (1 with `keepdim`).
    """
    if dim is None:
        return _median(input, False)
    return return_types.median(*_median_along(input, dim, keepdim, False))


@overload
def nanmedian(input: Tensor, dim: None = None) -> Tensor: ...
@overload
def nanmedian(input: Tensor, dim: int, keepdim: bool = False) -> return_types.nanmedian: ...
@public(method=True, out=True)
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The lower median of what is not NaN.

    [...] -> [], or two of [...] without `dim` (1 with `keepdim`).
    """
    if dim is None:
        return _median(input, True)
    return return_types.nanmedian(*_median_along(input, dim, keepdim, True))


@public(method=True, out=True)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> return_types.mode:
    """The most frequent element along `dim` (the smallest of several), and its last index.

    [..., N, ...] -> two of [...] without `dim` (1 with `keepdim`).
    """
    axis = axis_of(input, dim)
    if not input.spec.shape:
        return return_types.mode(*_chosen(input, 0, 0, keepdim))
    if input.spec.shape[axis] == 0:
        raise InvalidIndex(f"mode(): expected dimension {dim} to be of nonzero size, {input.spec}")
    rows = shapes.movedim(sort(input.detach(), axis).values, axis, -1).contiguous()
    end = rows.emit(OPS["searchsorted"], rows, rows, right=True)
    counts = end - rows.emit(OPS["searchsorted"], rows, rows, right=False)
    counts = E.where(logic.isnan(rows), 1, counts)  # no NaN equals another
    last = R.argmax(counts, -1, True)
    rank = end.emit(OPS["take_along"], end, last, axis=len(end.spec.shape) - 1)
    rank = ternary.clamp(rank - 1, min=0)
    rank = shapes.movedim(rank, -1, axis)
    return return_types.mode(*_chosen(input, axis, rank, keepdim))


# ---- quantiles ---------------------------------------------------------------------------------

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _quantile(
    x: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip: bool
) -> Tensor:
    if interpolation not in INTERPOLATIONS:
        raise InvalidArgument(
            f"quantile(): interpolation {interpolation!r} is none of {INTERPOLATIONS}"
        )
    if x.dtype not in (f32, f64):
        raise DTypeMismatch(f"quantile() needs a float32 or float64 tensor, got {x.spec}")
    if is_tensor(q) and (q.dtype is not x.dtype or len(q.spec.shape) > 1):
        raise ShapeMismatch(f"quantile() of {x.spec}: q must be a number or a vector, got {q.spec}")
    if x.numel() == 0:
        raise ShapeMismatch(f"quantile() of an empty tensor, {x.spec}")
    if not is_tensor(q):
        text = f"quantile(): q must be in [0, 1], got {q}"
        q = required(q, lambda q: (q >= 0) & (q <= 1), text, ShapeMismatch)
        q = x.full(wrap(q, x.dtype), TensorSpec(x.dtype, ()))
    else:
        inside = _in_unit_interval(q.detach())
        q = checked(q, inside, "quantile(): q must be in [0, 1]", ShapeMismatch)
    whole, rank = dim is None, len(x.spec.shape)
    axis = 0 if dim is None else axis_of(x, dim)
    rows = shapes.ravel(x) if whole or not rank else shapes.movedim(x, axis, -1)
    out = _at_quantiles(rows, shapes.reshape(q, -1), interpolation, skip)
    if keepdim:
        kept = (1,) * rank if whole else (*x.spec.shape[:axis], 1, *x.spec.shape[axis + 1 :])
        out = shapes.movedim(out, -1, 0)
        out = P.reshape(out, (out.spec.shape[0], *(kept if rank else ())))
    else:
        out = shapes.movedim(out, -1, 0)
    return out if q.spec.shape else P.reshape(out, out.spec.shape[1:])


def _at_quantiles(rows: Tensor, q: Tensor, interpolation: str, skip: bool) -> Tensor:
    """[..., n] and q [k] -> [..., k]: what stands at rank q * (n - 1) of each sorted row."""
    axis = len(rows.spec.shape) - 1
    n = rows.spec.shape[axis]
    ordered = sort(rows, axis).values
    lost = P.cast(_nan_count(rows.detach(), axis), rows.dtype)
    if skip:
        place = q * ternary.clamp(n - 1 - lost, min=0)
    else:
        place = E.where(lost > 0, n - 1.0, q * float(n - 1))
    if interpolation == "lower":
        place = E.floor(place)
    elif interpolation == "higher":
        place = E.ceil(place)
    elif interpolation == "nearest":
        place = E.round(place)
    below, above = (
        ternary.clamp(P.cast(f(place.detach()), i64), 0, n - 1) for f in (E.floor, E.ceil)
    )
    low = ordered.emit(OPS["take_along"], ordered, below, axis=axis)
    high = ordered.emit(OPS["take_along"], ordered, above, axis=axis)
    if interpolation == "midpoint":
        return ternary.lerp(low, high, 0.5)
    return ternary.lerp(low, high, place - P.cast(below, rows.dtype))


def _in_unit_interval(q: Tensor) -> Tensor:
    return logic.logical_and(logic.ge(q, 0), logic.le(q, 1))


@public(method=True, out=True)
def quantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """The q-th quantiles along `dim` or of all; q is a number or a vector, whose results lead.

    q [] or [Q] -> [] or [...] without `dim` (1 with `keepdim`), behind [Q].
    """
    return _quantile(input, q, dim, keepdim, interpolation, False)


@public(method=True, out=True)
def nanquantile(
    input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *,
    interpolation: str = "linear",
) -> Tensor:  # fmt: skip
    """`quantile` of what is not NaN.

    q [] or [Q] -> [] or [...] without `dim` (1 with `keepdim`), behind [Q].
    """
    return _quantile(input, q, dim, keepdim, interpolation, True)


# ---- places in sorted sequences ----------------------------------------------------------------


@public(out=True)
def searchsorted(
    sorted_sequence: Tensor,
    input: Any,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
) -> Tensor:
    """Where each element would be inserted so that the last dimension stays sorted.

    One sequence for all elements, or one for each row of `input`. `right`: behind equal ones.

    sorted [..., N], values [..., M] or any shape if sorted is [N] -> values' shape.
    """
    if side not in (None, "left", "right") or (side == "left" and right):
        raise ShapeMismatch(f"searchsorted: side {side!r} with right={right}")
    rows = sorted_sequence
    if sorter is not None:
        count = rows.spec.shape[-1]
        sorter = P.apply("check_index", sorter, bound=count, what="searchsorted sorter")
        rows = _take(rows, sorter, len(rows.spec.shape) - 1)
    values = input if is_tensor(input) else rows.full(input, TensorSpec(rows.dtype, ()))
    dtype = result_type(rows, values)
    rows, values = numeric(P.cast(rows, dtype), "searchsorted"), P.cast(values, dtype)
    shape = values.spec.shape
    if len(rows.spec.shape) == 1:
        values = P.reshape(values, (values.spec.numel,))
    elif not shape or rows.spec.shape[:-1] != shape[:-1]:
        raise ShapeMismatch(f"searchsorted: {values.spec} does not fit the rows of {rows.spec}")
    out = rows.emit(OPS["searchsorted"], rows, values, right=bool(right or side == "right"))
    if dtype.is_floating_point:  # NaN is behind all, NaN too
        out = E.where(logic.isnan(values), rows.spec.shape[-1], out)
    return P.cast(P.reshape(out, shape), i32 if out_int32 else i64)


@public(out=True)
def bucketize(
    input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False
) -> Tensor:
    """The number of the interval between sorted boundaries that each element lies in.

    input [...], boundaries [N] -> [...].
    """
    if len(boundaries.spec.shape) != 1:
        raise ShapeMismatch(f"bucketize: boundaries must be a vector, got {boundaries.spec}")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right)


@public(method=True, out=True)
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """How many elements lie in each of `bins` equal intervals of [min, max], or of the data's."""
    what = f"histc: bins = {bins}, min = {min}, max = {max}"
    if bins < 1:
        raise ShapeMismatch(what)
    if not input.dtype.is_floating_point:
        raise Unsupported(f"histc of {input.spec}", fix="use x.float(), or bincount()")
    x = shapes.ravel(input.detach())
    known = not (is_undecided(min) or is_undecided(max))
    low, high = (x.full(v, TensorSpec(x.dtype, ())) for v in (min, max))
    if not known:
        high = checked(high, high >= low, what, ShapeMismatch)
    elif max < min:
        raise ShapeMismatch(what)
    if (not known or min == max) and x.spec.numel:
        text = "histc: the range of the values is not finite"
        of_data = low == high
        low, high = (
            checked(
                E.where(of_data, of(x), v), logic.isfinite(of(x)) | ~of_data, text, ShapeMismatch
            )
            for of, v in ((R.amin, low), (R.amax, high))
        )
    flat = logic.eq(low, high)
    low, high = E.where(flat, low - 1, low), E.where(flat, high + 1, high)
    inside = logic.logical_and(x >= low, x <= high)
    place = E.where(inside, (x - low) / (high - low) * bins, 0)
    place = ternary.clamp(P.cast(place, i64), 0, bins - 1)
    return x.emit(OPS["scatter_add"], P.cast(inside, x.dtype), place, axis=0, length=bins)


# ---- results whose size the data says ----------------------------------------------------------


def _made(array: Any, like: Tensor, dtype: DType = i64) -> Tensor:
    """Where `like` is."""
    return device_ops.like(tensors.wrapped(np.array(array, dtype.numpy, order="C")), like)


@public(method=True)
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The distinct elements (or slices along `dim`) in order; where each went; how many.

    [...] -> [n], or [..., n, ...] along `dim`.
    """
    array = data_sized(input, "unique()", "sort() gives a fixed shape")
    axis = None if dim is None else axis_of(input, dim)
    values, inverse, counts = np.unique(
        array, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    inverse = inverse.reshape(array.shape if axis is None else -1)
    return _unique_results(input, values, inverse, counts, return_inverse, return_counts)


def _unique_results(
    like: Tensor, values: Any, inverse: Any, counts: Any, with_inverse: bool, with_counts: bool
) -> Any:
    results = [_made(values, like, like.dtype)]
    results += [_made(inverse, like)] if with_inverse else []
    results += [_made(counts, like)] if with_counts else []
    return results[0] if len(results) == 1 else tuple(results)


@public(method=True)
def unique_consecutive(
    input: Tensor,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The first of each run of equal elements (or slices along `dim`).

    [...] -> [n], or [..., n, ...] along `dim`.
    """
    array = data_sized(input, "unique_consecutive()", "compare x[1:] with x[:-1]")
    rows = array.reshape(-1, 1) if dim is None else np.moveaxis(array, axis_of(input, dim), 0)
    flat = rows.reshape(len(rows), math.prod(rows.shape[1:]))
    first = np.ones(len(rows), bool)
    first[1:] = (flat[1:] != flat[:-1]).any(1)
    places = np.flatnonzero(first)
    counts = np.diff(np.append(places, len(rows)))
    inverse = np.cumsum(first) - 1
    if dim is None:
        values, inverse = array.reshape(-1)[places], inverse.reshape(array.shape)
    else:
        values = np.moveaxis(rows[places], 0, axis_of(input, dim))
    return _unique_results(input, values, inverse, counts, return_inverse, return_counts)


@public(method=True)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each number from 0 occurs in a vector, or the sum of its weights.

    [N] -> [max(largest + 1, minlength)].
    """
    fix = "use zeros(n).index_add(0, x, weights) with a fixed n"
    if input.dtype.is_floating_point or input.dtype is bool_:
        raise DTypeNotImplemented(f"bincount is of whole numbers, got {input.spec}")
    if len(input.spec.shape) != 1 or minlength < 0:
        raise ShapeMismatch(f"bincount() needs a vector of integers, got {input.spec}")
    array = data_sized(input, "bincount()", fix)
    if array.size and array.min() < 0:
        raise ShapeMismatch("bincount() needs a vector of non-negative integers")
    if weights is None:
        return _made(np.bincount(array.astype(np.int64), minlength=minlength), input)
    if weights.spec.shape != input.spec.shape:
        raise ShapeMismatch(f"bincount(): weights {weights.spec} do not fit {input.spec}")
    total = np.bincount(array.astype(np.int64), weights.host(), minlength)
    return _made(total, input, f32 if weights.dtype is f32 else f64)
