"""NumPy meanings that are longer than a row of `ops.py`.

Written for clarity first: these functions define what every pass and back end must reproduce.
Integers wrap, NaN propagates, and an empty reduction gives the identity, as in PyTorch.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from graphc.errors import CHECKED, IndexOutOfRange, IntegerDivisionByZero
from graphc.ir.sums import sum_over, wide
from graphc.ir.types import DTYPES, Array, Shape

Pairs = tuple[tuple[int, int], ...]
MANY = 4096  # elements from which on a way with more NumPy calls, each faster, pays
SHORT = 16  # NumPy's inner loop runs over the last axis; up to here Python does better

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


def check(x: Array, condition: Array, *, what: str, error: str, fix: str = "") -> Array:
    """x itself, after checking that the condition holds for every element."""
    if not condition.all():
        raise CHECKED[error](what, fix=fix)
    return x


def by_zero(op: str, dtype: object) -> str:
    """What is said of integers, which have no infinity; `dtype` is NumPy's."""
    return f"{'floor division' if op == 'floordiv' else 'remainder'} by zero in {dtype}"


def _nonzero(y: Array, op: str) -> None:
    if y.dtype.kind in "iub" and (y == 0).any():
        raise IntegerDivisionByZero(by_zero(op, y.dtype))


def floordiv(x: Array, y: Array) -> Array:
    _nonzero(y, "floordiv")
    return np.floor_divide(x, y)


def rem(x: Array, y: Array) -> Array:
    """Remainder with the divisor's sign."""
    _nonzero(y, "rem")
    return np.remainder(x, y)


def fmod(x: Array, y: Array) -> Array:
    """Remainder with the dividend's sign."""
    _nonzero(y, "fmod")
    return np.fmod(x, y)


def power(x: Array, y: Array) -> Array:
    """x ** y; an integer to a negative power is 0, but for 1 and -1."""
    down = y < 0
    if x.dtype.kind != "i" or not down.any():
        return np.power(x, y)
    unit = np.where(np.abs(x) == 1, np.where(y % 2 == 0, 1, x), 0)
    return np.where(down, unit, np.power(x, np.where(down, 0, y))).astype(x.dtype)


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
    """A view with strides of 0, writable if x is."""
    strides = tuple(s if n == m else 0 for s, n, m in zip(x.strides, x.shape, shape, strict=True))
    return np.lib.stride_tricks.as_strided(x, shape, strides)


def row_major(x: Array) -> Array:
    """x in row-major order, copied element by element of its last axes if those are short."""
    if x.flags.c_contiguous:
        return x
    if x.size < MANY or x.shape[-1] > SHORT:
        return np.ascontiguousarray(x)
    out = np.empty(x.shape, x.dtype)
    for at in _short_places(x.shape):
        out[at] = x[at]
    return out


def _short_places(shape: Shape) -> list[tuple[Any, ...]]:
    """The places along as many last axes as have SHORT elements together."""
    first = len(shape)
    while first and prod(shape[first - 1 :]) <= SHORT:
        first -= 1
    return [(..., *at) for at in np.ndindex(*shape[first:])]


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


# ---- reduce ------------------------------------------------------------------------------------


def reduce_sum(x: Array, *, axes: Shape) -> Array:
    return sum_over(x, axes)


def reduce_prod(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.prod(x, axis=axes, dtype=x.dtype))


def reduce_max(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.max(x, axis=axes))


def reduce_min(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.min(x, axis=axes))


def argmax(x: Array, *, axis: int) -> Array:
    """The first place of the largest element; NaN is larger than all."""
    place = _argmax_of_short(x, axis)
    return np.asarray(np.argmax(x, axis=axis)) if place is None else place


def _argmax_of_short(x: Array, axis: int) -> Array | None:
    """argmax of many short rows without NaN, an element of all rows at a time; else None."""
    if x.size < MANY or x.shape[axis] > SHORT:
        return None
    best, *rest = (np.ascontiguousarray(row) for row in np.moveaxis(x, axis, 0))
    place = np.zeros(best.shape, np.int8)
    for k, row in enumerate(rest, 1):
        np.maximum(place, np.int8(k) * (row > best).view(np.int8), out=place)
        best = np.maximum(best, row)
    return None if (best != best).any() else place.astype(np.int64)


def argmin(x: Array, *, axis: int) -> Array:
    return np.asarray(np.argmin(x, axis=axis))


def argmax_last_nan(x: Array, *, axis: int) -> Array:
    """argmax, but of several NaN the last: what max pooling chooses."""
    place = _argmax_of_short(x, axis)
    if place is not None:
        return place
    place, missing = np.argmax(x, axis=axis), np.asarray(x != x)
    if not missing.any():
        return np.asarray(place)
    last = x.shape[axis] - 1 - np.argmax(np.flip(missing, axis), axis=axis)
    return np.asarray(np.where(missing.any(axis), last, place))


# ---- index -------------------------------------------------------------------------------------


def gather(x: Array, index: Array, *, axis: int) -> Array:
    """Rows of x along `axis` by number: index.shape stands in the place of `axis`."""
    return np.asarray(np.take(x, index, axis))


def scatter_add(x: Array, index: Array, *, axis: int, length: int) -> Array:
    """Rows added into zeros at their numbers, in order: the adjoint of gather."""
    rows = x.reshape(*x.shape[:axis], index.size, *x.shape[axis + index.ndim :])
    shape = (*x.shape[:axis], length, *x.shape[axis + index.ndim :])
    out = np.zeros(shape, wide(x, index.size))
    np.add.at(np.moveaxis(out, axis, 0), index.ravel(), np.moveaxis(rows, axis, 0))
    return out.astype(x.dtype, copy=False)


def _along(index: Array, axis: int) -> tuple[Any, ...]:
    grid = list(np.ogrid[tuple(slice(n) for n in index.shape)])
    grid[axis] = index
    return tuple(grid)


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
    return np.asarray(x[_along(index, axis)]) if at is None else np.take(x, at)


def put_along(x: Array, index: Array, *, axis: int, length: int) -> Array:
    shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
    at = _flat(index, axis, shape)
    out = np.zeros(shape, wide(x, index.shape[axis]) if at is None else x.dtype)
    if at is None:
        np.add.at(out, _along(index, axis), x)
    else:  # no place twice
        out.reshape(-1)[at] = x
    return out.astype(x.dtype, copy=False)
