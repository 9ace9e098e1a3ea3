"""Singular values of a random sketch: the largest few of a large matrix, and reflectors applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc import return_types
from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend.api import creation, linalg, random, shapes
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import reductions as R
from graphc.frontend.api.linear import matmul
from graphc.frontend.api.matrix_functions import check_matrix, householder_product
from graphc.frontend.api.shapes import matrix_transpose
from graphc.frontend.operands import as_float
from graphc.frontend.registry import public

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "norm_except_dim",
    "orgqr",
    "ormqr",
    "pca_lowrank",
    "svd_lowrank",
    "triangular_solve",
]

Three = tuple["Tensor", "Tensor", "Tensor"]


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> Three:
    """U, S, V with A - M near U diag(S) V^T: of rank q, after `niter` steps of subspace iteration.

    A [..., N, K], M of the same shape or one that broadcasts -> [..., N, q], [..., q], [..., K, q].
    Takes one draw of the generator. Halko et al. 2009, algorithm 5.1.
    """
    check_matrix("svd_lowrank", A)
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    A = as_float(A)
    if M is not None:
        A = A - shapes.broadcast_to(M, A.spec.shape)
    wide = A.spec.shape[-2] < A.spec.shape[-1]
    A = matrix_transpose(A) if wide else A
    turned = matrix_transpose(A)
    sketch = random.randn(A.spec.shape[-1], q, dtype=A.dtype, device=A.device)
    Q = linalg.qr(matmul(A, sketch)).Q
    for _ in range(niter):
        Q = linalg.qr(matmul(turned, Q)).Q
        Q = linalg.qr(matmul(A, Q)).Q
    U, S, Vh = linalg.svd(matmul(matrix_transpose(Q), A), False)
    U, V = matmul(Q, U), matrix_transpose(Vh)
    return (V, S, U) if wide else (U, S, V)


def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2) -> Three:
    """`svd_lowrank` of the rows less their mean, unless `center` is false.

    [..., N, K] -> [..., N, q], [..., q], [..., K, q]; q is 6, N or K, the least, if not given.
    Raises InvalidArgument for a q beyond N or K.
    """
    check_matrix("pca_lowrank", A)
    least = min(A.spec.shape[-2:])
    if q is not None and not 0 <= q <= least:
        raise InvalidArgument(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={least}"
        )
    if niter < 0:
        raise InvalidArgument(f"niter(={niter}) must be non-negative integer")
    rows = as_float(A)
    if center:
        rows = rows - R.mean(rows, -2, True)
    return svd_lowrank(rows, min(6, least) if q is None else q, niter)


@public(method=True, out=True)
def triangular_solve(
    b: Tensor,
    A: Tensor,
    upper: bool = True,
    transpose: bool = False,
    unitriangular: bool = False,
) -> return_types.triangular_solve:
    """X with A X = b (`transpose`: A^T X = b), A's other triangle not read; and a copy of A.

    b [..., N, K], A [..., N, N] -> b's shape and A's, broadcast over the leading dimensions.
    """
    check_matrix("triangular_solve", A, True)
    used, above = (matrix_transpose(A), not upper) if transpose else (A, upper)
    found = linalg.solve_triangular(used, b, upper=above, unitriangular=unitriangular)
    lead = found.spec.shape[:-2]
    copy = shapes.broadcast_to(A, (*lead, *A.spec.shape[-2:])).clone()
    return return_types.triangular_solve(found, copy)


@public(method=True, out=True)
def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """`linalg.householder_product` by LAPACK's name. [..., N, M], [..., K] -> [..., N, M]."""
    return householder_product(input, input2)


@public(method=True, out=True)
def ormqr(
    input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """Q C (or C Q; `transpose`: by Q^T) with Q the product of the reflectors in `input`.

    input [..., N, K], input2 [..., K], input3 C [..., N, M] ([..., M, N] unless left) -> C's shape.
    """
    check_matrix("ormqr", input)
    check_matrix("ormqr", input3)
    n, k = input.spec.shape[-2:]
    if input3.spec.shape[-2 if left else -1] != n or input2.spec.shape[-1] > k:
        what = f"{input.spec}, {input2.spec} and {input3.spec} do not fit"
        raise ShapeMismatch(f"ormqr: {what}")
    if k < n:  # more columns, without reflectors, make the whole Q
        none = creation.zeros_like(input[..., :1]).expand(*input.spec.shape[:-1], n - k)
        input = shapes.cat([input, none], -1)
    Q = householder_product(input[..., :n], input2)
    Q = matrix_transpose(Q) if transpose else Q
    return matmul(Q, input3) if left else matmul(input3, Q)


def norm_except_dim(v: Tensor, pow: int = 2, dim: int = 0) -> Tensor:
    """The norm of each slice along `dim`, of the shape [1, ..., N, ..., 1]; -1: of all of v."""
    if dim == -1:
        return linalg.vector_norm(v, pow)
    axes = tuple(k for k in range(len(v.spec.shape)) if k != dim)
    return linalg.vector_norm(v, pow, axes, True) if axes else E.abs(v)
