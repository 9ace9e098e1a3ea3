"""Of few channels the samples of images lie innermost, in training steps that suit it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.ir.types import Array

Build = Callable[[], nn.Module]


def lenet() -> nn.Sequential:
    first = [nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 10, 3, padding=1)]
    return nn.Sequential(*first, nn.ReLU(), nn.Flatten(), nn.Linear(10 * 6 * 6, 5))


LEFT: dict[str, Build] = {
    "whole vectors": lambda: nn.Sequential(nn.Conv2d(3, 16, 5), nn.Conv2d(16, 16, 3)),
    "many channels": lambda: nn.Sequential(nn.Conv2d(3, 24, 5), nn.Conv2d(24, 6, 3)),
    "groups": lambda: nn.Sequential(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 6, 3, groups=2)),
    "statistics": lambda: nn.Sequential(nn.Conv2d(3, 6, 5), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3)),
    "sums of places": lambda: nn.Sequential(nn.Conv2d(3, 6, 5), nn.AvgPool2d(2), nn.ReLU()),
    "half": lambda: nn.Sequential(nn.Conv2d(3, 6, 5)).to(graphc.bfloat16),
}


def trained(net: nn.Module) -> Any:
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.1)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss: graphc.Tensor = (net(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def said(net: nn.Module) -> str:
    step = trained(net)
    x = graphc.randn(7, 3, 16, 16)
    step(x.to(next(iter(net.parameters())).dtype))
    return str(step.ir("layout"))


def test_all_convolutions_say_so() -> None:
    """Forward and data gradients of dimension 0, weight gradients of dimension 1."""
    text = said(lenet())
    convs = [line for line in text.splitlines() if " = conv " in line]
    assert len(convs) == 5
    assert sum("samples=0" in line for line in convs) == 3
    assert sum("samples=1" in line for line in convs) == 2


def test_products_read_rows() -> None:
    (line,) = [s for s in said(lenet()).splitlines() if "contiguous" in s and "[B,360]" in s]
    assert "order=(0,1)" in line


@pytest.mark.parametrize("why", LEFT)
def test_others_keep_their_channels_innermost(why: str) -> None:
    assert "samples=" not in said(LEFT[why]())


def test_a_step_that_trains_nothing_may_serve_single_samples() -> None:
    net = lenet()
    step = graphc.compile(net)
    with graphc.no_grad():
        step(graphc.randn(7, 3, 16, 16))
    assert "samples=" not in step.ir("layout")


@pytest.mark.parametrize("batch", [1, 5, 64, 300])
def test_gradients_are_those_of_eager_code(batch: int) -> None:
    """Of rows of samples longer than a chunk of a sum, and of many shorter ones."""
    x = graphc.tensor(
        np.random.default_rng(0).standard_normal((batch, 3, 16, 16)), dtype=graphc.float32
    )
    found: list[list[Array]] = []
    for compiled in (True, False):
        graphc.manual_seed(0)
        net = lenet()
        step = trained(net)
        loss = step(x) if compiled else step.__wrapped__(x)
        found.append([loss.detach().numpy(), *(p.detach().numpy() for p in net.parameters())])
    for got, want in zip(*found, strict=True):
        np.testing.assert_allclose(got, want, rtol=2e-5, atol=2e-6)


def test_rows_have_the_same_bits_in_any_batch() -> None:
    """Forward and data gradients, of any number of threads; the plan is made of one sample."""
    net = lenet()
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.0)

    @graphc.compile
    def step(x: graphc.Tensor) -> tuple[graphc.Tensor, graphc.Tensor]:
        optimizer.zero_grad()
        first = net[0](x)
        first.retain_grad()
        out = net[1:](first)
        (out**2).sum().backward()
        optimizer.step()
        assert first.grad is not None
        return out, first.grad

    x = graphc.randn(64, 3, 16, 16)
    rows = {}
    for n, threads in ((1, 2), (64, 1), (64, 2), (64, 3), (17, 2), (4, 2)):
        graphc.set_num_threads(threads)
        rows[n, threads] = [t.detach().numpy().copy() for t in step(x[:n])]
    graphc.set_num_threads(2)
    assert "samples=0" in step.ir("layout")
    for (n, _), results in rows.items():
        for got, want in zip(results, rows[64, 2], strict=True):
            np.testing.assert_array_equal(got, want[:n])
