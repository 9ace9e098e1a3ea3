"""Functions that PyTorch has for floats alone, or not for bools, refuse other dtypes as it does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc.nn import functional as F

OF_FLOATS: dict[str, Callable[[Any], Any]] = {
    **{
        name: getattr(F, name)
        for name in (
            "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "logsigmoid", "hardshrink",
            "hardsigmoid", "hardswish", "leaky_relu", "rrelu", "dropout", "glu", "softshrink",
            "dropout1d", "elu_", "celu_", "selu_", "leaky_relu_", "rrelu_",
        )
    },
    "prelu": lambda x: F.prelu(x, x[0, :1]),
    "alpha_dropout": lambda x: F.alpha_dropout(x, 0.5, True),
    "layer_norm": lambda x: F.layer_norm(x, (4,)),
    "rms_norm": lambda x: F.rms_norm(x, (4,)),
    "group_norm": lambda x: F.group_norm(x, 2),
    "batch_norm": lambda x: F.batch_norm(x, None, None, training=True),
    "nll_loss": lambda x: F.nll_loss(x, graphc.tensor([0, 1])),
    "multi_margin_loss": lambda x: F.multi_margin_loss(x, graphc.tensor([0, 1])),
    "multilabel_margin_loss": lambda x: F.multilabel_margin_loss(x, x.long() * 0),
    "logaddexp": lambda x: graphc.logaddexp(x, x),
    "logaddexp2": lambda x: graphc.logaddexp2(x, x),
    "uniform_": lambda x: x.uniform_(),
    "normal_": lambda x: x.normal_(),
    "exponential_": lambda x: x.exponential_(),
    "cauchy_": lambda x: x.cauchy_(),
    "log_normal_": lambda x: x.log_normal_(),
    **{
        name: lambda x, name=name: getattr(F, name)(x, x)
        for name in (
            "huber_loss", "smooth_l1_loss", "kl_div", "soft_margin_loss", "binary_cross_entropy",
            "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss",
        )
    },
}  # fmt: skip
OF_NUMBERS: dict[str, Callable[[Any], Any]] = {
    "relu": F.relu,
    "relu_": F.relu_,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "round": graphc.round,
    "trace": graphc.trace,
    "median": graphc.median,
    "addcmul": lambda x: graphc.addcmul(x, x, x),
    "isin": lambda x: graphc.isin(x, x),
    "searchsorted": lambda x: graphc.searchsorted(x, x),
    "bucketize": lambda x: graphc.bucketize(x, x[0]),
}


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", [graphc.int64, graphc.uint8, graphc.bool])
@pytest.mark.parametrize("name", OF_FLOATS)
def test_of_floats(name: str, dtype: graphc.dtype, compiled: bool) -> None:
    f = graphc.compile(OF_FLOATS[name]) if compiled else OF_FLOATS[name]
    kind = RuntimeError if dtype is graphc.bool else NotImplementedError  # bools are not negated
    with pytest.raises(kind):
        f(graphc.ones(2, 4).to(dtype))
    OF_FLOATS[name](graphc.rand(2, 4))


@pytest.mark.parametrize("name", OF_NUMBERS)
def test_of_numbers(name: str) -> None:
    with pytest.raises(RuntimeError, match="not defined for bools"):
        OF_NUMBERS[name](graphc.ones(2, 2) > 0)
    OF_NUMBERS[name](graphc.ones(2, 2, dtype=graphc.int64))


def test_nan_is_searched_for_behind_all() -> None:
    rows = graphc.tensor([1.0, 2.0, float("nan"), float("nan")])
    asked = graphc.tensor([float("nan"), 2.0])
    for right in (False, True):
        assert graphc.searchsorted(rows, asked, right=right).tolist() == [4, 1 + right]
    assert graphc.bucketize(asked, rows[:2]).tolist() == [2, 1]
