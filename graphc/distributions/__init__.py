"""Probability distributions under torch.distributions' names."""

from graphc.distributions import constraints
from graphc.distributions.continuous import Normal, Uniform
from graphc.distributions.discrete import Bernoulli, Categorical
from graphc.distributions.distribution import Distribution
from graphc.distributions.gammas import Beta, Dirichlet, Gamma
from graphc.distributions.independent import Independent
from graphc.distributions.kl import kl_divergence, register_kl
from graphc.distributions.multivariate_normal import MultivariateNormal
from graphc.frontend.aliases import module_of as _module_of

__all__ = [
    "Bernoulli",
    "Beta",
    "Categorical",
    "Dirichlet",
    "Distribution",
    "Gamma",
    "Independent",
    "MultivariateNormal",
    "Normal",
    "Uniform",
    "constraints",
    "kl_divergence",
    "register_kl",
]

for _kind in (Bernoulli, Beta, Categorical, Dirichlet, Gamma, Normal, Uniform):
    _module_of(f"{__name__}.{_kind.__name__.lower()}", {_kind.__name__: _kind})
