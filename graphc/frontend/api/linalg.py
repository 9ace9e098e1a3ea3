"""Linear algebra: norms, decompositions and solvers, batched over leading dimensions.

Decompositions are routines (NumPy's LAPACK, also in compiled steps) on float32 or float64. Factors
come back as one array, which is cut apart here, so that derivatives are rules over whole matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Any

from graphc import return_types
from graphc.errors import DTypeMismatch, InvalidArgument, LinAlgError, ShapeMismatch
from graphc.frontend.api import creation, diagonals, linear, logic, shapes, ternary
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import reductions as R
from graphc.frontend.api.matrix_functions import check_matrix as _matrix
from graphc.frontend.api.matrix_functions import (
    eig,
    eigvals,
    householder_product,
    lu,
    matrix_exp,
    multi_dot,
)
from graphc.frontend.api.shapes import matrix_transpose
from graphc.frontend.dims import axes_of, axis_of, broadcast_shapes
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_to, kept
from graphc.frontend.promotion import is_number
from graphc.frontend.registry import public
from graphc.frontend.tape import record_rule, stepwise, unchanged
from graphc.ir import sugar as P
from graphc.ir.meaning.linalg import factor_shapes
from graphc.ir.ops import OPS
from graphc.ir.types import DType, TensorSpec, f64, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "LinAlgError",
    "cholesky",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "householder_product",
    "inv",
    "lstsq",
    "lu",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "multi_dot",
    "norm",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "vecdot",
    "vector_norm",
]

cross, matmul, vecdot = linear.cross_along, linear.matmul, linear.vecdot


# ---- arguments ---------------------------------------------------------------------------------


def _factors(op: str, x: Tensor, full: bool | None = None) -> list[Tensor]:
    """The factors of a decomposition."""
    *lead, m, n = x.spec.shape
    x = kept(x)
    attrs = {} if full is None else {"full": full}
    packed = x.emit(OPS[op], x, **attrs)
    found, at = [], 0
    for shape in factor_shapes(op, m, n, bool(full)):
        part = shapes.slice_along(packed, len(lead), at, at + prod(shape))
        found.append(P.reshape(part, (*lead, *shape)))
        at += prod(shape)
    return found


# ---- solving -----------------------------------------------------------------------------------


@public(method="inverse", out=True)
def inv(A: Tensor) -> Tensor:
    """The inverse. Raises LinAlgError if A is singular. [..., N, N], which stays."""
    return _matrix("inv", A, True).emit(OPS["inv"], A)


def _together(name: str, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    if A.dtype is not B.dtype:
        raise DTypeMismatch(f"linalg.{name}: dtypes differ: {A.spec} and {B.spec}")
    lead = broadcast_shapes(A.spec.shape[:-2], B.spec.shape[:-2])
    return (
        broadcast_to(A, (*lead, *A.spec.shape[-2:])),
        broadcast_to(B, (*lead, *B.spec.shape[-2:])),
    )


@public(out=True)
def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """X with A X = B (or X A = B); B is a batch of matrices, or of vectors if it has A's batch. A
    [..., N, N], B [..., N, K] or [..., N] -> B's shape."""
    _matrix("solve", A, True)
    a, b = A.spec.shape, B.spec.shape
    if len(b) == 1 or (len(a) - 1 == len(b) and b == a[:-1]):
        return shapes.squeeze(solve(A, shapes.unsqueeze(B, -1), left=True), -1)
    if len(b) < 2 or b[-2 if left else -1] != a[-1]:
        raise ShapeMismatch(f"linalg.solve: {A.spec} and {B.spec} do not fit")
    if not left:
        turned = solve(matrix_transpose(A), matrix_transpose(B))
        return matrix_transpose(turned)
    A, B = _together("solve", A, B)
    return A.emit(OPS["solve"], A, B)


@public(out=True)
def solve_triangular(
    A: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """X with A X = B (or X A = B), where of A only a triangle is read. A [..., N, N], B [..., N, K]
    -> B's shape."""
    _matrix("solve_triangular", A, True)
    a, b = A.spec.shape, B.spec.shape
    if len(b) < 2 or b[-2 if left else -1] != a[-1]:
        raise ShapeMismatch(f"linalg.solve_triangular: {A.spec} and {B.spec} do not fit")
    if not left:
        A, B = matrix_transpose(A), matrix_transpose(B)
        turned = solve_triangular(A, B, upper=not upper, unitriangular=unitriangular)
        return matrix_transpose(turned)
    A, B = _together("solve_triangular", A, B)
    return A.emit(OPS["triangular_solve"], A, B, upper=bool(upper), unit=bool(unitriangular))


@public(method=True, out=True)
def det(A: Tensor) -> Tensor:
    """The determinant; its gradient exists for singular matrices too. [..., N, N] -> [...]."""
    return _matrix("det", A, True).emit(OPS["det"], A)


@public(method=True, out=True)
def slogdet(A: Tensor) -> return_types.linalg_slogdet:
    """The sign of the determinant, and the logarithm of its absolute value. [..., N, N] -> two of
    [...]."""
    packed = _matrix("slogdet", A, True).emit(OPS["slogdet"], A)
    return return_types.linalg_slogdet(shapes.select(packed, -1, 0), shapes.select(packed, -1, 1))


@public(method=True)
def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where it is negative."""
    sign, log = slogdet(input)
    return E.where(sign < 0, math.nan, log)


# ---- decompositions ----------------------------------------------------------------------------


@public(out=True)
def cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    """L with A = L L^T, of a positive-definite matrix (or its transpose). [..., N, N], which
    stays."""
    low = _matrix("cholesky", A, True).emit(OPS["cholesky"], A)
    return matrix_transpose(low) if upper else low


@public(out=True)
def qr(A: Tensor, mode: str = "reduced") -> return_types.linalg_qr:
    """A = Q R; mode "reduced", "complete", or "r" for R alone. [..., N, M] -> [..., N, K], [..., K,
    M] with K the smaller."""
    if mode not in ("reduced", "complete", "r"):
        raise ShapeMismatch(f"linalg.qr: mode {mode!r} is none of 'reduced', 'complete', 'r'")
    full = mode == "complete"
    q, r = _factors("qr", _matrix("qr", A), full)
    return return_types.linalg_qr(A.full(0, TensorSpec(A.dtype, (0,))) if mode == "r" else q, r)


@public(out=True)
def eigh(A: Tensor, UPLO: str = "L") -> return_types.linalg_eigh:
    """Ascending eigenvalues and eigenvectors of a symmetric matrix, of which a half is read. [...,
    N, N] -> [..., N], [..., N, N]."""
    if UPLO.upper() not in ("L", "U"):
        raise ShapeMismatch(f"linalg.eigh: UPLO must be 'L' or 'U', got {UPLO!r}")
    x = _matrix("eigh", A, True)
    return return_types.linalg_eigh(
        *_factors("eigh", matrix_transpose(x) if UPLO.upper() == "U" else x)
    )


@public(out=True)
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of symmetric matrices [..., n, n] in rising order, [..., n]."""
    return eigh(A, UPLO).eigenvalues.contiguous()


@public(out=True)
def svd(
    A: Tensor, full_matrices: bool = True, *, driver: str | None = None
) -> return_types.linalg_svd:
    """A = U diag(S) Vh, singular values descending. `driver` chooses among cuSOLVER's: not here.
    [..., N, M] -> [..., N, N], [..., K], [..., M, M] with K the smaller, or K for N and M."""
    *_, m, n = _matrix("svd", A).spec.shape
    u, s, vh = _factors("svd", A, bool(full_matrices))
    if full_matrices and m != n and A.requires_grad and modes.grad:
        # What fills up the square matrices has no derivative; all else has that of the thin ones.
        k, whole = min(m, n), (u.detach(), vh.detach())
        u, s, vh = _factors("svd", A, False)
        u = shapes.cat([u, shapes.narrow(whole[0], -1, k, m - k)], -1)
        vh = shapes.cat([vh, shapes.narrow(whole[1], -2, k, n - k)], -2)
    return return_types.linalg_svd(u, s, vh)


@public(out=True)
def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values, descending. [..., N, M] -> [..., K], K the smaller."""
    return svd(A, False).S.contiguous()


# ---- over the decompositions -------------------------------------------------------------------


def _cutoff(s: Tensor, m: int, n: int, atol: Any, rtol: Any) -> Tensor:
    """What counts as zero among singular values: max(atol, rtol * the largest)."""
    if rtol is None:
        epsilon = 2.0**-52 if s.dtype is f64 else 2.0**-23
        rtol = max(m, n) * epsilon if atol is None else 0.0
    largest = R.amax(s, -1, True)
    bound = largest * rtol
    return bound if atol is None else ternary.clamp(bound, min=atol)


def _spectrum(A: Tensor, hermitian: bool) -> Tensor:
    if not hermitian:
        return svdvals(A)
    return E.abs(eigvalsh(A))


@public(out=True)
def matrix_rank(
    A: Tensor, tol: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False
) -> Tensor:
    """How many singular values exceed max(atol, rtol * the largest). [..., N, M] -> [...]."""
    *lead, m, n = _matrix("matrix_rank", A).spec.shape
    if 0 in (m, n):
        return creation.zeros(lead, dtype=i64, device=A.device)
    s = _spectrum(A.detach(), hermitian)
    return R.sum(s > _cutoff(s, m, n, tol if atol is None else atol, rtol), -1)


@public(out=True)
def pinv(
    A: Tensor, rcond: Any = None, *, atol: Any = None, rtol: Any = None, hermitian: bool = False
) -> Tensor:
    """The Moore-Penrose inverse; singular values up to max(atol, rtol * the largest) are zero.
    [..., N, M] -> [..., M, N]."""
    _matrix("pinv", A)
    rtol = rcond if rtol is None else rtol
    out = _pseudo_inverse(A.detach(), atol, rtol, hermitian)
    plain, version = out.detach(), A.storage.version

    def rule(gs: list[Any]) -> tuple[Tensor]:
        x = unchanged("pinv", A, version)
        # Made again where the gradient is to have a gradient: the result would hold its own node.
        z = pinv(x, atol=atol, rtol=rtol, hermitian=hermitian) if modes.grad else plain
        return (_pinv_gradient(gs[0], z, x),)

    record_rule("linalg_pinv", (out,), (A,), rule)
    return out


def _pinv_gradient(g: Tensor, z: Tensor, a: Tensor) -> Tensor:
    """Among matrices of one rank (Golub and Pereyra, 1973), so equal and cut values do no harm."""
    mm, T = linear.matmul, matrix_transpose
    g = T(g)
    if a.spec.shape[-2] <= a.spec.shape[-1]:
        inner = mm(g, z)
        turned = mm(inner, T(z))
        rest = mm(mm(T(z), z), g - mm(inner, a))
        return turned - T(mm(z, inner)) - mm(mm(a, z), turned) + rest
    inner = mm(z, g)
    turned = mm(T(z), inner)
    rest = mm(mm(g - mm(a, inner), z), T(z))
    return turned - T(mm(inner, z)) - mm(mm(turned, z), a) + rest


def _pseudo_inverse(A: Tensor, atol: Any, rtol: Any, hermitian: bool) -> Tensor:
    *lead, m, n = A.spec.shape
    if 0 in (m, n):
        return creation.zeros(*lead, n, m, dtype=A.dtype, device=A.device)
    if hermitian:
        values, vectors = eigh(A)
        kept = E.abs(values) > _cutoff(E.abs(values.detach()), m, n, atol, rtol)
        scaled = vectors * shapes.unsqueeze(_reciprocal(values, kept), -2)
        return linear.matmul(scaled, matrix_transpose(vectors))
    u, s, vh = svd(A, False)
    kept = s > _cutoff(s.detach(), m, n, atol, rtol)
    scaled = matrix_transpose(vh) * shapes.unsqueeze(_reciprocal(s, kept), -2)
    return linear.matmul(scaled, matrix_transpose(u))


def _reciprocal(s: Tensor, kept: Tensor) -> Tensor:
    return E.where(kept, E.reciprocal(E.where(kept, s, 1.0)), 0.0)


def lstsq(
    A: Tensor, B: Tensor, rcond: Any = None, *, driver: str | None = None
) -> return_types.linalg_lstsq:
    """X that minimises |A X - B|, the smallest of several: the pseudo-inverse of A times B.

    What else is given depends on the driver, as in PyTorch: the rank by all but "gels", residuals
    by all but "gelsy" (the default), singular values by "gelsd" and "gelss".

    A [..., N, M], B [..., N, K] -> X [..., M, K].
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ShapeMismatch(f"linalg.lstsq: driver {driver!r}")
    *_, m, n = _matrix("lstsq", A).spec.shape
    vector = len(B.spec.shape) == len(A.spec.shape) - 1
    rows = shapes.unsqueeze(B, -1) if vector else B
    if rows.spec.shape[-2] != m:
        raise ShapeMismatch(f"linalg.lstsq: {A.spec} and {B.spec} do not fit")
    a, b = _together("lstsq", A, rows)
    x = linear.matmul(pinv(a, rcond), b)
    nothing = A.full(0, TensorSpec(A.dtype, (0,)))
    residuals = nothing
    if m > n and driver not in (None, "gelsy"):
        d = linear.matmul(a, x) - b
        residuals = R.sum(d * d, -2)
    ranked, valued = driver != "gels", driver in ("gelsd", "gelss")
    rank = matrix_rank(A, rtol=rcond) if ranked else P.cast(nothing, i64)
    return return_types.linalg_lstsq(
        shapes.squeeze(x, -1) if vector else x, residuals, rank, svdvals(A) if valued else nothing
    )


@public(method=True, out=True)
def matrix_power(A: Tensor, n: int) -> Tensor:
    """A multiplied with itself n times, by repeated squaring; negative n: of its inverse. [..., N,
    N], which stays."""
    if len(A.spec.shape) < 2 or A.spec.shape[-1] != A.spec.shape[-2]:
        raise ShapeMismatch(f"linalg.matrix_power: needs square matrices, got {A.spec}")
    if n < 0:
        return matrix_power(inv(A), -n)
    out: Tensor | None = None
    while n:
        if n & 1:
            out = A if out is None else linear.matmul(out, A)
        n >>= 1
        A = linear.matmul(A, A) if n else A
    if out is None:
        eye = P.cast(creation.eye(A.spec.shape[-1], device=A.device), A.dtype)
        return stepwise(broadcast_to(eye, A.spec.shape).clone(), A)
    return out.clone() if out is A else out


# ---- norms -------------------------------------------------------------------------------------


@public(out=True)
def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """(sum |x|^ord)^(1/ord) over `dim` or all; inf and -inf: extremes; 0: how many are not zero.
    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`)."""
    if not is_number(ord):
        raise ShapeMismatch(f"linalg.vector_norm: ord must be a number, got {ord!r}")
    if not (x.dtype.is_floating_point or dtype is not None):
        raise DTypeMismatch(f"linalg.vector_norm: needs a floating dtype, got {x.spec}")
    x = x if dtype is None else P.cast(x, dtype)
    axes = axes_of(x, dim)
    if any(x.spec.shape[k] == 0 for k in axes) and (ord < 0 or ord == math.inf):
        raise ShapeMismatch(f"linalg.vector_norm: ord {ord} of an empty tensor, {x.spec}")
    return R.norm(x, ord, axes or None, keepdim)


@public(out=True)
def matrix_norm(
    A: Tensor,
    ord: Any = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """ "fro", "nuc", or 1, -1, inf, -inf (sums of columns, rows), 2, -2 (singular values). [..., N,
    M] -> [...]."""
    if len(A.spec.shape) < 2:
        raise ShapeMismatch(f"linalg.matrix_norm: needs at least 2 dimensions, got {A.spec}")
    if len(dim) != 2 or axis_of(A, dim[0]) == axis_of(A, dim[1]):
        raise ShapeMismatch(f"linalg.matrix_norm: dim must be two dimensions, got {dim}")
    A = A if dtype is None else P.cast(A, dtype)
    if not A.dtype.is_floating_point:
        raise DTypeMismatch(f"linalg.matrix_norm: needs a floating dtype, got {A.spec}")
    row, column = (axis_of(A, d) for d in dim)
    if ord == "fro":
        return R.norm(A, 2, (row, column), keepdim)
    rank = len(A.spec.shape)
    out = _matrix_norm(shapes.movedim(A, (row, column), (-2, -1)), ord)
    return P.unsqueeze(out, (row, column), rank) if keepdim else out


def _extreme(x: Tensor, ord: float) -> Tensor:
    """The largest along the last dimension (0 of none), or the smallest where ord is negative."""
    if ord < 0:
        return R.amin(x, -1)
    return R.amax(x, -1) if x.spec.shape[-1] else R.sum(x, -1)


def _matrix_norm(A: Tensor, ord: Any) -> Tensor:
    if ord == "nuc":
        return R.sum(svdvals(A), -1)
    if ord in (2, -2):
        return _extreme(svdvals(A), ord)
    if ord in (1, -1, math.inf, -math.inf):
        sums = R.sum(E.abs(A), -2 if abs(ord) == 1 else -1)
        return _extreme(sums, ord)
    what = f"linalg.matrix_norm: order {ord!r} is none of 'fro', 'nuc', inf, -inf, 1, -1, 2, -2"
    raise (InvalidArgument if isinstance(ord, str) else ShapeMismatch)(what)


@public(out=True)
def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *,
    dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """A matrix norm where two dimensions are named (or `ord` is given for a matrix), else of a
    vector; without `ord` the 2-norm of all elements.

    [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
    """
    if isinstance(ord, str) or (ord is not None and _two(A, dim)):
        return matrix_norm(A, ord, (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    if ord is not None and dim is None and len(A.spec.shape) > 2:
        raise ShapeMismatch(f"linalg.norm: ord needs a vector or matrix, or dim, got {A.spec}")
    return vector_norm(A, 2 if ord is None else ord, dim, keepdim, dtype=dtype)


def _two(A: Tensor, dim: Any) -> bool:
    if dim is None:
        return len(A.spec.shape) == 2
    return not isinstance(dim, int) and len(dim) == 2


@public(out=True)
def cond(A: Tensor, p: Any = None) -> Tensor:
    """The condition number by a norm: of A times that of its inverse; None: 2. [..., N, M] ->
    [...]."""
    _matrix("cond", A)
    if p in (None, 2, -2):
        s = svdvals(A)
        large, small = shapes.select(s, -1, 0), shapes.select(s, -1, -1)
        return small / large if p == -2 else large / small
    singular = logic.eq(det(A), 0)
    eye = P.cast(creation.eye(A.spec.shape[-1], device=A.device), A.dtype)
    regular = E.where(singular[..., None, None], eye, A)
    return E.where(singular, math.inf, matrix_norm(A, p) * matrix_norm(inv(regular), p))


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """A view of the diagonal of the last two dimensions. [..., N, M] -> [..., D]."""
    return diagonals.diagonal(A, offset, dim1, dim2)
