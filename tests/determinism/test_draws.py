"""Random numbers of one seed: the same to the bit, eager and compiled, for every distribution."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

import graphc
import graphc.distributions as D
import graphc.nn.functional as F
from graphc import Tensor
from graphc.frontend.eager import compiled
from graphc.frontend.modes import draw
from graphc.frontend.step.native_backend import native
from graphc.ir.ops import Op

SIZES = (1, 3, 16, 1000)  # no vector, less than one, whole ones, and with a rest

Draw = Callable[[Tensor], Tensor]


def filled(name: str, *args: float, dtype: graphc.dtype = graphc.float32) -> Draw:
    """By a method that fills a tensor."""
    return lambda x: getattr(graphc.zeros(x.shape, dtype=dtype), name)(*args)


def sampled(make: Callable[[], D.Distribution]) -> Draw:
    return lambda x: make().sample(x.shape)


def t(*values: float) -> Tensor:
    return graphc.tensor(values)


SPREAD = [[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 1.5]]

DRAWS: dict[str, Draw] = {
    "rand": lambda x: graphc.rand(x.shape),
    "randn": lambda x: graphc.randn(x.shape),
    "randn float64": lambda x: graphc.randn(x.shape, dtype=graphc.float64),
    "randn float16": lambda x: graphc.randn(x.shape, dtype=graphc.float16),
    "randint": lambda x: graphc.randint(0, 77, x.shape),
    "randperm": lambda x: graphc.randperm(len(x)),
    "normal": lambda x: graphc.normal(x + 1.5, x + 0.3),
    "bernoulli": lambda x: graphc.bernoulli(x + 0.3),
    "poisson": lambda x: graphc.poisson(x + 3.0),
    "multinomial": lambda x: graphc.multinomial((x + 1.0).unsqueeze(-1).expand(-1, 5), 2),
    "uniform_": filled("uniform_", -0.5, 2.0),
    "normal_": filled("normal_", 0.5, 2.0),
    "exponential_": filled("exponential_", 1.5),
    "exponential_ float64": filled("exponential_", 1.5, dtype=graphc.float64),
    "geometric_": filled("geometric_", 0.3),
    "log_normal_": filled("log_normal_", 0.5, 0.7),
    "cauchy_": filled("cauchy_", 0.5, 2.0),
    "cauchy_ float64": filled("cauchy_", 0.5, 2.0, dtype=graphc.float64),
    "dropout": lambda x: F.dropout(x + 1.0, 0.3),
    "rrelu": lambda x: F.rrelu(x - 1.0, training=True),
    "gumbel_softmax": lambda x: F.gumbel_softmax(x + 0.1, tau=0.7, dim=0),
    "gumbel_softmax of rows": lambda x: F.gumbel_softmax(x.unsqueeze(-1).expand(-1, 9) + 0.1),
    "kaiming_normal_": lambda x: graphc.nn.init.kaiming_normal_(graphc.zeros(*x.shape, 4)),
    "Bernoulli": sampled(lambda: D.Bernoulli(t(0.3))),
    "Beta": sampled(lambda: D.Beta(0.7, 2.0)),
    "Binomial": sampled(lambda: D.Binomial(20, t(0.3))),
    "Categorical": sampled(lambda: D.Categorical(t(0.3, 0.2, 0.5))),
    "Cauchy": sampled(lambda: D.Cauchy(0.3, 1.7)),
    "Chi2": sampled(lambda: D.Chi2(3.0)),
    "ContinuousBernoulli": sampled(lambda: D.ContinuousBernoulli(t(0.3))),
    "Dirichlet": sampled(lambda: D.Dirichlet(t(0.5, 1.0, 3.0))),
    "Dirichlet of many": sampled(lambda: D.Dirichlet(graphc.full((20,), 1.5))),
    "Exponential": sampled(lambda: D.Exponential(1.3)),
    "FisherSnedecor": sampled(lambda: D.FisherSnedecor(3.0, 4.0)),
    "Gamma": sampled(lambda: D.Gamma(0.7, 2.0)),
    "GeneralizedPareto": sampled(lambda: D.GeneralizedPareto(0.3, 1.0, 0.4)),
    "Geometric": sampled(lambda: D.Geometric(t(0.3))),
    "Gumbel": sampled(lambda: D.Gumbel(0.3, 1.7)),
    "HalfCauchy": sampled(lambda: D.HalfCauchy(1.7)),
    "HalfNormal": sampled(lambda: D.HalfNormal(1.7)),
    "InverseGamma": sampled(lambda: D.InverseGamma(3.0, 2.0)),
    "Kumaraswamy": sampled(lambda: D.Kumaraswamy(1.3, 2.0)),
    "LKJCholesky": sampled(lambda: D.LKJCholesky(8, 1.5)),
    "Laplace": sampled(lambda: D.Laplace(0.3, 1.7)),
    "LogNormal": sampled(lambda: D.LogNormal(0.3, 0.7)),
    "LogisticNormal": sampled(lambda: D.LogisticNormal(t(0.1, 0.2), t(1.0, 2.0))),
    "LowRankMultivariateNormal": sampled(
        lambda: D.LowRankMultivariateNormal(t(0.1, 0.2), t(1.0, 2.0)[:, None], t(1.0, 2.0))
    ),
    "MixtureSameFamily": sampled(
        lambda: D.MixtureSameFamily(D.Categorical(t(0.3, 0.7)), D.Normal(t(0.0, 1.0), t(1.0, 2.0)))
    ),
    "Multinomial": sampled(lambda: D.Multinomial(10, t(0.3, 0.2, 0.5))),
    "MultivariateNormal": sampled(
        lambda: D.MultivariateNormal(t(0.1, 0.2, 0.3), graphc.tensor(SPREAD))
    ),
    "NegativeBinomial": sampled(lambda: D.NegativeBinomial(5.0, t(0.3))),
    "Normal": sampled(lambda: D.Normal(0.5, 2.0)),
    "OneHotCategoricalStraightThrough": sampled(
        lambda: D.OneHotCategoricalStraightThrough(t(0.3, 0.2, 0.5))
    ),
    "OneHotCategorical": sampled(lambda: D.OneHotCategorical(t(0.3, 0.2, 0.5))),
    "Pareto": sampled(lambda: D.Pareto(1.3, 2.0)),
    "Poisson": sampled(lambda: D.Poisson(3.0)),
    "RelaxedBernoulli": sampled(lambda: D.RelaxedBernoulli(t(0.7), t(0.3))),
    "RelaxedOneHotCategorical": sampled(
        lambda: D.RelaxedOneHotCategorical(t(0.7), t(0.3, 0.2, 0.5))
    ),
    "StudentT": sampled(lambda: D.StudentT(3.0, 0.3, 0.7)),
    "Uniform": sampled(lambda: D.Uniform(0.5, 2.0)),
    "VonMises": sampled(lambda: D.VonMises(0.3, 2.0)),
    "Weibull": sampled(lambda: D.Weibull(1.3, 2.0)),
    "Wishart": sampled(lambda: D.Wishart(t(4.0), graphc.tensor([[2.0, 0.3], [0.3, 1.0]]))),
}


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_is_the_same_eager_and_compiled(name: str) -> None:
    draw = DRAWS[name]
    step = graphc.compile(draw)
    for n in SIZES:
        x, states, made = graphc.zeros(n), [], []
        for call in (draw, step):
            graphc.manual_seed(7)
            made.append(call(x).numpy())
            states.append(graphc.get_rng_state().tolist())
        eager, ours = made
        assert eager.dtype == ours.dtype and eager.shape == ours.shape
        assert eager.tobytes() == ours.tobytes(), f"{n}: {(eager != ours).sum()} of {eager.size}"
        assert states[0] == states[1]


def test_all_distributions_are_drawn() -> None:
    kinds = {n for n in D.__all__ if isinstance(getattr(D, n), type)}
    drawn = {n for n in kinds if issubclass(getattr(D, n), D.Distribution)}
    bases = {"Distribution", "ExponentialFamily", "Independent", "TransformedDistribution"}
    assert drawn - bases <= set(DRAWS)


def test_uniform_numbers_need_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does what is done with normal ones: their logarithms and cosines alone are compiled."""
    seen: list[str] = []
    run = compiled.DRAWERS[-1]

    def noted(op: Op, *rest: Any) -> Any:
        seen.append(op.name)
        return run(op, *rest)

    monkeypatch.setattr(compiled, "DRAWERS", [noted])
    graphc.nn.Linear(8, 8)
    graphc.rand(5).mul(2.0).log()
    assert not seen
    graphc.randn(5).exp()
    assert seen == ["log", "cos"]


def test_one_kernel_serves_draws_of_all_sizes() -> None:
    graphc.randn(5)
    before = native().counts()
    for shape in ((6,), (7, 3), (), (2, 1, 90_001)):
        assert graphc.randn(shape).shape == shape
    assert native().counts() == before


def test_a_draw_that_fails_leaves_no_mode() -> None:
    with pytest.raises(RuntimeError, match="lambda"):
        graphc.zeros(3).exponential_(-1.0)
    assert not draw.runs


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_draws_the_same() -> None:
    graphc.manual_seed(3)
    want = graphc.randn(70_001).numpy().tobytes()
    read, write = os.pipe()
    if not (child := os.fork()):
        graphc.manual_seed(3)
        os.write(write, bytes([graphc.randn(70_001).numpy().tobytes() == want]))
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"\x01"
