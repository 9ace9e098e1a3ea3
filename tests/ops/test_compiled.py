"""Every row compiled to native code: what eager computes, gradients included, to rounding."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from tests.op_table import TABLE, OpRow
from tests.ops.rows import floats, samples, tensors, weights


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_compiled_row_matches_eager(row: OpRow) -> None:
    arrays = samples(row, np.float32)

    def step(*xs: graphc.Tensor) -> list[graphc.Tensor]:
        y = row.fn(graphc, *xs)
        if not row.grad:
            return [y]
        w = graphc.tensor(weights(tuple(y.shape), 1)).to(y.dtype)
        return [y.detach(), *graphc.autograd.grad(y, [xs[k] for k in floats(arrays)], w)]

    want = step(*tensors(arrays, row.grad))
    got = graphc.compile(step)(*tensors(arrays, row.grad))
    for a, b in zip(got, want, strict=True):
        assert a.spec == b.spec
        if b.is_floating_point():
            np.testing.assert_allclose(a.detach().numpy(), b.numpy(), rtol=2e-5, atol=2e-5)
        else:
            np.testing.assert_array_equal(a.numpy(), b.numpy())
