"""Sums over very many terms in NumPy: float32 chains are short, what they give adds up in float64.

NumPy sums a contiguous last axis pairwise but adds row to row along any other, and a matrix product
adds hundreds of terms to one float32. An addend that is small beside the sum then loses its low
bits, each time in the same direction: of a million equal terms a plain sum is off by a percent. A
chain of `CHAIN` terms cannot be off by more than CHAIN / 4 ulps.

Blocks go by position along the summed axes alone.
"""

from __future__ import annotations

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


def wide(x: Array, terms: int = LONG) -> Any:
    """The dtype to which so many values of x are added one by one."""
    return reductions.wide(x.dtype) if terms > CHAIN else x.dtype


def reduce_sum(x: Array, *, axes: Shape) -> Array:
    """The sum of x over `axes`, in its own dtype."""
    terms = prod(x.shape[k] for k in axes)
    if x.dtype != np.float32 or terms <= CHAIN or x.size < LONG:
        return np.asarray(np.sum(x, axis=axes, dtype=x.dtype))
    order = sorted(range(x.ndim), key=lambda k: -abs(x.strides[k]))
    y = x.transpose(order)
    if not y.flags.c_contiguous:  # repeated or skipped elements: nothing is copied
        return np.asarray(np.sum(x, axis=axes, dtype=np.float64), np.float32)
    inner = len(order)
    while inner and order[inner - 1] in axes:
        inner -= 1
    if inner < y.ndim:
        y = np.sum(y, axis=tuple(range(inner, y.ndim)))  # pairwise: they are one axis to NumPy
    summed = [order[k] in axes for k in range(inner)]
    if any(summed):
        y, left = _side_by_side(y, summed)
        y = _short_sums(y, left[-1])
        y = np.asarray(np.sum(y, axis=tuple(left), dtype=np.float64))
    kept = [k for k in order if k not in axes]
    return np.asarray(y, np.float32).transpose(np.argsort(kept))


def _side_by_side(x: Array, summed: list[bool]) -> tuple[Array, list[int]]:
    """x, in row-major order, with neighbours among the summed axes as one, and which these are."""
    shape: list[int] = []
    left: list[int] = []
    for k, n in enumerate(x.shape):
        if summed[k] and k and summed[k - 1]:
            shape[-1] *= n
            continue
        if summed[k]:
            left.append(len(shape))
        shape.append(n)
    return x.reshape(shape), left


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
    main = rows[:, :whole].reshape(-1, blocks, CHAIN, beside * row).sum(2)
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
