"""Every row of the op table, compiled once and called with fewer and more rows than at first.

Eager code says what a call gives, or that it is refused; a size that the trace did not see must
neither change a value nor turn an error into a number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.ir.types import Array
from tests.op_table import TABLE
from tests.op_table.rows import OpRow
from tests.ops.rows import samples


def resized(arrays: list[Array], rows: int) -> list[Array]:
    """The arrays with `rows` in place of the first one's rows, where they have as many."""
    first = next((len(a) for a in arrays if a.ndim), 0)
    return [np.resize(a, (rows, *a.shape[1:])) if a.ndim and len(a) == first else a for a in arrays]


def result(function: Any, arrays: list[Array]) -> Any:
    """What a call gives as an array, or the class of its error."""
    try:
        return function(*(graphc.tensor(a) for a in arrays)).detach().double().numpy()
    except (RuntimeError, IndexError, ValueError, TypeError) as e:
        return type(e)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_rows_over_other_sizes(row: OpRow) -> None:
    base = samples(row, "float32")
    graphc.manual_seed(0)
    step = graphc.compile(lambda *xs: row.fn(graphc, *xs))
    result(step, base)
    sizes = next((len(a) for a in base if a.ndim), 0)
    for rows in (1, max(sizes - 1, 1), sizes + 3):
        arrays = resized(base, rows)
        graphc.manual_seed(1)
        expected = result(lambda *xs: row.fn(graphc, *xs), arrays)
        graphc.manual_seed(1)
        found = result(step, arrays)
        if isinstance(expected, type) or isinstance(found, type):
            assert isinstance(expected, type) and isinstance(found, type), (rows, expected, found)
        else:
            np.testing.assert_allclose(found, expected, 1e-4, 1e-5, err_msg=str(rows))
            assert found.shape == expected.shape
