"""Derivatives of scatter_reduce: extremes share a cotangent equally among ties, products are exact
with zeros. Both are made of ops that have derivatives in turn."""

from __future__ import annotations

from typing import Any

from graphc.ir import sugar as P
from graphc.ir.types import i64


def target(g: Any, z: Any, x: Any, src: Any, index: Any, *, axis: int, mode: str) -> Any:
    if mode == "multiply":
        return g * _others(x, x, src, index, axis)
    at_top = P.cast(P.apply("eq", x, z), x.spec.dtype)
    return g * at_top / _winners(z, x, src, index, axis)


def source(g: Any, z: Any, x: Any, src: Any, index: Any, *, axis: int, mode: str) -> Any:
    def back(t: Any) -> Any:
        return P.apply("take_along", t, index, axis=axis)

    if mode == "multiply":
        return back(g) * _others(src, x, src, index, axis)
    at_top = P.cast(P.apply("eq", src, back(z)), src.spec.dtype)
    return back(g / _winners(z, x, src, index, axis)) * at_top


def _winners(z: Any, x: Any, src: Any, index: Any, axis: int) -> Any:
    """How many elements share each extreme, which share its cotangent equally."""
    places = P.apply("take_along", z, index, axis=axis)
    hits = P.cast(P.apply("eq", src, places), src.spec.dtype)
    among = P.put_along(hits, index, axis, x.spec.shape)
    return among + P.cast(P.apply("eq", x, z), x.spec.dtype)


def _others(y: Any, x: Any, src: Any, index: Any, axis: int) -> Any:
    """For each element of y (x or src), the product of all the others at its place."""

    def safe(t: Any) -> Any:
        return P.where(P.apply("eq", t, 0.0), 1.0, t)

    def zeros(t: Any) -> Any:
        return P.cast(P.apply("eq", t, 0.0), i64)

    total = P.apply("scatter_reduce", safe(x), safe(src), index, axis=axis, mode="multiply")
    put = P.put_along(zeros(src), index, axis, x.spec.shape)
    count = zeros(x) + put
    if y is not x:
        total, count = (P.apply("take_along", t, index, axis=axis) for t in (total, count))
    return P.where(P.apply("eq", count, zeros(y)), total / safe(y), 0.0)
