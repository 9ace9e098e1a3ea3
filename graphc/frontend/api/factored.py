"""LU factors as LAPACK packs them, and what tells by a number where a decomposition fails.

Eager code asks LAPACK first, which knows only of a batch as a whole that it failed; then, and in
a compiled step, the columns are gone through one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from graphc import return_types
from graphc.errors import DTypeMismatch, LinAlgError, ShapeMismatch, Unsupported
from graphc.frontend.api import creation, diagonals, linalg, logic, shapes, sorting
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import reductions as R
from graphc.frontend.api.matrix_functions import (
    check_matrix,
    counted,
    eliminated,
    permutation,
    swapped,
    triangles,
)
from graphc.frontend.api.shapes import matrix_transpose
from graphc.frontend.checked import checked
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_to
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import TensorSpec, i32, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

SINGULAR = "the matrix is singular"


def _first(failed: Tensor) -> Tensor:
    """The number, from 1, of the first along the last dimension; 0 where none is."""
    *lead, n = failed.spec.shape
    if n == 0:
        return failed.full(0, TensorSpec(i32, (*lead,)))
    at = R.argmax(P.cast(failed, i32), -1) + 1
    return P.cast(E.where(R.any(failed, -1), at, 0), i32)


def _none(A: Tensor) -> Tensor:
    """That no matrix failed."""
    return A.full(0, TensorSpec(i32, A.spec.shape[:-2]))


def _asked(name: str, x: Tensor, info: Tensor, why: str, check: bool) -> Tensor:
    """x, or LinAlgError where `check` and a matrix failed."""
    if not check:
        return x
    fine = (info == 0).reshape((*info.spec.shape, 1, 1))
    return checked(x, fine, f"linalg.{name}: {why}", LinAlgError)


# ---- LU ------------------------------------------------------------------------------------------


def _factors(name: str, A: Tensor, pivot: bool, check: bool) -> tuple[Tensor, Tensor, Tensor]:
    check_matrix(name, A)
    if not pivot:
        raise Unsupported(f"linalg.{name}: pivot=False", fix="use pivot=True, which is stable")
    packed, _, rows = eliminated(A)
    pivots = P.cast(shapes.cat(rows, -1) + 1, i32) if rows else _no_pivots(A)
    info = _first(diagonals.diagonal(packed.detach(), 0, -2, -1) == 0)
    return _asked(name, packed, info, SINGULAR, check), pivots, info


def _no_pivots(A: Tensor) -> Tensor:
    return A.full(0, TensorSpec(i32, (*A.spec.shape[:-2], 0)))


@public(out=True)
def lu_factor(A: Tensor, *, pivot: bool = True) -> return_types.linalg_lu_factor:
    """The LU factors of A in one matrix, with the rows that were exchanged (int32, from 1).

    Raises LinAlgError where a pivot is 0. [..., N, M] -> [..., N, M], [..., K] with K the smaller.
    """
    return return_types.linalg_lu_factor(*_factors("lu_factor", A, pivot, True)[:2])


@public(out=True)
def lu_factor_ex(
    A: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> return_types.linalg_lu_factor_ex:
    """As `lu_factor`, with the number of the first pivot that is 0, or 0, in place of an error.

    [..., N, M] -> [..., N, M], [..., K], [...].
    """
    return return_types.linalg_lu_factor_ex(*_factors("lu_factor_ex", A, pivot, check_errors))


def _order(name: str, LU: Tensor, pivots: Tensor) -> Tensor:
    """For each row of the factors the row of what was factored."""
    *lead, m, n = LU.spec.shape
    if pivots.dtype is not i32:
        raise DTypeMismatch(f"{name}: pivots must be int32, got {pivots.spec}")
    if pivots.spec.shape != (*lead, min(m, n)):
        raise ShapeMismatch(f"{name}: pivots {pivots.spec} are not those of {LU.spec}")
    order = rows = counted(LU, -2)
    for k in range(min(m, n)):
        at = P.cast(pivots[..., k : k + 1], i64) - 1
        order = order.gather(-1, swapped(rows, k, at))
    return order


def _rows_of(x: Tensor, order: Tensor) -> Tensor:
    return x.gather(-2, broadcast_to(shapes.unsqueeze(order, -1), x.spec.shape))


@public(out=True)
def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """X with A X = B (or X A = B; `adjoint`: of A^T), of what `lu_factor` gives of A.

    [..., N, N], [..., N], [..., N, K] -> [..., N, K].
    """
    check_matrix("lu_solve", LU, True)
    check_matrix("lu_solve", B)
    if LU.dtype is not B.dtype:
        raise DTypeMismatch(f"linalg.lu_solve: dtypes differ: {LU.spec} and {B.spec}")
    if B.spec.shape[-2 if left else -1] != LU.spec.shape[-1]:
        raise ShapeMismatch(f"linalg.lu_solve: {LU.spec} and {B.spec} do not fit")
    if not left:
        turned = lu_solve(LU, pivots, matrix_transpose(B), adjoint=not adjoint)
        return matrix_transpose(turned)
    order = _order("linalg.lu_solve", LU, pivots)
    lead = broadcast_shapes(LU.spec.shape[:-2], B.spec.shape[:-2])
    order = broadcast_to(order, (*lead, order.spec.shape[-1]))
    B = broadcast_to(B, (*lead, *B.spec.shape[-2:]))
    solve = linalg.solve_triangular
    if adjoint:
        up = solve(matrix_transpose(LU), B, upper=False)
        found = solve(matrix_transpose(LU), up, upper=True, unitriangular=True)
        return _rows_of(found, sorting.argsort(order, -1))
    low = solve(LU, _rows_of(B, order), upper=False, unitriangular=True)
    return solve(LU, low, upper=True)


@public(out=True)
def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> return_types.lu_unpack:
    """P, L and U with A = P L U, of what `linalg.lu_factor` gives; empty what is not unpacked.

    [..., N, M], [..., K] -> [..., N, N], [..., N, K], [..., K, M] with K the smaller.
    """
    check_matrix("lu_unpack", LU_data)
    empty = LU_data.full(0, TensorSpec(LU_data.dtype, (0,)))
    low, up = triangles(LU_data) if unpack_data else (empty, empty)
    if not unpack_pivots:
        return return_types.lu_unpack(empty, low, up)
    order = _order("lu_unpack", LU_data, LU_pivots)
    return return_types.lu_unpack(permutation(order, LU_data), low, up)


# ---- with a number in place of an error ----------------------------------------------------------


def _tried(
    A: Tensor, at_once: Callable[[], Tensor], by_columns: Callable[[], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """A result, and which matrices have none."""
    if modes.trace is None:
        try:
            return at_once(), _none(A)
        except LinAlgError:
            pass
    return by_columns()


def _solved(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    packed, pivots, info = _factors("solve_ex", A, True, False)
    return lu_solve(packed, pivots, B), info


@public(out=True)
def inv_ex(A: Tensor, *, check_errors: bool = False) -> return_types.linalg_inv_ex:
    """The inverse, and where there is none the number of the first pivot that is 0, else 0.

    [..., N, N] -> [..., N, N], [...].
    """
    check_matrix("inv_ex", A, True)
    one = P.cast(creation.eye(A.spec.shape[-1], device=A.device), A.dtype)
    found, info = _tried(A, lambda: linalg.inv(A), lambda: _solved(A, one))
    return return_types.linalg_inv_ex(_asked("inv_ex", found, info, SINGULAR, check_errors), info)


@public(out=True)
def solve_ex(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False
) -> return_types.linalg_solve_ex:
    """X with A X = B (or X A = B), and where there is none the number of the first pivot that is 0.

    [..., N, N], [..., N, K] or [..., N] -> B's shape, [...].
    """
    check_matrix("solve_ex", A, True)
    a, b = A.spec.shape, B.spec.shape
    if len(b) == 1 or (len(a) - 1 == len(b) and b == a[:-1]):
        given = solve_ex(A, shapes.unsqueeze(B, -1), check_errors=check_errors)
        return return_types.linalg_solve_ex(shapes.squeeze(given.result, -1), given.info)
    if not left:
        turned = solve_ex(matrix_transpose(A), matrix_transpose(B), check_errors=check_errors)
        return return_types.linalg_solve_ex(matrix_transpose(turned.result), turned.info)
    found, info = _tried(A, lambda: linalg.solve(A, B), lambda: _solved(A, B))
    found = _asked("solve_ex", found, info, SINGULAR, check_errors)
    return return_types.linalg_solve_ex(found, info)


@public(out=True)
def cholesky_ex(
    A: Tensor, *, upper: bool = False, check_errors: bool = False
) -> return_types.linalg_cholesky_ex:
    """L as of `cholesky`, and where there is none the order of the first leading minor of A that is
    not positive-definite, else 0. [..., N, N] -> [..., N, N], [...]."""
    check_matrix("cholesky_ex", A, True)
    A = matrix_transpose(A) if upper else A
    found, info = _tried(A, lambda: linalg.cholesky(A), lambda: _roots(A))
    why = "the matrix is not positive-definite"
    found = _asked("cholesky_ex", found, info, why, check_errors)
    return return_types.linalg_cholesky_ex(matrix_transpose(found) if upper else found, info)


def _roots(A: Tensor) -> tuple[Tensor, Tensor]:
    """Cholesky's factor column by column; NaN where there is none."""
    rows, columns, failed = counted(A, -2), [], []
    for k in range(A.spec.shape[-1]):
        pivot = A[..., k, k : k + 1]
        good = pivot > 0
        failed.append(logic.logical_not(good.detach()))
        below = E.where(rows >= k, A[..., k], 0.0)
        columns.append(E.where(good, below / E.sqrt(E.where(good, pivot, 1.0)), 0.0))
        A = A - shapes.unsqueeze(columns[-1], -1) * shapes.unsqueeze(columns[-1], -2)
    if not columns:
        return A.clone(), _none(A)
    info = _first(shapes.cat(failed, -1))
    none = shapes.unsqueeze(shapes.unsqueeze(info != 0, -1), -1)
    return E.where(none, float("nan"), shapes.stack(columns, -1)), info
