"""Linear algebra under the names it has beside `linalg`, some with older signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc import return_types
from graphc.frontend.api import factored, linalg
from graphc.frontend.api.factored import lu_unpack
from graphc.frontend.api.shapes import matrix_transpose
from graphc.frontend.registry import public
from graphc.ir.types import TensorSpec

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = [
    "cholesky",
    "det",
    "inverse",
    "logdet",
    "lu",
    "lu_solve",
    "lu_unpack",
    "matrix_exp",
    "matrix_power",
    "pinverse",
    "qr",
    "slogdet",
    "svd",
]


@public(out=True)
def inverse(input: Tensor) -> Tensor:
    """The inverse of each matrix. [..., N, N], which stays."""
    return linalg.inv(input)


def matrix_exp(input: Tensor) -> Tensor:
    """The exponential of each square matrix. [..., N, N], which stays."""
    return linalg.matrix_exp(input)


def det(input: Tensor) -> Tensor:
    """The determinant of each matrix. [..., N, N] -> [...]."""
    return linalg.det(input)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant: NaN where that is negative. [..., N, N] -> [...]."""
    return linalg.logdet(input)


@public(out=True)
def slogdet(input: Tensor) -> return_types.slogdet:
    """The sign and the logarithm of the absolute determinant. [..., N, N] -> two of [...]."""
    return return_types.slogdet(*linalg.slogdet(input))


@public(out=True)
def matrix_power(input: Tensor, n: int) -> Tensor:
    """Each matrix multiplied with itself n times; its inverse where n is negative.

    [..., N, N], which stays.
    """
    return linalg.matrix_power(input, n)


@public(method=True, out=True)
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """L with input = L L^T (or its transpose). [..., N, N], which stays."""
    return linalg.cholesky(input, upper=upper)


@public(method=True, out=True)
def qr(input: Tensor, some: bool = True) -> return_types.qr:
    """input = Q R, reduced unless `some` is false.

    [..., N, M] -> [..., N, K], [..., K, M] with K the smaller.
    """
    return return_types.qr(*linalg.qr(input, "reduced" if some else "complete"))


@public(method=True, out=True)
def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> return_types.svd:
    """input = U diag(S) V^T, with V itself; zeros for U and V unless `compute_uv`.

    [..., N, M] -> [..., N, K], [..., K], [..., M, K] with K the smaller.
    """
    if not compute_uv:
        *lead, m, n = input.spec.shape
        u, v = (input.full(0, TensorSpec(input.dtype, (*lead, k, k))) for k in (m, n))
        return return_types.svd(u, linalg.svdvals(input), v)
    u, s, vh = linalg.svd(input, not some)
    return return_types.svd(u, s, matrix_transpose(vh))


@public(method=True)
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False) -> tuple[Tensor, ...]:
    """The former name of `linalg.lu_factor` and, with `get_infos`, of `linalg.lu_factor_ex`.

    [..., N, M] -> [..., N, M], [..., K] with K the smaller, and [...].
    """
    if get_infos:
        return factored.lu_factor_ex(A, pivot=pivot)
    return tuple(factored.lu_factor(A, pivot=pivot))


@public(method=True, out=True)
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """X with A X = b, of what `linalg.lu_factor` gives of A.

    [..., N, K], [..., N, N], [..., N] -> [..., N, K].
    """
    return factored.lu_solve(LU_data, LU_pivots, b)


@public(method=True)
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse; singular values up to rcond * the largest count as zero.

    [..., N, M] -> [..., M, N].
    """
    return linalg.pinv(input, rcond)
