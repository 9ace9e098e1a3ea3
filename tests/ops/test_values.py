"""Every row of the op table against torch: values, shapes, dtypes and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from tests.op_table import TABLE, OpRow
from tests.ops.rows import floats, samples, tensors, weights

torch: Any = pytest.importorskip("torch")


@pytest.mark.parametrize("row", TABLE, ids=str)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_value_and_gradient_match_torch(row: OpRow, dtype: str) -> None:
    arrays = samples(row, dtype)
    ours = tensors(arrays, row.grad)
    theirs = [torch.tensor(a) for a in arrays]
    if row.grad:
        theirs = [t.requires_grad_() if t.is_floating_point() else t for t in theirs]
    y, z = row.fn(graphc, *ours), row.fn(torch, *theirs)
    rtol = row.rtol if dtype == "float64" else max(row.rtol, 3e-6)
    assert y.dtype.long_name == str(z.dtype).removeprefix("torch.")
    assert tuple(y.shape) == tuple(z.shape)
    close(y.detach().numpy(), z.detach().numpy(), rtol)
    if not row.grad:
        assert not y.requires_grad
        return
    w = weights(tuple(y.shape), 1)
    y.backward(graphc.tensor(w).to(y.dtype))
    z.backward(torch.tensor(w).to(z.dtype))
    for k in floats(arrays):
        g = ours[k].grad
        assert g is not None
        close(g.numpy(), theirs[k].grad.numpy(), rtol)


def close(a: Any, b: Any, rtol: float) -> None:
    if a.dtype.kind in "iub":
        np.testing.assert_array_equal(a, b)
    else:
        scale = float(np.abs(b[np.isfinite(b)]).max(initial=1.0))
        np.testing.assert_allclose(a, b, rtol=rtol, atol=10 * rtol * scale)
