"""Containers that hold None: an entry like any other, but no module."""

from __future__ import annotations

from typing import Any

import pytest

import graphc
from graphc import nn


def test_module_list_keeps_none() -> None:
    layers = nn.ModuleList([nn.Linear(2, 2), None])
    layers.append(None)
    layers.insert(0, None)
    layers[3] = nn.ReLU()
    assert [type(m).__name__ for m in layers] == ["NoneType", "Linear", "NoneType", "ReLU"]
    assert layers[0] is None
    assert len(layers) == 4
    assert len(list(layers.children())) == 2
    assert list(layers.state_dict()) == ["1.weight", "1.bias"]
    assert "(2): None" in repr(layers)
    assert next(iter(layers[2:])) is None
    del layers[0]
    assert layers[1] is None


def test_steps_of_a_unet_skip_the_missing_stage() -> None:
    stages = nn.ModuleList([nn.Linear(3, 3), None, nn.Tanh()])

    def forward(x: graphc.Tensor) -> graphc.Tensor:
        for stage in stages:
            x = x if stage is None else stage(x)
        return x

    x = graphc.randn(2, 3)
    assert graphc.allclose(graphc.compile(forward)(x), forward(x), atol=1e-6)


def test_sequential_cannot_call_none() -> None:
    with pytest.raises(TypeError):
        nn.Sequential(nn.ReLU(), None)(graphc.ones(1))


@pytest.mark.parametrize("kind", ["ModuleList", "ModuleDict", "ParameterList", "ParameterDict"])
def test_an_empty_one_calls_nothing_that_a_subclass_may_have_changed(kind: str) -> None:
    class Own(getattr(nn, kind)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.ready = True

        def update(self, *args: Any) -> None:
            assert self.ready
            super().update(*args)

        def extend(self, *args: Any) -> Any:
            assert self.ready
            return super().extend(*args)

    assert len(Own()) == 0
