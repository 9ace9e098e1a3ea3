"""Loops of a step on a GPU: a body's kernels once, their launches for each trip."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")

import graphc
from graphc import nn
from graphc.frontend.tensor import Tensor


@pytest.fixture(autouse=True)
def fake(fake_gpu: None) -> None:
    """All of it on the fake GPU, or with `pytest -m gpu` on one that is there."""


def trained(device: str, kind: type[nn.Module], width: int, length: int) -> tuple[Any, list[Any]]:
    """A step that ran twice, and the weights then."""
    graphc.manual_seed(0)
    net: Any = kind(3, width, batch_first=True)  # type: ignore[call-arg]
    x, net = graphc.randn(3, length, 3).to(device), net.to(device)
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.1)

    @graphc.compile
    def step(x: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = net(x)[0].square().sum()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(2):
        step(x)
    return step, [p.detach().cpu().numpy() for p in net.parameters()]


@pytest.mark.parametrize("kind, width", [(nn.RNN, 1), (nn.GRU, 4), (nn.LSTM, 5)])
def test_recurrent_layers_train_as_on_the_cpu(kind: type[nn.Module], width: int) -> None:
    """Rows of 12 or 60 bytes, too, which begin at no multiple of 16."""
    _, want = trained("cpu", kind, width, 3)
    step, got = trained("cuda", kind, width, 3)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert any(x.trip > 0 for x in step._units()[0].program.launches)


def test_a_body_is_compiled_once() -> None:
    steps = [trained("cuda", nn.RNN, 4, length)[0] for length in (3, 6)]
    kernels, launches = (
        [len({k.key() for k in s._units()[0].program.kernels()}) for s in steps],
        [len(s._units()[0].program.launches) for s in steps],
    )
    assert kernels[0] == kernels[1] and launches[0] < launches[1]


def test_another_length_compiles_nothing() -> None:
    def combine(carry: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        carry = (carry + x).tanh()
        return carry, carry * 2

    @graphc.compile(dynamic=True)
    def step(x: Tensor) -> tuple[Tensor, Tensor]:
        return graphc.scan(combine, graphc.zeros(3, device="cuda"), x)

    counted = []
    for length in (3, 7, 5):
        x = graphc.arange(3.0 * length, device="cuda").reshape(length, 3) / 10
        last, stacked = step(x)
        carry, rows = np.zeros(3, np.float32), []
        for row in x.cpu().numpy():
            carry = np.tanh(carry + row)
            rows.append(carry * 2)
        np.testing.assert_allclose(last.cpu().numpy(), carry, rtol=1e-5)
        np.testing.assert_allclose(stacked.cpu().numpy(), rows, rtol=1e-5)
        counted.append(step.stats.kernels_compiled)  # type: ignore[attr-defined]
    assert counted[0] == counted[1] == counted[2]
