"""Weight norm, spectral norm and orthogonal weights as parametrizations."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.errors import InvalidArgument, InvalidIndex, Unsupported
from graphc.frontend.api import linalg
from graphc.frontend.api.creation import eye, tensor
from graphc.frontend.api.random import randn
from graphc.frontend.api.shapes import cat
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.nn.module import Module
from graphc.nn.utils.parametrize import register_parametrization
from graphc.nn.utils.reparametrize import as_matrix, first_vectors, norm_except, power_iteration

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


class _WeightNorm(Module):
    """weight = g v / |v| (Salimans and Kingma 2016)."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return weight_v * (weight_g / norm_except(weight_v, self.dim))

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Make `name` g v / |v|, with g as original0 and v as original1; norms over all but `dim`."""
    if getattr(module, name, None) is None:
        raise InvalidArgument(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return register_parametrization(module, name, _WeightNorm(dim), unsafe=True)


class _SpectralNorm(Module):
    """weight / sigma, its largest singular value by power iteration (Miyato et al. 2018)."""

    def __init__(
        self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ) -> None:
        super().__init__()
        if not -weight.dim() <= dim < weight.dim():
            raise InvalidIndex(f"Dimension out of range: {dim} of {weight.spec}")
        if n_power_iterations <= 0:
            raise InvalidArgument(
                "Expected n_power_iterations to be positive, but got "
                f"n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + weight.dim()
        self.eps = eps
        self.n_power_iterations = n_power_iterations
        if weight.dim() > 1:
            matrix = as_matrix(weight.detach(), self.dim)
            u, v = first_vectors(matrix, eps)
            self.register_buffer("_u", u)
            self.register_buffer("_v", v)
            with no_grad():  # a good start, as PyTorch has it
                power_iteration(matrix.t(), v, u, 15, eps)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return weight / (weight * weight).sum().sqrt().clamp(min=self.eps)
        matrix = as_matrix(weight, self.dim)
        u: Any = self._u
        v: Any = self._v
        if self.training:
            v, u = power_iteration(matrix.detach().t(), v, u, self.n_power_iterations, self.eps)
        else:
            u, v = u.clone(), v.clone()
        sigma: Tensor = (u * (matrix @ v)).sum()
        return weight / sigma

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Divide `name` by its largest singular value; `dim` counts the rows."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise InvalidArgument(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = int(type(module).__name__.startswith("ConvTranspose"))
    return register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )


MAPS = ("matrix_exp", "cayley", "householder")


class _Orthogonal(Module):
    """base times an orthogonal matrix: exp(A), the Cayley map of A (A skew), or reflections.

    With `use_trivialization` the base takes over what is assigned, and the trained matrix starts
    where its map gives the identity (Lezcano-Casado 2019).
    """

    base: Tensor | None

    def __init__(
        self, weight: Tensor, orthogonal_map: str, *, use_trivialization: bool = True
    ) -> None:
        super().__init__()
        self.orthogonal_map = orthogonal_map
        self.use_trivialization = use_trivialization
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        n, k = X.spec.shape[-2:]
        wide = n < k
        if wide:
            X, n, k = X.mT, k, n
        Q = _reflections(X) if self.orthogonal_map == "householder" else self._of_skew(X, n, k)
        if self.use_trivialization and self.base is not None:
            Q = self.base @ Q
        return Q.mT if wide else Q

    def _of_skew(self, X: Tensor, n: int, k: int) -> Tensor:
        low = X.tril()
        if n != k:
            low = cat([low, low.new_zeros((*low.spec.shape[:-1], n - k))], -1)
        A = low - low.mT
        if self.orthogonal_map == "matrix_exp":
            return linalg.matrix_exp(A)[..., :k]
        one = eye(n, dtype=A.dtype, device=A.device)
        return linalg.solve(one - A * 0.5, one + A * 0.5)[..., :k]

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        """The trained matrix that gives Q."""
        n, k = Q.spec.shape[-2:]
        tall = Q.mT if n < k else Q
        if not self.use_trivialization:
            if self.orthogonal_map != "householder":
                raise Unsupported(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            found = _reflectors(tall)
            return found.mT if n < k else found
        more = abs(n - k)
        if more:
            tall = cat(
                [tall, randn(*tall.spec.shape[:-1], more, dtype=Q.dtype, device=Q.device)], -1
            )
        self.base = _orthogonalized(tall)
        start = Q.new_zeros(Q.spec.shape)
        start.diagonal(dim1=-2, dim2=-1).fill_(-1.0)  # whose reflections are the identity
        return start


def _reflections(X: Tensor) -> Tensor:
    """The product of the reflections that the columns of X below the diagonal stand for."""
    A = X.tril(-1)
    tau = 2.0 / (1.0 + (A * A).sum(-2))
    signs = X.detach().diagonal(dim1=-2, dim2=-1).trunc().unsqueeze(-2)
    return linalg.householder_product(A, tau) * signs


def _reflectors(Q: Tensor) -> Tensor:
    """X whose `_reflections` are Q, by LAPACK's QR; the diagonal has the signs of that of R."""
    packed, tau = np.linalg.qr(Q.host(), mode="raw")
    made = np.ascontiguousarray(np.swapaxes(packed, -1, -2))
    k = made.shape[-1]
    signs = np.sign(made[..., range(k), range(k)])
    made[..., range(k), range(k)] = np.where(tau == 0, -signs, signs)
    return tensor(made, device=Q.device)


def _orthogonalized(A: Tensor) -> Tensor:
    """A itself if it is orthogonal, else the Q of its QR with R's diagonal positive."""
    q, r = linalg.qr(A)
    signs = r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    return q * signs


def orthogonal(
    module: Module,
    name: str = "weight",
    orthogonal_map: str | None = None,
    *,
    use_trivialization: bool = True,
) -> Module:
    """Make `name` a matrix with orthonormal columns (rows, if it is wide), through one of the maps
    "matrix_exp", "cayley" and "householder"."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise InvalidArgument(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.dim() < 2:
        raise InvalidArgument(f"Expected a matrix or batch of matrices, got {weight.spec}")
    if orthogonal_map is None:
        square = weight.shape[-1] == weight.shape[-2]
        orthogonal_map = "matrix_exp" if square else "householder"
    if orthogonal_map not in MAPS:
        raise InvalidArgument(f"orthogonal_map has to be one of {MAPS}. Got: {orthogonal_map}")
    made = _Orthogonal(weight, orthogonal_map, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)
