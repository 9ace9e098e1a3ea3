"""Elementwise launches that wait for nothing between them are started as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn

pytest.importorskip("triton")

from graphc.runtime.cuda import device

SHAPES = ((3,), (2, 5), (40,), (7, 11), (1,), (0,), (4, 4), (300,))


@pytest.fixture(autouse=True)
def fake(fake_gpu: None) -> None:
    """All of it on the fake GPU."""


def parameters(where: str) -> list[nn.Parameter]:
    rng = np.random.default_rng(0)
    made = []
    for shape in SHAPES:
        p = nn.Parameter(graphc.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(where))
        p.grad = graphc.from_numpy(rng.standard_normal(shape).astype(np.float32)).to(where)
        made.append(p)
    return made


def launched(run: Callable[[], Any]) -> int:
    driver: Any = device.current().driver
    graphc.cuda.synchronize()
    before = len(driver.launches)
    run()
    graphc.cuda.synchronize()
    return len(driver.launches) - before


def adam(params: Any) -> Any:
    return graphc.optim.AdamW(params, lr=0.1)


def sgd(params: Any) -> Any:
    return graphc.optim.SGD(params, lr=0.1, momentum=0.9, weight_decay=0.01)


@pytest.mark.parametrize("make", [adam, sgd])
def test_an_update_by_itself_is_a_few_launches(make: Any) -> None:
    results = []
    for where in ("cpu", "cuda"):
        params = parameters(where)
        optimizer = make(params)
        step = graphc.compile(lambda optimizer=optimizer: optimizer.step())
        for _ in range(3):
            step()
        if where == "cuda" and device.current().driver.name == "fake":
            assert len(step._units()[0].program.launches) >= len(SHAPES) - 1
            assert launched(step) <= 3
        else:
            step()
        results.append([p.detach().cpu().numpy() for p in params])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-7)


def test_clipped_training_equals_the_cpus() -> None:
    losses = []
    for where in ("cpu", "cuda"):
        graphc.manual_seed(0)
        model = nn.Sequential(*[nn.Linear(5, 5) for _ in range(6)]).to(where)
        optimizer = adam(model.parameters())

        @graphc.compile
        def step(x: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = model(x).square().sum()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            optimizer.step()
            return loss

        x = graphc.ones(4, 5).to(where)
        losses.append([step(x).item() for _ in range(3)])
        if where == "cuda" and device.current().driver.name == "fake":
            single = len(step._last.plan.native._last.program.launches)
            assert launched(lambda step=step, x=x: step(x)) <= single - 6  # of 12 updates
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5)


def test_types_and_numbers_of_members_are_their_own() -> None:
    xs = [graphc.full((n,), float(n)).to("cuda", d) for n in (2, 300, 9)
          for d in (graphc.float32, graphc.float16)]  # fmt: skip
    step = graphc.compile(lambda *xs: [(x * 1.5 + 0.25).relu() for x in xs])
    for _ in range(2):
        for x, y in zip(xs, step(*xs), strict=True):
            assert y.dtype is x.dtype and y.shape == x.shape
            assert y.float().cpu().tolist() == [1.5 * x.shape[0] + 0.25] * x.shape[0]
