"""Distributions of matrices, and of vectors by a matrix of low rank."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from graphc.distributions import constraints
from graphc.distributions.constraints import Constraints
from graphc.distributions.distribution import (
    Distribution,
    ExponentialFamily,
    Sample,
    broadcast_all,
    demanded,
    total,
)
from graphc.distributions.gammas import Beta
from graphc.distributions.multivariate_normal import ByFactor, one_matrix
from graphc.distributions.positive import Chi2
from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import linalg, special
from graphc.frontend.api.creation import arange, eye
from graphc.frontend.api.diagonals import diag_embed
from graphc.frontend.api.random import randn
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.modes import no_grad
from graphc.frontend.operands import broadcast_to
from graphc.frontend.promotion import is_number
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

__all__ = ["LKJCholesky", "LowRankMultivariateNormal", "Wishart"]


class LowRankMultivariateNormal(Distribution):
    """Normal vectors with covariance cov_factor cov_factor^T + diag(cov_diag)."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    parameters = ("loc", "cov_factor", "cov_diag")
    loc: Tensor
    cov_factor: Tensor
    cov_diag: Tensor

    def __init__(
        self,
        loc: Tensor,
        cov_factor: Tensor,
        cov_diag: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise InvalidArgument("loc must be at least one-dimensional.")
        event = loc.spec.shape[-1:]
        if cov_factor.dim() < 2 or cov_factor.spec.shape[-2:-1] != event:
            what = f"cov_factor must be a batch of matrices with shape {event[0]} x m"
            raise InvalidArgument(f"{what}, got {cov_factor.spec}")
        if cov_diag.spec.shape[-1:] != event:
            what = f"cov_diag must be a batch of vectors with shape {event}, got {cov_diag.spec}"
            raise InvalidArgument(what)
        try:
            batch = broadcast_shapes(
                loc.spec.shape[:-1], cov_factor.spec.shape[:-2], cov_diag.spec.shape[:-1]
            )
        except ShapeMismatch:
            raise InvalidArgument(
                f"Incompatible batch shapes: loc {loc.spec}, cov_factor {cov_factor.spec}, "
                f"cov_diag {cov_diag.spec}"
            ) from None
        self.loc = broadcast_to(loc, (*batch, *event))
        self.cov_factor = broadcast_to(cov_factor, (*batch, *cov_factor.spec.shape[-2:]))
        self.cov_diag = broadcast_to(cov_diag, (*batch, *event))
        super().__init__(batch, event, validate_args)

    def _capacitance(self) -> Tensor:
        """The Cholesky factor of I + W^T D^-1 W (Woodbury), which is of the rank's size."""
        w = self.cov_factor
        one = eye(w.spec.shape[-1], dtype=w.dtype, device=w.device)
        return linalg.cholesky(w.mT @ (w / self.cov_diag.unsqueeze(-1)) + one)

    @property
    def mean(self) -> Tensor:
        return self.loc

    mode = mean

    @property
    def variance(self) -> Tensor:
        return self.cov_factor.square().sum(-1) + self.cov_diag

    @property
    def covariance_matrix(self) -> Tensor:
        return self.cov_factor @ self.cov_factor.mT + diag_embed(self.cov_diag)

    @property
    def scale_tril(self) -> Tensor:
        root = E.sqrt(self.cov_diag).unsqueeze(-1)
        inner = self.cov_factor / root
        one = eye(root.spec.shape[-2], dtype=root.dtype, device=root.device)
        return root * linalg.cholesky(inner @ inner.mT + one)

    @property
    def precision_matrix(self) -> Tensor:
        turned = self.cov_factor.mT / self.cov_diag.unsqueeze(-2)
        a = linalg.solve_triangular(self._capacitance(), turned, upper=False)
        return diag_embed(self.cov_diag.reciprocal()) - a.mT @ a

    def rsample(self, sample_shape: Sample = ()) -> Tensor:
        shape = self._extended(sample_shape)
        rank = self.cov_factor.spec.shape[-1]
        own = randn((*shape[:-1], rank), dtype=self.loc.dtype, device=self.loc.device)
        rest = randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        moved = (self.cov_factor @ own.unsqueeze(-1)).squeeze(-1)
        return self.loc + moved + E.sqrt(self.cov_diag) * rest

    def _log_det(self) -> Tensor:
        inner = self._capacitance().diagonal(dim1=-2, dim2=-1).log().sum(-1)
        return 2 * inner + self.cov_diag.log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        away = value - self.loc
        inner = self.cov_factor.mT @ (away / self.cov_diag).unsqueeze(-1)
        factor = self._capacitance()
        lead = broadcast_shapes(inner.spec.shape[:-2], factor.spec.shape[:-2])
        factor = broadcast_to(factor, (*lead, *factor.spec.shape[-2:]))
        inner = broadcast_to(inner, (*lead, *inner.spec.shape[-2:]))
        less = linalg.solve_triangular(factor, inner, upper=False).square().sum((-2, -1))
        distance = (away.square() / self.cov_diag).sum(-1) - less
        n = self._event_shape[0]
        return -0.5 * (n * math.log(2 * math.pi) + self._log_det() + distance)

    def entropy(self) -> Tensor:
        n = self._event_shape[0]
        return 0.5 * (n * (1.0 + math.log(2 * math.pi)) + self._log_det())


class LKJCholesky(Distribution):
    """Cholesky factors of matrices of correlations [dim, dim] (Lewandowski et al. 2009)."""

    arg_constraints: ClassVar[Constraints] = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    parameters = ("concentration",)
    concentration: Tensor

    def __init__(
        self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None
    ) -> None:
        if not isinstance(dim, int) or dim < 2:
            what = "Expected dim to be an integer greater than or equal to 2. "
            raise InvalidArgument(f"{what}Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.spec.shape, (dim, dim), validate_args)

    @no_grad()
    def sample(self, sample_shape: Sample = ()) -> Tensor:
        """By the onion method: each row has a length of a beta and a direction of its own."""
        c = self.concentration.unsqueeze(-1)
        rows = arange(self.dim, dtype=c.dtype, device=c.device)
        before = (rows - 1).clamp(min=0)
        length = Beta(before + 0.5, c + 0.5 * (self.dim - 2) - 0.5 * before, validate_args=False)
        y = length.sample(sample_shape).unsqueeze(-1)
        drawn = randn(self._extended(sample_shape), dtype=c.dtype, device=c.device).tril(-1)
        size = E.sqrt(total(drawn.square()))
        w = E.sqrt(y) * E.where(size > 0, drawn / E.where(size > 0, size, 1.0), 0.0)
        tiny = 2.0**-1022 if w.dtype is f64 else 2.0**-126
        rest = (1 - total(w.square()).squeeze(-1)).clamp(min=tiny)
        return w + diag_embed(E.sqrt(rest))

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        c, n = self.concentration, self.dim
        order = 2 * (c - 1).unsqueeze(-1) + n - arange(2, n + 1, device=c.device).to(c.dtype)
        alpha = c + 0.5 * (n - 1)
        norm = (
            0.5 * (n - 1) * math.log(math.pi)
            + special.multigammaln(alpha - 0.5, n - 1)
            - special.lgamma(alpha) * (n - 1)
        )
        return (order * diagonal.log()).sum(-1) - norm


class Wishart(ByFactor, ExponentialFamily):
    """Sums of `df` outer products of normal vectors, by one of covariance, precision and factor."""

    has_rsample = True
    arg_constraints: ClassVar[Constraints] = {
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
        "df": constraints.greater_than(0),
    }
    support = constraints.positive_definite
    parameters = ("df", "covariance_matrix", "precision_matrix", "scale_tril", "_factor")
    df: Tensor

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = one_matrix(
            covariance_matrix=covariance_matrix, precision_matrix=precision_matrix,
            scale_tril=scale_tril,
        )  # fmt: skip
        event = matrix.spec.shape[-2:]
        degrees = matrix.new_full((), float(df)) if is_number(df) else df
        batch = broadcast_shapes(matrix.spec.shape[:-2], degrees.spec.shape)
        self.df = broadcast_to(degrees, batch)
        what = f"df of Wishart expected to be greater than ndim - 1 = {event[-1] - 1}."
        self.df = demanded(self.df, self.df > event[-1] - 1, what)
        matrix = broadcast_to(matrix, (*batch, *event))
        self.__dict__[name] = matrix
        super().__init__(batch, event, validate_args)
        self._factorize(name)

    def _degrees(self) -> Tensor:
        return self.df.unsqueeze(-1).unsqueeze(-1)

    @property
    def mean(self) -> Tensor:
        return self._degrees() * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        less = self._degrees() - self._event_shape[-1] - 1
        return E.where(less <= 0, math.nan, less) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        v = self.covariance_matrix
        d = v.diagonal(dim1=-2, dim2=-1)
        return self._degrees() * (v.square() + d.unsqueeze(-1) * d.unsqueeze(-2))

    def rsample(self, sample_shape: Sample = (), max_try_correction: int | None = None) -> Tensor:
        """By Bartlett's decomposition: chi-squares on the diagonal, normal numbers below it.

        `max_try_correction` is accepted; a sample that rounding makes singular is not drawn again.
        """
        p = self._event_shape[-1]
        rows = arange(p, dtype=self._factor.dtype, device=self._factor.device)
        chi = Chi2(self.df.unsqueeze(-1) - rows, validate_args=False).rsample(sample_shape)
        shape = self._extended(sample_shape)
        below = randn(shape, dtype=chi.dtype, device=chi.device).tril(-1)
        tiny = 2.0**-52 if chi.dtype is f64 else 2.0**-23
        factor = self._factor @ (below + diag_embed(E.sqrt(chi).clamp(min=tiny)))
        return factor @ factor.mT

    def _half_log_det(self) -> Tensor:
        return self._factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        value = self._check(value)
        p, df = self._event_shape[-1], self.df
        lead = broadcast_shapes(value.spec.shape[:-2], self._batch_shape)
        factor = broadcast_to(self._factor, (*lead, p, p))
        low = linalg.solve_triangular(factor, broadcast_to(value, (*lead, p, p)), upper=False)
        inner = linalg.solve_triangular(factor, low.mT, upper=False)
        trace = inner.diagonal(dim1=-2, dim2=-1).sum(-1)
        return (
            -df * (p * math.log(2) / 2 + self._half_log_det())
            - special.multigammaln(df / 2, p)
            + (df - p - 1) / 2 * linalg.slogdet(value).logabsdet
            - trace / 2
        )

    def entropy(self) -> Tensor:
        p, df = self._event_shape[-1], self.df
        rows = arange(p, dtype=df.dtype, device=df.device)
        slopes = special.digamma((df.unsqueeze(-1) - rows) / 2).sum(-1)
        return (
            (p + 1) * (p * math.log(2) / 2 + self._half_log_det())
            + special.multigammaln(df / 2, p)
            - (df - p - 1) / 2 * slopes
            + df * p / 2
        )
