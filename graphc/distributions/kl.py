"""Kullback and Leibler's divergence between two distributions, as a table over pairs of classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from graphc.distributions.continuous import Normal, Uniform
from graphc.distributions.discrete import Bernoulli, Categorical
from graphc.distributions.distribution import Distribution, softplus
from graphc.distributions.gammas import Beta, Dirichlet, Gamma
from graphc.distributions.independent import Independent, summed_last
from graphc.distributions.multivariate_normal import MultivariateNormal
from graphc.errors import InvalidArgument, Unsupported
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import linalg, special
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.operands import broadcast_to
from graphc.frontend.tensor import Tensor

__all__ = ["kl_divergence", "register_kl"]

Rule = Callable[[Any, Any], Tensor]
RULES: dict[tuple[type[Any], type[Any]], Rule] = {}


def register_kl(type_p: type[Any], type_q: type[Any]) -> Callable[[Rule], Rule]:
    """A decorator: the function computes the divergence between these two classes."""
    for kind in (type_p, type_q):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected a Distribution subclass but got {kind}")

    def decorator(function: Rule) -> Rule:
        RULES[type_p, type_q] = function
        return function

    return decorator


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The expectation under p of log p - log q, of batch_shape."""
    found = [
        rule for (a, b), rule in reversed(RULES.items()) if isinstance(p, a) and isinstance(q, b)
    ]
    exact = RULES.get((type(p), type(q)))
    if exact is None and not found:
        raise Unsupported(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type "
            f"{type(q).__name__}",
            fix="estimate it: (p.log_prob(x) - q.log_prob(x)).mean() over samples x of p",
        )
    return (exact or found[0])(p, q)


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).square()
    away = ((p.loc - q.loc) / q.scale).square()
    return 0.5 * (ratio + away - 1 - ratio.log())


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    found = ((q.high - q.low) / (p.high - p.low)).log()
    return E.where((q.low > p.low) | (q.high < p.high), math.inf, found)


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    one = p.probs * (softplus(-q.logits) - softplus(-p.logits))
    zero = (1 - p.probs) * (softplus(q.logits) - softplus(p.logits))
    one = E.where(q.probs == 0, math.inf, E.where(p.probs == 0, 0.0, one))
    zero = E.where(q.probs == 1, math.inf, E.where(p.probs == 1, 0.0, zero))
    one = E.where((q.probs == 0) & (p.probs == 0), 0.0, one)
    return one + E.where((q.probs == 1) & (p.probs == 1), 0.0, zero)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    terms = E.where(q.probs == 0, math.inf, terms)
    return E.where(p.probs == 0, 0.0, terms).sum(-1)


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a, b = p.concentration, q.concentration
    return (
        b * (p.rate / q.rate).log()
        + special.lgamma(b)
        - special.lgamma(a)
        + (a - b) * special.digamma(a)
        + (q.rate - p.rate) * (a / p.rate)
    )


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a, b = p.concentration, q.concentration
    total = a.sum(-1)
    return (
        special.lgamma(total)
        - special.lgamma(b.sum(-1))
        - (special.lgamma(a) - special.lgamma(b)).sum(-1)
        + ((a - b) * (special.digamma(a) - special.digamma(total).unsqueeze(-1))).sum(-1)
    )


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._pair(), q._pair())


@register_kl(MultivariateNormal, MultivariateNormal)
def _multivariate(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    if p.event_shape != q.event_shape:
        raise InvalidArgument(
            "KL-divergence between two Multivariate Normals with different event shapes cannot be "
            "computed"
        )
    shape = broadcast_shapes(p.batch_shape, q.batch_shape)
    n = p.event_shape[0]
    mine = broadcast_to(p.scale_tril, (*shape, n, n))
    theirs = broadcast_to(q.scale_tril, (*shape, n, n))
    away = broadcast_to((q.loc - p.loc).unsqueeze(-1), (*shape, n, 1))
    inner = linalg.solve_triangular(theirs, mine, upper=False).square().sum((-2, -1))
    distance = linalg.solve_triangular(theirs, away, upper=False).square().sum((-2, -1))
    return q._half_log_det() - p._half_log_det() + 0.5 * (inner + distance - n)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise Unsupported("KL between Independents of different reinterpreted_batch_ndims")
    return summed_last(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)
