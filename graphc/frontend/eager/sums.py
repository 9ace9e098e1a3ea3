"""Sums over very many terms in NumPy: float32 chains are short, what they give adds up in float64.

NumPy sums a contiguous last axis pairwise but adds row to row along any other, and a matrix product
adds hundreds of terms to one float32. An addend that is small beside the sum then loses its low
bits, each time in the same direction: of a million equal terms a plain sum is off by a percent. A
chain of `CHAIN` terms cannot be off by more than CHAIN / 4 ulps.

Blocks go by position along the summed axes alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np

from graphc.ir.meaning import reductions
from graphc.ir.types import Array, Shape

CHAIN = 32  # float32 terms that are added one by one
LONG = 4096  # terms from which on a matrix product is cut
STRIP = 64  # terms of a part of a product with a small result
NARROW = 4096  # elements of a result up to which products of strips are faster than float64
LINE = 2048  # elements of a row that a loop of NumPy's adds quickly

Sum = Callable[[Array], Array]

total = np.add.reduce  # of x, axes, dtype


def wide(x: Array, terms: int = LONG) -> Any:
    """The dtype to which so many values of x are added one by one."""
    return reductions.wide(x.dtype) if terms > CHAIN else x.dtype


def reduce_sum(x: Array, *, axes: Shape) -> Array:
    """The sum of x over `axes`, in its own dtype."""
    out: Array = sum_of(x.shape, x.strides, x.dtype, axes)(x)
    return out


@lru_cache(maxsize=4096)
def sum_of(shape: Shape, strides: Shape, dtype: np.dtype[Any], axes: Shape) -> Sum:
    """The sum over `axes` of what lies so."""
    if not by_parts(shape, dtype, axes):
        return partial(_plain, axes=axes, dtype=dtype)
    order = sorted(range(len(shape)), key=lambda k: -abs(strides[k]))
    if not _dense([shape[k] for k in order], [strides[k] for k in order], dtype.itemsize):
        return partial(_wide, axes=axes)  # repeated or skipped elements: nothing is copied
    return _Parts(shape, order, axes)


def by_parts(shape: Shape, dtype: np.dtype[Any], axes: Shape) -> bool:
    """Whether there are so many terms that NumPy's sum of them would be off."""
    return dtype == np.float32 and prod(shape) >= LONG and prod(shape[k] for k in axes) > CHAIN


def _plain(x: Array, axes: Shape, dtype: np.dtype[Any]) -> Array:
    return np.asarray(total(x, axes, dtype))


def _wide(x: Array, axes: Shape) -> Array:
    return np.asarray(total(x, axes, np.float64), np.float32)


def _dense(shape: Sequence[int], strides: Sequence[int], size: int) -> bool:
    """Whether elements lie row by row."""
    for n, step in zip(reversed(shape), reversed(strides)):
        if n > 1 and step != size:
            return False
        size *= n
    return True


class _Parts:
    """Sums of what lies row by row in some order of its axes: pairwise along the last ones, then of
    short parts, then of these in float64."""

    def __init__(self, shape: Shape, order: list[int], axes: Shape) -> None:
        inner = len(order)
        while inner and order[inner - 1] in axes:
            inner -= 1
        self.order = None if order == [*range(len(order))] else order
        self.last = tuple(range(inner, len(order)))
        summed = [k in axes for k in order[:inner]]
        self.shape, left = _side_by_side([shape[k] for k in order[:inner]], summed)
        self.left = tuple(left)
        kept = [k for k in order if k not in axes]
        self.back = None if kept == sorted(kept) else np.argsort(kept)

    def __call__(self, x: Array) -> Array:
        y = x if self.order is None else x.transpose(self.order)
        if self.last:
            y = total(y, self.last)  # pairwise: they are one axis to NumPy
        if self.left:
            y = _short_sums(y.reshape(self.shape), self.left[-1])
            y = total(y, self.left, np.float64)
        y = np.asarray(y, np.float32)
        return y if self.back is None else y.transpose(self.back)


def _side_by_side(sizes: list[int], summed: list[bool]) -> tuple[list[int], list[int]]:
    """These sizes with neighbours among the summed axes as one, and which these are."""
    shape: list[int] = []
    left: list[int] = []
    for k, n in enumerate(sizes):
        if summed[k] and k and summed[k - 1]:
            shape[-1] *= n
            continue
        if summed[k]:
            left.append(len(shape))
        shape.append(n)
    return shape, left


def _short_sums(x: Array, axis: int) -> Array:
    """x, in row-major order, with fewer terms along `axis`: sums of up to CHAIN of them.

    Of short rows several lie side by side in a line, so that a loop over a line is worth its call.
    """
    n, row = x.shape[axis], prod(x.shape[axis + 1 :])
    beside = max(1, min(n // CHAIN, LINE // max(row, 1)))
    blocks = n // (CHAIN * beside)
    if not blocks:
        return x
    whole = blocks * CHAIN * beside
    before, behind = x.shape[:axis], x.shape[axis + 1 :]
    rows = x.reshape(prod(before), n, row)
    main = total(rows[:, :whole].reshape(-1, blocks, CHAIN, beside * row), 2)
    main = main.reshape(-1, blocks * beside, row)
    parts = np.concatenate([main, rows[:, whole:]], 1) if whole < n else main
    return parts.reshape(*before, -1, *behind)


def product(x: Array, y: Array, out: Array | None = None) -> Array:
    """x @ y of stacks of matrices."""
    depth = x.shape[-1]
    if x.dtype != np.float32 or depth <= LONG:
        return np.matmul(x, y, out=out)
    few = x.shape[-2] * y.shape[-1] <= NARROW
    total = (_by_strips if few else _by_wide_parts)(x, y)
    if out is None:
        return total.astype(np.float32)
    out[...] = total
    return out


def _by_strips(x: Array, y: Array) -> Array:
    """Products of short strips, as one stack of matrices, added up in float64."""
    whole = x.shape[-1] // STRIP * STRIP
    left = x[..., :whole].reshape(*x.shape[:-1], -1, STRIP)
    right = y[..., :whole, :].reshape(*y.shape[:-2], -1, STRIP, y.shape[-1])
    total = np.matmul(np.moveaxis(left, -2, -3), right).sum(-3, dtype=np.float64)
    total += np.matmul(x[..., whole:], y[..., whole:, :])
    return np.asarray(total)


def _by_wide_parts(x: Array, y: Array) -> Array:
    """Products in float64 of parts that stay in cache."""
    total = np.float64(0)
    for start in range(0, x.shape[-1], LONG):
        part = slice(start, start + LONG)
        total = total + np.matmul(
            x[..., part].astype(np.float64), y[..., part, :].astype(np.float64)
        )
    return np.asarray(total)
