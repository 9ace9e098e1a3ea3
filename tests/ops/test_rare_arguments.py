"""Calls that PyTorch's own samples hold and scripts seldom write: dtypes, ranks and None."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")

CALLS: dict[str, Callable[[Any], Any]] = {
    "isclose_bool": lambda T: T.isclose(T.tensor([True, False]), T.tensor([True, True])),
    "isclose_bool_wide": lambda T: T.isclose(T.tensor([True]), T.tensor([False]), atol=1.0),
    "isclose_int_in_floats": lambda T: T.isclose(
        T.tensor([2**24 + 1]), T.tensor([2**24]), rtol=0.0, atol=0.5
    ),
    "gradient_none": lambda T: T.gradient(T.tensor([1.0, 4.0, 9.0, 16.0]), spacing=None)[0],
    "logspace_int": lambda T: T.logspace(0, 1.2, 4, dtype=T.int16),
    "logspace_int_base": lambda T: T.logspace(0.9, 3.9, 4, 2, dtype=T.int64),
    "logspace_int_tensors": lambda T: T.logspace(T.tensor(0.9), T.tensor(3.9), 4, dtype=T.int32),
    "kl_div_0d": lambda T: T.nn.functional.kl_div(
        T.tensor(-0.5), T.tensor(0.4), reduction="batchmean"
    ),
    "multi_margin_0d": lambda T: T.nn.functional.multi_margin_loss(T.tensor(0.5), T.tensor(0)),
    "multilabel_margin_0d": lambda T: T.nn.functional.multilabel_margin_loss(
        T.tensor(0.5), T.tensor(0)
    ),
    "fractional_pool_empty": lambda T: T.nn.functional.fractional_max_pool3d(
        T.ones(0, 1, 4, 5, 4), (2, 2, 1), output_size=2
    ),
    "resize_of_a_view": lambda T: T.arange(6.0).reshape(2, 3).t().resize_(2, 3),
    "resize_of_a_view_shorter": lambda T: T.arange(6).reshape(2, 3).t().resize_(4),
    "resize_of_a_column": lambda T: T.arange(6).reshape(2, 3)[:, 1].resize_(2),
    "resize_of_a_column_other": lambda T: T.arange(8).reshape(2, 4)[:, 1].resize_(2, 1),
    "resize": lambda T: T.arange(6).resize_(2, 2),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_gives_what_pytorch_gives(name: str) -> None:
    theirs, ours = CALLS[name](torch), CALLS[name](graphc)
    assert tuple(ours.shape) == tuple(theirs.shape)
    assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-6)
