"""Every row of the op table on a device whose operations are their NumPy meanings: that the
frontend sends all of it there, gradients too, and brings nothing by way of the host unasked."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from moved import outcome
from standin import StandIn, standing_in

from tests.op_table import TABLE, OpRow


@pytest.fixture
def gpu() -> Iterator[StandIn]:
    with standing_in() as made:
        yield made


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_a_row_is_the_same_on_a_device(gpu: StandIn, row: OpRow) -> None:
    for mine, theirs in zip(outcome(row, "cuda"), outcome(row, "cpu"), strict=True):
        assert mine.is_cuda and mine.spec == theirs.spec
        assert mine.stride() == theirs.stride()
        # Operands are row-major there: NumPy adds the elements of a view in another order.
        np.testing.assert_allclose(mine.cpu().numpy(), theirs.numpy(), rtol=2e-6, atol=1e-6)
