"""Parametrized tensors: computed when read, set through the inverse, trained and saved."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.nn.utils import parametrizations as named
from graphc.nn.utils import parametrize


class Symmetric(nn.Module):
    def forward(self, X: graphc.Tensor) -> graphc.Tensor:
        return X.triu() + X.triu(1).mT

    def right_inverse(self, A: graphc.Tensor) -> graphc.Tensor:
        return A.triu()


class Doubled(nn.Module):
    def forward(self, X: graphc.Tensor) -> graphc.Tensor:
        return X * 2


def test_registered_read_assigned_removed() -> None:
    layer = nn.Linear(3, 3)
    weight = layer.weight
    parametrize.register_parametrization(layer, "weight", Symmetric())
    assert type(layer).__name__ == "ParametrizedLinear" and isinstance(layer, nn.Linear)
    assert parametrize.type_before_parametrizations(layer) is nn.Linear
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    assert layer.parametrizations.weight.original is weight
    assert graphc.equal(layer.weight, layer.weight.mT)
    assert list(layer.state_dict()) == ["bias", "parametrizations.weight.original"]
    layer.weight = graphc.ones(3, 3)
    assert layer.parametrizations.weight.original.tolist()[2] == [0, 0, 1]
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert layer.weight.tolist() == [[2.0] * 3] * 3
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear and layer.weight is weight
    assert weight.tolist() == [[2.0] * 3] * 3


def test_cached_is_computed_once() -> None:
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Doubled())
    assert layer.weight is not layer.weight
    with parametrize.cached():
        assert layer.weight is layer.weight


def test_copies_go_their_own_ways() -> None:
    one = named.weight_norm(nn.Linear(2, 2))
    two = copy.deepcopy(one)
    with graphc.no_grad():
        two.parametrizations.weight.original0.mul_(2)
    assert graphc.allclose(two.weight, one.weight * 2)
    parametrize.register_parametrization(two, "bias", Doubled())
    assert not parametrize.is_parametrized(one, "bias") and one.bias is one._parameters["bias"]
    parametrize.remove_parametrizations(two, "weight")
    assert isinstance(two.weight, nn.Parameter) and parametrize.is_parametrized(two, "bias")
    assert one.weight.shape == (2, 2)
    parametrize.remove_parametrizations(two, "bias")
    assert type(two) is nn.Linear


def test_errors() -> None:
    layer = nn.Linear(2, 3)
    with pytest.raises(ValueError, match="does not have a parameter"):
        parametrize.register_parametrization(layer, "other", Doubled())
    with pytest.raises(ValueError, match="shape"):
        twice = parametrize.register_parametrization(layer, "weight", Doubled())
        parametrize.register_parametrization(twice, "weight", nn.Flatten(0))
    with pytest.raises(ValueError):
        parametrize.remove_parametrizations(layer, "bias")
    with pytest.raises(ValueError, match="orthogonal_map"):
        named.orthogonal(nn.Linear(2, 2), orthogonal_map="other")


MAKERS: dict[str, Any] = {
    "weight_norm": lambda u, layer: u.weight_norm(layer),
    "weight_norm_all": lambda u, layer: u.weight_norm(layer, dim=None),
    "spectral_norm": lambda u, layer: u.spectral_norm(layer),
    "matrix_exp": lambda u, layer: u.orthogonal(layer, orthogonal_map="matrix_exp"),
    "cayley": lambda u, layer: u.orthogonal(layer, orthogonal_map="cayley"),
    "householder": lambda u, layer: u.orthogonal(layer, orthogonal_map="householder"),
    "reflections": lambda u, layer: u.orthogonal(
        layer, orthogonal_map="householder", use_trivialization=False
    ),
}


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("name", MAKERS)
def test_from_torchs_state_the_same_weight_and_gradient(name: str, shape: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    from torch.nn.utils import parametrizations as theirs

    torch.manual_seed(0)
    wanted = MAKERS[name](theirs, torch.nn.Linear(*shape).double())
    mine = MAKERS[name](named, nn.Linear(*shape).double())
    state = {k: graphc.tensor(v.numpy()) for k, v in wanted.state_dict().items()}
    assert list(mine.state_dict()) == list(state)
    if name not in ("householder", "reflections"):  # a start other than all zeros
        for key in state:
            state[key] = state[key] + (0.1 if key.endswith("original") else 0)
    mine.load_state_dict(state)
    wanted.load_state_dict({k: torch.tensor(v.numpy()) for k, v in state.items()})
    x = np.random.default_rng(0).standard_normal((2, shape[0]))
    for net, T in ((mine, graphc), (wanted, torch)):
        (net(T.tensor(x)) ** 2).sum().backward()
    for (key, p), q in zip(mine.named_parameters(), wanted.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), atol=1e-9, err_msg=key)
    np.testing.assert_allclose(
        mine.weight.detach().numpy(), wanted.weight.detach().numpy(), atol=1e-10
    )


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
@pytest.mark.parametrize("name", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_stays_so_in_compiled_training(name: str, shape: tuple[int, int]) -> None:
    layer = MAKERS[name](named, nn.Linear(*shape))
    optimizer = graphc.optim.SGD(layer.parameters(), lr=0.1)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = (layer(x) - 1).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    x = graphc.rand(8, shape[0])
    losses = [step(x).item() for _ in range(5)]
    assert losses[-1] < losses[0]
    w = layer.weight.detach()
    small = w @ w.mT if w.shape[0] <= w.shape[1] else w.mT @ w
    assert graphc.allclose(small, graphc.eye(small.shape[0]), atol=1e-5)
    before = layer.weight.detach().clone()
    layer.weight = before
    assert graphc.allclose(layer.weight, before, atol=1e-5)
