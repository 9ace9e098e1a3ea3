"""LAPACK's decompositions over the last two dimensions. Matrices are f32 or f64.

A decomposition with several factors gives them one behind the other in its last dimension, each
flattened; `factor_shapes` says how to take them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from graphc.errors import LinAlgError
from graphc.ir.types import Array, Shape


def factor_shapes(op: str, m: int, n: int, full: bool = False) -> tuple[Shape, ...]:
    """The shapes of the factors of an m x n matrix."""
    k = min(m, n)
    if op == "qr":
        k = m if full else k
        return (m, k), (k, n)
    if op == "eigh":
        return (n,), (n, n)
    return (m, m if full else k), (k,), (n if full else k, n)


# ---- what NumPy holds at once: bytes, of the shapes of operands and result, and their items ------

DOUBLE = 8  # bytes: NumPy has LAPACK compute in float64, on copies of what is not, and rounds then


def held(args: Sequence[Shape], out: Shape, itemsize: int) -> int:
    """Copies of the operands, and a result."""
    copies = sum(map(prod, args)) if itemsize < DOUBLE else 0
    return DOUBLE * (copies + prod(out))


def held_by_tested(args: Sequence[Shape], out: Shape, itemsize: int) -> int:
    """The same, or a result and a boolean for each element that may be NaN."""
    return max(held(args, out, itemsize), itemsize * prod(out) + prod(args[0]))


def held_by_factors(args: Sequence[Shape], out: Shape, itemsize: int) -> int:
    """The same, or the factors and what they are packed into."""
    return max(held(args, out, itemsize), 2 * itemsize * prod(out))


def held_by_qr(args: Sequence[Shape], out: Shape, itemsize: int) -> int:
    """It copies its matrices in any case, for as long as it makes the factors and rounds `q`."""
    m, n = args[0][-2:]
    q = prod(out[:-1]) * m * (out[-1] // max(1, m + n))
    rounded = itemsize * q if itemsize < DOUBLE else 0
    return max(DOUBLE * (prod(args[0]) + prod(out)) + rounded, 2 * itemsize * prod(out))


def held_by_cofactor(args: Sequence[Shape], out: Shape, itemsize: int) -> int:
    """A decomposition into two such matrices; or those, one scaled, and a product."""
    return max(held((*args, out), out, itemsize), 4 * itemsize * prod(out))


# ---- meanings ------------------------------------------------------------------------------------


def _packed(x: Array, *factors: Array) -> Array:
    """The factors of the matrices x, flattened."""
    lead = x.shape[:-2]
    return np.concatenate([f.reshape(*lead, prod(f.shape[len(lead) :])) for f in factors], -1)


def _attempt(name: str, why: str, function: Callable[..., Array], *args: Array) -> Array:
    try:
        return function(*args)
    except np.linalg.LinAlgError:
        raise LinAlgError(f"linalg.{name}: {why}, shape {args[0].shape}") from None


SINGULAR = "the matrix is singular"


def cholesky(x: Array) -> Array:
    why = "the matrix is not positive-definite"
    low = _attempt("cholesky", why, np.linalg.cholesky, x)
    if np.isnan(low).any():  # LAPACK's test for a positive pivot lets NaN through
        raise LinAlgError(f"linalg.cholesky: {why}, shape {x.shape}")
    return low


def solve(a: Array, b: Array) -> Array:
    return _attempt("solve", SINGULAR, np.linalg.solve, a, b)


def inv(x: Array) -> Array:
    return _attempt("inv", SINGULAR, np.linalg.inv, x)


def det(x: Array) -> Array:
    return _nan_of_nan(x, np.linalg.det(x))


def slogdet(x: Array) -> Array:
    """[sign, log of the absolute value]."""
    sign, log = (_nan_of_nan(x, y) for y in np.linalg.slogdet(x))
    return np.stack([np.nan_to_num(sign, nan=0.0), log], -1)  # as `sign` has it: of NaN it is 0


def _nan_of_nan(x: Array, found: Array) -> Array:
    """LAPACK may take a NaN for a pivot of 0, and NumPy says that the determinant is 0, then."""
    return np.where(np.isnan(x).any((-2, -1)), np.nan, found).astype(x.dtype)


def cofactor(x: Array) -> Array:
    """det(x) * inv(x)^T, which exists for singular x too: the derivative of det."""
    u, s, vh = np.linalg.svd(x)
    n = s.shape[-1]
    others = np.where(np.eye(n, dtype=bool), 1, s[..., None, :]).prod(-1).astype(x.dtype)
    sign = np.linalg.det(u) * np.linalg.det(vh)
    return np.asarray(sign[..., None, None] * ((u * others[..., None, :]) @ vh), x.dtype)


def triangular_solve(a: Array, b: Array, *, upper: bool, unit: bool) -> Array:
    """By substitution, row by row; zeros on the diagonal give infinities, as in LAPACK."""
    n = a.shape[-1]
    x = np.zeros_like(b)
    for i in reversed(range(n)) if upper else range(n):
        done = slice(i + 1, n) if upper else slice(0, i)
        row = b[..., i, :] - (a[..., i : i + 1, done] @ x[..., done, :])[..., 0, :]
        x[..., i, :] = row if unit else row / a[..., i, i, None]
    return x


def qr(x: Array, *, full: bool) -> Array:
    return _packed(x, *np.linalg.qr(x, "complete" if full else "reduced"))


def eigh(x: Array) -> Array:
    """Ascending eigenvalues and vectors of a symmetric matrix, whose lower half is read."""
    if not np.isfinite(x).all():
        raise LinAlgError(f"linalg.eigh: the input has infinities or NaNs, shape {x.shape}")
    return _packed(x, *np.linalg.eigh(x))


def svd(x: Array, *, full: bool) -> Array:
    if not np.isfinite(x).all():
        raise LinAlgError(f"linalg.svd: the input has infinities or NaNs, shape {x.shape}")
    return _packed(x, *np.linalg.svd(x, full_matrices=full))
