"""Rows bound to types: what a list calls, which knows what an operation reads when it is made.

A row asks its operands each time what they are; here it is asked once. The bits are the row's,
which one test holds to it over the table of operations. Elementwise operands may be narrower than
their types say, where NumPy repeats them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np

from graphc.frontend.eager import arrays, sums
from graphc.frontend.eager.compiled import RUNNERS, worth_of_dot
from graphc.frontend.eager.contractions import dot_of
from graphc.frontend.eager.pool import LEAST_BYTES, POOL
from graphc.frontend.eager.rows import FAST
from graphc.ir.graph import Value
from graphc.ir.ops import Attrs
from graphc.ir.types import Array, bool_

Bound = Callable[..., Any]


def bound(v: Value) -> tuple[Bound, Attrs]:
    """The function of arrays for an operation, and the attributes that it is still to be given.
    Of an array of no dimensions it may give NumPy's scalar."""
    op = v.op
    assert op is not None, "inputs and constants are not computed"
    make = BOUND.get(op.name)
    function = None if make is None else make(v)
    if function is not None:
        return _pooled(function, v), {}
    return _pooled(FAST.get(op.name, op.evaluate), v), v.attrs


def _pooled(function: Bound, v: Value) -> Bound:
    """It with its result in memory of the pool, if it can be told where to put it."""
    if not isinstance(function, np.ufunc) or v.spec.size_bytes < LEAST_BYTES:
        return function
    shape, dtype = v.spec.shape, np.dtype(v.spec.dtype.numpy)

    def into(*args: Array) -> Array:
        out: Array = function(*args, out=POOL.empty(shape, dtype))
        return out

    return into


def _sub(v: Value) -> Bound | None:
    return None if v.spec.dtype is bool_ else np.subtract


def _cast(v: Value) -> Bound:
    return methodcaller("astype", np.dtype(v.spec.dtype.numpy))


def _where(v: Value) -> Bound:
    small = v.spec.numel < arrays.MANY or v.spec.dtype.itemsize > 8
    return np.where if small else arrays.where


def _relu(v: Value) -> Bound | None:
    if v.spec.numel >= arrays.MANY:
        return None
    zero = np.zeros((), v.spec.dtype.numpy)
    return lambda x: np.where(x < zero, zero, x)


def _expand(v: Value) -> Bound:
    return partial(arrays.expand, shape=v.spec.shape)


def _reshape(v: Value) -> Bound:
    return methodcaller("reshape", v.spec.shape)


def _sum(v: Value) -> Bound | None:
    x, axes = v.args[0].spec, v.attrs["axes"]
    dtype = np.dtype(x.dtype.numpy)
    if sums.by_parts(x.shape, dtype, axes):
        return None
    return partial(np.add.reduce, axis=axes, dtype=dtype)


def _max(v: Value) -> Bound:
    return partial(np.maximum.reduce, axis=v.attrs["axes"])


def _min(v: Value) -> Bound:
    return partial(np.minimum.reduce, axis=v.attrs["axes"])


def _dot(v: Value) -> Bound | None:
    (x, y), attrs = (a.spec for a in v.args), v.attrs
    if attrs.get("dtype"):
        return None
    plain = dot_of(x.shape, y.shape, attrs["batch"], attrs["contract"])
    spec = worth_of_dot(x, y, attrs)
    op = v.op
    if spec is None or op is None:
        return plain

    def compiled(x: Array, y: Array) -> Array:
        made = RUNNERS[-1](op, (x, y), attrs, spec)
        return plain(x, y) if made is None else made

    return compiled


# What it makes of an operation; None where the row has to ask each time.
BOUND: dict[str, Callable[[Value], Bound | None]] = {
    "sub": _sub,
    "cast": _cast,
    "where": _where,
    "relu": _relu,
    "expand": _expand,
    "reshape": _reshape,
    "sum": _sum,
    "max": _max,
    "min": _min,
    "dot": _dot,
}
