"""Systems by factors that are known already, and decompositions that tell instead of raising."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc import return_types
from graphc.errors import InvalidArgument, LinAlgError, ShapeMismatch
from graphc.frontend.api import creation, diagonals, linalg, linear, logic, shapes
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import reductions as R
from graphc.frontend.api.matrix_functions import _eliminated, check_matrix, householder_product
from graphc.frontend.api.shapes import matrix_transpose
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_to
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import i32

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "cholesky_inverse",
    "cholesky_solve",
    "lu_solve",
    "lu_unpack",
    "orgqr",
    "ormqr",
    "triangular_solve",
]


def _identity(like: Tensor) -> Tensor:
    return P.cast(creation.eye(like.spec.shape[-1], device=like.device), like.dtype)


@public(method=True, out=True)
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = input, of A = L L^T (upper: L^T L)."""
    check_matrix("cholesky_solve", L, True)
    low = matrix_transpose(L) if upper else L
    inner = linalg.solve_triangular(low, input, upper=False)
    return linalg.solve_triangular(matrix_transpose(low), inner, upper=True)


@public(method=True, out=True)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L L^T (upper: of L^T L)."""
    check_matrix("cholesky_inverse", L, True)
    return cholesky_solve(broadcast_to(_identity(L), L.spec.shape), L, upper)


@public(method=True, out=True)
def triangular_solve(
    input: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> return_types.triangular_solve:
    """X with A X = input (transpose: A^T X), where of A a triangle is read; and A."""
    check_matrix("triangular_solve", A, True)
    low = matrix_transpose(A) if transpose else A
    found = linalg.solve_triangular(
        low, input, upper=bool(upper) != bool(transpose), unitriangular=unitriangular
    )
    return return_types.triangular_solve(found, A.clone())


@public(method=True, out=True)
def orgqr(input: Tensor, tau: Tensor) -> Tensor:
    """`linalg.householder_product`."""
    return householder_product(input, tau)


@public(method=True, out=True)
def ormqr(
    input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """The product of the orthogonal matrix of all reflections with `other`, on either side."""
    check_matrix("ormqr", input)
    n, k = input.spec.shape[-2], input.spec.shape[-1]
    if k < n:
        more = (*input.spec.shape[:-1], n - k)
        zeros = creation.zeros(more, dtype=input.dtype, device=input.device)
        input = shapes.cat([input, zeros], -1)
    q = householder_product(input[..., :n], tau)
    q = matrix_transpose(q) if transpose else q
    return linear.matmul(q, other) if left else linear.matmul(other, q)


# ---- L U ---------------------------------------------------------------------------------------


def lu_factor(A: Tensor, *, pivot: bool = True) -> return_types.linalg_lu_factor:
    """L below the diagonal and U above in one matrix, and LAPACK's pivots, which count from 1."""
    found = lu_factor_ex(A, pivot=pivot)
    return return_types.linalg_lu_factor(found.LU, found.pivots)


def lu_factor_ex(
    A: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> return_types.linalg_lu_factor_ex:
    """`lu_factor`, and for each matrix the first pivot that is 0, counted from 1, else 0."""
    check_matrix("lu_factor", A)
    if not pivot:
        raise InvalidArgument("linalg.lu_factor: pivot=False", fix="use pivot=True, it is stable")
    packed, order = _eliminated(A)
    info = _first_zero(packed)
    if check_errors and modes.trace is None and bool((info != 0).any()):
        raise LinAlgError(f"linalg.lu_factor: {A.spec} is singular")
    k = min(A.spec.shape[-2:])
    return return_types.linalg_lu_factor_ex(packed, _pivots(order, k), info)


def _first_zero(packed: Tensor) -> Tensor:
    zero = logic.eq(packed.detach().diagonal(dim1=-2, dim2=-1), 0)
    n = zero.spec.shape[-1]
    if not n:
        return creation.zeros(packed.spec.shape[:-2], dtype=i32, device=packed.device)
    places = creation.arange(1, n + 1, device=packed.device)
    first = R.amin(E.where(zero, places, n + 1), -1)
    return P.cast(E.where(first > n, 0, first), i32)


def _pivots(order: Tensor, count: int) -> Tensor:
    """The swaps, one after another, that lead to an order of rows."""
    m = order.spec.shape[-1]
    rows = broadcast_to(creation.arange(m, device=order.device), order.spec.shape)
    now, found = rows, []
    for k in range(count):
        at = R.argmax(P.cast(now == order[..., k : k + 1], i32), -1, True)
        found.append(at + 1)
        swap = E.where(rows == k, at, E.where(rows == at, k, rows))
        now = now.gather(-1, swap)
    if not found:
        return creation.zeros((*order.spec.shape[:-1], 0), dtype=i32, device=order.device)
    return P.cast(shapes.cat(found, -1), i32)


def _permuted(pivots: Tensor, m: int) -> Tensor:
    """The row of A that stands in each row after all swaps."""
    rows = broadcast_to(creation.arange(m, device=pivots.device), (*pivots.spec.shape[:-1], m))
    order = rows
    for k in range(pivots.spec.shape[-1]):
        at = pivots[..., k : k + 1].long() - 1
        swap = E.where(rows == k, at, E.where(rows == at, k, rows))
        order = order.gather(-1, swap)
    return order


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> return_types.lu_unpack:
    """P, L and U of what `lu_factor` gives; empty what is not asked for."""
    *_, m, n = check_matrix("lu_unpack", LU_data).spec.shape
    k = min(m, n)
    nothing = LU_data.new_zeros((0,))
    p, low, up = nothing, nothing, nothing
    if unpack_pivots:
        order = _permuted(LU_pivots, m)
        rows = creation.arange(m, device=LU_data.device)
        p = P.cast(shapes.unsqueeze(order, -2) == shapes.unsqueeze(rows, -1), LU_data.dtype)
    if unpack_data:
        one = P.cast(creation.eye(m, k, device=LU_data.device), LU_data.dtype)
        low = diagonals.tril(LU_data[..., :k], -1) + one
        up = diagonals.triu(LU_data[..., :k, :])
    return return_types.lu_unpack(p, low, up)


def lu_solve_factored(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """X with A X = B (or X A = B) by the factors of A; adjoint: of A^T."""
    check_matrix("lu_solve", LU, True)
    if not left:
        turned = lu_solve_factored(LU, pivots, matrix_transpose(B), adjoint=not adjoint)
        return matrix_transpose(turned)
    n = LU.spec.shape[-1]
    lead = broadcast_shapes(LU.spec.shape[:-2], B.spec.shape[:-2])
    B = broadcast_to(B, (*lead, *B.spec.shape[-2:]))
    order = broadcast_to(_permuted(pivots, n), (*lead, n))
    if not adjoint:
        rows = broadcast_to(shapes.unsqueeze(order, -1), B.spec.shape)
        inner = linalg.solve_triangular(LU, B.gather(-2, rows), upper=False, unitriangular=True)
        return linalg.solve_triangular(LU, inner, upper=True)
    turned = matrix_transpose(LU).contiguous()
    inner = linalg.solve_triangular(turned, B, upper=False)
    inner = linalg.solve_triangular(turned, inner, upper=True, unitriangular=True)
    back = shapes.unsqueeze(order.argsort(-1), -1)
    return inner.gather(-2, broadcast_to(back, inner.spec.shape))


@public(method=True, out=True)
def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with A X = input by the factors of A that `linalg.lu_factor` gives."""
    return lu_solve_factored(LU_data, LU_pivots, input)


# ---- told, not raised --------------------------------------------------------------------------


def _regular(A: Tensor) -> tuple[Tensor, Tensor]:
    """A with the identity in the place of singular matrices, and their first zero pivot."""
    singular = logic.eq(linalg.det(A.detach()), 0)
    if modes.trace is None and not bool(singular.any()):
        return A, creation.zeros(A.spec.shape[:-2], dtype=i32, device=A.device)
    info = E.where(singular, _first_zero(_eliminated(A.detach())[0]), 0)
    safe = E.where(singular[..., None, None], _identity(A), A)
    return safe, P.cast(info, i32)


def inv_ex(A: Tensor, *, check_errors: bool = False) -> return_types.linalg_inv_ex:
    """The inverse, and for each matrix 0, or where elimination fails, counted from 1."""
    check_matrix("inv_ex", A, True)
    if check_errors:
        zeros = creation.zeros(A.spec.shape[:-2], dtype=i32, device=A.device)
        return return_types.linalg_inv_ex(linalg.inv(A), zeros)
    safe, info = _regular(A)
    found = linalg.inv(safe)
    if safe is not A:
        found = E.where((info != 0)[..., None, None], math.nan, found)
    return return_types.linalg_inv_ex(found, info)


def solve_ex(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False
) -> return_types.linalg_solve_ex:
    """X with A X = B (or X A = B), and for each matrix 0, or where elimination fails."""
    check_matrix("solve_ex", A, True)
    if check_errors:
        zeros = creation.zeros(A.spec.shape[:-2], dtype=i32, device=A.device)
        return return_types.linalg_solve_ex(linalg.solve(A, B, left=left), zeros)
    safe, info = _regular(A)
    return return_types.linalg_solve_ex(linalg.solve(safe, B, left=left), info)


def cholesky_ex(
    A: Tensor, *, upper: bool = False, check_errors: bool = False
) -> return_types.linalg_cholesky_ex:
    """The factor, and for each matrix 0, or the first leading minor that is not positive."""
    check_matrix("cholesky_ex", A, True)
    if check_errors or modes.trace is None:
        try:
            zeros = creation.zeros(A.spec.shape[:-2], dtype=i32, device=A.device)
            return return_types.linalg_cholesky_ex(linalg.cholesky(A, upper=upper), zeros)
        except LinAlgError:
            if check_errors:
                raise
    info = _failing_minor(A.detach())
    good = (info == 0)[..., None, None]
    low = linalg.cholesky(E.where(good, A, _identity(A)))
    return return_types.linalg_cholesky_ex(matrix_transpose(low) if upper else low, info)


def _failing_minor(A: Tensor) -> Tensor:
    """The first column, from 1, at which Cholesky's algorithm fails; 0 where it does not."""
    n = A.spec.shape[-1]
    rows = creation.arange(n, device=A.device)
    info = creation.zeros(A.spec.shape[:-2], dtype=i32, device=A.device)
    rest = A
    for k in range(n):
        pivot = rest[..., k, k]
        good = pivot > 0
        info = P.cast(E.where((info == 0) & ~good, k + 1, info), i32)
        root = E.sqrt(E.where(good, pivot, 1.0))
        column = E.where(rows < k, 0.0, rest[..., :, k]) / shapes.unsqueeze(root, -1)
        rest = rest - shapes.unsqueeze(column, -1) * shapes.unsqueeze(column, -2)
    return info


# ---- systems of tensors ------------------------------------------------------------------------


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last dimensions to its first `ind`."""
    if ind <= 0:
        raise ShapeMismatch(f"linalg.tensorinv: ind must be positive, got {ind}")
    head, tail = A.spec.shape[:ind], A.spec.shape[ind:]
    if math.prod(head) != math.prod(tail):
        raise ShapeMismatch(f"linalg.tensorinv: {A.spec} is not square at ind {ind}")
    n = math.prod(head)
    found: Tensor = linalg.inv(A.reshape(n, n)).reshape((*tail, *head))
    return found


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to the end first."""
    if dims is not None:
        A = shapes.movedim(A, list(dims), [*range(-len(dims), 0)])
    tail = A.spec.shape[len(B.spec.shape) :]
    if math.prod(tail) != B.numel() or math.prod(A.spec.shape) != B.numel() ** 2:
        raise ShapeMismatch(f"linalg.tensorsolve: {A.spec} and {B.spec} do not fit")
    n = B.numel()
    found: Tensor = linalg.solve(A.reshape(n, n), B.reshape(n)).reshape(tail)
    return found


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers of the numbers, rising: [..., n] -> [..., n, N]."""
    count = x.spec.shape[-1] if N is None else N
    if count < 1:
        raise ShapeMismatch(f"linalg.vander: N must be greater than 1, got {count}")
    columns = [creation.ones_like(x)]
    for _ in range(count - 1):
        columns.append(columns[-1] * x)
    return shapes.stack(columns, -1)
