"""The derivative of a product: of each factor, the product of all others."""

from __future__ import annotations

from math import inf, nan
from math import prod as count
from typing import Any

from graphc.ir import sugar as P
from graphc.ir.types import Shape, TensorSpec, bool_, i64


def prod(g: Any, _z: Any, x: Any, *, axes: Shape) -> Any:
    """The product of the others, exact with zeros, infinities and NaN, each of which counts only at
    other places than its own. As in PyTorch, which divides where it finds no zero at all, that of a
    NaN or infinity is NaN then, and two zeros among all that is multiplied leave nothing."""
    shape = x.spec.shape
    is_zero, is_nan = P.apply("eq", x, 0.0), P.apply("ne", x, x)
    is_inf = P.apply("eq", P.apply("abs", x), inf)
    odd = P.apply("or", is_nan, is_inf)
    plain = P.where(P.apply("or", is_zero, odd), P.where(is_inf, P.apply("sign", x), 1.0), x)
    others = P.expand_over(P.apply("prod", plain, axes=axes), axes, shape) / plain
    for which, factor in ((is_zero, 0.0), (is_inf, inf), (is_nan, nan)):
        mine = P.cast(which, i64)
        total = P.expand_over(P.sum(mine, axes), axes, shape) if axes else mine
        others = P.where(P.apply("eq", total, mine), others, others * factor)
    zeros = P.sum(P.cast(is_zero, i64), tuple(range(len(shape))))
    none, many = (P.expand(P.reshape(t, (1,) * len(shape)), shape) for t in (
        P.apply("eq", zeros, 0), P.apply("lt", 1, zeros)))  # fmt: skip
    others = P.where(P.apply("and", none, odd), nan, others)
    if len(axes) == len(shape):
        others = P.where(many, 0.0, others)
    return P.expand_over(g, axes, shape) * others


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
