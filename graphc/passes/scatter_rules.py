"""Derivatives of scatter_reduce: extremes share a cotangent equally among ties, products are exact
with zeros. Both are made of ops that have derivatives in turn; a product's is to be exact with up
to two zeros of one place, so what is 0 there (one of them, or both multiplied) is computed, not
said."""

from __future__ import annotations

from typing import Any

from graphc.ir import sugar as P
from graphc.ir.types import i64


def target(
    g: Any, z: Any, x: Any, src: Any, index: Any, *, axis: int, mode: str, again: bool = False
) -> Any:
    if mode == "multiply":
        return g * _others(x, x, src, index, axis, again)
    at_top = P.cast(P.apply("eq", x, z), x.spec.dtype)
    return g * at_top / _winners(z, x, src, index, axis)


def source(
    g: Any, z: Any, x: Any, src: Any, index: Any, *, axis: int, mode: str, again: bool = False
) -> Any:
    def back(t: Any) -> Any:
        return P.apply("take_along", t, index, axis=axis)

    if mode == "multiply":
        return back(g) * _others(src, x, src, index, axis, again)
    at_top = P.cast(P.apply("eq", src, back(z)), src.spec.dtype)
    return back(g / _winners(z, x, src, index, axis)) * at_top


def _winners(z: Any, x: Any, src: Any, index: Any, axis: int) -> Any:
    """How many elements share each extreme, which share its cotangent equally."""
    places = P.apply("take_along", z, index, axis=axis)
    hits = P.cast(P.apply("eq", src, places), src.spec.dtype)
    among = P.put_along(hits, index, axis, x.spec.shape)
    return among + P.cast(P.apply("eq", x, z), x.spec.dtype)


def _others(y: Any, x: Any, src: Any, index: Any, axis: int, again: bool) -> Any:
    """For each element of y (x or src), the product of all the others at its place."""

    def zero(t: Any) -> Any:
        return P.apply("eq", t, 0.0)

    def at_places(of_x: Any, of_src: Any) -> Any:
        found = of_x + P.put_along(of_src, index, axis, x.spec.shape)
        return found if y is x else P.apply("take_along", found, index, axis=axis)

    safe = [P.where(zero(t), 1.0, t) for t in (x, src)]
    total = P.apply("scatter_reduce", *safe, index, axis=axis, mode="multiply")
    total = total if y is x else P.apply("take_along", total, index, axis=axis)
    rest = at_places(*(P.cast(zero(t), i64) for t in (x, src))) - P.cast(zero(y), i64)
    others = total / safe[y is not x]
    if not again:  # times 0, not 0: a NaN or infinity among the others makes NaN of it
        return others * P.cast(P.apply("eq", rest, 0), x.spec.dtype)
    own, *zeros = (P.where(zero(t), t, 0.0) for t in (y, x, src))
    first = at_places(*zeros) - own
    second = (first * first - (at_places(*(t * t for t in zeros)) - own * own)) * 0.5
    few = P.where(P.apply("eq", rest, 1), first, P.where(P.apply("eq", rest, 2), second, 0.0))
    return others * P.where(P.apply("eq", rest, 0), 1.0, few)
