"""Ways to train, each in PyTorch, in eager graphc and compiled: the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from tests.programs.basics import BASICS
from tests.programs.structures import STRUCTURES

torch: Any = pytest.importorskip("torch")

PLANS = {
    "accumulation_over_calls": 2,  # without .grad, and with
    "left_out_of_the_optimizer": 2,
    "never_zeroed": 2,
    "zeros_kept": 2,
    "frozen": 2,
    "another_batch_at_the_end": 2,
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
