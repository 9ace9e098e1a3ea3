"""Rows of the op table with their inputs on a device."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import graphc
from tests.op_table import OpRow
from tests.ops.rows import floats, samples, tensors, weights


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
