"""Order along an axis."""

from __future__ import annotations

import numpy as np

from graphc.ir.types import Array


def argsort(x: Array, *, axis: int, descending: bool) -> Array:
    """Stable; NaN counts as the largest."""
    if x.dtype.itemsize == 2 and x.dtype.kind not in "iu":
        x = x.astype(np.float32)
    if not descending:
        return np.argsort(x, axis=axis, kind="stable")
    last = x.shape[axis] - 1
    return np.flip(last - np.argsort(np.flip(x, axis), axis=axis, kind="stable"), axis)


def searchsorted(rows: Array, values: Array, *, right: bool) -> Array:
    """Where each value of a row would be inserted into the sorted row."""
    side = "right" if right else "left"
    out = np.empty(values.shape, np.int64)
    for k in np.ndindex(rows.shape[:-1]):
        out[k] = np.searchsorted(rows[k], values[k], side=side)  # type: ignore[call-overload]
    return out
