"""Fifty steps of every optimizer row against PyTorch's float64 values as stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from tests.op_table.stored import read
from tests.optim.rows import IDS, ROWS
from tests.optim.stored import FILE, after_fifty_steps

STORED = read(FILE)


def test_every_row_is_stored() -> None:
    assert sorted(STORED) == sorted(IDS), "run python -m tests.optim.stored"


@pytest.mark.parametrize(("key", "row"), list(zip(IDS, ROWS)), ids=IDS)
@pytest.mark.parametrize("oracle", [False, True], ids=["graphc", "torch"])
def test_fifty_steps_end_where_the_stored_ones_do(
    key: str, row: tuple[str, dict[str, Any]], oracle: bool
) -> None:
    T = pytest.importorskip("torch") if oracle else graphc
    np.testing.assert_allclose(after_fifty_steps(T, *row), STORED[key], rtol=1e-10, atol=1e-10)
