"""Reductions, and the functions made of them: softmax, norms, variance."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, overload

from graphc import return_types
from graphc.errors import DTypeMismatch, InvalidIndex, ShapeMismatch
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic, slopes
from graphc.frontend.api.formats import row_by_row
from graphc.frontend.api.shapes import ravel
from graphc.frontend.dims import Dims, axes_of, axis_of
from graphc.frontend.hostvalue import HostValue, at_least
from graphc.frontend.operands import as_float, floating, is_tensor, second_operand
from graphc.frontend.registry import public
from graphc.frontend.tape import stepwise
from graphc.frontend.whole import whole as one_list
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Scalar, Shape, TensorSpec, bool_, f32, i64, u8

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "all",
    "amax",
    "amin",
    "aminmax",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "dist",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "norm",
    "prod",
    "softmax",
    "std",
    "std_mean",
    "sum",
    "var",
    "var_mean",
]


def _keep(y: Tensor, axes: Shape, rank: int, keepdim: bool) -> Tensor:
    return P.unsqueeze(y, axes, rank) if keepdim and axes else y


def _reduce(name: str, x: Tensor, axes: Shape, keepdim: bool, **how: bool) -> Tensor:
    y = x.emit(OPS[name], x, axes=axes, **how) if axes else x
    return _keep(y, axes, len(x.spec.shape), keepdim)


def count(x: Tensor, axes: Shape) -> int:
    return math.prod(x.spec.shape[k] for k in axes)


def accumulator(x: Tensor, dtype: DType | None) -> Tensor:
    """sum and prod of integers are 64-bit."""
    return P.cast(x, dtype or (x.dtype if x.dtype.is_floating_point else i64))


@public(method=True, out=True)
def sum(
    input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """Of all elements, or along `dim`; an empty sum is 0.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    y = accumulator(input, dtype)
    out = _reduce("sum", y, axes_of(input, dim), keepdim)
    return out if out is not input else input.clone()


@public(method=True, out=True)
def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product over a dimension, or over all; of integers and bools in int64.

    [...] -> [], or without dimension `dim` (1 with `keepdim`).
    """
    y = accumulator(input, dtype)
    out = _reduce("prod", y, axes_of(input, dim), keepdim)
    return out if out is not input else input.clone()


@public(method=True, out=True)
@one_list("mean", few=True)
def mean(
    input: Tensor, dim: Dims | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The arithmetic mean; NaN of nothing.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    input = floating(input if dtype is None else P.cast(input, dtype), "mean")
    axes = axes_of(input, dim)
    n = count(input, axes)
    total = sum(_wide(input), axes or None, keepdim)
    return P.cast(total / n if n else total * math.nan, input.dtype)


def _wide(x: Tensor) -> Tensor:
    """Half types compute in float32, and round once at the end."""
    return P.cast(x, f32) if x.dtype.is_half else x


def _variance(
    x: Tensor, dim: Any, unbiased: bool, keepdim: bool, correction: Scalar | None
) -> tuple[Tensor, Tensor]:
    """Variance about the mean over n - correction, and the mean, unrounded; two passes."""
    floating(x, "var")
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    less = (1 if unbiased else 0) if correction is None else correction
    axes = axes_of(x, dim)
    n, rank = count(x, axes), len(x.spec.shape)
    m = mean(x, axes or None, keepdim=True)
    d = x - m
    v = P.sum(d * d, axes) / at_least(n - less, 0.0)
    return _keep(v, axes, rank, keepdim), m if keepdim else P.reshape(m, v.spec.shape)


def var_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: Scalar | None = None,
) -> tuple[Tensor, Tensor]:
    """Variance over n - correction (1 where `unbiased`, else 0), and the mean.

    [...] -> two of [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    v, m = _variance(_wide(input), dim, unbiased, keepdim, correction)
    return P.cast(v, input.dtype), P.cast(m, input.dtype)


def std_mean(
    input: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: Scalar | None = None,
) -> tuple[Tensor, Tensor]:
    """`std` and `mean`.

    [...] -> two of [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    v, m = _variance(_wide(input), dim, unbiased, keepdim, correction)
    return P.cast(safe_sqrt(v), input.dtype), P.cast(m, input.dtype)


@public(method=True, out=True)
def var(
    input: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: Scalar | None = None,
) -> Tensor:
    """Variance about the mean.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    return var_mean(input, dim, unbiased, keepdim, correction=correction)[0]


@public(method=True, out=True)
def std(
    input: Tensor,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: Scalar | None = None,
) -> Tensor:
    """The square root of `var`; its gradient at 0 is 0.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    return std_mean(input, dim, unbiased, keepdim, correction=correction)[0]


def safe_sqrt(x: Tensor) -> Tensor:
    """sqrt whose gradient at 0 is 0, not infinite; elsewhere, NaN included, the same."""
    zero = logic.eq(x, 0)
    return E.where(zero, 0.0, E.sqrt(E.where(zero, 1.0, x)))


def _nuclear(x: Any, dim: Dims | None, keepdim: bool, dtype: DType | None) -> Tensor:
    """The sum of the singular values of matrices."""
    axes = axes_of(x, dim)
    if len(axes) != 2:
        raise ShapeMismatch(f"norm: p='nuc' needs two dimensions, got {dim} of {x.spec}")
    x = x if dtype is None else P.cast(x, dtype)
    out: Tensor = x.movedim(axes, (-2, -1)).svd()[1].sum(-1)
    return P.unsqueeze(out, axes, len(x.spec.shape)) if keepdim else out


@public(method=True, out=True)
def norm(
    input: Tensor,
    p: float | str = "fro",
    dim: Dims | None = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """(sum |x|^p)^(1/p); p may be inf, -inf or 0 (the number of nonzeros).

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    if isinstance(p, str) and p == "nuc":
        return _nuclear(input, dim, keepdim, dtype)
    input = floating(input, "norm")
    input = input if dtype is None else P.cast(input, dtype)
    if input.dtype.is_half:
        return P.cast(norm(_wide(input), p, dim, keepdim), input.dtype)
    axes = axes_of(input, dim)
    order: Any = p
    if isinstance(order, HostValue) and 0 not in [input.spec.shape[k] for k in axes]:
        reduce = partial(_reduce, axes=axes, keepdim=keepdim)
        return slopes.norm_of_changing_order(input, order.as_tensor(), axes, keepdim, reduce)
    if p in (2, "fro"):
        return safe_sqrt(_reduce("sum", input * input, axes, keepdim))
    p = float(p)
    if (p < 0 or p == math.inf) and math.prod(input.spec.shape[k] for k in axes) == 0:
        raise ShapeMismatch(f"norm of order {p} of an empty tensor, {input.spec}")
    if abs(p) == math.inf:
        return _reduce("max" if p > 0 else "min", E.abs(input), axes, keepdim, nans=True)
    if p == 0:
        count = _reduce("sum", P.cast(logic.ne(input, 0), input.dtype), axes, keepdim)
        return stepwise(count, input)
    if p == 1:
        return sum(E.abs(input), axes or None, keepdim)
    if p < 1:
        sums = partial(_reduce, "sum", axes=axes, keepdim=keepdim)
        return slopes.norm_below_one(input, p, axes, keepdim, sums)
    total = _reduce("sum", E.pow(E.abs(input), p), axes, keepdim)
    zero = logic.eq(total, 0)
    return E.where(zero, 0.0, E.pow(E.where(zero, 1.0, total), 1 / p))


# ---- extremes ----------------------------------------------------------------------------------


def _nonempty(x: Tensor, what: str) -> None:
    if x.numel() == 0:
        raise ShapeMismatch(f"{what} of an empty tensor, {x.spec}")


def _nonempty_axes(x: Tensor, dim: Dims | None, name: str) -> Shape:
    if dim is None:
        _nonempty(x, f"{name}() without a dim")
    axes = axes_of(x, dim)
    if count(x, axes) == 0:
        raise InvalidIndex(f"{name}(): expected dimensions {axes} of {x.spec} not to be empty")
    return axes


@public(method=True, out=True)
def amax(input: Tensor, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """The largest, NaN if any is; ties share the gradient equally.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    out = _reduce("max", input, _nonempty_axes(input, dim, "amax"), keepdim)
    return out if out is not input else input.clone()


@public(method=True, out=True)
def amin(input: Tensor, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """The smallest over dimensions, or over all; NaN if there is one. Ties share the gradient.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    out = _reduce("min", input, _nonempty_axes(input, dim, "amin"), keepdim)
    return out if out is not input else input.clone()


def _chosen(name: str, x: Tensor, dim: int, keepdim: bool) -> tuple[Tensor, Tensor]:
    """The extreme along `dim` and its first index, which alone gets the gradient."""
    axis = axis_of(x, dim)
    if not x.spec.shape:
        return x.clone(), x.full(0, TensorSpec(i64, ()))
    if x.spec.shape[axis] == 0:
        raise InvalidIndex(f"{name}(): expected dimension {dim} to be of nonzero size, {x.spec}")
    rank = len(x.spec.shape)
    index = x.emit(OPS[f"arg{name}"], x, axis=axis)
    kept = P.unsqueeze(index, (axis,), rank)
    values = x.emit(OPS["take_along"], x, kept, axis=axis)
    if keepdim:
        return values, kept
    return P.reshape(values, index.spec.shape), index


@overload
def max(input: Tensor, dim: None = None) -> Tensor: ...
@overload
def max(input: Tensor, dim: Tensor) -> Tensor: ...
@overload
def max(input: Tensor, *, other: Tensor) -> Tensor: ...
@overload
def max(input: Tensor, dim: int, keepdim: bool = False) -> return_types.max: ...
@public(method=True, out=True, tensors=1)
def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """Of all elements; along `dim` with indices; or, given a tensor, the elementwise maximum."""
    if is_tensor(dim) or other is not None:
        return E.maximum(input, second_operand("max", dim, other))
    if dim is not None:
        return return_types.max(*_chosen("max", input, dim, keepdim))
    return whole("max", input)


@overload
def min(input: Tensor, dim: None = None) -> Tensor: ...
@overload
def min(input: Tensor, dim: Tensor) -> Tensor: ...
@overload
def min(input: Tensor, *, other: Tensor) -> Tensor: ...
@overload
def min(input: Tensor, dim: int, keepdim: bool = False) -> return_types.min: ...
@public(method=True, out=True, tensors=1)
def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest of all; with `dim` a named tuple of values and indices (int64); of two tensors
    `minimum`."""
    if is_tensor(dim) or other is not None:
        return E.minimum(input, second_operand("min", dim, other))
    if dim is not None:
        return return_types.min(*_chosen("min", input, dim, keepdim))
    return whole("min", input)


def whole(name: str, x: Tensor) -> Tensor:
    """The extreme of all elements; equal ones, and NaNs if there are any, share the gradient."""
    _nonempty(x, f"{name}()")
    out = _reduce(name, x, tuple(range(len(x.spec.shape))), False, nans=True)
    return out if out is not x else x.clone()


def _arg(name: str, x: Tensor, dim: int | None, keepdim: bool) -> Tensor:
    if x.dtype is bool_:
        raise DTypeMismatch(f"{name} of a bool tensor")
    if dim is None:
        if x.numel() == 0:
            raise InvalidIndex(f"{name}(): expected a tensor that is not empty, {x.spec}")
        flat = ravel(x)
        out = flat.emit(OPS[name], flat, axis=0)
        return P.reshape(out, (1,) * len(x.spec.shape)) if keepdim else out
    if not x.spec.shape:
        axis_of(x, dim)
        return x.full(0, TensorSpec(i64, ()))
    axis = axis_of(x, dim)
    if x.spec.shape[axis] == 0:
        raise InvalidIndex(f"{name}(): expected dimension {dim} to be of nonzero size, {x.spec}")
    return _keep(x.emit(OPS[name], x, axis=axis), (axis,), len(x.spec.shape), keepdim)


@public(method=True, out=True)
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """Index of the first largest element (the first NaN, if any).

    [...] -> [], or without dimension `dim` (1 with `keepdim`).
    """
    return _arg("argmax", input, dim, keepdim)


@public(method=True, out=True)
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index (int64) of the smallest along a dimension, or of all in row-major order.

    [...] -> [], or without dimension `dim` (1 with `keepdim`).
    """
    return _arg("argmin", input, dim, keepdim)


@public(method=True, out=True)
def aminmax(
    input: Tensor, *, dim: int | None = None, keepdim: bool = False
) -> return_types.aminmax:
    """`amin` and `amax` in one. [...] -> two of [], or without `dim` (1 with `keepdim`)."""
    _nonempty(input, "aminmax()") if dim is None else axis_of(input, dim)
    return return_types.aminmax(amin(input, dim, keepdim), amax(input, dim, keepdim))


@public(method=True, tensors=2)
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of the difference. Shapes that broadcast -> []."""
    return norm(E.sub(input, other), p)


# ---- logic -------------------------------------------------------------------------------------


@public(method=True, out=True)
def any(input: Tensor, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """Whether some element is nonzero; False of nothing.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    total = sum(P.cast(logic.truth(input), i64), dim, keepdim)
    return _like_uint8(input, logic.ne(total, 0))


@public(method=True, out=True)
def all(input: Tensor, dim: Dims | None = None, keepdim: bool = False) -> Tensor:
    """Whether no element is zero; True of nothing.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    total = sum(P.cast(logic.logical_not(input), i64), dim, keepdim)
    return _like_uint8(input, logic.eq(total, 0))


def _like_uint8(x: Tensor, y: Tensor) -> Tensor:
    """any and all of uint8 stay uint8, as in PyTorch."""
    return P.cast(y, u8) if x.dtype is u8 else y


@public(method=True)
def count_nonzero(input: Tensor, dim: Dims | None = None, *dims: int) -> Tensor:
    """How many elements are not zero, in all or along dimensions: a list, or one after another.

    [...] -> [], or without the dimensions.
    """
    if dims:
        dim = (dim, *dims)  # type: ignore[arg-type]  # axes_of says what is no dimension
    return sum(logic.truth(input), dim)


# ---- exponentials ------------------------------------------------------------------------------


def _shift(x: Tensor, axes: Shape) -> Tensor:
    """The maximum, kept and without history: subtracting it changes no result, only overflow."""
    with_history = _reduce("max", x, axes, True)
    return with_history.detach()


@public(method=True, out=True)
def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """log(sum(exp(x))) without overflow; -inf of nothing, and of only -inf.

    [...] -> without the dimensions `dim` (each 1 with `keepdim`).
    """
    input = as_float(input)
    if input.dtype.is_half:
        return P.cast(logsumexp(_wide(input), dim, keepdim), input.dtype)
    axes = axes_of(input, dim)
    if count(input, axes) == 0:
        return E.log(sum(E.exp(input), axes or None, keepdim))
    m = _shift(input, axes)
    m = E.where(logic.isinf(m), 0.0, m)
    out = E.log(sum(E.exp(input - m), axes or None, True)) + m
    kept = tuple(n for k, n in enumerate(out.spec.shape) if k not in axes)
    return out if keepdim else P.reshape(out, kept)


@public(method=True, out="graphc")
def softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """exp(x) over its sum along `dim`, shifted by the maximum. The shape stays."""
    input = floating(input if dtype is None else P.cast(input, dtype), "softmax")
    if input.dtype.is_half:
        return P.cast(softmax(_wide(input), dim), input.dtype)
    axis = axis_of(input, dim)
    axes = (axis,) if input.spec.shape else ()
    if input.numel() == 0:
        return input.clone()
    e = E.exp(input - _shift(input, axes))
    return row_by_row(e / _reduce("sum", e, axes, True))


@public(method=True, out="graphc")
def log_softmax(input: Tensor, dim: int, dtype: DType | None = None) -> Tensor:
    """input minus its logsumexp along `dim`, shifted by the maximum. The shape stays."""
    input = floating(input if dtype is None else P.cast(input, dtype), "log_softmax")
    if input.dtype.is_half:
        return P.cast(log_softmax(_wide(input), dim), input.dtype)
    axis = axis_of(input, dim)
    axes = (axis,) if input.spec.shape else ()
    if input.numel() == 0:
        return input.clone()
    d = input - _shift(input, axes)
    return row_by_row(d - E.log(_reduce("sum", E.exp(d), axes, True)))
