"""The meta device: models described before they have memory, as loaders of large ones do."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import DevicesMixed, InvalidState, InvalidType, Unsupported


def net(T: Any) -> Any:
    layers = T.nn.Linear(6, 8), T.nn.LayerNorm(8), T.nn.GELU(), T.nn.BatchNorm1d(8)
    return T.nn.Sequential(*layers, T.nn.Linear(8, 3))


def described() -> nn.Sequential:
    with graphc.device("meta"):
        made: nn.Sequential = net(graphc)
    return made


def test_a_model_is_described_without_memory() -> None:
    model = described()
    assert all(t.is_meta and t.device == graphc.device("meta") for t in model.state_dict().values())
    assert not next(model.parameters()).is_cpu and not next(model.parameters()).is_cuda
    huge = nn.Linear(10**6, 10**6, device="meta")
    assert huge.weight.numel() == 10**12 and huge.weight.nbytes == 4 * 10**12
    assert graphc.empty(2).device == graphc.device("cpu")


def test_shapes_and_gradients_are_those_of_pytorch() -> None:
    torch: Any = pytest.importorskip("torch")
    for T in (graphc, torch):
        with T.device("meta"):
            model, x = net(T), T.empty(4, 6)
            loss = T.nn.functional.cross_entropy(model(x), T.zeros(4, dtype=T.int64))
        loss.backward()
        assert loss.is_meta and tuple(loss.shape) == ()
        assert all(p.grad.is_meta and p.grad.shape == p.shape for p in model.parameters())


@pytest.mark.parametrize("by", ["to_empty", "assign"])
def test_a_described_model_gets_its_elements(by: str) -> None:
    source, model = net(graphc), described()
    state = source.state_dict()
    if by == "to_empty":
        assert model.to_empty(device="cpu") is model
        model.load_state_dict(state)
    else:
        model.load_state_dict(state, assign=True)
        assert model[0].weight.requires_grad and isinstance(model[0].weight, nn.Parameter)
    x = graphc.randn(4, 6)
    step = graphc.compile(lambda x: model(x))
    assert graphc.equal(model.eval()(x), source.eval()(x))
    assert graphc.allclose(step(x), source(x), atol=1e-6)


def test_layers_initialise_themselves_after_to_empty() -> None:
    model = described().to_empty(device="cpu")
    for layer in model:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    assert graphc.isfinite(model(graphc.ones(2, 6))).all()


@pytest.mark.filterwarnings("ignore:for .*no-op")
def test_loading_into_it_without_assign_is_said_to_do_nothing() -> None:
    model = described()
    with pytest.warns(UserWarning, match="0.weight.*assign=True"):
        model.load_state_dict(net(graphc).state_dict())
    assert model[0].weight.is_meta
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.load_state_dict(described().state_dict())


READS = {
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "item": lambda x: x.sum().item(),
    "tolist": lambda x: x.tolist(),
    "bool": lambda x: bool(x.sum()),
    "copy": lambda x: graphc.zeros(2).copy_(x),
    "nonzero": lambda x: x.nonzero(),
}


@pytest.mark.parametrize("name", READS)
def test_elements_that_are_not_there_are_not_read(name: str) -> None:
    with pytest.raises(Unsupported, match="Cannot copy out of meta tensor; no data!"):
        READS[name](graphc.ones(2, device="meta"))


def test_other_refusals() -> None:
    x = graphc.ones(2, device="meta")
    with pytest.raises(InvalidType, match="meta device type tensor to numpy"):
        x.numpy()
    with pytest.raises(DevicesMixed, match="meta and cpu"):
        x + graphc.ones(2)
    with pytest.raises(InvalidState, match="on the meta device"):
        graphc.compile(lambda x: x + 1)(x)
    model = described()
    with pytest.raises(InvalidState, match="on the meta device"):
        graphc.compile(model)(graphc.ones(4, 6))
    with pytest.raises(Unsupported, match="to_empty"):
        model.to("cpu")


def test_views_writes_and_text() -> None:
    x = graphc.empty(3, 4, device="meta")
    assert repr(x) == "tensor(..., device='meta', size=(3, 4))"
    part = x[1:, ::2]
    assert part.stride() == (4, 2) and part.storage_offset() == 4 and part._base is not None
    assert x.t().reshape(-1).shape == (12,) and x.view(2, 6).stride() == (6, 1)
    x += 1.0
    x[0] = graphc.ones(4, device="meta")
    x.copy_(graphc.ones(3, 4))
    assert copy.deepcopy(x).is_meta and graphc.zeros_like(x).is_meta
    assert graphc.zeros_like(x, device="cpu").sum().item() == 0.0
    assert (
        graphc.ones(2).to("meta").is_meta and graphc.arange(3, device="meta").dtype is graphc.int64
    )
    np.testing.assert_array_equal((graphc.ones(2) + 1).numpy(), [2.0, 2.0])
