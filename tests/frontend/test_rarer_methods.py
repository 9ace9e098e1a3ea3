"""Methods that few scripts call: Python per element, memory orders, what other devices answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import AutogradError, GraphcError

torch: Any = pytest.importorskip("torch")


def test_python_for_each_element() -> None:
    for dtype in ("float32", "int64", "float64"):
        results = []
        for T in (graphc, torch):
            x = T.arange(6, dtype=getattr(T, dtype)).reshape(2, 3)
            turned = x.t()
            assert turned.apply_(lambda v: v * 2 + 1) is turned
            x.map_(T.ones(3, dtype=x.dtype), lambda a, b: a - b)
            x.map2_(x.clone(), T.ones(2, 1, dtype=x.dtype), lambda a, b, c: a + b * c)
            results.append(x.tolist())
        assert results[0] == results[1]


def test_python_for_each_element_refuses() -> None:
    x = graphc.ones(2).requires_grad_()
    with pytest.raises(AutogradError, match="requires grad"):
        x.apply_(lambda v: v)
    with pytest.raises(GraphcError):
        graphc.ones(2).map_(graphc.ones(3), lambda a, b: a)
    with pytest.raises(GraphcError):
        graphc.ones(2).map_(graphc.ones(2).double(), lambda a, b: a)
    with pytest.raises(GraphcError, match="known only at run time"):
        graphc.compile(lambda x: x.clone().apply_(lambda v: v))(graphc.ones(2))


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1)])
def test_orders_in_memory(order: tuple[int, ...]) -> None:
    ours, theirs = (T.empty_permuted((2, 3, 4), order) for T in (graphc, torch))
    assert ours.stride() == theirs.stride() and ours.dim_order() == theirs.dim_order() == order
    ours, theirs = (T.ones(2).new_empty_strided((3, 2), (1, 5)) for T in (graphc, torch))
    assert ours.stride() == theirs.stride() and ours.shape == theirs.shape
    assert graphc.ones(2).new_empty_strided((2,), (2,), dtype=graphc.int8).dtype is graphc.int8
    with pytest.raises(RuntimeError):
        graphc.empty_permuted((2, 3), (0, 0))


@pytest.mark.parametrize("name", ["igamma", "igammac", "mvlgamma"])
def test_gamma_methods(name: str) -> None:
    a, b = np.array([0.6, 2.0, 3.5], "f4"), np.array([1.5, 0.3, 9.0], "f4")
    results = []
    for T in (graphc, torch):
        other = (T.tensor(b),) if name != "mvlgamma" else (1,)
        x = T.tensor(a)
        results.append(getattr(x, name)(*other))
        assert getattr(x, name + "_")(*other) is x
        np.testing.assert_allclose(x, results[-1])
    np.testing.assert_allclose(*results, rtol=1e-5)


def test_far_out_and_refused() -> None:
    x = [float("inf"), -float("inf"), 3e38, float("nan"), 1.5]
    ours, theirs = (T.mvlgamma(T.tensor(x), 3) for T in (graphc, torch))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    with pytest.raises(RuntimeError, match="greater than or equal to 1"):
        graphc.mvlgamma(graphc.ones(1), 0)
    one = [T.nn.functional.multi_margin_loss(T.ones(5), T.tensor([1]), reduction="none")
           for T in (graphc, torch)]  # fmt: skip
    assert tuple(one[0].shape) == tuple(one[1].shape) == (1,)


def test_what_is_of_other_devices() -> None:
    x, y = graphc.ones(1), torch.ones(1)
    for name in ["xla", "mtia", "ipu", "maia", "vulkan", "mkldnn", "nested", "meta", "mps", "xpu"]:
        assert getattr(x, f"is_{name}") is getattr(y, f"is_{name}") is False
    assert x.is_shared() is y.is_shared() is False
