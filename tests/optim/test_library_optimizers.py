"""Optimizers of other libraries, such as Adafactor of transformers: their state counts, too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import graphc
from tests.libraries import library

SOURCE = """
import math
import graphc

class Decayed(graphc.optim.Optimizer):
    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @graphc.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if len(state) == 0:
                    state["step"] = 0
                    state["square"] = graphc.zeros_like(p.grad)
                state["step"] += 1
                beta = 1.0 - math.pow(state["step"], -0.8)
                state["square"].mul_(beta).add_(p.grad**2, alpha=1.0 - beta)
                p.add_(state["square"].rsqrt() * p.grad, alpha=-group["lr"])
"""


def test_a_count_in_its_state_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = library(SOURCE, tmp_path, monkeypatch)
    found = []
    for compiled in (False, True):
        w = graphc.ones(3, requires_grad=True)
        opt = module.Decayed([w])

        def step(x: Any, w: Any = w, opt: Any = opt) -> Any:
            opt.zero_grad()
            loss = ((w * x - 1) ** 2).sum()
            loss.backward()
            opt.step()
            return loss

        run = graphc.compile(step) if compiled else step
        found.append([run(graphc.arange(2.0, 5.0)).item() for _ in range(6)])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
