"""Divergences between the distributions that are less common, and between those of two kinds."""

from __future__ import annotations

import math
from typing import Any

from graphc.distributions.bounded import ContinuousBernoulli
from graphc.distributions.continuous import Normal, Uniform
from graphc.distributions.counts import Binomial, Geometric, Poisson
from graphc.distributions.gammas import Gamma
from graphc.distributions.independent import summed_last
from graphc.distributions.kl import kl_divergence, register_kl
from graphc.distributions.location_scale import Cauchy, Gumbel, HalfNormal, Laplace
from graphc.distributions.matrix_valued import LowRankMultivariateNormal
from graphc.distributions.multivariate_normal import MultivariateNormal
from graphc.distributions.one_hot import OneHotCategorical
from graphc.distributions.positive import Exponential, Pareto
from graphc.distributions.transformed import TransformedDistribution
from graphc.errors import Unsupported
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import special
from graphc.frontend.checked import checked
from graphc.frontend.tensor import Tensor

EULER = 0.57721566490153286060


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, away = p.scale / q.scale, E.abs(p.loc - q.loc)
    return -ratio.log() + away / q.scale + ratio * E.exp(-away / p.scale) - 1


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (p.rate.log() - q.rate.log()) - (p.rate - q.rate)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - E.log1p(-q.probs) / p.probs - q.logits


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    count = p.total_count
    what = "KL between Binomials where q.total_count > p.total_count"
    count = checked(count, ~(count < q.total_count), what, Unsupported)
    found = count * (p.probs * (p.logits - q.logits) + E.log1p(-p.probs) - E.log1p(-q.probs))
    return E.where(count > q.total_count, math.inf, found)


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    whole = (p.scale + q.scale).square() + (p.loc - q.loc).square()
    return whole.log() - (4 * p.scale * q.scale).log()


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio, here, there = p.scale / q.scale, q.loc / q.scale, p.loc / q.scale
    far = (here + special.lgamma(1 + ratio) - there).exp()
    return far - ratio.log() - here + there + ratio * EULER - (1 + EULER)


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio, alpha = p.scale / q.scale, q.alpha / p.alpha
    found = q.alpha * ratio.log() - alpha.log() + alpha - 1
    return E.where(ratio < 1, math.inf, found)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return kl_divergence(p._categorical, q._categorical)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    less = p._log_norm() + E.log1p(-p.probs) - q._log_norm() - E.log1p(-q.probs)
    return p.mean * (p.logits - q.logits) + less


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    """Of what the same transforms make: that of the bases."""
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise Unsupported("KL between distributions of different transforms")
    extra = len(p.event_shape) - len(p.base_dist.event_shape)
    return summed_last(kl_divergence(p.base_dist, q.base_dist), extra)


def _as_multivariate(d: Any) -> MultivariateNormal:
    if isinstance(d, LowRankMultivariateNormal):
        return MultivariateNormal(d.loc, scale_tril=d.scale_tril, validate_args=False)
    found: MultivariateNormal = d
    return found


@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
def _low_rank(p: Any, q: Any) -> Tensor:
    return kl_divergence(_as_multivariate(p), _as_multivariate(q))


# ---- of two kinds ------------------------------------------------------------------------------


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    width = p.high - p.low
    norm = (math.sqrt(2 * math.pi) * q.scale / width).log()
    spread = width.square() / 12
    away = ((p.high + p.low - 2 * q.loc) / 2).square()
    return norm + 0.5 * (spread + away) / q.scale.square()


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    away = p.loc - q.loc
    z = away / p.scale
    near = math.sqrt(2 / math.pi) * p.scale * E.exp(-0.5 * z.square())
    far = away * E.erf(math.sqrt(0.5) * z)
    return (
        (q.scale / p.scale).log() + (near + far) / q.scale - (0.5 * math.log(0.5 * math.pi) + 0.5)
    )


@register_kl(Laplace, Normal)
def _laplace_normal(p: Laplace, q: Normal) -> Tensor:
    square = q.scale.square()
    ratio = p.scale.square() / square
    spread = 0.5 * (p.loc - q.loc).square() / square
    return -0.5 * (2 * ratio / math.pi).log() + ratio + spread - 1


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Tensor:
    ratio = q.rate / p.rate
    a = q.concentration
    return -a * ratio.log() + ratio + special.lgamma(a) + a * EULER - (1 + EULER)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Gamma, q: Exponential) -> Tensor:
    return -p.entropy() - q.rate.log() + q.rate * p.concentration / p.rate


@register_kl(Exponential, Normal)
def _exponential_normal(p: Exponential, q: Normal) -> Tensor:
    square, mean = q.scale.square(), p.rate.reciprocal()
    term = 0.5 * (p.rate.square() * square * 2 * math.pi).log()
    spread = (mean.square() - mean * q.loc + 0.5 * q.loc.square()) / square
    return term - 1 + spread


@register_kl(Gamma, Normal)
def _gamma_normal(p: Gamma, q: Normal) -> Tensor:
    square, a = q.scale.square(), p.concentration
    mean = a / p.rate
    spread = 0.5 * (mean.square() + a / p.rate.square()) - q.loc * mean + 0.5 * q.loc.square()
    return -p.entropy() + 0.5 * (2 * math.pi * square).log() + spread / square
