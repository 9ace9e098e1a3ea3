"""NumPy meanings that are longer than a row of `ops.py`.

Written for clarity first: these functions define what every pass and back end must reproduce.
Integers wrap, NaN propagates, and an empty reduction gives the identity, as in PyTorch.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from graphc.errors import DTypeMismatch, IndexOutOfRange, IntegerDivisionByZero
from graphc.ir.types import DTYPES, Array, Shape

Pairs = tuple[tuple[int, int], ...]

# ---- sources -----------------------------------------------------------------------------------


def iota(*, shape: Shape, axis: int, dtype: str) -> Array:
    """The index along `axis`, in every element of `shape`."""
    line = np.arange(shape[axis]).astype(DTYPES[dtype].numpy)
    column = line.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return np.broadcast_to(column, shape)


PHILOX_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
PHILOX_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
MASK32 = np.uint64(0xFFFFFFFF)


def philox(counter: list[Array], key: tuple[int, int]) -> list[Array]:
    """Philox4x32-10 on uint64 arrays that hold 32-bit words (Salmon et al., SC'11)."""
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(10):
        p0, p1 = PHILOX_MULTIPLIERS[0] * c0, PHILOX_MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & MASK32,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & MASK32,
        )
        k0, k1 = (k0 + PHILOX_KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + PHILOX_KEY_STEPS[1]) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def random_bits(seed: Array, draw: Array, *, shape: Shape) -> Array:
    """Word i % 4 of Philox(key=seed, counter=(i // 4, draw)) for row-major element i, as i32."""
    n = prod(shape)
    block = np.arange(-(-n // 4), dtype=np.uint64)
    d = int(draw) & 0xFFFFFFFFFFFFFFFF
    s = int(seed) & 0xFFFFFFFFFFFFFFFF
    high = [np.full_like(block, word) for word in (d & 0xFFFFFFFF, d >> 32)]
    words = philox([block & MASK32, block >> np.uint64(32), *high], (s & 0xFFFFFFFF, s >> 32))
    flat = np.stack(words, axis=1).ravel()[:n].astype(np.uint32).view(np.int32)
    return flat.reshape(shape)


# ---- elementwise -------------------------------------------------------------------------------


def sign(x: Array) -> Array:
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    return np.asarray((x > 0).astype(x.dtype) - (x < 0).astype(x.dtype), x.dtype)


def relu(x: Array) -> Array:
    """max(x, 0) that keeps NaN and -0."""
    return np.where(x < 0, np.zeros_like(x), x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x >= 0, 1 / (1 + e), e / (1 + e)), x.dtype)


def rsqrt(x: Array) -> Array:
    return np.asarray(1 / np.sqrt(x), x.dtype)


def sub(x: Array, y: Array) -> Array:
    if x.dtype == np.bool_:
        return np.logical_xor(x, y)
    return np.subtract(x, y)


def cast(x: Array, *, dtype: str) -> Array:
    return x.astype(DTYPES[dtype].numpy)


def check_index(x: Array, *, bound: int, what: str) -> Array:
    """x itself, after checking 0 <= x < bound for every element."""
    bad = (x < 0) | (x >= bound)
    if bad.any():
        raise IndexOutOfRange(
            f"{what}: index {int(x[bad].ravel()[0])} is out of range [0, {bound})"
        )
    return x


def _nonzero(y: Array, name: str) -> None:
    if y.dtype.kind in "iub" and (y == 0).any():
        raise IntegerDivisionByZero(f"{name} by zero in {y.dtype}")


def floordiv(x: Array, y: Array) -> Array:
    _nonzero(y, "floor division")
    return np.floor_divide(x, y)


def rem(x: Array, y: Array) -> Array:
    """Remainder with the divisor's sign."""
    _nonzero(y, "remainder")
    return np.remainder(x, y)


def fmod(x: Array, y: Array) -> Array:
    """Remainder with the dividend's sign."""
    _nonzero(y, "fmod")
    return np.fmod(x, y)


def power(x: Array, y: Array) -> Array:
    if x.dtype.kind in "iu" and (y < 0).any():
        raise DTypeMismatch("integers to negative integer powers are not allowed")
    return np.power(x, y)


def shift_left(x: Array, y: Array) -> Array:
    width = 8 * x.dtype.itemsize
    inside = (y >= 0) & (y < width)
    return np.where(inside, np.left_shift(x, np.where(inside, y, 0)), 0).astype(x.dtype)


def shift_right(x: Array, y: Array) -> Array:
    """Arithmetic shift; by the width or more, or a negative count, the sign fills (0 for u8)."""
    width = 8 * x.dtype.itemsize
    inside = (y >= 0) & (y < width)
    shifted = np.right_shift(x, np.where(inside, y, width - 1)).astype(x.dtype)
    return np.where(inside, shifted, 0).astype(x.dtype) if x.dtype.kind == "u" else shifted


# erf and erfc after Cody, "Rational Chebyshev approximation for the error function", 1969, are not
# in NumPy; math.erf is exact to an ulp and defines them here an element at a time.
def erf(x: Array) -> Array:
    return _each("erf", x)


def erfc(x: Array) -> Array:
    return _each("erfc", x)


def _each(name: str, x: Array) -> Array:
    import math

    function = np.frompyfunc(getattr(math, name), 1, 1)
    return np.asarray(function(x.astype(np.float64)), dtype=np.float64).astype(x.dtype)


# ---- movement ----------------------------------------------------------------------------------


def reshape(x: Array, *, shape: Shape) -> Array:
    return x.reshape(shape)


def transpose(x: Array, *, perm: Shape) -> Array:
    return x.transpose(perm)


def expand(x: Array, *, shape: Shape) -> Array:
    return np.broadcast_to(x, shape)


def slice_(x: Array, *, start: Shape, stop: Shape, step: Shape) -> Array:
    return x[tuple(slice(a, b, s) for a, b, s in zip(start, stop, step, strict=True))]


def pad(x: Array, *, low: Shape, high: Shape, value: float = 0.0) -> Array:
    shape = [n + a + b for n, a, b in zip(x.shape, low, high, strict=True)]
    out = np.full(shape, value, x.dtype)
    out[tuple(slice(a, a + n) for n, a in zip(x.shape, low, strict=True))] = x
    return out


def flip(x: Array, *, axes: Shape) -> Array:
    return np.flip(x, axes)


def contiguous(x: Array, *, order: Shape = ()) -> Array:
    """x itself: how it is stored is no part of its meaning."""
    return x.copy()


def assemble(
    *xs: Array, shape: Shape, starts: tuple[Shape, ...], steps: tuple[Shape, ...]
) -> Array:
    """Each operand at its place in an array that they fill together."""
    out = np.empty(shape, xs[0].dtype)
    for x, start, step in zip(xs, starts, steps, strict=True):
        out[part_of(x.shape, start, step)] = x
    return out


def part_of(shape: Shape, start: Shape, step: Shape) -> tuple[slice, ...]:
    """Where an operand of `shape` stands."""
    places = zip(shape, start, step, strict=True)
    return tuple(slice(a, a + (n - 1) * s + 1 if n else a, s) for n, a, s in places)


def concat(*xs: Array, axis: int) -> Array:
    return np.concatenate(xs, axis)


def unfold(x: Array, *, axis: int, size: int, step: int, dilation: int) -> Array:
    """Windows along `axis`: out[.., o, .., k] = x[.., o * step + k * dilation, ..]."""
    count = (x.shape[axis] - (size - 1) * dilation - 1) // step + 1
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :], size)
    s = x.strides
    strides = (*s[:axis], s[axis] * step, *s[axis + 1 :], s[axis] * dilation)
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def diagonal(x: Array) -> Array:
    """A view, which NumPy's own is not allowed to write through."""
    return np.lib.stride_tricks.as_strided(
        x, x.shape[:-1], (*x.strides[:-2], x.strides[-2] + x.strides[-1])
    )


def fold(x: Array, *, axis: int, length: int, step: int, dilation: int) -> Array:
    """The adjoint of unfold: overlapping windows add up in order of k."""
    shape = x.shape[:-1]
    out = np.zeros((*shape[:axis], length, *shape[axis + 1 :]), x.dtype)
    for k in range(x.shape[-1]):
        first = k * dilation
        at = slice(first, first + (shape[axis] - 1) * step + 1, step)
        if shape[axis]:
            out[(slice(None),) * axis + (at,)] += x[..., k]
    return out


# ---- reduce ------------------------------------------------------------------------------------


def reduce_sum(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.sum(x, axis=axes, dtype=x.dtype))


def reduce_prod(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.prod(x, axis=axes, dtype=x.dtype))


def reduce_max(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.max(x, axis=axes))


def reduce_min(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.min(x, axis=axes))


def argmax(x: Array, *, axis: int) -> Array:
    return np.asarray(np.argmax(x, axis=axis))


def argmin(x: Array, *, axis: int) -> Array:
    return np.asarray(np.argmin(x, axis=axis))


def argmax_last_nan(x: Array, *, axis: int) -> Array:
    """argmax, but of several NaN the last: what max pooling chooses."""
    place = argmax(x, axis=axis)
    found = np.take_along_axis(x, np.expand_dims(place, axis), axis)
    if not (found != found).any():
        return place
    missing = np.asarray(x != x)
    last = x.shape[axis] - 1 - np.argmax(np.flip(missing, axis), axis=axis)
    return np.asarray(np.where(missing.any(axis), last, place))


# ---- contract ----------------------------------------------------------------------------------


def dot(x: Array, y: Array, *, batch: Pairs, contract: Pairs) -> Array:
    """Sum over paired `contract` dimensions; result dims are batch, free of x, free of y."""
    bx, by = [i for i, _ in batch], [j for _, j in batch]
    cx, cy = [i for i, _ in contract], [j for _, j in contract]
    fx = [k for k in range(x.ndim) if k not in bx + cx]
    fy = [k for k in range(y.ndim) if k not in by + cy]
    b = [x.shape[k] for k in bx]
    rows, columns = [x.shape[k] for k in fx], [y.shape[k] for k in fy]
    depth = prod(x.shape[k] for k in cx)
    left = x.transpose(bx + fx + cx).reshape(prod(b), prod(rows), depth)
    right = y.transpose(by + cy + fy).reshape(prod(b), depth, prod(columns))
    out: Array = np.matmul(left, right).reshape(b + rows + columns)
    return out


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
) -> Array:
    """Cross-correlation: y[n,o,p] = sum over c, k of xd[n, c, p*stride + k*rhs_dilation] w[o,c,k].

    xd is x with lhs_dilation - 1 zeros between elements, then padded by (low, high). Output channel
    o sees the input channels of its group (groups), or the batch rows of its group (batch_groups).
    """
    low = [a for a, _ in padding]
    spread = dilate(x, lhs_dilation)
    no = (0, 0)
    padded = pad(spread, low=(*no, *low), high=(*no, *(b for _, b in padding)))
    windows = padded
    for k, (size, step, gap) in enumerate(zip(w.shape[2:], stride, rhs_dilation, strict=True)):
        windows = unfold(windows, axis=2 + k, size=size, step=step, dilation=gap)
    parts = groups * batch_groups
    xs = np.split(windows, groups, 1) if groups > 1 else np.split(windows, batch_groups, 0)
    ws = np.split(w, parts, 0)
    return np.concatenate([_conv_group(a, b) for a, b in zip(xs, ws, strict=True)], 1)


def _conv_group(windows: Array, w: Array) -> Array:
    """windows [N,C,*P,*K], w [O,C,*K] -> [N,O,*P], as one matrix product.

    The copy of the windows is laid out so that the longer of the last dimensions of P and K is its
    contiguous run: three times faster than the other way."""
    n = w.ndim - 2
    space, taps = range(2, 2 + n), range(2 + n, 2 + 2 * n)
    if windows.shape[1 + n] < windows.shape[-1]:
        shared = ((1, 1), *((t, t - n) for t in taps))
        rows: Array = np.moveaxis(dot(windows, w, batch=(), contract=shared), -1, 1)
        return rows
    columns = windows.transpose(0, 1, *taps, *space)
    columns = columns.reshape(len(windows), prod(w.shape[1:]), prod(windows.shape[2 : 2 + n]))
    out: Array = np.matmul(w.reshape(len(w), prod(w.shape[1:])), columns)
    return out.reshape(len(windows), len(w), *windows.shape[2 : 2 + n])


def dilate(x: Array, dilation: Shape) -> Array:
    """Zeros between the elements of the trailing dimensions."""
    if all(d == 1 for d in dilation) or 0 in x.shape:
        return x
    space = [(n - 1) * d + 1 for n, d in zip(x.shape[2:], dilation, strict=True)]
    out = np.zeros((*x.shape[:2], *space), x.dtype)
    out[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = x
    return out


# ---- index -------------------------------------------------------------------------------------


def gather(x: Array, index: Array, *, axis: int) -> Array:
    """Rows of x along `axis` by number: index.shape stands in the place of `axis`."""
    return np.asarray(np.take(x, index, axis))


def scatter_add(x: Array, index: Array, *, axis: int, length: int) -> Array:
    """Rows added into zeros at their numbers, in order: the adjoint of gather."""
    rows = x.reshape(*x.shape[:axis], index.size, *x.shape[axis + index.ndim :])
    out = np.zeros((*x.shape[:axis], length, *x.shape[axis + index.ndim :]), x.dtype)
    np.add.at(np.moveaxis(out, axis, 0), index.ravel(), np.moveaxis(rows, axis, 0))
    return out


def _along(index: Array, axis: int) -> tuple[Any, ...]:
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[axis] = index
    return tuple(grid)


def take_along(x: Array, index: Array, *, axis: int) -> Array:
    return np.asarray(x[_along(index, axis)])


def put_along(x: Array, index: Array, *, axis: int, length: int) -> Array:
    out = np.zeros((*x.shape[:axis], length, *x.shape[axis + 1 :]), x.dtype)
    np.add.at(out, _along(index, axis), x)
    return out
