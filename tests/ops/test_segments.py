"""segment_reduce beside torch's: values, gradients and refusals, eager and compiled."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import graphc

nan = math.nan
ROWS = [1.0, 1, nan, 2, 0, 3, 0, 0, 5, nan, 0, 4, 7]
LENGTHS = [2, 2, 2, 0, 3, 3, 1]
REDUCTIONS = ("sum", "mean", "max", "min", "prod")


def outcome(T: Any, reduce: str, initial: Any, by: str, compiled: bool) -> list[Any]:
    """The value, and the gradient of a weighted sum of what of it is finite or NaN."""
    given = np.cumsum([0, *LENGTHS]) if by == "offsets" else np.array(LENGTHS)

    def step(x: Any, runs: Any) -> Any:
        y = T.segment_reduce(T.stack([x, x * 2], 1), reduce, **{by: runs}, initial=initial)
        w = T.tensor((1 + np.cos(np.arange(y.numel()))).reshape(tuple(y.shape)))
        (T.where(y.isinf(), 0.0, y) * w).sum().backward()
        return y.detach()

    x = T.tensor(ROWS, dtype=T.float64).requires_grad_()
    y = (graphc.compile(step) if compiled else step)(x, T.tensor(given))
    return [y.numpy(), x.grad.numpy()]


@pytest.mark.parametrize("reduce", REDUCTIONS)
@pytest.mark.parametrize("initial, by, compiled", [
    (None, "lengths", False), (2.0, "lengths", False), (0.0, "offsets", False),
    (None, "lengths", True),
])  # fmt: skip
def test_as_torch(reduce: str, initial: Any, by: str, compiled: bool) -> None:
    torch: Any = pytest.importorskip("torch")
    with np.errstate(all="ignore"):
        ours = outcome(graphc, reduce, initial, by, compiled)
        for a, b in zip(ours, outcome(torch, reduce, initial, by, False), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("lengths", [[1, 2], [-1, 5], [3, 2], []])
@pytest.mark.parametrize("compiled", [False, True])
def test_lengths_that_do_not_fit(lengths: list[int], compiled: bool) -> None:
    def step(x: Any, runs: Any) -> Any:
        return graphc.segment_reduce(x, "sum", lengths=runs)

    with pytest.raises(RuntimeError, match="lengths"):
        runs = graphc.tensor(lengths, dtype=graphc.int64)
        (graphc.compile(step) if compiled else step)(graphc.ones(4), runs)


def test_what_is_not_there_says_so() -> None:
    x, runs = graphc.ones(4), graphc.tensor([1, 3])
    assert graphc.segment_reduce(x, "sum", lengths=runs[:1], unsafe=True).tolist() == [1]
    with pytest.raises(NotImplementedError, match="axis"):
        graphc.segment_reduce(x, "sum", lengths=runs[None], axis=1)
    with pytest.raises(RuntimeError, match="median"):
        graphc.segment_reduce(x, "median", lengths=runs)
    with pytest.raises(RuntimeError, match="either"):
        graphc.segment_reduce(x, "sum")
    with pytest.raises(NotImplementedError, match="i64"):
        graphc.segment_reduce(x.long(), "sum", lengths=runs)


def test_a_product_of_runs_has_a_second_derivative() -> None:
    x = graphc.tensor([2.0, 0.0, 3.0, 5.0]).requires_grad_()
    y = graphc.segment_reduce(x, "prod", lengths=graphc.tensor([3, 1]))
    (first,) = graphc.autograd.grad(y.sum(), x, create_graph=True)
    assert first.tolist() == [0, 6, 0, 1]
    first[1].backward()  # 2 * 3
    assert x.grad is not None and x.grad.tolist() == [3, 0, 2, 0]
