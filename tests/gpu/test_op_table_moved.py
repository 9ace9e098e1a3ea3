"""Every row of the op table on a device whose operations are their NumPy meanings: that the
frontend sends all of it there, gradients too, and brings nothing by way of the host unasked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest

import graphc
from tests.gpu.standin import StandIn, standing_in
from tests.op_table import TABLE, OpRow
from tests.ops.rows import floats, samples, tensors, weights


@pytest.fixture
def gpu() -> Iterator[StandIn]:
    with standing_in() as made:
        yield made


class Namespace:
    """graphc for a row of the table: what the row itself makes is on the device, and nothing else,
    as a default device would have it."""

    MAKES = ("arange", "eye", "full", "ones", "tensor", "zeros")

    def __init__(self, device: str) -> None:
        self._device = device

    def __getattr__(self, name: str) -> Any:
        found = getattr(graphc, name)
        return partial(found, device=self._device) if name in self.MAKES else found


def outcome(row: OpRow, device: str) -> list[graphc.Tensor]:
    arrays = samples(row, np.float32)
    xs = [x.detach().to(device) for x in tensors(arrays, False)]
    chosen = [xs[k].requires_grad_() for k in floats(arrays)] if row.grad else []
    y = row.fn(Namespace(device), *xs)
    if not row.grad:
        return [y]
    w = graphc.tensor(weights(tuple(y.shape), 1)).to(device, y.dtype)
    return [y.detach(), *graphc.autograd.grad(y, chosen, w)]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_a_row_is_the_same_on_a_device(gpu: StandIn, row: OpRow) -> None:
    for mine, theirs in zip(outcome(row, "cuda"), outcome(row, "cpu"), strict=True):
        assert mine.is_cuda and mine.spec == theirs.spec
        assert mine.stride() == theirs.stride()
        # Operands are row-major there: NumPy adds the elements of a view in another order.
        np.testing.assert_allclose(mine.cpu().numpy(), theirs.numpy(), rtol=2e-6, atol=1e-6)
