"""Every row of the op table on a GPU that FakeDriver plays: values and gradients equal the CPU's.

Each operation of a row is a program of its own there, compiled to Triton and interpreted. A share
of the rows runs always, all of them where slow tests do.
"""

from __future__ import annotations

import numpy as np
import pytest
from moved import outcome

from tests.op_table import TABLE, OpRow

pytest.importorskip("triton")
pytestmark = pytest.mark.usefixtures("fake_gpu")
SHARE = 23  # of so many rows one always runs: another kind of each table


def rows() -> list[object]:
    slow = pytest.mark.slow
    return [
        pytest.param(row, id=str(row), marks=() if k % SHARE == 0 else slow)
        for k, row in enumerate(TABLE)
    ]


@pytest.mark.parametrize("row", rows())
def test_a_row_is_the_cpus(row: OpRow) -> None:
    for mine, theirs in zip(outcome(row, "cuda"), outcome(row, "cpu"), strict=True):
        assert mine.is_cuda and mine.spec == theirs.spec
        assert mine.stride() == theirs.stride()
        a, b = mine.cpu().numpy(), theirs.numpy()
        if theirs.is_floating_point():
            np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-5)
        else:
            np.testing.assert_array_equal(a, b)
