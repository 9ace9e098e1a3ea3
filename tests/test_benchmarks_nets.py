"""The benchmark nets mean the same in graphc and in PyTorch: names, shapes, losses of two steps."""

from __future__ import annotations

import dataclasses
import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

import nets
import other_nets

# Small images where the net allows them: the interpreter runs these.
SMALLER: dict[str, tuple[int, ...]] = {
    "resnet18_cifar": (3, 16, 16),
    "resnet18_224": (3, 64, 64),
    "mobilenetv2_224": (3, 64, 64),
    "vgg11_128": (3, 32, 32),
}


def small(name: str) -> nets.Net:
    net = nets.NETS[name]
    if name == "vgg11_128":  # 50 of its 64 million parameters are in the classifier
        net = dataclasses.replace(net, build=functools.partial(nets.vgg11, hidden=64))
    return dataclasses.replace(net, input_shape=SMALLER.get(name, net.input_shape), batch=2)


def losses(T: Any, net: nets.Net, steps: int, transform: Any = lambda step: step) -> list[float]:
    model = net.build(T)
    nets.load_weights(T, model)
    optimizer = nets.OPTIMIZERS[net.optimizer](T, model.parameters(), net.lr)
    step = transform(nets.train_step(T, model, optimizer, net.loss))
    x, y = (T.from_numpy(a) for a in net.data())
    return [step(x, y).item() for _ in range(steps)]


@pytest.mark.parametrize("name", nets.NETS)
def test_agrees_with_pytorch(name: str) -> None:
    torch = pytest.importorskip("torch")
    net = small(name)
    here, there = losses(graphc, net, 2), losses(torch, net, 2)
    np.testing.assert_allclose(here[0], there[0], rtol=1e-5)
    # Batch norm over the 2 x 2 x 2 values of MobileNet's last maps amplifies rounding.
    np.testing.assert_allclose(here[1], there[1], rtol=2e-3)


@pytest.mark.parametrize("name", nets.NETS)
def test_compiled_agrees_with_eager(name: str) -> None:
    net = small(name)
    here, there = losses(graphc, net, 2, graphc.compile), losses(graphc, net, 2)
    np.testing.assert_allclose(here[0], there[0], rtol=1e-5)
    np.testing.assert_allclose(here[1], there[1], rtol=2e-3)


@pytest.mark.parametrize("name", nets.NETS)
def test_parameters_carry_pytorchs_names(name: str) -> None:
    torch = pytest.importorskip("torch")
    here, there = (
        {k: tuple(v.shape) for k, v in small(name).build(T).state_dict().items()}
        for T in (graphc, torch)
    )
    assert here == there


@pytest.mark.parametrize("name", other_nets.NETS)
def test_other_nets_carry_pytorchs_names(name: str) -> None:
    torch = pytest.importorskip("torch")
    here, there = (
        {k: tuple(v.shape) for k, v in other_nets.NETS[name].build(T).state_dict().items()}
        for T in (graphc, torch)
    )
    assert here == there


def test_weights_do_not_depend_on_the_order_of_names() -> None:
    forward = nets.weights({"a.weight": (4, 3), "b.weight": (2, 4)})
    backward = nets.weights({"b.weight": (2, 4), "a.weight": (4, 3)})
    for name in forward:
        np.testing.assert_array_equal(forward[name], backward[name])


def test_the_jax_namespace_agrees_with_pytorch() -> None:
    """The peer's own translation of PyTorch's names, on one net: a wrong peer proves nothing."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("jax")
    import variants

    net = small("lenet")
    step = variants.jax_jit(net, threads=1).step
    np.testing.assert_allclose([step().item() for _ in range(3)], losses(torch, net, 3), rtol=1e-5)
