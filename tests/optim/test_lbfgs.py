"""LBFGS against PyTorch, evaluation by evaluation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import optim

START = [0.2, 1.5, 0.5, -0.3]


def rosenbrock(x: Any) -> Any:
    a, b = x[1:] - x[:-1] ** 2, 1 - x[:-1]
    return (100 * a**2 + b**2).sum()


def minimized(T: Any, wrap: Any = lambda f: f, steps: int = 6, **options: Any) -> Any:
    """Losses that the closure saw, the last place, and the optimizer's own counts."""
    x = T.nn.Parameter(T.tensor(START, dtype=T.float64))
    opt = T.optim.LBFGS([x], **options)
    seen: list[float] = []

    @wrap
    def evaluate() -> Any:
        opt.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    def closure() -> Any:
        loss = evaluate()
        seen.append(loss.item())
        return loss

    for _ in range(steps):
        opt.step(closure)
    state = opt.state[x]
    return seen, x.detach().numpy(), (state["func_evals"], state["n_iter"])


ROWS: list[dict[str, Any]] = [
    {"lr": 0.001, "max_iter": 5},
    {"line_search_fn": "strong_wolfe"},
    {"line_search_fn": "strong_wolfe", "history_size": 2, "lr": 0.5, "max_iter": 4},
]


@pytest.mark.parametrize("options", ROWS, ids=str)
def test_as_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    seen, x, counts = minimized(graphc, **options)
    theirs, y, their_counts = minimized(torch, **options)
    assert counts == their_counts
    np.testing.assert_allclose(seen, theirs, rtol=1e-6)
    np.testing.assert_allclose(x, y, rtol=1e-7)


def test_it_finds_the_minimum_with_a_compiled_closure() -> None:
    _, x, _ = minimized(graphc, graphc.compile, 8, line_search_fn="strong_wolfe")
    np.testing.assert_allclose(x, np.ones(4), rtol=1e-5)


def test_refuses() -> None:
    x = graphc.nn.Parameter(graphc.ones(2))
    with pytest.raises(ValueError):
        optim.LBFGS([{"params": [x]}, {"params": [graphc.nn.Parameter(graphc.ones(1))]}])
    opt = optim.LBFGS([x])
    with pytest.raises(TypeError):
        opt.step()
    with pytest.raises(graphc.errors.Untraceable):
        graphc.compile(lambda: opt.step(lambda: (x * x).sum()))()
