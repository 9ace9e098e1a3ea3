"""The normal distribution over vectors."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.distribution import Distribution, Sample
from graphc.errors import InvalidArgument
from graphc.frontend.api import linalg
from graphc.frontend.api.creation import eye
from graphc.frontend.api.random import randn
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.operands import broadcast_to
from graphc.frontend.tensor import Tensor

__all__ = ["MultivariateNormal"]


def _from_precision(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse, by the factor of the matrix turned around."""
    factor = linalg.cholesky(precision.flip((-2, -1)))
    turned = factor.flip((-2, -1)).mT
    one = eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return linalg.solve_triangular(turned, one, upper=False)


def one_matrix(**named: Tensor | None) -> tuple[str, Tensor]:
    """The one that is given of covariance, precision and the covariance's factor, and its name."""
    given = {name: m for name, m in named.items() if m is not None}
    if len(given) != 1:
        raise InvalidArgument(
            "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        )
    ((name, matrix),) = given.items()
    if matrix.dim() < 2:
        raise InvalidArgument(f"{name} must be at least two-dimensional, with optional leading"
                              " batch dimensions")  # fmt: skip
    return name, matrix


class ByFactor(Distribution):
    """By one of three matrices; the others follow from the covariance's factor."""

    scale_tril: Tensor
    covariance_matrix: Tensor
    precision_matrix: Tensor
    _factor: Tensor

    def _factorize(self, name: str) -> None:
        """Find the factor by the matrix that was given."""
        matrix = self.__dict__[name]
        if name == "scale_tril":
            self._factor = matrix
        elif name == "covariance_matrix":
            self._factor = linalg.cholesky(matrix)
        else:
            self._factor = _from_precision(matrix)

    def __getattr__(self, name: str) -> Any:
        """Of the three matrices, those that were not given."""
        factor = self.__dict__.get("_factor")
        if name == "scale_tril" and factor is not None:
            return factor
        if name == "covariance_matrix" and factor is not None:
            return factor @ factor.mT
        if name == "precision_matrix" and factor is not None:
            return linalg.inv(factor @ factor.mT)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")


class MultivariateNormal(ByFactor):
    """With mean `loc` [.., n] and one of covariance, precision and the covariance's factor."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    parameters = ("loc", "covariance_matrix", "precision_matrix", "scale_tril", "_factor")
    loc: Tensor

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise InvalidArgument("loc must be at least one-dimensional.")
        name, matrix = one_matrix(
            covariance_matrix=covariance_matrix, precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )  # fmt: skip
        batch = broadcast_shapes(matrix.spec.shape[:-2], loc.spec.shape[:-1])
        event = loc.spec.shape[-1:]
        self.loc = broadcast_to(loc, (*batch, *event))
        matrix = broadcast_to(matrix, (*batch, *matrix.spec.shape[-2:]))
        self.__dict__[name] = matrix
        super().__init__(batch, event, validate_args)
        self._factorize(name)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        return self._factor.square().sum(-1)

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        drawn = randn(self._extended(sample_shape), dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + (self._factor @ drawn.unsqueeze(-1)).squeeze(-1)

    def _half_log_det(self) -> Tensor:
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        away = (value - self.loc).unsqueeze(-1)
        shape = broadcast_shapes(away.spec.shape[:-2], self._factor.spec.shape[:-2])
        factor = broadcast_to(self._factor, (*shape, *self._factor.spec.shape[-2:]))
        away = broadcast_to(away, (*shape, *away.spec.shape[-2:]))
        z = linalg.solve_triangular(factor, away, upper=False).squeeze(-1)
        n = self._event_shape[0]
        return (z.square().sum(-1) + n * math.log(2 * math.pi)) * -0.5 - self._half_log_det()

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        return 0.5 * n * (1.0 + math.log(2 * math.pi)) + self._half_log_det()
