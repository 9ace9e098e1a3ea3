"""nonzero_static beside PyTorch's, eager and compiled; and what has no such form says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import Untraceable

CASES: list[tuple[Any, int, int]] = [
    ([0, 3, 0, 5, 1], 2, -1), ([0, 3, 0, 5, 1], 5, 7), ([[1.0, 0.0], [float("nan"), 2.0]], 4, -1),
    ([[[True, False]], [[False, True]]], 3, -1), ([0.0, 0.0], 1, -1), ([1, 1], 0, -1), (2.0, 2, -1),
]  # fmt: skip


def wanted(a: Any, size: int, fill: int) -> np.ndarray[Any, Any]:
    a = np.asarray(a)
    rows = np.argwhere(a)[:size] if a.ndim else np.zeros((size, 0), int)
    rest = np.full((size - len(rows), a.ndim), fill)
    return np.concatenate([rows, rest])


@pytest.mark.parametrize("data, size, fill", CASES)
def test_nonzero_static(data: Any, size: int, fill: int) -> None:
    x = graphc.tensor(data)
    step = graphc.compile(lambda x: x.nonzero_static(size=size, fill_value=fill))
    for found in (graphc.nonzero_static(x, size=size, fill_value=fill), step(x)):
        assert found.dtype is graphc.int64 and found.shape == (size, x.ndim)
        assert found.tolist() == wanted(data, size, fill).tolist()


def test_as_pytorch_has_it() -> None:
    torch = pytest.importorskip("torch")
    for data, size, fill in CASES[:-1]:
        theirs = torch.nonzero_static(torch.tensor(data), size=size, fill_value=fill)
        ours = graphc.nonzero_static(graphc.tensor(data), size=size, fill_value=fill)
        assert ours.tolist() == theirs.tolist()
    with pytest.raises(RuntimeError, match="non-negative"):
        graphc.nonzero_static(graphc.ones(2), size=-1)


def test_rows_are_chosen_by_it() -> None:
    step = graphc.compile(lambda x: x[(x > 0).nonzero_static(size=2, fill_value=0)[:, 0]])
    for data in ([1.0, -1.0, 2.0], [-1.0, 3.0, 4.0, 5.0]):
        assert step(graphc.tensor(data)).tolist() == [v for v in data if v > 0][:2]


@pytest.mark.parametrize("f", [lambda x: x.nonzero(), lambda x: x[x > 0]])
def test_what_the_data_sizes_names_the_form_that_it_does_not(f: Any) -> None:
    with pytest.raises(Untraceable, match="nonzero_static"):
        graphc.compile(f)(graphc.ones(3))
