"""Every error row: graphc raises the class PyTorch raises, with a message that helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from tests.op_table import ERRORS, ErrorRow


def inputs(row: ErrorRow, T: Any) -> list[Any]:
    rng = np.random.default_rng(0)
    return [T.tensor(i.sample(rng, "float32")) for i in row.inputs]


@pytest.mark.parametrize("row", ERRORS, ids=str)
def test_refused(row: ErrorRow) -> None:
    with pytest.raises(row.error) as caught:
        row.fn(graphc, *inputs(row, graphc))
    assert row.says in str(caught.value)


@pytest.mark.parametrize("row", ERRORS, ids=str)
def test_torch_refuses_alike(row: ErrorRow) -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(row.error):
        row.fn(torch, *inputs(row, torch))


def test_names_are_unique() -> None:
    names = [row.name for row in ERRORS]
    assert len(names) == len(set(names))
