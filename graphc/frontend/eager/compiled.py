"""Eager operations by compiled code: products and convolutions of float32 that are too large for
NumPy, the error function, for which it has no loop, and what random draws round, which compiled
steps would round otherwise.

Whether one is decided by its shape alone, so a call repeated gives the same bits; but for one that
a handler asks for while a program runs, which NumPy computes. float64 stays with NumPy: what
compiled code is checked against shares no code with it. So do many products with one vector each:
they read memory once, however computed, and beside a cache of keys that grows, each call has
another shape, whose code would have to be compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from graphc.ir.ops import OPS, Attrs, Op
from graphc.ir.types import Array, Shape, TensorSpec, f32

# From how many floating-point operations on compiled code is worth it. Products: from where NumPy's
# BLAS would wake threads of its own, which keep spinning on the cores that ours need. Convolutions:
# from where NumPy takes a millisecond.
LARGE_DOT = 1 << 19
LARGE_CONV = 1 << 21
LARGE_COPY = 1 << 18  # elements in another order, from which on NumPy takes half a millisecond
AGAIN = 2  # runs by NumPy before one is compiled: much code runs once
KEPT = 4096  # ways to lie whose copies are counted

Runner = Callable[[Op, Sequence[Array], Attrs, TensorSpec], Array | None]
RUNNERS: list[Runner] = []  # the last one serves; whoever has a compiler adds it
Drawer = Callable[[Op, Sequence[Array], Sequence[bool], Attrs, TensorSpec], Array | None]
DRAWERS: list[Drawer] = []  # likewise; it is told which operands are numbers
_met: dict[tuple[Shape, Shape], int] = {}  # how many more NumPy makes
ROUNDING = frozenset({"elementwise", "contract"})  # the order of other sums is that of a whole step


def dot_compiled(x: Array, y: Array, attrs: Attrs) -> Array | None:
    """The product by compiled code, or None where it is not worth any."""
    if not RUNNERS or x.dtype != np.float32 or y.dtype != np.float32:
        return None
    spec = _dot(x.shape, y.shape, tuple(attrs.items()), LARGE_DOT)
    return None if spec is None else RUNNERS[-1](OPS["dot"], (x, y), attrs, spec)


def worth_of_dot(x: TensorSpec, y: TensorSpec, attrs: Attrs) -> TensorSpec | None:
    """The type of a product that is worth compiled code; None of another."""
    if not RUNNERS or not x.dtype is y.dtype is f32:
        return None
    return _dot(x.shape, y.shape, tuple(attrs.items()), LARGE_DOT)


@lru_cache(maxsize=4096)
def _dot(x: Shape, y: Shape, attrs: tuple[tuple[str, Any], ...], least: int) -> TensorSpec | None:
    pairs = dict(attrs)
    summed = [x[i] for i, _ in pairs["contract"]]
    taken = prod(summed) * prod(x[i] for i, _ in pairs["batch"])
    if pairs["batch"] and taken in (prod(x), prod(y)):
        return None
    return _worth(OPS["dot"], x, y, attrs, prod(summed), least)


def conv_compiled(x: Array, w: Array, attrs: Attrs) -> Array | None:
    """The convolution by compiled code, or None where it is not worth any."""
    if not RUNNERS or x.dtype != np.float32 or w.dtype != np.float32:
        return None
    op, terms = OPS["conv"], prod(w.shape[1:])
    spec = _worth(op, x.shape, w.shape, tuple(attrs.items()), terms, LARGE_CONV)
    return None if spec is None else RUNNERS[-1](op, (x, w), attrs, spec)


@lru_cache(maxsize=4096)
def _worth(
    op: Op, x: Shape, y: Shape, attrs: tuple[tuple[str, Any], ...], terms: int, least: int
) -> TensorSpec | None:
    """The type of the result; None if that is too little work."""
    spec = op.infer(TensorSpec(f32, x), TensorSpec(f32, y), **dict(attrs))
    return spec if 2 * prod(spec.shape) * terms >= least else None


def copied(x: Array) -> Array | None:
    """x row by row by compiled code, or None where NumPy does as well, or where it has not been met
    often: each way to lie has a program of its own."""
    if x.size < LARGE_COPY or not RUNNERS or x.dtype != np.float32:
        return None
    order = sorted(range(x.ndim), key=lambda k: -x.strides[k])
    if order == [*range(x.ndim)] or not x.transpose(order).flags.c_contiguous:
        return None
    known = x.shape, x.strides
    left = _met.get(known, AGAIN)
    if left:
        if len(_met) >= KEPT:
            _met.clear()
        _met[known] = left - 1
        return None
    return RUNNERS[-1](OPS["contiguous"], (x,), {"order": ()}, TensorSpec(f32, x.shape))


def erf(x: Array) -> Array:
    return _of_vector(OPS["erf"], x)


def erfc(x: Array) -> Array:
    return _of_vector(OPS["erfc"], x)


ELEMENTWISE: dict[str, Callable[[Array], Array]] = {"erf": erf, "erfc": erfc}


def _of_vector(op: Op, x: Array) -> Array:
    """What NumPy has no loop for, of float32 of any size: an element is the same everywhere."""
    made = None
    if DRAWERS and x.size and x.dtype == np.float32:
        made = DRAWERS[-1](op, (x,), (False,), {}, TensorSpec(f32, x.shape))
    return op.evaluate(x) if made is None else made


def drawn(
    op: Op, arrays: Sequence[Array], numbers: Sequence[bool], attrs: Attrs, spec: TensorSpec
) -> Array | None:
    """An operation of a random draw (`modes.draw`) by compiled code, or None where NumPy does as
    well: its logarithms differ from ours in their last bits, and so do its products of matrices."""
    rounds = op.kind in ROUNDING and not (op.exact or op.correct)
    if not (rounds and DRAWERS and spec.dtype.is_floating_point and spec.numel):
        return None
    return DRAWERS[-1](op, arrays, numbers, attrs, spec)
