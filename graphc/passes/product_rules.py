"""The derivative of a product: of each factor, the product of all others."""

from __future__ import annotations

from math import prod as count
from typing import Any

from graphc.ir import sugar as P
from graphc.ir.types import Shape, TensorSpec, bool_, i64


def prod(g: Any, _z: Any, x: Any, *, axes: Shape) -> Any:
    """The product of the others, exact with zeros: with one zero only its own place counts."""
    shape, one = x.spec.shape, 1.0
    is_zero = P.apply("eq", x, 0.0)
    safe = P.where(is_zero, one, x)
    others = P.expand_over(P.apply("prod", safe, axes=axes), axes, shape) / safe
    zeros = P.sum(P.cast(is_zero, i64), axes)
    count = P.expand_over(zeros, axes, shape) if axes else zeros
    alone = P.apply("and", is_zero, P.apply("eq", count, 1))
    counts = P.apply("or", P.apply("eq", count, 0), alone)
    return P.expand_over(g, axes, shape) * P.where(counts, others, 0.0)


def prod_again(g: Any, _z: Any, x: Any, *, axes: Shape) -> Any:
    """The same, of multiplications alone, so that every further derivative is exact with zeros."""
    shape = x.spec.shape
    perm = (*(k for k in range(len(shape)) if k not in axes), *axes)
    moved = P.transpose(x, perm)
    kept = moved.spec.shape[: len(shape) - len(axes)]
    rows = P.reshape(moved, (*kept, count(shape[k] for k in axes)))
    back = tuple(sorted(perm, key=perm.__getitem__))
    others = P.transpose(P.reshape(_others(rows), moved.spec.shape), back)
    return P.expand_over(g, axes, shape) * others


def _others(x: Any) -> Any:
    """At each place of a row the product of all others, by halves."""
    *kept, n = x.spec.shape
    if n < 2:  # on the tape, so that there is a second derivative, of 0
        return P.where(x.full(True, TensorSpec(bool_, x.spec.shape)), 1.0, x)
    half, none = (n + 1) // 2, (0,) * len(kept)
    pairs = P.reshape(P.pad(x, (*none, 0), (*none, 2 * half - n), 1.0), (*kept, half, 2))
    left, right = (
        P.reshape(P.slice(pairs, (*none, 0, k), (*kept, half, k + 1)), (*kept, half))
        for k in (0, 1)
    )
    rest = _others(left * right)
    sides = (P.reshape(rest * side, (*kept, half, 1)) for side in (right, left))
    whole = P.reshape(P.apply("concat", *sides, axis=len(kept) + 1), (*kept, 2 * half))
    return P.slice(whole, (*none, 0), (*kept, n))
