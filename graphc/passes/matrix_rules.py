"""Derivatives of the matrix routines, over the same routines, so that they have derivatives too.

Sources: M. Giles, "An extended collection of matrix derivative results for forward and reverse mode
algorithmic differentiation" (2008); I. Murray, arXiv:1602.07527 (Cholesky); S. Walter, L. Lehmann,
"Algorithmic differentiation of linear algebra functions" (QR); J. Townsend, "Differentiating the
singular value decomposition" (2016).
"""

from __future__ import annotations

from math import prod
from typing import Any

from graphc.errors import AutogradError
from graphc.ir import sugar as P
from graphc.ir.meaning.linalg import factor_shapes
from graphc.ir.ops import OPS


def mm(a: Any, b: Any) -> Any:
    """a @ b over equal leading dimensions."""
    n = len(a.spec.shape) - 2
    batch = tuple((k, k) for k in range(n))
    return P.apply("dot", a, b, batch=batch, contract=((n + 1, n),))


def T(a: Any) -> Any:
    n = len(a.spec.shape)
    return P.transpose(a, (*range(n - 2), n - 1, n - 2))


def band(a: Any, upper: bool, strict: bool = False) -> Any:
    """The upper or lower triangle of a, the rest zero."""
    shape, rank = a.spec.shape, len(a.spec.shape)
    row, column = (a.emit(OPS["iota"], shape=shape, axis=rank - k, dtype="i64") for k in (2, 1))
    if upper:
        row, column = column, row
    return P.where(P.apply("lt" if strict else "le", column, row), a, 0.0)


def rows(v: Any, n: int) -> Any:
    """A vector as n equal rows."""
    shape = v.spec.shape
    return P.expand_over(v, (len(shape) - 1,), (*shape[:-1], n, shape[-1]))


def columns(v: Any, n: int) -> Any:
    shape = v.spec.shape
    return P.expand_over(v, (len(shape),), (*shape, n))


def scalar(v: Any, like: Any) -> Any:
    """One number a matrix, repeated over it."""
    rank = len(like.spec.shape)
    return P.expand_over(v, (rank - 2, rank - 1), like.spec.shape)


def eye_mask(like: Any) -> Any:
    """bool: whether on the diagonal."""
    shape, rank = like.spec.shape, len(like.spec.shape)
    row, column = (like.emit(OPS["iota"], shape=shape, axis=rank - k, dtype="i64") for k in (2, 1))
    return P.apply("eq", row, column)


def diagonal(v: Any) -> Any:
    """A vector as a diagonal matrix."""
    full = rows(v, v.spec.shape[-1])
    return P.where(eye_mask(full), full, 0.0)


def factors(packed: Any, op: str, x: Any, full: bool = False) -> list[Any]:
    """The factors of the decomposition of x."""
    *lead, m, n = x.spec.shape
    found, at = [], 0
    for shape in factor_shapes(op, m, n, full):
        size = prod(shape)
        part = P.slice(packed, (*(0 for _ in lead), at), (*lead, at + size))
        found.append(P.reshape(part, (*lead, *shape)))
        at += size
    return found


def inverse_difference(s: Any) -> Any:
    """1 / (s_j - s_i) off the diagonal; 0 on it, and where values are equal."""
    n = s.spec.shape[-1]
    d = rows(s, n) - columns(s, n)
    none = P.apply("eq", d, 0.0)
    return P.where(none, 0.0, 1.0 / P.where(none, 1.0, d))


# ---- the rules ---------------------------------------------------------------------------------


def cholesky(g: Any, z: Any, _x: Any) -> Any:
    inner = band(mm(T(z), g), upper=False)
    inner = P.where(eye_mask(inner), inner * 0.5, inner)
    half = P.apply("triangular_solve", T(z), inner, upper=True, unit=False)
    d = P.apply("triangular_solve", T(z), T(half), upper=True, unit=False)
    return (d + T(d)) * 0.5


def inv(g: Any, z: Any, _x: Any) -> Any:
    return -mm(mm(T(z), g), T(z))


def solve_matrix(g: Any, z: Any, a: Any, _b: Any) -> Any:
    return -mm(P.apply("solve", T(a), g), T(z))


def solve_right(g: Any, _z: Any, a: Any, _b: Any) -> Any:
    return P.apply("solve", T(a), g)


def triangular_matrix(g: Any, z: Any, a: Any, _b: Any, *, upper: bool, unit: bool) -> Any:
    right = triangular_right(g, z, a, _b, upper=upper, unit=unit)
    return -band(mm(right, T(z)), upper, strict=unit)


def triangular_right(g: Any, _z: Any, a: Any, _b: Any, *, upper: bool, unit: bool) -> Any:
    return P.apply("triangular_solve", T(a), g, upper=not upper, unit=unit)


def slogdet(g: Any, _z: Any, x: Any) -> Any:
    lead = g.spec.shape[:-1]
    log = P.reshape(P.slice(g, (*(0 for _ in lead), 1), (*lead, 2)), lead)
    return scalar(log, x) * T(P.apply("inv", x))


def det(g: Any, _z: Any, x: Any) -> Any:
    return scalar(g, x) * P.apply("cofactor", x)


def cofactor(g: Any, z: Any, x: Any) -> Any:
    """Where x is regular: z = det(x) * inv(x)^T."""
    turned = T(P.apply("inv", x))
    rank = len(x.spec.shape)
    return scalar(P.sum(g * z, (rank - 2, rank - 1)), x) * turned - mm(mm(z, T(g)), turned)


def qr(g: Any, z: Any, x: Any, *, full: bool) -> Any:
    """Of the reduced form; a wide matrix is square beside columns that are Q^T of the rest."""
    *lead, m, n = x.spec.shape
    if full and m > n:
        raise AutogradError(f"linalg.qr of {x.spec} in mode 'complete' has no derivative",
                            fix="use mode='reduced'")  # fmt: skip
    (q, r), (gq, gr) = factors(z, "qr", x, full), factors(g, "qr", x, full)
    if m >= n:
        return _qr_tall(q, r, gq, gr)
    zero = tuple(0 for _ in lead)

    def left(v: Any) -> Any:
        return P.slice(v, (*zero, 0, 0), (*lead, v.spec.shape[-2], m))

    def right(v: Any) -> Any:
        return P.slice(v, (*zero, 0, m), (*lead, v.spec.shape[-2], n))

    gq = gq + mm(right(x), T(right(gr)))
    tall = _qr_tall(q, left(r), gq, left(gr))
    return P.apply("concat", tall, mm(q, right(gr)), axis=len(lead) + 1)


def _qr_tall(q: Any, r: Any, gq: Any, gr: Any) -> Any:
    inner = mm(r, T(gr)) - mm(T(gq), q)
    symmetric = band(inner, upper=False) + T(band(inner, upper=False, strict=True))
    right = gq + mm(q, symmetric)
    return T(P.apply("triangular_solve", r, T(right), upper=True, unit=False))


def eigh(g: Any, z: Any, x: Any) -> Any:
    (values, vectors), (gw, gv) = factors(z, "eigh", x), factors(g, "eigh", x)
    inner = inverse_difference(values) * mm(T(vectors), gv) + diagonal(gw)
    inner = (inner + T(inner)) * 0.5  # x is symmetric, and so is its gradient
    return mm(mm(vectors, inner), T(vectors))


def svd(g: Any, z: Any, x: Any, *, full: bool) -> Any:
    """Of the reduced form."""
    m, n = x.spec.shape[-2:]
    if full and m != n:
        raise AutogradError(f"linalg.svd of {x.spec} with full_matrices has no derivative",
                            fix="use full_matrices=False")  # fmt: skip
    (u, s, vh), (gu, gs, gvh) = factors(z, "svd", x, full), factors(g, "svd", x, full)
    k, difference = s.spec.shape[-1], inverse_difference(s * s)
    left, right = mm(T(u), gu), mm(vh, T(gvh))
    inner = difference * (left - T(left)) * rows(s, k) + diagonal(gs)
    inner = inner + columns(s, k) * (difference * (right - T(right)))
    d = mm(mm(u, inner), vh)
    if m > k:
        d = d + mm((gu - mm(u, left)) / rows(s, m), vh)
    if n > k:
        d = d + mm(u, (gvh - mm(T(right), vh)) / columns(s, n))
    return d
