"""Every layer of the rows against PyTorch's float64 values as stored."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from tests.modules.rows import Row
from tests.modules.stored import FILE, ROWS, facts
from tests.op_table.stored import Facts, read

STORED = read(FILE)


def assert_same(mine: Facts, theirs: Facts, rtol: float) -> None:
    assert mine.keys() == theirs.keys() and mine["shape"] == theirs["shape"]
    pairs = [(mine["value"], theirs["value"])]
    for kind in ("gradients", "buffers"):
        pairs += zip(mine.get(kind, []), theirs.get(kind, []), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=10 * rtol, atol=30 * rtol * max(b[-1], 1.0))


def test_every_row_is_stored() -> None:
    assert sorted(STORED) == sorted(row.name for row in ROWS), "run python -m tests.modules.stored"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_values_and_gradients_are_the_stored_ones(row: Row) -> None:
    assert_same(facts(graphc, row), STORED[row.name], row.rtol)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_stored_values_are_torchs(row: Row) -> None:
    torch = pytest.importorskip("torch")
    assert_same(facts(torch, row), STORED[row.name], 1e-12)
