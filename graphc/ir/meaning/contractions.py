"""Sums of products over shared axes. Floats add up in float64 and are rounded once."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from graphc.ir.meaning.movement import pad
from graphc.ir.meaning.reductions import wide
from graphc.ir.types import DTYPES, Array, Shape

Pairs = tuple[tuple[int, int], ...]


def matrices(
    x: Array, y: Array, batch: Pairs, contract: Pairs
) -> tuple[Array, Array, tuple[int, ...]]:
    """x and y as batches of matrices whose products are `dot`, and the shape of the result."""
    bx, by = [i for i, _ in batch], [j for _, j in batch]
    cx, cy = [i for i, _ in contract], [j for _, j in contract]
    fx = [k for k in range(x.ndim) if k not in bx + cx]
    fy = [k for k in range(y.ndim) if k not in by + cy]
    b = [x.shape[k] for k in bx]
    rows, columns = [x.shape[k] for k in fx], [y.shape[k] for k in fy]
    depth = prod(x.shape[k] for k in cx)
    left = x.transpose(bx + fx + cx).reshape(prod(b), prod(rows), depth)
    right = y.transpose(by + cy + fy).reshape(prod(b), depth, prod(columns))
    return left, right, (*b, *rows, *columns)


def dot(
    x: Array,
    y: Array,
    *,
    batch: Pairs,
    contract: Pairs,
    narrow: bool = False,
    dtype: str = "",
) -> Array:
    """Sum over paired `contract` dimensions; result dims are batch, free of x, free of y.

    `dtype` is the result's, if it is not that of x and y. `narrow` says how a back end may compute
    it, of operands rounded to bfloat16, not what.
    """
    left, right, shape = matrices(x, y, batch, contract)
    terms = wide(x.dtype)
    out: Array = left.astype(terms) @ right.astype(terms)
    return out.astype(DTYPES[dtype].numpy if dtype else x.dtype).reshape(shape)


def conv(
    x: Array,
    w: Array,
    *,
    stride: Shape,
    padding: Pairs,
    lhs_dilation: Shape,
    rhs_dilation: Shape,
    groups: int = 1,
    batch_groups: int = 1,
    winograd: int = 0,
    samples: int = -1,
) -> Array:
    """Cross-correlation: y[n,o,p] = sum over c, k of xd[n, c, p*stride + k*rhs_dilation] w[o,c,k].

    xd is x with lhs_dilation - 1 zeros between elements, then padded by (low, high). Output channel
    o sees the input channels of its group (groups), or the batch rows of its group (batch_groups).
    `winograd` says how a back end is to compute it, and `samples` which dimension of x the samples
    are, if they lie innermost; neither says what.
    """
    low, high = ((0, 0, *(p[side] for p in padding)) for side in (0, 1))
    xd = pad(dilate(x, lhs_dilation), low=low, high=high)
    rows, parts, (filters, deep, *kernel) = len(x) // batch_groups, groups * batch_groups, w.shape
    space = xd.shape[2:]
    xd = xd.reshape(batch_groups, rows, groups, deep, *space).swapaxes(0, 1)
    xd = xd.reshape(rows, parts, deep, *space)
    sizes = zip(space, kernel, stride, rhs_dilation, strict=True)
    places = [(n - (k - 1) * d - 1) // s + 1 for n, k, s, d in sizes]
    xd, w = xd.astype(wide(x.dtype)), w.astype(wide(x.dtype))
    y = np.zeros((rows, parts, filters // parts, prod(places)), w.dtype)
    for tap in np.ndindex(*kernel):
        first = [k * d for k, d in zip(tap, rhs_dilation)]
        ends = [a + (p - 1) * s + 1 for a, p, s in zip(first, places, stride)]
        at: Any = (..., *(slice(a, b, s) for a, b, s in zip(first, ends, stride)))
        of_tap = w[(..., *tap)].reshape(parts, filters // parts, deep)
        y += of_tap @ xd[at].reshape(rows, parts, deep, prod(places))
    return y.astype(x.dtype).reshape(rows, filters, *places)


def dilate(x: Array, dilation: Shape) -> Array:
    """Zeros between the elements of the trailing dimensions."""
    lead = x.ndim - len(dilation)
    sizes = zip(x.shape[lead:], dilation, strict=True)
    out = np.zeros((*x.shape[:lead], *((n - 1) * d + 1 if n else 0 for n, d in sizes)), x.dtype)
    every: Any = (..., *(slice(None, None, d) for d in dilation))
    out[every] = x
    return out
