"""Probability distributions under torch.distributions' names."""

from graphc.distributions import constraint_registry, constraints, transforms
from graphc.distributions.bounded import ContinuousBernoulli, VonMises
from graphc.distributions.constraint_registry import biject_to, transform_to
from graphc.distributions.continuous import Normal, Uniform
from graphc.distributions.counts import (
    Binomial,
    Geometric,
    Multinomial,
    NegativeBinomial,
    Poisson,
)
from graphc.distributions.discrete import Bernoulli, Categorical
from graphc.distributions.distribution import Distribution, ExponentialFamily
from graphc.distributions.gammas import Beta, Dirichlet, Gamma
from graphc.distributions.independent import Independent
from graphc.distributions.kl import kl_divergence, register_kl
from graphc.distributions.location_scale import (
    Cauchy,
    GeneralizedPareto,
    Gumbel,
    HalfCauchy,
    HalfNormal,
    Laplace,
    LogNormal,
    StudentT,
)
from graphc.distributions.matrix_valued import LKJCholesky, LowRankMultivariateNormal, Wishart
from graphc.distributions.mixture import MixtureSameFamily
from graphc.distributions.more_kl import _laplace as _laplace
from graphc.distributions.multivariate_normal import MultivariateNormal
from graphc.distributions.one_hot import (
    ExpRelaxedCategorical,
    LogisticNormal,
    LogitRelaxedBernoulli,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
    RelaxedBernoulli,
    RelaxedOneHotCategorical,
)
from graphc.distributions.positive import (
    Chi2,
    Exponential,
    FisherSnedecor,
    InverseGamma,
    Kumaraswamy,
    Pareto,
    Weibull,
)
from graphc.distributions.transformed import TransformedDistribution
from graphc.distributions.transforms import *
from graphc.frontend.aliases import module_of as _module_of

__all__ = [
    "Bernoulli",
    "Beta",
    "Binomial",
    "Categorical",
    "Cauchy",
    "Chi2",
    "ContinuousBernoulli",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "Independent",
    "InverseGamma",
    "Kumaraswamy",
    "LKJCholesky",
    "Laplace",
    "LogNormal",
    "LogisticNormal",
    "LowRankMultivariateNormal",
    "MixtureSameFamily",
    "Multinomial",
    "MultivariateNormal",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "StudentT",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
    "Wishart",
    "biject_to",
    "constraint_registry",
    "constraints",
    "kl_divergence",
    "register_kl",
    "transform_to",
    "transforms",
]
__all__ += transforms.__all__

# torch has a file for each, from which people import.
_FILES: dict[str, tuple[type, ...]] = {
    "bernoulli": (Bernoulli,),
    "beta": (Beta,),
    "binomial": (Binomial,),
    "categorical": (Categorical,),
    "cauchy": (Cauchy,),
    "chi2": (Chi2,),
    "continuous_bernoulli": (ContinuousBernoulli,),
    "dirichlet": (Dirichlet,),
    "exp_family": (ExponentialFamily,),
    "exponential": (Exponential,),
    "fishersnedecor": (FisherSnedecor,),
    "gamma": (Gamma,),
    "generalized_pareto": (GeneralizedPareto,),
    "geometric": (Geometric,),
    "gumbel": (Gumbel,),
    "half_cauchy": (HalfCauchy,),
    "half_normal": (HalfNormal,),
    "inverse_gamma": (InverseGamma,),
    "kumaraswamy": (Kumaraswamy,),
    "laplace": (Laplace,),
    "lkj_cholesky": (LKJCholesky,),
    "log_normal": (LogNormal,),
    "logistic_normal": (LogisticNormal,),
    "lowrank_multivariate_normal": (LowRankMultivariateNormal,),
    "mixture_same_family": (MixtureSameFamily,),
    "multinomial": (Multinomial,),
    "negative_binomial": (NegativeBinomial,),
    "normal": (Normal,),
    "one_hot_categorical": (OneHotCategorical, OneHotCategoricalStraightThrough),
    "pareto": (Pareto,),
    "poisson": (Poisson,),
    "relaxed_bernoulli": (LogitRelaxedBernoulli, RelaxedBernoulli),
    "relaxed_categorical": (ExpRelaxedCategorical, RelaxedOneHotCategorical),
    "studentT": (StudentT,),
    "transformed_distribution": (TransformedDistribution,),
    "uniform": (Uniform,),
    "von_mises": (VonMises,),
    "weibull": (Weibull,),
    "wishart": (Wishart,),
}
for _file, _kinds in _FILES.items():
    globals()[_file] = _module_of(f"{__name__}.{_file}", {k.__name__: k for k in _kinds})
