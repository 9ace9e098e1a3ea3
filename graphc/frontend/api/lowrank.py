"""Singular values and principal components of the lowest rank, by products with a few columns.

Source: N. Halko, P.-G. Martinsson, J. Tropp, "Finding structure with randomness", 2009,
algorithms 4.4 and 5.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from graphc.errors import InvalidArgument
from graphc.frontend.api import linalg
from graphc.frontend.api.linear import matmul
from graphc.frontend.api.random import randn

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["pca_lowrank", "svd_lowrank"]


def _basis(A: Tensor, q: int, niter: int) -> Tensor:
    """q orthogonal columns that span most of what A's columns do. [..., M, N] -> [..., M, q]."""
    drawn = randn(A.shape[-1], q, dtype=A.dtype, device=A.device)
    basis = linalg.qr(matmul(A, drawn))[0]
    for _ in range(niter):
        across = linalg.qr(matmul(A.mT, basis))[0]
        basis = linalg.qr(matmul(A, across))[0]
    return basis


def svd_lowrank(
    A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """U, S, V with A - M near U diag(S) V^T, of rank q at most; it draws random numbers.

    [..., M, N] -> [..., M, q], [..., q], [..., N, q].
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    centred = A if M is None else A - M
    wide = A.shape[-2] < A.shape[-1]
    tall = centred.mT if wide else centred
    basis = _basis(tall, q, niter)
    u, s, vh = linalg.svd(matmul(basis.mT, tall), full_matrices=False)
    left, right = matmul(basis, u), vh.mT
    return (right, s, left) if wide else (left, s, right)


def pca_lowrank(
    A: Tensor, q: int | None = None, center: bool = True, niter: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """`svd_lowrank` of rows less their mean: V holds the principal directions.

    [..., M, N] -> [..., M, q], [..., q], [..., N, q]. Raises InvalidArgument for a rank that A
    cannot have.
    """
    most = min(A.shape[-2:])
    q = min(6, most) if q is None else q
    if not 0 <= q <= most:
        raise InvalidArgument(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={most}"
        )
    if niter < 0:
        raise InvalidArgument(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)
