"""Elements change place."""

from __future__ import annotations

import numpy as np

from graphc.ir.types import Array, Shape


def reshape(x: Array, *, shape: Shape) -> Array:
    return x.reshape(shape)


def transpose(x: Array, *, perm: Shape) -> Array:
    return x.transpose(perm)


def expand(x: Array, *, shape: Shape) -> Array:
    """Dimensions of one element, repeated."""
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
    return np.stack([x[_taps(axis, k, count, step, dilation)] for k in range(size)], -1)


def fold(x: Array, *, axis: int, length: int, step: int, dilation: int) -> Array:
    """The adjoint of unfold: overlapping windows add up in order of k."""
    out = np.zeros((*x.shape[:axis], length, *x.shape[axis + 1 : -1]), x.dtype)
    for k in range(x.shape[-1]):
        out[_taps(axis, k, x.shape[axis], step, dilation)] += x[..., k]
    return out


def _taps(axis: int, k: int, count: int, step: int, dilation: int) -> tuple[slice, ...]:
    """Element k of each of `count` windows."""
    first = k * dilation
    along = slice(first, first + (count - 1) * step + 1 if count else first, step)
    return (*(slice(None),) * axis, along)


def diagonal(x: Array) -> Array:
    """x[.., i, i]."""
    return np.diagonal(x, axis1=-2, axis2=-1)
