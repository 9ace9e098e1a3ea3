"""Faster ways through NumPy for single ops, with the same bits but where few terms add up."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from graphc.frontend.eager.compiled import copied
from graphc.frontend.eager.sums import wide
from graphc.ir.meaning import indexing, reductions
from graphc.ir.types import Array, Shape

MANY = 4096  # elements from which on a way with more NumPy calls, each faster, pays
SHORT = 16  # NumPy's inner loop runs over the last axis; up to here Python does better
BLOCK = 256  # bytes side by side up to which a copy takes them as one element

# ---- elementwise ---------------------------------------------------------------------------------


def where(condition: Array, x: Array, y: Array) -> Array:
    """x where the condition holds, else y.

    Done on the bits of large arrays: NumPy branches on every element, and on conditions without a
    pattern the processor guesses half of them wrong, which takes ten times as long."""
    if condition.size < MANY or x.dtype.itemsize > 8:
        return np.where(condition, x, y)
    bits = np.dtype(f"i{x.dtype.itemsize}")
    hold, a, b = condition.view(np.int8), x.view(bits), y.view(bits)
    out: Array
    if b.ndim == 0 and not b:
        out = np.multiply(a, hold)
    elif a.ndim == 0 and not a:
        out = np.multiply(b, 1 - hold)
    else:
        out = np.negative(hold, dtype=bits)
        out &= a ^ b
        out ^= b
    return out.view(x.dtype)


def relu(x: Array) -> Array:
    """max(x, 0) that keeps NaN and -0."""
    return where(x < 0, np.zeros((), x.dtype), x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow: one division, and a choice without branches."""
    e = np.exp(-np.abs(x))
    above = where(np.asarray(x >= 0), np.ones((), e.dtype), e)
    e += 1
    return np.asarray(above / e, x.dtype)


# ---- views ---------------------------------------------------------------------------------------


def expand(x: Array, *, shape: Shape) -> Array:
    """A view with strides of 0, writable if x is."""
    strides = tuple([s if n == m else 0 for s, n, m in zip(x.strides, x.shape, shape, strict=True)])
    return _seen(x, shape, strides)


def unfold(x: Array, *, axis: int, size: int, step: int, dilation: int) -> Array:
    """Windows along `axis`: out[.., o, .., k] = x[.., o * step + k * dilation, ..]."""
    count = (x.shape[axis] - (size - 1) * dilation - 1) // step + 1
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    s = x.strides
    strides = (*s[:axis], s[axis] * step, *s[axis + 1 :], s[axis] * dilation)
    return _seen(x, shape, strides)


def diagonal(x: Array) -> Array:
    """A view, which NumPy's own is not allowed to write through."""
    return _seen(x, x.shape[:-1], (*x.strides[:-2], x.strides[-2] + x.strides[-1]))


def _seen(x: Array, shape: Shape, strides: Shape) -> Array:
    """A view of these bytes, made in a tenth of the time where they have no gaps."""
    if x.flags.c_contiguous and x.size and x.dtype.isbuiltin == 1:
        return np.ndarray(shape, x.dtype, x, 0, strides)
    return np.lib.stride_tricks.as_strided(x, shape, strides)


# ---- movement ------------------------------------------------------------------------------------


def row_major(x: Array) -> Array:
    """x in row-major order. What lies side by side of its last axes, as a head's numbers do, is
    copied as one element; else it goes element by element of the last axes if those are short."""
    if x.flags.c_contiguous:
        return x
    if x.size < MANY:
        return np.ascontiguousarray(x)
    first, side = _side_by_side(x)
    if x.itemsize < side <= BLOCK:
        blocks = x.reshape(*x.shape[:first], -1).view(np.dtype((np.void, side)))
        return np.ascontiguousarray(blocks).view(x.dtype).reshape(x.shape)
    if side > BLOCK or x.shape[-1] > SHORT:
        return np.ascontiguousarray(x)
    out = np.empty(x.shape, x.dtype)
    for at in _short_places(x.shape):
        out[at] = x[at]
    return out


def contiguous(x: Array, *, order: Shape = ()) -> Array:
    """A copy in row-major order."""
    out = by_rows(x)
    return out.copy() if out is x else out


def by_rows(x: Array) -> Array:
    """`row_major` of an operation, which may run compiled code."""
    made = copied(x)
    return row_major(x) if made is None else made


def owned(x: Array, operands: Sequence[Any]) -> Array:
    """x in row-major order, and in memory that none of `operands` has."""
    shows = x.base is not None or any(x is a for a in operands)
    return contiguous(x) if shows else row_major(x)


def _side_by_side(x: Array) -> tuple[int, int]:
    """The first of the last axes that lie row by row, and how many bytes these are."""
    first, side = x.ndim, x.itemsize
    while first and (x.strides[first - 1] == side or x.shape[first - 1] == 1):
        first -= 1
        side *= x.shape[first]
    return first, side


def _short_places(shape: Shape) -> list[tuple[Any, ...]]:
    """The places along as many last axes as have SHORT elements together."""
    first = len(shape)
    while first and prod(shape[first - 1 :]) <= SHORT:
        first -= 1
    return [(..., *at) for at in np.ndindex(*shape[first:])]


def fold(x: Array, *, axis: int, length: int, step: int, dilation: int) -> Array:
    """The adjoint of unfold: overlapping windows add up in order of k."""
    shape = x.shape[:-1]
    if x.shape[-1] == step and dilation == 1 and length == shape[axis] * step:  # side by side
        side = np.moveaxis(x, -1, axis + 1)
        out = side.copy() if side.flags.c_contiguous else row_major(side)
        return out.reshape(*shape[:axis], length, *shape[axis + 1 :])
    out = np.zeros((*shape[:axis], length, *shape[axis + 1 :]), x.dtype)
    for k in range(x.shape[-1]):
        first = k * dilation
        at = slice(first, first + (shape[axis] - 1) * step + 1, step)
        into, part = out[(slice(None),) * axis + (at,)], x[..., k]
        for behind in _short_places(shape[axis + 1 :]) if shape[axis] else ():
            into[behind] += part[behind]
    return out


# ---- reduce --------------------------------------------------------------------------------------


def argmax(x: Array, *, axis: int) -> Array:
    """The first place of the largest element; NaN is larger than all."""
    place = _argmax_of_short(x, axis)
    return reductions.argmax(x, axis=axis) if place is None else place


def _argmax_of_short(x: Array, axis: int) -> Array | None:
    """argmax of many short rows without NaN, an element of all rows at a time; else None."""
    if x.size < MANY or x.shape[axis] > SHORT:
        return None
    best, *rest = (np.asarray(row, order="C") for row in np.moveaxis(x, axis, 0))
    place = np.zeros(best.shape, np.int8)
    for k, row in enumerate(rest, 1):
        np.maximum(place, np.int8(k) * (row > best).view(np.int8), out=place)
        best = np.maximum(best, row)
    return None if (best != best).any() else place.astype(np.int64)


def argmax_last_nan(x: Array, *, axis: int) -> Array:
    """argmax, but of several NaN the last: what max pooling chooses."""
    place = _argmax_of_short(x, axis)
    if place is not None:
        return place
    plain = reductions.argmax_last_nan if (x != x).any() else reductions.argmax
    return plain(x, axis=axis)


# ---- index ---------------------------------------------------------------------------------------


def _flat(index: Array, axis: int, shape: Shape) -> Array | None:
    """Positions in the flat array of one place in each row of a large one; else None."""
    rows = (*shape[:-1], 1)
    if axis != len(shape) - 1 or index.shape != rows or index.size < MANY:
        return None
    if index.min() < 0 or index.max() >= shape[-1]:
        return None
    return np.arange(0, prod(shape), shape[-1]).reshape(rows) + index


def take_along(x: Array, index: Array, *, axis: int) -> Array:
    at = _flat(index, axis, x.shape)
    return indexing.take_along(x, index, axis=axis) if at is None else np.take(x, at)


def _rows_in_order(x: Array, index: Array, axis: int, length: int) -> Array | None:
    """The sums of many long rows, those of one place side by side; else None. `np.add.at` takes ten
    times as long, and adds in the same order."""
    row = x.shape[index.ndim :]
    if axis or not index.size or x.size < MANY or prod(row) < SHORT:
        return None
    if index.min() < 0 or index.max() >= length:
        return None
    order = np.argsort(index, axis=None, kind="stable")
    places = index.ravel()[order]
    first = np.flatnonzero(np.diff(places, prepend=-1))
    rows = x.reshape(index.size, *row)[order]
    out = np.zeros((length, *row), x.dtype)
    out[places[first]] = np.add.reduceat(rows, first, 0, wide(x, index.size)) + 0  # no -0
    return out


def _by_turns(x: Array, index: Array, axis: int, length: int) -> Array | None:
    """The sums where each place gets few terms, as in what is resized: the first term of all places
    at a time, then the second; else None. In order, as `np.add.at` adds, in a twentieth of the time
    where places do not stand first."""
    if index.ndim != 1 or not index.size or x.size < MANY:
        return None
    if index.min() < 0 or index.max() >= length:
        return None
    counts = np.bincount(index, minlength=length)
    most = int(counts.max())
    if most > SHORT:
        return None
    order = np.argsort(index, kind="stable")
    places = index[order]
    turn = np.arange(index.size) - (np.cumsum(counts) - counts)[places]
    before = (slice(None),) * axis
    out = np.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]), wide(x, most))
    for k in range(most):
        now = turn == k
        out[(*before, places[now])] += x[(*before, order[now])]
    return out.astype(x.dtype, copy=False)


def _by_counts(x: Array, index: Array, axis: int, length: int) -> Array | None:
    """The sums of float32 where rows are few or short, each element in a count of its own; else
    None. `np.bincount` adds doubles in order, as `np.add.at` does, in a tenth of the time."""
    if axis or x.dtype != np.float32 or wide(x, index.size) is not np.float64:
        return None
    if not x.size or index.min() < 0 or index.max() >= length:
        return None
    shape = x.shape[index.ndim :]
    row = prod(shape)
    place = (index.reshape(-1, 1) * row + np.arange(row)).reshape(-1)
    sums = np.bincount(place, x.reshape(-1), length * row)
    return sums.astype(x.dtype).reshape(length, *shape)


WAYS = (_rows_in_order, _by_turns, _by_counts)


def scatter_add(x: Array, index: Array, *, axis: int, length: int) -> Array:
    """Few terms need no wide sums."""
    for way in WAYS:
        if (out := way(x, index, axis, length)) is not None:
            return out
    out = indexing.add_rows(x, index, axis, length, wide(x, index.size))
    return out.astype(x.dtype, copy=False)


def put_along(x: Array, index: Array, *, axis: int, length: int) -> Array:
    shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
    at = _flat(index, axis, shape)
    if at is None:
        out = indexing.add_along(x, index, axis, length, wide(x, index.shape[axis]))
        return out.astype(x.dtype, copy=False)
    out = np.zeros(shape, x.dtype)
    out.reshape(-1)[at.reshape(-1)] = x.reshape(-1)  # no place twice
    return out
