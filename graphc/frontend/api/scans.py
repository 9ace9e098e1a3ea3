"""Scans along a dimension, in one of two ways.

By doubling strides: log2(n) steps join what has been scanned so far with itself, shifted by 1, 2, 4
and so on. In a trace, most by blocks: in each, element k is a reduction of those up to it, behind
what a scan of the blocks' totals says of the blocks before. That is two launches a level of `BLOCK`
elements, and one or two more, where doubling takes two a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from graphc import return_types
from graphc.frontend import autograd
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic, shapes
from graphc.frontend.api import reductions as R
from graphc.frontend.api import special as functions
from graphc.frontend.api.formats import row_by_row
from graphc.frontend.api.shapes import slice_along
from graphc.frontend.dims import axis_of
from graphc.frontend.modes import modes
from graphc.frontend.operands import floating
from graphc.frontend.registry import pointwise, public
from graphc.frontend.tape import with_rule
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import DType, TensorSpec, bf16, bool_, f16, f32, f64, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["cummax", "cummin", "cumprod", "cumsum", "logcumsumexp"]

Join = Callable[["Tensor", "Tensor"], "Tensor"]
BLOCK = 32  # elements whose reductions run side by side, each over all of them
SHORT = 64  # elements that are one block, though that is more work
# Of which a CPU computes the more exponentials in longer than it goes through memory.
ON_GPUS = (functions.logaddexp,)
Gradient = Callable[["Tensor", "Tensor", "Tensor", int], "Tensor"]


@cache
def _reductions() -> dict[Join, tuple[Callable[..., Any], float]]:
    """By what joins, the reduction, and that of nothing."""
    return {E.add: (R.sum, 0), E.mul: (R.prod, 1), functions.logaddexp: (R.logsumexp, -math.inf)}


def _scan(x: Tensor, axis: int, join: Join, dtype: DType | None = None) -> Tensor:
    """Along `axis`: out[k] = join(... join(x[0], x[1]) ..., x[k]), rounded to `dtype`."""
    dtype = dtype or x.dtype
    blocks = join in _reductions() and not (x.is_cpu and join in ON_GPUS)
    if modes.trace is not None and x.spec.shape and blocks:
        return row_by_row(_by_blocks(x, axis, join, dtype))
    return P.cast(_doubled(x, axis, join), dtype)


def _doubled(x: Tensor, axis: int, join: Join) -> Tensor:
    n = x.spec.shape[axis] if x.spec.shape else 1
    y, step = x, 1
    while step < n:
        joined = join(slice_along(y, axis, 0, n - step), slice_along(y, axis, step, n))
        y = shapes.cat([slice_along(y, axis, 0, step), joined], axis)
        step *= 2
    return row_by_row(y if y is not x else x.clone())


def _by_blocks(x: Tensor, axis: int, join: Join, dtype: DType, before: bool = False) -> Tensor:
    """The scan; `before`: of what lies in front of each element."""
    n = x.spec.shape[axis]
    if n <= SHORT:
        return P.cast(_within(x, axis, join, before), dtype)
    block = _block(n)
    count = -(-n // block)
    high = tuple(count * block - n if k == axis else 0 for k in range(len(x.spec.shape)))
    padded = P.pad(x, (0,) * len(high), high) if high[axis] != 0 else x
    shape = padded.spec.shape
    blocks = P.reshape(padded, (*shape[:axis], count, block, *shape[axis + 1 :]))
    totals = _reductions()[join][0](blocks, axis + 1)
    starts = _by_blocks(totals, axis, join, x.dtype, before=True)
    joined = join(shapes.unsqueeze(starts, axis + 1), _within(blocks, axis + 1, join, before))
    whole = P.reshape(P.cast(joined, dtype), shape)  # rounded by the kernel that joins
    return shapes.slice_along(whole, axis, 0, n) if padded is not x else whole


def _block(n: Any) -> int:
    """Elements of a block: as many as leave no part of one, if there is such a number."""
    whole = [k for k in range(BLOCK, BLOCK // 2, -1) if n % k == 0] if isinstance(n, int) else []
    return whole[0] if whole else BLOCK


def _within(x: Tensor, axis: int, join: Join, before: bool) -> Tensor:
    """Each element's reduction over those up to it, or `before` it."""
    reduce, nothing = _reductions()[join]
    n, rest = x.spec.shape[axis], len(x.spec.shape) - axis - 1
    at = [x.emit(OPS["iota"], shape=(n, n, *(1,) * rest), axis=k, dtype=i64.name) for k in (0, 1)]
    taken = logic.gt(*at) if before else logic.ge(*at)
    found: Tensor = reduce(E.where(taken, shapes.unsqueeze(x, axis), nothing), axis + 1)
    return found


def _backwards(x: Tensor, axis: int, join: Join) -> Tensor:
    """The scan from the end."""
    return P.flip(_scan(P.flip(x, (axis,)), axis, join), (axis,))


def _ruled(name: str, x: Tensor, axis: int, join: Join, gradient: Gradient) -> Tensor:
    """A scan with a gradient of its own; where that is to have one in turn, that of the joins."""
    if not x.spec.shape or x.spec.shape[axis] < 2:
        return _scan(x, axis, join)

    def rule(g: Tensor, z: Any, x: Tensor) -> Any:
        if modes.grad:
            return autograd.grad(_doubled(x, axis, join), x, g, create_graph=True)
        return (gradient(g, z(), x, axis),)

    return with_rule(name, lambda x: _scan(x, axis, join), rule, x)


def _accumulated(
    x: Tensor, dim: int, dtype: DType | None, join: Join, gradient: Gradient | None = None
) -> Tensor:
    """A scan in a wider type than its result's, as sums and products that go on so long need."""
    x = R.accumulator(x, dtype)
    wide = {f32: f64, f16: f32, bf16: f32}.get(x.dtype, x.dtype)
    scanned, axis = P.cast(x, wide), axis_of(x, dim)
    if gradient is None:
        return _scan(scanned, axis, join, x.dtype)
    return P.cast(_ruled("cumprod", scanned, axis, join, gradient), x.dtype)


@pointwise
def cumsum(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running sums; of integers in i64. The shape stays."""
    return row_by_row(_accumulated(input, dim, dtype, E.add))


@pointwise
def cumprod(input: Tensor, dim: int, *, dtype: DType | None = None) -> Tensor:
    """Running products; of integers in i64. The gradient is exact with zeros.

    The shape stays.
    """

    def gradient(g: Tensor, z: Tensor, x: Tensor, axis: int) -> Tensor:
        """Before the first zero, sums of g z over what is left of x; at it, those of g and of the
        products without it, up to the next zero; behind it, 0."""
        zeros = _scan(P.cast(logic.eq(x, 0), i64), axis, E.add)
        free, one = logic.eq(zeros, 0), logic.eq(zeros, 1)
        before = _backwards(E.where(free, g * z, 0.0), axis, E.add) / x
        between = logic.logical_and(one, logic.ne(x, 0))
        products = _scan(E.where(between, x, 1.0), axis, E.mul)
        at = R.sum(E.where(one, g, 0.0) * products, axis, True)
        at = at * R.prod(E.where(free, x, 1.0), axis, True)
        first = logic.logical_and(one, logic.eq(x, 0))
        return E.where(free, before, E.where(first, at, 0.0))

    return _accumulated(input, dim, dtype, E.mul, gradient)


@public(method=True, out=True)
def logcumsumexp(input: Tensor, dim: int) -> Tensor:
    """log(cumsum(exp(x))) without overflow. The shape stays."""

    def gradient(g: Tensor, z: Tensor, x: Tensor, axis: int) -> Tensor:
        """exp(x) times sums of g / exp(z), in logarithms, those of either sign by themselves."""
        low = float(np.finfo(x.dtype.numpy).min)
        parts = []
        for part in (g, -g):
            size = E.where(logic.gt(part, 0), E.log(part), low)
            parts.append(E.exp(_backwards(size - z, axis, functions.logaddexp) + x))
        return parts[0] - parts[1]

    x = floating(input, "logcumsumexp")
    wide = P.cast(x, f32) if x.dtype.is_half else x
    found = _ruled("logcumsumexp", wide, axis_of(input, dim), functions.logaddexp, gradient)
    return P.cast(found, x.dtype)


def _running_extreme(x: Tensor, dim: int, name: str) -> tuple[Tensor, Tensor]:
    """The extreme so far and where it stands: the last of equal ones, and NaN once one is met."""
    axis = axis_of(x, dim)
    if not x.spec.shape:
        return x.clone(), x.full(0, TensorSpec(i64, ()))
    plain = x.detach()
    plain = P.cast(plain, i64) if x.dtype is bool_ else plain
    n, step = x.spec.shape[axis], 1
    place = x.emit(OPS["iota"], shape=x.spec.shape, axis=axis, dtype=i64.name)
    while step < n:
        old, new = (slice_along(place, axis, a, n - step + a) for a in (0, step))
        before, now = (plain.emit(OPS["take_along"], plain, i, axis=axis) for i in (old, new))
        wins = logic.ge(now, before) if name == "cummax" else logic.le(now, before)
        wins = logic.logical_or(wins, logic.isnan(now))
        joined = E.where(wins, new, old)
        place = shapes.cat([slice_along(place, axis, 0, step), joined], axis)
        step *= 2
    return x.emit(OPS["take_along"], x, place, axis=axis), place


@public(method=True, out=True)
def cummax(input: Tensor, dim: int) -> return_types.cummax:
    """The largest so far along `dim`, and its index. Both have its shape."""
    return return_types.cummax(*_running_extreme(input, dim, "cummax"))


@public(method=True, out=True)
def cummin(input: Tensor, dim: int) -> return_types.cummin:
    """The smallest so far along `dim`, and its index. Both have its shape."""
    return return_types.cummin(*_running_extreme(input, dim, "cummin"))
