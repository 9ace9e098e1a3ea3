"""A few hundred random programs whose Python state changes between calls."""

from __future__ import annotations

import pytest

from tests.fuzz.state import run


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_changes_are_seen(first: int) -> None:
    for seed in range(first, first + 50):
        run(seed)
