"""Systems by a Cholesky factor that is known already, and of tensors as maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from graphc.errors import DTypeMismatch, ShapeMismatch
from graphc.frontend.api import creation, linalg, numerics, shapes
from graphc.frontend.api.matrix_functions import check_matrix
from graphc.frontend.api.shapes import matrix_transpose
from graphc.frontend.operands import broadcast_to
from graphc.frontend.registry import public
from graphc.ir import sugar as P
from graphc.ir.types import bool_

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["cholesky_inverse", "cholesky_solve"]


def _identity(like: Tensor) -> Tensor:
    return P.cast(creation.eye(like.spec.shape[-1], device=like.device), like.dtype)


@public(method=True, out=True)
def cholesky_solve(input: Tensor, L: Tensor, upper: bool = False) -> Tensor:
    """X with A X = input, of A = L L^T (upper: L^T L). [..., N, K], [..., N, N] -> [..., N, K]."""
    check_matrix("cholesky_solve", L, True)
    low = matrix_transpose(L) if upper else L
    inner = linalg.solve_triangular(low, input, upper=False)
    return linalg.solve_triangular(matrix_transpose(low), inner, upper=True)


@public(method=True, out=True)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of L L^T (upper: of L^T L). [..., N, N] -> [..., N, N]."""
    check_matrix("cholesky_inverse", L, True)
    return cholesky_solve(broadcast_to(_identity(L), L.spec.shape), L, upper)


# ---- systems of tensors ------------------------------------------------------------------------


@public(out=True)
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of A as a map from its last dimensions to its first `ind`.

    [*I, *J] -> [*J, *I].
    """
    if ind <= 0:
        raise ShapeMismatch(f"linalg.tensorinv: ind must be positive, got {ind}")
    head, tail = A.spec.shape[:ind], A.spec.shape[ind:]
    if math.prod(head) != math.prod(tail):
        raise ShapeMismatch(f"linalg.tensorinv: {A.spec} is not square at ind {ind}")
    n = math.prod(head)
    found: Tensor = linalg.inv(A.reshape(n, n)).reshape((*tail, *head))
    return found


@public(out=True)
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """X with tensordot(A, X, X.ndim) = B; `dims` of A are moved to the end first.

    [*B, *X], [*B] -> [*X].
    """
    if dims is not None:
        A = shapes.movedim(A, list(dims), [*range(-len(dims), 0)])
    tail = A.spec.shape[len(B.spec.shape) :]
    if math.prod(tail) != B.numel() or math.prod(A.spec.shape) != B.numel() ** 2:
        raise ShapeMismatch(f"linalg.tensorsolve: {A.spec} and {B.spec} do not fit")
    n = B.numel()
    found: Tensor = linalg.solve(A.reshape(n, n), B.reshape(n)).reshape(tail)
    return found


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Powers of the numbers, rising: [..., n] -> [..., n, N], by default n of them."""
    if x.dtype.is_half or x.dtype is bool_:
        raise DTypeMismatch(f"linalg.vander of {x.spec}", fix="use x.float()")
    count = (x.spec.shape or (1,))[-1] if N is None else N
    if count <= 1:
        raise ShapeMismatch(f"linalg.vander of {x.spec}: N must be greater than 1, got {count}")
    return numerics.powers(x if x.spec.shape else x.reshape(1), count)
