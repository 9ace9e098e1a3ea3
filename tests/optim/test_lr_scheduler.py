"""Schedules against PyTorch's, step by step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim

torch: Any = pytest.importorskip("torch")

SCHEDULES: list[tuple[str, Any]] = [
    ("lambda", lambda s, o: s.LambdaLR(o, lambda e: 0.9**e)),
    ("lambdas", lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1.0 + e])),
    ("step", lambda s, o: s.StepLR(o, 3, 0.5)),
    ("multistep", lambda s, o: s.MultiStepLR(o, [2, 5, 5], 0.5)),
    ("constant", lambda s, o: s.ConstantLR(o, 0.25, 4)),
    ("linear", lambda s, o: s.LinearLR(o, 0.1, 0.9, 6)),
    ("exponential", lambda s, o: s.ExponentialLR(o, 0.8)),
    ("cosine", lambda s, o: s.CosineAnnealingLR(o, 5, 0.01)),
    ("multiplicative", lambda s, o: s.MultiplicativeLR(o, lambda e: 0.9 + 0.01 * e)),
    ("polynomial", lambda s, o: s.PolynomialLR(o, 8, 2.0)),
    ("restarts", lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01)),
    ("cyclic", lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, 5)),
    ("cyclic2", lambda s, o: s.CyclicLR(o, [0.01, 0.02], [0.1, 0.3], 2, mode="triangular2")),
    (
        "cyclic_range",
        lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, 5, "exp_range", 0.9, cycle_momentum=False),
    ),
    (
        "chained",
        lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 4), s.ExponentialLR(o, 0.9)]),
    ),
    ("onecycle", lambda s, o: s.OneCycleLR(o, [0.5, 1.0], total_steps=24)),
    (
        "onecycle3",
        lambda s, o: s.OneCycleLR(o, 0.5, 30, anneal_strategy="linear", three_phase=True),
    ),
    (
        "sequential",
        lambda s, o: s.SequentialLR(o, [s.LinearLR(o, 0.2), s.CosineAnnealingLR(o, 10)], [5]),
    ),
]


def pair(name: str) -> tuple[Any, Any]:
    """The same optimizer twice: ours and PyTorch's."""
    mine = [nn.Parameter(graphc.ones(1)) for _ in range(2)]
    theirs = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    out = []
    for module, (p, q) in ((optim, mine), (torch.optim, theirs)):
        groups = [{"params": [p]}, {"params": [q], "lr": 0.3}]
        out.append(getattr(module, name)(groups, lr=0.1))
    return out[0], out[1]


@pytest.mark.parametrize(("name", "make"), SCHEDULES, ids=[s[0] for s in SCHEDULES])
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.filterwarnings("ignore")
def test_schedule(name: str, make: Any, optimizer: str) -> None:
    mine, theirs = pair(optimizer)
    if optimizer == "SGD":
        for group in (*mine.param_groups, *theirs.param_groups):
            group["momentum"] = 0.9
    ours, reference = make(optim.lr_scheduler, mine), make(torch.optim.lr_scheduler, theirs)
    mine.step()
    for _ in range({"onecycle": 24, "onecycle3": 30}.get(name, 60)):
        for a, b in zip(mine.param_groups, theirs.param_groups):
            assert a["lr"] == pytest.approx(b["lr"], rel=1e-12)
            for key in ("betas", "momentum"):
                assert key not in a or a[key] == pytest.approx(b[key], rel=1e-12)
        assert ours.get_last_lr() == pytest.approx(reference.get_last_lr(), rel=1e-12)
        assert name == "chained" or ours.last_epoch == reference.last_epoch
        theirs.step()
        if name != "onecycle" or reference.last_epoch < 23:
            ours.step(), reference.step()


@pytest.mark.parametrize(("name", "make"), SCHEDULES, ids=[s[0] for s in SCHEDULES])
def test_state_dict_resumes(name: str, make: Any) -> None:
    first, second = pair("SGD")[0], pair("SGD")[0]
    a, b = make(optim.lr_scheduler, first), make(optim.lr_scheduler, second)
    first.step(), second.step()
    for _ in range(7):
        a.step()
    b.load_state_dict(a.state_dict())
    second.load_state_dict(first.state_dict())
    for _ in range(5):
        a.step(), b.step()
        assert a.get_last_lr() == b.get_last_lr()
        assert [g["lr"] for g in first.param_groups] == [g["lr"] for g in second.param_groups]


@pytest.mark.parametrize("options", [{}, {"mode": "max", "threshold_mode": "abs", "cooldown": 1}])
def test_reduce_on_plateau(options: dict[str, Any]) -> None:
    mine, theirs = pair("SGD")
    ours = optim.lr_scheduler.ReduceLROnPlateau(mine, patience=1, min_lr=1e-3, **options)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(
        theirs, patience=1, min_lr=1e-3, **options
    )
    for metric in (3.0, 2.0, 2.0, 2.5, 2.1, 1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 0.5):
        ours.step(metric), reference.step(metric)
        rates = [g["lr"] for g in theirs.param_groups]
        assert [g["lr"] for g in mine.param_groups] == pytest.approx(rates)


def test_a_schedule_that_runs_ahead_of_its_optimizer_warns() -> None:
    for opt, schedulers in zip(pair("SGD"), (optim.lr_scheduler, torch.optim.lr_scheduler)):
        schedule = schedulers.StepLR(opt, 2)
        with pytest.warns(UserWarning, match="before `optimizer.step"):
            schedule.step()
        schedule.step()  # once is enough
        opt.step()
        schedulers.SequentialLR(
            opt, [schedulers.ConstantLR(opt), schedulers.ExponentialLR(opt, 0.9)], [2]
        ).step()


def test_a_schedule_inside_a_compiled_step_compiles_once_in_200_steps() -> None:
    def rates(wrap: Any) -> tuple[list[float], Any]:
        p = nn.Parameter(graphc.ones(2))
        opt = optim.AdamW([p], lr=0.1)
        schedule = optim.lr_scheduler.OneCycleLR(opt, 0.3, total_steps=201)

        @wrap
        def step() -> Any:
            opt.zero_grad()
            loss = (p * p).sum()
            loss.backward()
            opt.step()
            schedule.step()
            return loss

        seen = []
        for _ in range(200):
            seen += [step().item(), opt.param_groups[0]["lr"], *opt.param_groups[0]["betas"]]
        return seen, step

    expected, _ = rates(lambda f: f)
    found, step = rates(graphc.compile)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert step.stats.programs == step.stats.compiles == 1


def test_errors() -> None:
    opt, _ = pair("SGD")
    with pytest.raises(TypeError):
        optim.lr_scheduler.StepLR(3, 1)  # type: ignore[arg-type]  # the error under test
    with pytest.raises(ValueError):
        optim.lr_scheduler.LambdaLR(opt, [lambda e: 1.0])
    assert issubclass(optim.lr_scheduler.StepLR, optim.lr_scheduler.LRScheduler)
    with pytest.raises(KeyError):
        optim.lr_scheduler.StepLR(opt, 1, last_epoch=4)


NAMED: list[tuple[str, list[float]]] = [  # the rate of steps 0, 1, 2, 5, 10, 12 from 1.0
    ("linear", [0.0, 0.5, 1.0, 0.625, 0.0, 0.0]),
    ("cosine", [0.0, 0.5, 1.0, 0.6913417161825449, 0.0, 0.14644660940672627]),
    ("constant", [1.0] * 6),
    ("constant_with_warmup", [0.0, 0.5, 1.0, 1.0, 1.0, 1.0]),
    ("inverse_sqrt", [0.0, 0.5, 1.0, 0.6324555320336759, 0.4472135954999579, 0.408248290463863]),
    ("polynomial", [0.0, 0.5, 1.0, 0.6250000375, 1e-7, 1e-7]),
]


@pytest.mark.parametrize(("name", "rates"), NAMED, ids=[n[0] for n in NAMED])
def test_named_schedule(name: str, rates: list[float]) -> None:
    opt = optim.SGD([nn.Parameter(graphc.ones(1))], lr=1.0)
    schedule = optim.get_scheduler(name, opt, 2, 10)
    opt.step()
    seen = []
    for _ in range(13):
        seen += schedule.get_last_lr()
        schedule.step()
    assert [seen[k] for k in (0, 1, 2, 5, 10, 12)] == pytest.approx(rates, abs=1e-12)


def test_named_schedule_refuses() -> None:
    opt = optim.SGD([nn.Parameter(graphc.ones(1))], lr=1.0)
    for arguments in (("nope", opt), ("linear", opt, 2), ("cosine", opt, None, 10)):
        with pytest.raises(ValueError):
            optim.get_scheduler(*arguments)
