"""Slots that are loaded between calls and in them: as in PyTorch they are those of the state dict,
and who had the ones before keeps what they were. One more program serves all that are loaded."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphc
from tests.programs.nets import data, mlp

torch: Any = pytest.importorskip("torch")
KINDS: dict[str, dict[str, Any]] = {
    "SGD": {"lr": 0.1, "momentum": 0.9},
    "AdamW": {"lr": 0.01, "amsgrad": True},
    "NAdam": {},
    "RMSprop": {"lr": 0.01, "momentum": 0.5, "centered": True},
}


def slots(opt: Any) -> list[Any]:
    return [x.detach().clone() for s in opt.state.values() for x in s.values()]


def between_calls(T: Any, wrap: Any, kind: str) -> Any:
    net = mlp(T, 3, 4, 1)
    opt = getattr(T.optim, kind)(net.parameters(), **KINDS[kind])

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss.detach()

    call, out, kept, saved = wrap(step), [], [], []
    for k in range(8):
        out.append(call(data(T, 4, 3, seed=k)))
        if k in (1, 2):
            saved.append(opt.state_dict() if k == 1 else copy.deepcopy(opt.state_dict()))
        if k in (3, 5, 6):
            kept += opt.state[net[0].weight].values()
            opt.load_state_dict(copy.deepcopy(saved[k % 2]))
    return [*out, *kept, *net.parameters(), *slots(opt)]


@pytest.mark.parametrize("kind", KINDS)
def test_between_calls(kind: str) -> None:
    steps: list[Any] = []

    def compiled(f: Any) -> Any:
        steps.append(graphc.compile(f))
        return steps[-1]

    expected = between_calls(torch, lambda f: f, kind)
    for wrap in (lambda f: f, compiled):
        found = between_calls(graphc, wrap, kind)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6, atol=1e-9)
    assert steps[0].stats.programs == 2


def in_each_call(T: Any, wrap: Any) -> Any:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    net(data(T, 4, 3)).sum().backward()
    opt.step()
    saved = copy.deepcopy(opt.state_dict())

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        opt.load_state_dict(saved)
        return loss.detach()

    call, out, kept = wrap(step), [], []
    for k in range(5):
        kept += [s["momentum_buffer"] for s in opt.state.values()]
        out.append(call(data(T, 4, 3, seed=k)))
    mine = [s["momentum_buffer"] for s in opt.state.values()]
    theirs = [s["momentum_buffer"] for s in saved["state"].values()]
    assert all(a is b for a, b in zip(mine, theirs, strict=True))
    return [*out, *kept, *net.parameters()]


@pytest.mark.parametrize("wrap", [graphc.compile, lambda f: f], ids=["compiled", "eager"])
def test_in_each_call(wrap: Any) -> None:
    expected, found = in_each_call(torch, lambda f: f), in_each_call(graphc, wrap)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-6, atol=1e-9)


def test_a_step_with_loaded_slots_sees_others() -> None:
    p = graphc.nn.Parameter(graphc.zeros(3))
    opt = graphc.optim.SGD([p], lr=1.0, momentum=1.0)

    @graphc.compile
    def step() -> Any:
        p.grad = graphc.ones(3)
        opt.step()
        return p.detach().sum()

    step()
    opt.load_state_dict(opt.state_dict())
    for k in range(2, 10):
        step()
        assert p.tolist() == [-k * (k + 1) / 2] * 3
    before = p.tolist()[0]
    opt.state[p]["momentum_buffer"] = graphc.full((3,), 100.0)
    step()
    assert p.tolist() == [before - 101.0] * 3
    assert step.stats.programs <= 2
