"""Addresses that are data: what is read there, and what is written, in order."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.meaning.reductions import wide
from graphc.ir.types import Array, Shape


def gather(x: Array, index: Array, *, axis: int) -> Array:
    """Rows of x along `axis` by number: index.shape stands in the place of `axis`."""
    return np.asarray(np.take(x, index, axis))


def scatter_add(x: Array, index: Array, *, axis: int, length: int) -> Array:
    """Rows added into zeros at their numbers, in order: the adjoint of gather."""
    return add_rows(x, index, axis, length, wide(x.dtype)).astype(x.dtype, copy=False)


def add_rows(x: Array, index: Array, axis: int, length: int, dtype: Any) -> Array:
    """scatter_add in sums of a NumPy dtype."""
    rows = x.reshape(*x.shape[:axis], index.size, *x.shape[axis + index.ndim :])
    out = np.zeros((*x.shape[:axis], length, *x.shape[axis + index.ndim :]), dtype)
    np.add.at(np.moveaxis(out, axis, 0), index.ravel(), np.moveaxis(rows, axis, 0))
    return out


def along(index: Array, axis: int) -> tuple[Any, ...]:
    """What NumPy is to index with, so that `index` chooses along `axis` alone."""
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[axis] = index
    return tuple(grid)


def take_along(x: Array, index: Array, *, axis: int) -> Array:
    return np.asarray(x[along(index, axis)])


def put_along(x: Array, index: Array, *, axis: int, length: int) -> Array:
    """Elements added into zeros at their places along `axis`: the adjoint of take_along."""
    return add_along(x, index, axis, length, wide(x.dtype)).astype(x.dtype, copy=False)


def add_along(x: Array, index: Array, axis: int, length: int, dtype: Any) -> Array:
    """put_along in sums of a NumPy dtype."""
    out = np.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]), dtype)
    np.add.at(out, along(index, axis), x)
    return out


def last_along(index: Array, *, axis: int, shape: Shape) -> Array:
    """For each place of `shape`, where along `axis` the last index to it stands, else -1."""
    out = np.full(shape, -1, np.int64)
    place = np.arange(index.shape[axis]).reshape(-1, *(1,) * (index.ndim - axis - 1))
    out[along(index, axis)] = np.broadcast_to(place, index.shape)
    return out


def scatter_reduce(x: Array, src: Array, index: Array, *, axis: int, mode: str) -> Array:
    """x after out[.., index, ..] = mode(out[.., index, ..], src) for each element of src."""
    out = x.copy()
    getattr(np, mode).at(out, along(index, axis), src)
    return out
