"""A few hundred random programs whose Python state changes between calls, and a few steps whose
arguments, parameters and optimizers do."""

from __future__ import annotations

import pytest

from tests.fuzz import training
from tests.fuzz.state import run


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_changes_are_seen(first: int) -> None:
    for seed in range(first, first + 50):
        run(seed)


@pytest.mark.parametrize("seed", range(20))
def test_random_changes_of_what_a_step_trains_are_seen(seed: int) -> None:
    training.run(seed)
