"""Weights of loops: the same numbers, read as they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from tests.targets import CPU

HIDDEN = 2 * CPU.panel
Z = np.random.default_rng(0)


def gradients(net: nn.Module) -> Any:
    def step(x: Any) -> list[Any]:
        loss = (net(x)[0][:, -1] ** 2).sum()
        return [loss.detach(), *graphc.autograd.grad(loss, list(net.parameters()))]

    return step


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    ("hidden", "apart"),
    [(HIDDEN, True), (HIDDEN // 2 - 3, False)],
    ids=["whole panels", "a part of one"],
)
def test_weights_are_copied_once(kind: str, hidden: int, apart: bool) -> None:
    graphc.manual_seed(0)
    net = getattr(nn, kind)(5, hidden, batch_first=True)
    step = graphc.compile(gradients(net))
    for rows in (3, 17):
        x = graphc.from_numpy(Z.standard_normal((rows, 6, 5)).astype(np.float32))
        for got, wanted in zip(step(x), gradients(net)(x), strict=True):
            np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=2e-3, atol=2e-4)
    assert (".panels: f32[" in step.ir("loops")) is apart


def test_numbers_are_those_of_one_row_at_a_time() -> None:
    net = nn.LSTM(5, HIDDEN, batch_first=True)
    forward = graphc.compile(lambda x: net(x)[0])
    x = graphc.from_numpy(Z.standard_normal((9, 4, 5)).astype(np.float32))
    with graphc.no_grad():
        whole = forward(x).numpy()
        alone = [forward(x[k : k + 1]).numpy() for k in range(9)]
    assert np.array_equal(whole, np.concatenate(alone))
