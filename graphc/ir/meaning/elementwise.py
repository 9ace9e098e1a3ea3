"""One element of each operand gives one element. Integers wrap, NaN propagates."""

from __future__ import annotations

import numpy as np

from graphc.errors import CHECKED, IndexOutOfRange, IntegerDivisionByZero
from graphc.ir.types import DTYPES, Array


def sign(x: Array) -> Array:
    """-1, 0 or 1; 0 for NaN, as in PyTorch."""
    return np.asarray((x > 0).astype(x.dtype) - (x < 0).astype(x.dtype), x.dtype)


def where(condition: Array, x: Array, y: Array) -> Array:
    """x where the condition holds, else y."""
    return np.where(condition, x, y)


def relu(x: Array) -> Array:
    """max(x, 0) that keeps NaN and -0."""
    return np.where(x < 0, np.zeros((), x.dtype), x)


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
    """Remainder with the divisor's sign; that of a multiple is a zero with the dividend's."""
    _nonzero(y, "rem")
    out = np.remainder(x, y)
    if out.dtype.kind in "iub":
        return out
    return np.where(out == 0, np.copysign(out, x), out)


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
