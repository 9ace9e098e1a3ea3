"""Reading and writing along one dimension by numbers: gather, scatter, index_* and take.

Numbers are checked when they are used; of equal ones the last write stays.
"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc.errors import (
    DTypeMismatch,
    InvalidIndex,
    InvalidState,
    InvalidType,
    ShapeMismatch,
)
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic, scans, shapes, slopes, ternary
from graphc.frontend.api.formats import row_by_row
from graphc.frontend.dims import axis_at, axis_of, broadcast_shapes
from graphc.frontend.hostvalue import is_surely
from graphc.frontend.operands import broadcast_to, is_tensor, numeric
from graphc.frontend.promotion import held, is_number, wrap
from graphc.frontend.registry import pointwise, public
from graphc.frontend.tape import stepwise
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import Scalar, TensorSpec, bool_, i32, i64, u8

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_reduce",
    "index_select",
    "masked_scatter",
    "put",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "select_scatter",
    "slice_scatter",
    "take",
    "take_along_dim",
]

# ---- numbers -----------------------------------------------------------------------------------


def checked(index: Tensor, bound: int, what: str, negative: bool = True) -> Tensor:
    """`index` with negatives wrapped (if allowed) after a run-time check against `bound`."""
    if negative:
        below = index.emit(OPS["lt"], index, 0)
        index = index.emit(OPS["where"], below, index.emit(OPS["add"], index, bound), index)
    return index.emit(OPS["check_index"], index, bound=bound, what=what)


def _along(
    x: Tensor, dim: int, index: Tensor, name: str, negative: bool = False
) -> tuple[int, Tensor]:
    """The axis, and numbers of as many dimensions as x, within bounds."""
    if index.dtype not in (i64, i32, u8):
        raise DTypeMismatch(f"{name}: index must be an integer tensor, got {index.spec}")
    axis = axis_of(x, dim)
    if len(index.spec.shape) != len(x.spec.shape):
        raise ShapeMismatch(f"{name}: index {index.spec} and {x.spec} differ in dimensions")
    fits = all(k == axis or m <= n for k, (n, m) in enumerate(zip(x.spec.shape, index.spec.shape)))
    if not fits and index.numel():
        raise ShapeMismatch(f"{name}: index {index.spec} exceeds {x.spec} beside dimension {dim}")
    return axis, _within(index, x.spec.shape[axis], name, negative)


def _nowhere(index: Any) -> bool:
    """Whether an index names no place at all; then its dimensions need not be those of others."""
    return is_tensor(index) and index.numel() == 0


def _within(index: Tensor, bound: int, name: str, negative: bool = False) -> Tensor:
    """Most functions do not wrap negatives."""
    return checked(index, bound, name, negative)


def _numbers(
    x: Tensor, dim: int, index: Tensor, name: str, negative: bool = False
) -> tuple[int, Tensor]:
    """The axis, and a vector of numbers along it."""
    axis = axis_of(x, dim)
    if not is_tensor(index):
        raise InvalidType(f"{name}: index must be a tensor, got {type(index).__name__}")
    if index.dtype not in (i64, i32):
        raise DTypeMismatch(f"{name}: index must be an integer tensor, got {index.spec}")
    if len(index.spec.shape) > 1:
        raise InvalidIndex(f"{name}: index must be a vector, got {index.spec}")
    number = _within(index, shapes.size_along(x, axis), name, negative)
    return axis, P.reshape(number, (index.numel(),))


def _same_dtype(x: Tensor, src: Tensor, name: str) -> None:
    if src.dtype is not x.dtype:
        raise DTypeMismatch(f"{name}: {x.spec} and source {src.spec} differ in dtype")


# ---- along a dimension, element by element -----------------------------------------------------


@public(method=True, out=True)
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """out[i][j] = input[index[i][j]][j] for dim 0, and so on."""
    if not input.spec.shape and not _nowhere(index):
        return P.reshape(_as_vectors(gather, input, dim, index), index.spec.shape)
    return _gathered(input, dim, index, "gather", False)


def _gathered(x: Tensor, dim: int, index: Tensor, name: str, negative: bool) -> Tensor:
    if _nowhere(index):
        axis_of(x, dim)
        return stepwise(x.full(0, TensorSpec(x.dtype, index.spec.shape)), x)
    axis, index = _along(x, dim, index, name, negative)
    return x.emit(OPS["take_along"], x, index, axis=axis)


@public(method=True, out=True)
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with the other dimensions broadcast and negative numbers counted from the end;
    without `dim`, of the flat tensor, where PyTorch takes no negative ones.

    index of input's rank -> index's shape.
    """
    if dim is None:
        return gather(shapes.ravel(input), 0, shapes.ravel(indices))
    axis = axis_of(input, dim)
    a, b = list(input.spec.shape), list(indices.spec.shape)
    if len(a) != len(b):
        raise ShapeMismatch(
            f"take_along_dim: {input.spec} and indices {indices.spec} differ in dimensions"
        )
    if not a:
        raise InvalidIndex("take_along_dim: a 0-d tensor has no dimension to take along")
    a[axis] = b[axis] = 1
    common = broadcast_shapes(a, b)
    xs = tuple(input.spec.shape[k] if k == axis else n for k, n in enumerate(common))
    ys = tuple(indices.spec.shape[k] if k == axis else n for k, n in enumerate(common))
    return _gathered(
        broadcast_to(input, xs), axis, broadcast_to(indices, ys), "take_along_dim", True
    )


def _cut(src: Tensor, index: Tensor, name: str) -> Tensor:
    if len(src.spec.shape) != len(index.spec.shape) or any(
        n > m for n, m in zip(index.spec.shape, src.spec.shape, strict=True)
    ):
        raise ShapeMismatch(f"{name}: index {index.spec} exceeds the source {src.spec}")
    return P.slice(src, (0,) * len(index.spec.shape), index.spec.shape)


@pointwise
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """input plus src[i][j] at [index[i][j]][j] for dim 0, each time an index appears.

    index and src of one rank with input, whose shape stays.
    """
    _same_dtype(input, src, "scatter_add")
    if not input.spec.shape:
        return _as_vectors(scatter_add, input, dim, index, src)
    if _nowhere(index):
        axis_of(input, dim)
        return stepwise(input.clone(), src)
    axis, index = _along(input, dim, index, "scatter_add")
    src = _cut(src, index, "scatter_add")
    return E.add(input, P.put_along(src, index, axis, input.spec.shape))


def _as_vectors(function: Any, x: Tensor, dim: int, *others: Any, **options: Any) -> Tensor:
    """A function along dimension 0 of 0-d tensors."""
    axis_of(x, dim)
    lifted = [shapes.reshape(y, 1) if hasattr(y, "spec") else y for y in others]
    out: Tensor = P.reshape(function(P.reshape(x, (1,)), 0, *lifted, **options), ())
    return out


@pointwise
def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Any:
    """input with `src` (a tensor or number) at the places `gather` reads; `reduce` is "add" or
    "multiply" to join it with what is there.

    index and src of one rank with input, whose shape stays.
    """
    if not input.spec.shape:
        return _as_vectors(scatter, input, dim, index, src, value=value, reduce=reduce)
    if (src is None) == (value is None):
        raise InvalidType("scatter: either src or value must be given")
    src = value if src is None else src
    if is_number(src):
        src = input.full(held(src, input.dtype), TensorSpec(input.dtype, index.spec.shape))
    _same_dtype(input, src, "scatter")
    match reduce:
        case None:
            return _last_scattered(input, dim, index, src)
        case "add":
            return scatter_add(input, dim, index, src)
        case "multiply":
            return scatter_reduce(input, dim, index, src, "prod")
    raise InvalidState(f"scatter: reduce must be 'add' or 'multiply', got {reduce!r}")


def _last_scattered(x: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    if _nowhere(index):
        axis_of(x, dim)
        return stepwise(x.clone(), src)
    axis, index = _along(x, dim, index, "scatter")
    src = _cut(src, index, "scatter")
    winner = index.emit(OPS["last_along"], index, axis=axis, shape=x.spec.shape)
    hit = winner.emit(OPS["le"], 0, winner)
    high = tuple(0 if k == axis else n - src.spec.shape[k] for k, n in enumerate(x.spec.shape))
    chosen = winner.emit(OPS["maximum"], winner, 0)
    src = P.pad(src, (0,) * len(high), high)
    return x.emit(OPS["where"], hit, src.emit(OPS["take_along"], src, chosen, axis=axis), x)


REDUCTIONS = {"amax": "maximum", "amin": "minimum", "prod": "multiply"}  # torch's name, NumPy's


def _identity(x: Tensor, mode: str) -> Scalar:
    """What leaves `mode` unchanged."""
    if mode in ("prod", "sum", "mean"):
        return 1 if mode == "prod" else 0
    sign = 1 if mode == "amin" else -1
    if x.dtype.is_floating_point:
        return sign * math.inf
    if x.dtype is bool_:
        return mode == "amin"
    limits = np.iinfo(x.dtype.numpy)
    return int(limits.max if mode == "amin" else limits.min)


@public(method=True, inplace=True)
def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """input with all of `src` that has a place folded into it: "sum", "prod", "mean", "amax" or
    "amin"; without `include_self` what stood there is replaced.

    index and src of one rank with input, whose shape stays.
    """
    if reduce not in ("sum", "mean", *REDUCTIONS):
        raise InvalidState(
            f"scatter_reduce: reduce must be sum, prod, mean, amax or amin, got {reduce!r}"
        )
    _same_dtype(input, src, "scatter_reduce")
    if not input.spec.shape:
        return _as_vectors(
            scatter_reduce, input, dim, index, src, reduce, include_self=include_self
        )
    axis, index = _along(input, dim, index, "scatter_reduce")
    src, shape = _cut(src, index, "scatter_reduce"), input.spec.shape
    ones = index.full(1, TensorSpec(i64, index.spec.shape))
    hits = P.put_along(ones, index, axis, shape)
    start = input
    if not include_self:
        start = P.where(logic.eq(hits, 0), input, wrap(_identity(input, reduce), input.dtype))
    if reduce in REDUCTIONS:
        how: Any = {"axis": axis, "mode": REDUCTIONS[reduce]}
        if include_self or reduce == "prod":
            return start.emit(OPS["scatter_reduce"], start, src, index, **how)
        stays = logic.eq(hits, 0)
        return slopes.extremes_of_source(input, src, index, stays, start.detach(), how)
    total = E.add(start, P.put_along(src, index, axis, shape))
    if reduce == "sum":
        return total
    count = ternary.clamp(hits + 1 if include_self else hits, min=1)
    whole = None if input.dtype.is_floating_point else "floor"
    return P.cast(E.div(total, count, rounding_mode=whole), input.dtype)


# ---- along a dimension, slice by slice ---------------------------------------------------------


@public(method=True, out=True)
def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """Slices of `input` along `dim` by number. [..., N, ...], index [K] -> [..., K, ...]."""
    axis, number = _numbers(input, dim, index, "index_select")
    if not input.spec.shape:
        return _as_vectors(index_select, input, dim, number)
    return input.emit(OPS["gather"], input, number, axis=axis)


def _slices(
    x: Tensor, dim: int, index: Tensor, source: Tensor, name: str, error: Any = ShapeMismatch
) -> tuple[int, Any, Any]:
    """The axis, numbers, and as many slices of x's shape."""
    _same_dtype(x, source, name)
    axis, number = _numbers(x, dim, index, name)
    shape = tuple(number.numel() if k == axis else n for k, n in enumerate(x.spec.shape))
    if not source.spec.shape and number.numel() == 1 and len(shape) <= 1:
        source = P.reshape(source, shape)
    if source.spec.shape != shape:
        raise error(f"{name}: source {source.spec} is not {number.numel()} slices of {x.spec}")
    return axis, number, source


@pointwise
def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Scalar = 1
) -> Tensor:
    """input plus alpha * source[k] at slice index[k], each time an index appears."""
    if not input.spec.shape:
        return _as_vectors(index_add, input, dim, index, source, alpha=alpha)
    axis, number, source = _slices(input, dim, index, source, "index_add")
    rows = source if is_surely(alpha, 1) else P.cast(source * alpha, input.dtype)
    length = input.spec.shape[axis]
    total = rows.emit(OPS["scatter_add"], rows, number, axis=axis, length=length)
    return row_by_row(E.add(input, total))


@pointwise
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """input with slice index[k] replaced by source[k]; the last of equal indices wins."""
    if not input.spec.shape:
        return _as_vectors(index_copy, input, dim, index, source)
    axis, number, source = _slices(input, dim, index, source, "index_copy", InvalidIndex)
    there = (axis, 0)
    moved = replace_rows(shapes.movedim(input, *there), number, shapes.movedim(source, *there))
    return shapes.movedim(moved, 0, axis).contiguous()


@public(method=True, inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """input with the slices chosen filled with a number or 0-d tensor.

    index [K]; the shape of input stays.
    """
    if not is_number(value) and value.spec.shape:
        raise ShapeMismatch(f"index_fill: the value must be a number or 0-d, got {value.spec}")
    if len(index.spec.shape) > 1:
        raise ShapeMismatch(f"index_fill: index must be a vector, got {index.spec}")
    if not input.spec.shape:
        return _as_vectors(partial(index_fill, value=value), input, dim, index)
    axis, number = _numbers(input, dim, index, "index_fill", negative=True)
    ones, n = number.full(1, TensorSpec(i64, number.spec.shape)), input.spec.shape[axis]
    hits = logic.ne(ones.emit(OPS["scatter_add"], ones, number, axis=0, length=n), 0)
    wide = tuple(n if k == axis else 1 for k in range(len(input.spec.shape)))
    hit = broadcast_to(P.reshape(hits, wide), input.spec.shape)
    filler = held(value, input.dtype) if is_number(value) else _spread(value, input)
    return input.emit(OPS["where"], hit, filler, input)


def _spread(value: Tensor, like: Tensor) -> Tensor:
    return broadcast_to(P.cast(value, like.dtype), like.spec.shape)


def replace_rows(x: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """x with x[index[i]] = rows[i]; the last of equal indices wins."""
    n = index.numel()
    if n == 0:
        return x
    index = P.reshape(index, (n,))
    rows = P.reshape(rows, (n, *x.spec.shape[1:]))
    size = x.spec.shape[0]
    winner = index.emit(OPS["last_along"], index, axis=0, shape=(size,))
    new = rows.emit(OPS["gather"], rows, winner.emit(OPS["maximum"], winner, 0), axis=0)
    hit = winner.emit(OPS["le"], 0, winner)
    hit = broadcast_to(P.reshape(hit, (size, *(1 for _ in x.spec.shape[1:]))), x.spec.shape)
    return x.emit(OPS["where"], hit, new, x)


# ---- of the flat tensor ------------------------------------------------------------------------


@public(method=True, out=True)
def take(input: Tensor, index: Tensor) -> Tensor:
    """Elements of the flat `input` by number, in the shape of `index`."""
    if index.dtype is not i64:
        raise DTypeMismatch(f"take: index must be an i64 tensor, got {index.spec}")
    flat, n = shapes.ravel(input), input.numel()
    if n == 0 and index.numel():
        raise InvalidIndex(f"take: no element to take from {input.spec}")
    number = P.reshape(checked(index, n, "take"), (index.numel(),))
    return P.reshape(flat.emit(OPS["gather"], flat, number, axis=0), index.spec.shape)


@public(method=True, inplace=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """input with the elements of `source` at flat numbers, or added to what is there.

    index and source of one shape; that of input stays.
    """
    _same_dtype(input, source, "put")
    if index.dtype is not i64:
        raise DTypeMismatch(f"put: index must be an i64 tensor, got {index.spec}")
    if source.numel() != index.numel():
        raise InvalidIndex(f"put: {source.spec} for index {index.spec}")
    flat, n = shapes.ravel(input), index.numel()
    number = P.reshape(checked(index, input.numel(), "put"), (n,))
    rows = P.reshape(source, (n,))
    if accumulate:
        return P.reshape(index_add(flat, 0, number, rows), input.spec.shape)
    new = replace_rows(flat, number, rows)
    return P.reshape(new, input.spec.shape) if n else input.clone()


@public(method=True, inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """input with the elements of `source`, in order, where `mask` is true.

    mask broadcasts with input; their shape.
    """
    _same_dtype(input, source, "masked_scatter")
    if mask.dtype is not bool_:
        raise DTypeMismatch(f"masked_scatter: the mask must be bool, got {mask.spec}")
    x, m = shapes.broadcast_tensors(input, mask)
    flat, count = shapes.ravel(m), source.numel()
    number = E.where(flat, scans.cumsum(P.cast(flat, i64), 0), 0)  # from 1; 0 where it stays
    number = _within(number, count + 1, "masked_scatter: elements of the source")
    rows = P.pad(shapes.ravel(source), (1,), (0,))
    new = rows.emit(OPS["gather"], rows, number, axis=0)
    return P.reshape(E.where(flat, new, shapes.ravel(x)), x.spec.shape)


# ---- one slice ---------------------------------------------------------------------------------


@public(method=True)
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` with `src` at `index` along `dim`.

    src [...] without `dim`; the shape of input stays.
    """
    out = input.clone()
    target = shapes.select(out, dim, index)
    if src.spec.shape != target.spec.shape:
        raise ShapeMismatch(f"select_scatter: {src.spec} is no slice of {input.spec}")
    target.copy_(src)
    return out


@public(method=True)
def slice_scatter(
    input: Tensor,
    src: Tensor,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """A copy of `input` with `src` at start:end:step along `dim`.

    src as the slice; the shape of input stays.
    """
    out, axis = input.clone(), axis_of(input, dim)
    a, b, s = slice(start, end, step).indices(input.spec.shape[axis])
    target = shapes.slice_along(out, axis, a, max(a, b), s)
    if src.spec.shape != target.spec.shape:
        raise ShapeMismatch(f"slice_scatter: {src.spec} is no {target.spec} of {input.spec}")
    target.copy_(src)
    return out


@public(method=True, inplace=True)
def index_reduce(
    input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *,
    include_self: bool = True,
) -> Tensor:  # fmt: skip
    """Slices of `source` joined into those of input at `index` along `dim` by prod, mean, amax or
    amin; include_self: with what stood there.

    index [K], source [..., K, ...]; the shape of input stays.
    """
    numeric(input, "index_reduce")
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise InvalidState(
            f"index_reduce: reduce must be prod, mean, amax or amin, got {reduce!r:.100}"
        )
    rank = max(len(input.spec.shape), 1)
    axis = axis_at(dim, rank)
    if index.dim() > 1 or index.numel() != (source.spec.shape[axis] if source.spec.shape else 1):
        raise ShapeMismatch(f"index_reduce: index {index.spec} and source {source.spec} do not fit")
    if not source.spec.shape:
        return scatter_reduce(input, dim, index.reshape(()), source, reduce,
                              include_self=include_self)  # fmt: skip
    line = P.reshape(index, tuple(index.numel() if k == axis else 1 for k in range(rank)))
    places = broadcast_to(P.cast(line, i64), source.spec.shape)
    return scatter_reduce(input, dim, places, source, reduce, include_self=include_self)
