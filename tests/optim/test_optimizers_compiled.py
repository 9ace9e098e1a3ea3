"""Optimizers in compiled steps: as eager, and nothing but structure compiles anew."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)

ROWS: list[tuple[str, Any]] = [
    ("sgd", lambda ps: optim.SGD(ps, 0.1)),
    ("nesterov", lambda ps: optim.SGD(ps, 0.1, 0.9, nesterov=True, weight_decay=0.01)),
    ("dampening", lambda ps: optim.SGD(ps, 0.1, 0.9, dampening=0.5)),
    ("adam", lambda ps: optim.Adam(ps, 0.01, amsgrad=True, weight_decay=0.01)),
    ("adamw", lambda ps: optim.AdamW(ps, 0.01)),
    ("adamax", lambda ps: optim.Adamax(ps, 0.01)),
    ("nadam", lambda ps: optim.NAdam(ps, 0.01, weight_decay=0.1)),
    ("radam", lambda ps: optim.RAdam(ps, 0.01, betas=(0.9, 0.9))),
    ("adagrad", lambda ps: optim.Adagrad(ps, 0.01, lr_decay=0.1)),
    ("adadelta", lambda ps: optim.Adadelta(ps, 0.5)),
    ("asgd", lambda ps: optim.ASGD(ps, 0.1, t0=3.0)),
    ("rprop", lambda ps: optim.Rprop(ps, 0.01)),
    ("adafactor", lambda ps: optim.Adafactor(ps, 0.01, weight_decay=0.1)),
    ("lion", lambda ps: optim.Lion(ps, 0.01, weight_decay=0.1)),
    ("rmsprop", lambda ps: optim.RMSprop(ps, momentum=0.5)),
]


def train(make: Any, wrap: Any, steps: int = 12) -> tuple[list[float], Any, Any]:
    """Losses of a small net under a schedule inside the step; a checkpoint is loaded midway."""
    graphc.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
    opt = make(net.parameters())
    cycles = any(k in opt.defaults for k in ("momentum", "betas"))
    schedule = optim.lr_scheduler.OneCycleLR(opt, 0.05, 30, cycle_momentum=cycles)
    x, y = graphc.tensor(X), graphc.tensor([0, 1, 2, 0, 1, 2])

    def step() -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        schedule.step()
        return loss

    run = wrap(step)
    losses, saved = [], None
    for k in range(steps):
        losses.append(run().item())
        if k == 4:
            saved = copy.deepcopy(opt.state_dict())
        if k == 6:
            opt.load_state_dict(saved)
    return losses, opt, run


@pytest.mark.parametrize(("name", "make"), ROWS, ids=[r[0] for r in ROWS])
def test_compiled_equals_eager(name: str, make: Any) -> None:
    expected, eager, _ = train(make, lambda f: f)
    losses, opt, step = train(make, graphc.compile)
    np.testing.assert_allclose(losses, expected, rtol=2e-5)
    assert [g["lr"] for g in opt.param_groups] == [g["lr"] for g in eager.param_groups]
    assert step.stats.programs == 2  # and one that takes whatever slots are loaded
    mine, theirs = opt.state_dict()["state"], eager.state_dict()["state"]
    assert {k: set(v) for k, v in mine.items()} == {k: set(v) for k, v in theirs.items()}
    for k, slots in theirs.items():
        for slot, value in slots.items():
            np.testing.assert_allclose(
                mine[k][slot].numpy(), value.numpy(), rtol=2e-3, atol=1e-5, err_msg=slot
            )


def test_adam_computes_its_corrections_once_for_all_parameters() -> None:
    _, opt, _ = train(ROWS[3][1], graphc.compile, 2)
    assert len({id(slots["step"]) for slots in opt.state.values()}) == 1
    assert all(float(slots["step"]) == 2.0 for slots in opt.state.values())


def test_a_predicate_that_changes_the_update_is_traced_anew() -> None:
    p = nn.Parameter(graphc.ones(3))
    opt = optim.SGD([p], lr=0.5)

    @graphc.compile
    def step() -> None:
        p.grad = p.detach() * 0.0
        opt.step()

    step()
    opt.param_groups[0]["weight_decay"] = 0.5
    step()
    assert p.tolist() == [0.75] * 3
    opt.param_groups[0]["weight_decay"] = 1.0
    step()
    assert p.tolist() == [0.375] * 3 and step.stats.programs == 2


@pytest.mark.parametrize("name", ["SGD", "AdamW", "RMSprop"])
def test_a_step_may_set_the_numbers_of_its_groups(name: str) -> None:
    """What is set before the update holds in it, also where a call does not trace anew."""

    def train(wrap: Any) -> list[Any]:
        p = nn.Parameter(graphc.ones(3))
        opt = getattr(optim, name)([p], lr=0.5, weight_decay=0.1)

        def step(x: Any, lr: float, decay: float) -> Any:
            for group in opt.param_groups:
                group["lr"] = lr
                group.update(weight_decay=decay)
            opt.zero_grad()
            (p * x).square().sum().backward()
            opt.step()

        run, out = wrap(step), []
        for k, lr in enumerate((0.1, 0.2, 0.1, 0.2, 0.05, 0.1, 0.1)):
            run(graphc.tensor([1.0, 0.5, 0.1]), lr, 0.1 * (k % 2))
            out += [p.tolist(), opt.param_groups[0]["lr"], opt.param_groups[0]["weight_decay"]]
        return out

    for mine, expected in zip(train(graphc.compile), train(lambda f: f), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-4)


def test_groups_set_by_a_step_that_fails_are_as_they_were() -> None:
    opt = optim.SGD([nn.Parameter(graphc.ones(1))], lr=0.5)

    def step() -> None:
        opt.param_groups[0]["lr"] = 0.1
        raise KeyError("no")

    with pytest.raises(KeyError):
        graphc.compile(step)()
    assert opt.param_groups[0]["lr"] == 0.5
