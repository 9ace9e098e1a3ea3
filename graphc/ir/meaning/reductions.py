"""Axes are taken away; an empty sum or product gives the identity.

Sums of floats add up in float64 and are rounded once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.ir.types import Array, Shape, bf16, f16


def wide(dtype: Any) -> Any:
    """What values of a NumPy dtype add up in."""
    return np.float64 if dtype in (np.float32, f16.numpy, bf16.numpy) else dtype


def reduce_sum(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.sum(x, axis=axes, dtype=wide(x.dtype))).astype(x.dtype)


def reduce_prod(x: Array, *, axes: Shape) -> Array:
    return np.asarray(np.prod(x, axis=axes, dtype=x.dtype))


def reduce_max(x: Array, *, axes: Shape, nans: bool = False) -> Array:
    return np.asarray(np.max(x, axis=axes))


def reduce_min(x: Array, *, axes: Shape, nans: bool = False) -> Array:
    return np.asarray(np.min(x, axis=axes))


def argmax(x: Array, *, axis: int) -> Array:
    """The first place of the largest element; NaN is larger than all."""
    return np.asarray(np.argmax(x, axis=axis))


def argmin(x: Array, *, axis: int) -> Array:
    return np.asarray(np.argmin(x, axis=axis))


def argmax_last_nan(x: Array, *, axis: int) -> Array:
    """argmax, but of several NaN the last: what max pooling chooses."""
    missing = np.asarray(x != x)
    last = x.shape[axis] - 1 - np.argmax(np.flip(missing, axis), axis=axis)
    return np.asarray(np.where(missing.any(axis), last, np.argmax(x, axis=axis)))
