"""Ways to train, each in PyTorch, in eager graphc and compiled: the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from tests.programs.basics import BASICS
from tests.programs.nets import data, filled
from tests.programs.structures import STRUCTURES

torch: Any = pytest.importorskip("torch")

PLANS = {
    "accumulation_over_calls": 2,  # without .grad, and with
    "left_out_of_the_optimizer": 2,
    "never_zeroed": 2,
    "zeros_kept": 2,
    "frozen": 2,
    "closed_over_numbers": 3,  # with two values, and with one that is read at each call
    "several_outputs": 3,  # with b, without, and when a part has sat out, counting its own steps
}  # how many programs the busiest step of a program needs; else one


@pytest.mark.parametrize("program", [*BASICS, *STRUCTURES], ids=lambda p: p.__name__)
def test_program(program: Any) -> None:
    made: list[Any] = []

    def compiled(function: Any) -> Any:
        made.append(graphc.compile(function))
        return made[-1]

    expected = program(torch, lambda f: f)
    eager = program(graphc, lambda f: f)
    found = program(graphc, compiled)
    rtol = 1e-6 if program.__name__ == "mixed_dtypes" else 1e-9
    np.testing.assert_allclose(eager, expected, rtol=rtol, atol=1e-12)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)
    most = max(step.stats.programs for step in made)
    assert most == PLANS.get(program.__name__, 1), [
        str(r) for step in made for r in step._recompiles
    ]


def test_dropout_follows_the_seed_in_eager_and_compiled_steps_alike() -> None:
    def losses(wrap: Any) -> list[float]:
        graphc.manual_seed(3)
        net = graphc.nn.Sequential(graphc.nn.Linear(3, 8), graphc.nn.Dropout(0.4))
        filled(net, graphc)
        opt = graphc.optim.SGD(net.parameters(), lr=0.1)

        @wrap
        def step(x: Any) -> Any:
            opt.zero_grad()
            loss = (net(x) ** 2).mean() + graphc.randn(3, dtype=graphc.float64).sum() * 0.01
            loss.backward()
            opt.step()
            return loss

        return [step(data(graphc, 4, 3, seed=k)).item() for k in range(5)]

    expected = losses(lambda f: f)
    np.testing.assert_allclose(losses(graphc.compile), expected, rtol=1e-9)
    assert len(set(expected)) == 5
