"""Contractions as matrix products that find their operands in the cache, or by compiled code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from graphc.frontend.eager.arrays import unfold
from graphc.frontend.eager.compiled import conv_compiled, dot_compiled
from graphc.frontend.eager.sums import product, wide
from graphc.ir.meaning import contractions
from graphc.ir.meaning.contractions import Pairs, dilate
from graphc.ir.meaning.movement import pad
from graphc.ir.types import Array, Shape


def dot(
    x: Array, y: Array, *, batch: Pairs, contract: Pairs, narrow: bool = False, dtype: str = ""
) -> Array:
    """Sum over paired `contract` dimensions; result dims are batch, free of x, free of y."""
    if dtype:  # of another type than x and y, as passes write it
        return contractions.dot(x, y, batch=batch, contract=contract, dtype=dtype)
    how = {"narrow": True} if narrow else {}
    made = dot_compiled(x, y, {"batch": batch, "contract": contract, **how})
    return dot_of(x.shape, y.shape, batch, contract)(x, y) if made is None else made


@lru_cache(maxsize=4096)
def dot_of(x: Shape, y: Shape, batch: Pairs, contract: Pairs) -> Matrices:
    """The product by NumPy of operands of these shapes."""
    return Matrices(x, y, batch, contract)


class Matrices:
    """A product as one of matrices, or of stacks of them."""

    def __init__(self, x: Shape, y: Shape, batch: Pairs, contract: Pairs) -> None:
        (bx, cx), (by, cy) = (
            ([p[side] for p in batch], [p[side] for p in contract]) for side in (0, 1)
        )
        fx = [k for k in range(len(x)) if k not in bx + cx]
        fy = [k for k in range(len(y)) if k not in by + cy]
        rows, columns, stack = [x[k] for k in fx], [y[k] for k in fy], [x[k] for k in bx]
        stacks = [prod(stack)] if batch else []
        depth = prod(x[k] for k in cx)
        self.left = _turned(bx + fx + cx)
        self.right = _turned(by + cy + fy)
        self.rows = (*stacks, prod(rows), depth)
        self.columns = (*stacks, depth, prod(columns))
        self.out = (*stack, *rows, *columns)

    def __call__(self, x: Array, y: Array) -> Array:
        if self.left is not None:
            x = x.transpose(self.left)
        if self.right is not None:
            y = y.transpose(self.right)
        return product(x.reshape(self.rows), y.reshape(self.columns)).reshape(self.out)


def _turned(order: list[int]) -> list[int] | None:
    """An order of dimensions, None for that in which they stand."""
    return None if order == sorted(order) else order


CACHED = 1 << 18  # elements of copied windows that a matrix product reads: a share of an L2 cache


def conv(x: Array, w: Array, **attrs: Any) -> Array:
    """By compiled code where that is worth it, else by NumPy."""
    made = conv_compiled(x, w, attrs)
    return made if made is not None else conv_by_numpy(x, w, **attrs)


def conv_by_numpy(
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
) -> Array:
    """Windows, copied so that products read them, times filters."""
    rows, channels, *space = x.shape
    x = x.reshape(batch_groups, rows // batch_groups, groups, channels // groups, *space)
    x = x[:, :, 0].swapaxes(0, 1) if batch_groups > 1 else x[0]
    parts = groups * batch_groups
    filters = w.reshape(parts, len(w) // parts, *w.shape[1:])
    if max(lhs_dilation) > 1 and max(*stride, *rhs_dilation) == 1:
        y = _between_zeros(x, filters, padding, lhs_dilation)
    else:
        low, high = ((0, 0, 0, *(p[side] for p in padding)) for side in (0, 1))
        x = dilate(x, lhs_dilation) if max(lhs_dilation) > 1 else x
        x = pad(x, low=low, high=high) if any((*low, *high)) else x
        y = _correlate(x, filters, stride, rhs_dilation)
    return y.reshape(len(y), len(w), *y.shape[3:])


def _correlate(x: Array, w: Array, stride: Shape, dilation: Shape) -> Array:
    """x [N,G,C,*S], w [G,O,C,*K] -> [N,G,O,*P], as matrix products.

    To copy windows costs more than the products do, so where few filters read them the first
    spatial axis stays whole and is walked: by taps, or in a gradient of weights by places."""
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[3:], dilation)]
    places = [(n - m) // s + 1 for n, m, s in zip(x.shape[3:], spans, stride)]
    filters, taps = w.shape[1], prod(w.shape[3:])
    if prod(places) >= taps:
        walk = w.shape[3] > 1 and filters * w.shape[3] < prod(w.shape[2:])
        return _by_taps(x, w, stride, dilation, places, walk)
    if 2 * filters < taps:
        return _by_places(x, w, stride, dilation, places)
    rank = len(spans)
    shared = ((2, 2), *((3 + rank + k, 3 + k) for k in range(rank)))
    y = dot(_windows(x, w, stride, dilation, 0), w, batch=((1, 0),), contract=shared)
    return np.moveaxis(y, (0, -1), (1, 2))


def _between_zeros(x: Array, w: Array, padding: Pairs, dilation: Shape) -> Array:
    """What `_correlate` gives of the spread and padded x, without a product with inserted zeros.

    Output places of one phase meet x at the same few taps, so each phase is a correlation of x
    with those: place r + q*d and tap k + j*d meet the element q + j + (r + k - low) / d."""
    ends = [max((n - 1) * d + 1, 0) + sum(p) for n, d, p in zip(x.shape[3:], dilation, padding)]
    places = [n - k + 1 for n, k in zip(ends, w.shape[3:])]
    y = np.zeros((len(x), *w.shape[:2], *places), x.dtype)
    ones = (1,) * len(places)
    for phase in np.ndindex(*dilation):
        taps = [(lo - r) % d for r, d, (lo, _) in zip(phase, dilation, padding)]
        into, some = _every(y, phase, dilation), _every(w, taps, dilation)
        part: list[Any] = []
        low, high = [0, 0, 0], [0, 0, 0]
        for k, (r, d, (lo, _)) in enumerate(zip(phase, dilation, padding)):
            first = (r + taps[k] - lo) // d
            last = first + into.shape[3 + k] + some.shape[3 + k] - 1
            part.append(slice(max(first, 0), max(last, 0)))
            low.append(max(min(last, 0) - first, 0))
            high.append(max(last - max(first, x.shape[3 + k]), 0))
        if into.size and some.size:
            padded = pad(x[(..., *part)], low=tuple(low), high=tuple(high))
            into[...] = _correlate(padded, some, ones, ones)
    return y


def _every(x: Array, first: Sequence[int], step: Shape) -> Array:
    """A view of the last dimensions of x from `first` on, in steps."""
    at: Any = (..., *(slice(a, None, s) for a, s in zip(first, step)))
    view: Array = x[at]
    return view


def _windows(x: Array, w: Array, stride: Shape, dilation: Shape, first: int) -> Array:
    """Windows along the spatial axes from number `first` on; their taps come last."""
    for k in range(first, len(stride)):
        x = unfold(x, axis=3 + k, size=w.shape[3 + k], step=stride[k], dilation=dilation[k])
    return x


def _by_taps(
    x: Array, w: Array, stride: Shape, dilation: Shape, places: list[int], walk: bool
) -> Array:
    """The sum over taps k of w[k] times rows p*stride + k*dilation of the windows along the other
    axes, or at once, of all windows times w."""
    (n, groups, *_), filters, first, rank = x.shape, w.shape[1], int(walk), len(places)
    step, gap, taps = (stride[0], dilation[0], w.shape[3]) if walk else (1, 1, 1)
    windows = _windows(_whole(x, step), w, stride, dilation, first)
    windows = windows.transpose(0, 1, 2, *range(3 + rank, windows.ndim), *range(3, 3 + rank))
    windows = _phases(windows, 3 + rank - first, step) if walk else windows
    ws = np.moveaxis(w, 3, 0) if walk else w[None]
    ws = ws.reshape(taps, groups, filters, prod(ws.shape[3:]))
    length, row = prod(places), prod(places[1:])
    run = length if not walk else prod(windows.shape[3 + rank - 1 :])
    out = np.empty((n, groups, filters, length), x.dtype)
    for few in _few(windows):
        part = windows[few].reshape(len(out[few]), groups, ws.shape[-1], run)
        for k in range(taps):
            at = _start(k * gap, step, run, row)
            if k == 0:
                product(ws[0], part[..., at : at + length], out[few])
            else:
                out[few] += product(ws[k], part[..., at : at + length])
    return out.reshape(n, groups, filters, *places)


def _by_places(x: Array, w: Array, stride: Shape, dilation: Shape, places: list[int]) -> Array:
    """For each place p of the first axis, w times rows p*stride + k*dilation of the windows along
    the other axes, summed over taps by the product and over channels behind it."""
    (n, groups, channels, *_), filters, rank = x.shape, w.shape[1], len(places)
    windows = _windows(_whole(x, dilation[0]), w, stride, dilation, 1)
    others = range(4, 3 + rank)
    windows = windows.transpose(2, 1, 0, *others, 3, *range(3 + rank, windows.ndim))
    windows = _phases(windows, 2 + rank, dilation[0])
    taps, row, columns = prod(w.shape[3:]), prod(w.shape[4:]), n * prod(places[1:])
    run = prod(windows.shape[2 + rank :])
    ws = np.moveaxis(w, 2, 0).reshape(channels, groups, filters, taps)
    out = np.zeros((places[0], groups, filters, columns), wide(x))
    for few in _few(windows):
        part = windows[few].reshape(len(ws[few]), groups, columns, run)
        for p in range(places[0]):
            at = _start(p * stride[0], dilation[0], run, row)
            of_few = product(ws[few], part[..., at : at + taps].swapaxes(-1, -2))
            out[p] += of_few.sum(0, dtype=out.dtype)
    out = out.astype(x.dtype).reshape(places[0], groups, filters, n, *places[1:])
    return out.transpose(3, 1, 2, 0, *range(4, 3 + rank))


def _whole(x: Array, step: int) -> Array:
    """Axis 3 with zeros behind it up to a multiple of `step`."""
    behind = [-n % step if k == 3 else 0 for k, n in enumerate(x.shape)]
    return pad(x, low=(0,) * x.ndim, high=tuple(behind)) if any(behind) else x


def _phases(x: Array, axis: int, step: int) -> Array:
    """Index i of `axis` at [i % step, i // step]: every step-th index then is a run."""
    shape = (*x.shape[:axis], x.shape[axis] // step, step, *x.shape[axis + 1 :])
    return x.reshape(shape).swapaxes(axis, axis + 1)


def _start(index: int, step: int, run: int, row: int) -> int:
    """Where `index` stands in a run of rows in order of their phases."""
    return index % step * (run // step) + index // step * row


def _few(x: Array) -> list[slice]:
    """Ranges of the first axis in which about `CACHED` elements stand."""
    count = max(1, CACHED // max(1, prod(x.shape[1:])))
    return [slice(a, a + count) for a in range(0, len(x), count)]
