"""Every row of the op table against PyTorch's float64 values as stored, with PyTorch or without."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from tests.op_table import TABLE, OpRow
from tests.op_table.stored import FILE, Facts, facts, read

STORED = read(FILE)


def assert_same(mine: Facts, theirs: Facts, rtol: float) -> None:
    assert (mine["dtype"], mine["shape"]) == (theirs["dtype"], theirs["shape"])
    pairs = [(mine["value"], theirs["value"])]
    pairs += list(zip(mine.get("gradients", []), theirs.get("gradients", []), strict=True))
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=10 * rtol, atol=30 * rtol * max(b[-1], 1.0))


def test_every_row_is_stored() -> None:
    assert sorted(STORED) == sorted(row.name for row in TABLE), (
        "run python -m tests.op_table.stored"
    )


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_values_and_gradients_are_the_stored_ones(row: OpRow) -> None:
    assert_same(facts(graphc, row), STORED[row.name], row.rtol)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_stored_values_are_torchs(row: OpRow) -> None:
    torch = pytest.importorskip("torch")
    assert_same(facts(torch, row), STORED[row.name], 1e-13)
