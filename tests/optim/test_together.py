"""The update of many small parameters as one vector: the bits of each alone, and few calls."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import optim
from graphc.autograd.graph import saved_tensors_hooks
from graphc.frontend import tensor as tensors

T = graphc.Tensor
Make = Callable[[Any], Any]
OPTIMIZERS: dict[str, Make] = {
    "sgd": lambda ps: optim.SGD(ps, 0.1),
    "sgd with momentum": lambda ps: optim.SGD(ps, 0.1, 0.9, weight_decay=0.01, nesterov=True),
    "sgd with dampening": lambda ps: optim.SGD(ps, 0.1, 0.9, dampening=0.5, maximize=True),
    "adam": lambda ps: optim.Adam(ps, 0.1, weight_decay=0.01, amsgrad=True),
    "adamw": lambda ps: optim.AdamW(ps, 0.1),
    "adamax": lambda ps: optim.Adamax(ps, 0.1),
    "nadam": lambda ps: optim.NAdam(ps, 0.1),
    "radam": lambda ps: optim.RAdam(ps, 0.1),
    "adagrad": lambda ps: optim.Adagrad(ps, 0.1),
    "adadelta": lambda ps: optim.Adadelta(ps, 0.1),
    "rmsprop": lambda ps: optim.RMSprop(ps, 0.1, momentum=0.9, centered=True),
    "rprop": lambda ps: optim.Rprop(ps, 0.1),
    "asgd": lambda ps: optim.ASGD(ps, 0.1),
    "adafactor": lambda ps: optim.Adafactor(ps, 0.1),
}
SHAPES = ((3, 4), (7,), (), (2, 1, 5), (0, 3), (140, 130))


def parameters() -> list[T]:
    rng = np.random.default_rng(0)
    ps = [graphc.from_numpy(np.array(rng.standard_normal(s), np.float32)) for s in SHAPES]
    ps.append(graphc.from_numpy(rng.standard_normal(6)))  # of float64
    return [p.requires_grad_() for p in ps]


def trained(make: Make, each: bool, steps: int = 4) -> list[bytes]:
    ps = parameters()
    optimizer = make(ps)
    for k in range(steps):
        for n, p in enumerate(ps):
            p.grad = None if (n, k) == (1, 2) else (p.detach() * (n + k)).cos()
        if each:
            with saved_tensors_hooks(lambda x: x, lambda x: x):  # are told of each operation
                optimizer.step()
        else:
            optimizer.step()
    slots = [x for p in ps for x in optimizer.state.get(p, {}).values() if isinstance(x, T)]
    return [x.detach().numpy().tobytes() for x in (*ps, *slots)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_bits_are_those_of_each_alone(name: str) -> None:
    assert trained(OPTIMIZERS[name], each=False) == trained(OPTIMIZERS[name], each=True)


def test_many_parameters_take_few_calls() -> None:
    def calls(count: int) -> int:
        ps = [graphc.zeros(5, requires_grad=True) for _ in range(count)]
        optimizer = optim.AdamW(ps)
        seen = [0]

        def count_call(frame: Any, event: str, arg: Any) -> None:
            seen[0] += event == "call"

        for p in ps:
            p.grad = graphc.ones(5)
        optimizer.step()
        sys.setprofile(count_call)
        try:
            optimizer.step()
        finally:
            sys.setprofile(None)
        return seen[0]

    assert calls(40) - calls(20) < 20 * 60


@pytest.mark.parametrize("name", ["rmsprop", "adamax", "radam", "adagrad", "adadelta", "rprop"])
def test_a_rule_is_one_list_of_calls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    eager = tensors.eager

    def noted(op: Any, args: Any, attrs: Any) -> T:
        if args[0]._spec.shape if isinstance(args[0], T) else False:
            seen.append(op.name)
        return eager(op, args, attrs)

    ps = [graphc.zeros(5, requires_grad=True) for _ in range(2)]
    optimizer = OPTIMIZERS[name](ps)
    monkeypatch.setattr(tensors, "eager", noted)
    for _ in range(2):
        for p in ps:
            p.grad = graphc.ones(5)
        seen.clear()
        optimizer.step()
    assert seen == ["sub"]  # the step from the parameters


def test_writes_are_seen_and_views_are_followed() -> None:
    ps = [graphc.zeros(3, requires_grad=True) for _ in range(2)]
    views = [p.detach() for p in ps]
    loss = sum((p * p).sum() for p in ps)
    for p in ps:
        p.grad = graphc.ones(3)
    before = [p._version for p in ps]
    optim.SGD(ps, 0.5).step()
    assert [p._version for p in ps] > before
    assert [v.tolist() for v in views] == [[-0.5] * 3] * 2
    with pytest.raises(RuntimeError, match="changed by an in-place operation"):
        loss.backward()  # type: ignore[union-attr]


def test_parameters_of_one_memory_are_updated_one_after_the_other() -> None:
    flat = np.ones(8, np.float32)
    ps = [graphc.from_numpy(flat[a : a + 5]).requires_grad_() for a in (0, 3)]
    for p in ps:
        p.grad = graphc.ones(5)
    optim.SGD(ps, 1.0, weight_decay=0.5).step()
    assert flat.tolist() == [-0.5, -0.5, -0.5, -1.25, -1.25, -0.5, -0.5, -0.5]


def test_what_is_not_plain_goes_alone() -> None:
    wide = graphc.zeros(4, 6).transpose(0, 1).requires_grad_()
    ps = [wide, graphc.zeros(3, requires_grad=True), graphc.zeros(2, requires_grad=True)]
    for p in ps:
        p.grad = graphc.ones(p.shape)
    optim.Adam(ps, 0.5).step()
    for p in ps:
        np.testing.assert_allclose(p.detach().numpy(), -0.5, rtol=1e-6)
