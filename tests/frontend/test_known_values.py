"""What a step computes of constants alone is known while it is traced: Python may look at it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import DataDependentBranch

X = graphc.arange(24.0).reshape(4, 6)


def chunks(x: Any) -> Any:
    """As Longformer has it."""
    n = graphc.div(x.shape[1], 2, rounding_mode="trunc") - 1
    return x.new_zeros((x.shape[0], n)) + x[:, :n]


def branch(x: Any) -> Any:
    mask = graphc.ones(3, 3).tril()
    return x + 1 if graphc.all(mask == 1) else x - 1


def rates(x: Any) -> Any:
    return [x * r for r in graphc.linspace(0, 1, 3).tolist() if r > 0.2]


def numbers(x: Any) -> Any:
    return x * [1, 2, 3, 4][graphc.tensor([0, 3]).max().item()] + (graphc.tensor(2) ** 3).numpy()


def size(x: Any) -> Any:
    return x.reshape(int(graphc.tensor(x.shape[0]) // 2), -1)


def holds(x: Any) -> Any:
    assert graphc.tensor([1, 2]).sum() == 3, "constants are wrong"
    return x


STEPS: list[Callable[[Any], Any]] = [chunks, branch, rates, numbers, size, holds]


@pytest.mark.parametrize("step", STEPS, ids=lambda f: f.__name__)
def test_the_step_is_that_of_eager_code(step: Any) -> None:
    compiled = graphc.compile(step)
    for x in (X, X[:2], X * 2):
        found, wanted = compiled(x), step(x)
        for a, b in zip(*(r if isinstance(r, list) else [r] for r in (found, wanted)), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_size_that_is_only_shown_stays_open() -> None:
    step = graphc.compile(lambda x: (x.sum(), graphc.tensor(x.shape[0]).item()))
    for n in (2, 3, 4):
        assert step(graphc.ones(n))[1] == n
    assert step.stats.programs == 1


def test_state_and_draws_are_no_constants() -> None:
    state = graphc.ones(1)
    for f in (lambda x: x if state > 0 else -x, lambda x: x if graphc.rand(1) > 2 else -x):
        with pytest.raises(DataDependentBranch):
            graphc.compile(f)(X)


def test_functions_of_numbers_alone() -> None:
    torch = pytest.importorskip("torch")
    rows: list[Callable[[Any], Any]] = [
        lambda T: T.div(12, 5), lambda T: T.div(-12, 5, rounding_mode="trunc"),
        lambda T: T.div(-12, 5, rounding_mode="floor"), lambda T: T.add(1, 2.5),
        lambda T: T.sub(1, 2, alpha=3), lambda T: T.mul(2, 3), lambda T: T.floor_divide(7, 2),
        lambda T: T.true_divide(1, 4),
    ]  # fmt: skip
    for row in rows:
        ours, theirs = row(graphc), row(torch)
        assert ours.item() == theirs.item()
        assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
