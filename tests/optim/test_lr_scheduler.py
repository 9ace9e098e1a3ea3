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
    (
        "sequential_mixed",  # what begins later: by its closed form, or from the rate it finds
        lambda s, o: s.SequentialLR(
            o,
            [
                s.ConstantLR(o, 0.1, 2),
                s.CosineAnnealingWarmRestarts(o, 4),
                s.MultiplicativeLR(o, lambda e: 0.9),
                s.PolynomialLR(o, 6),
                s.StepLR(o, 2),
            ],
            [3, 9, 13, 20],
        ),
    ),
    (
        "chained_sequential",
        lambda s, o: s.ChainedScheduler(
            [
                s.SequentialLR(o, [s.ConstantLR(o, 0.1, 2), s.ExponentialLR(o, 0.9)], [5]),
                s.MultiStepLR(o, [3, 8], 0.5),
            ]
        ),
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
        assert "chained" in name or ours.last_epoch == reference.last_epoch
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


@pytest.mark.parametrize(("name", "make"), SCHEDULES, ids=[s[0] for s in SCHEDULES])
def test_state_dict_of_pytorch(name: str, make: Any) -> None:
    mine, theirs = pair("SGD")
    ours, reference = make(optim.lr_scheduler, mine), make(torch.optim.lr_scheduler, theirs)
    mine.step(), theirs.step()
    for _ in range(7):
        reference.step()
    ours.load_state_dict(reference.state_dict())
    groups = [{**g, "params": [k]} for k, g in enumerate(theirs.param_groups)]
    mine.load_state_dict({"state": {}, "param_groups": groups})
    for _ in range(5):
        ours.step(), reference.step()
        assert ours.get_last_lr() == pytest.approx(reference.get_last_lr(), rel=1e-12)


@pytest.mark.parametrize(("name", "make"), SCHEDULES, ids=[s[0] for s in SCHEDULES])
@pytest.mark.filterwarnings("ignore:(The epoch parameter|scheduler.step.epoch)")
def test_steps_to_an_epoch(name: str, make: Any) -> None:
    if "chained" in name or "sequential" in name:
        pytest.skip("they take no epoch")
    mine, theirs = pair("SGD")
    ours, reference = make(optim.lr_scheduler, mine), make(torch.optim.lr_scheduler, theirs)
    mine.step(), theirs.step()
    for epoch in (0, 1, 2, 2, 7, 4, None, None, 20, 21, None):
        ours.step(epoch), reference.step(epoch)
        assert ours.get_last_lr() == pytest.approx(reference.get_last_lr(), rel=1e-12)
        assert ours.last_epoch == reference.last_epoch


def test_restarts_take_fractions_of_an_epoch() -> None:
    mine, theirs = pair("SGD")
    ours, reference = (
        s.CosineAnnealingWarmRestarts(o, 3, 2)
        for s, o in ((optim.lr_scheduler, mine), (torch.optim.lr_scheduler, theirs))
    )
    for epoch in (0.0, 0.5, 1.25, None, 3.5, 8.75, None, None, 26):
        ours.step(epoch), reference.step(epoch)
        assert ours.get_last_lr() == pytest.approx(reference.get_last_lr(), rel=1e-12)
        assert (ours.last_epoch, ours.T_i) == (reference.last_epoch, reference.T_i)


def test_a_rate_that_is_a_tensor_stays_one() -> None:
    rate = graphc.tensor(0.5)
    opt = optim.SGD([nn.Parameter(graphc.ones(1))], lr=rate)
    schedule = optim.lr_scheduler.SequentialLR(
        opt, [optim.lr_scheduler.ConstantLR(opt, 0.5, 2), optim.lr_scheduler.StepLR(opt, 1)], [3]
    )
    opt.step()
    for _ in range(4):
        schedule.step()
    assert opt.param_groups[0]["lr"] is rate and rate.item() == pytest.approx(0.05)
    assert schedule.get_last_lr() == pytest.approx([0.05])


def test_an_older_schedule_of_a_users_own() -> None:
    def rates(schedulers: Any, opt: Any) -> list[Any]:
        class Warm(schedulers._LRScheduler):  # type: ignore[misc, name-defined]  # from outside
            def __init__(self, opt: Any, after: Any, last_epoch: int = -1) -> None:
                self.after = after
                super().__init__(opt, last_epoch)

            def get_lr(self) -> list[float]:
                share = min(1.0, self.last_epoch / 4)
                return [base * share for base in self.base_lrs]

            def step(self, epoch: Any = None, metrics: Any = None) -> None:
                if self.last_epoch < 4:
                    return super().step(epoch)
                self.after.step(epoch)
                self._last_lr = self.after.get_last_lr()

        schedule = Warm(opt, schedulers.CosineAnnealingLR(opt, 10))
        opt.step()
        seen = [schedule.get_last_lr()]
        for _ in range(8):
            schedule.step()
            seen.append([*schedule.get_last_lr(), *(g["lr"] for g in opt.param_groups)])
        return [*seen, schedule.last_epoch, schedule._step_count]

    mine, theirs = pair("SGD")
    expected = rates(torch.optim.lr_scheduler, theirs)
    for a, b in zip(rates(optim.lr_scheduler, mine), expected, strict=True):
        assert a == pytest.approx(b, rel=1e-12)


class Decay:
    """A function with a state, which the state dict of a schedule keeps."""

    def __init__(self, by: float) -> None:
        self.by = by

    def __call__(self, epoch: float) -> float:
        return self.by**epoch


def test_functions_that_are_objects_are_kept() -> None:
    for make in (
        lambda s, o, by: s.LambdaLR(o, Decay(by)),
        lambda s, o, by: s.CyclicLR(o, 0.1, 0.2, 3, scale_fn=Decay(by), scale_mode="iterations"),
    ):
        mine, theirs = pair("SGD")
        kept = [
            make(s, o, 0.5).state_dict()
            for s, o in ((optim.lr_scheduler, mine), (torch.optim.lr_scheduler, theirs))
        ]
        names = [key for key in ("lr_lambdas", "_scale_fn_custom") if key in kept[1]]
        assert [kept[0][key] for key in names] == [kept[1][key] for key in names]
        other = make(optim.lr_scheduler, pair("SGD")[0], 0.9)
        other.load_state_dict(kept[0])
        found = other.lr_lambdas[1] if "lr_lambdas" in kept[0] else other._scale_fn_custom
        assert found.by == 0.5


MISUSES: list[tuple[type[Exception], Any]] = [
    (TypeError, lambda s, o, other: s.CyclicLR(3, 0.1, 0.2)),
    (TypeError, lambda s, o, other: s.ReduceLROnPlateau(3)),
    (ValueError, lambda s, o, other: s.CyclicLR(o, [0.1], 0.2)),
    (ValueError, lambda s, o, other: s.OneCycleLR(o, 0.1, 3.5)),
    (ValueError, lambda s, o, other: s.OneCycleLR(o, 0.1, epochs=-2, steps_per_epoch=3)),
    (ValueError, lambda s, o, other: s.OneCycleLR(o, [0.1], 10)),
    (ValueError, lambda s, o, other: s.SequentialLR(o, [], [])),
    (TypeError, lambda s, o, other: s.SequentialLR(o, [s.ConstantLR(o), 5], [1])),
    (
        ValueError,
        lambda s, o, other: s.SequentialLR(o, [s.ConstantLR(o), s.ConstantLR(other)], [1]),
    ),
    (ValueError, lambda s, o, other: s.ChainedScheduler([s.ReduceLROnPlateau(o)])),
    (ValueError, lambda s, o, other: s.ReduceLROnPlateau(o, min_lr=[0.1])),
    (ValueError, lambda s, o, other: s.ReduceLROnPlateau(o, mode="least")),
    (TypeError, lambda s, o, other: s.ReduceLROnPlateau(o).step()),
]


@pytest.mark.parametrize(("kind", "misuse"), MISUSES)
def test_misuse_is_refused_as_in_pytorch(kind: type[Exception], misuse: Any) -> None:
    others = pair("SGD")
    for s, o, other in zip((optim.lr_scheduler, torch.optim.lr_scheduler), pair("SGD"), others):
        with pytest.raises(kind):
            misuse(s, o, other)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mode": "max", "threshold_mode": "abs", "cooldown": 1},
        {"min_lr": [0.02, 0.1], "cooldown": 2},
    ],
)
def test_reduce_on_plateau(options: dict[str, Any]) -> None:
    mine, theirs = pair("SGD")
    options = {"patience": 1, "min_lr": 1e-3, **options}
    ours = optim.lr_scheduler.ReduceLROnPlateau(mine, **options)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    assert isinstance(ours, optim.lr_scheduler.LRScheduler)
    for metric in (3.0, 2.0, 2.0, 2.5, 2.1, 1.0, 1.0, 1.0, 1.0, 4.0, 4.0, 4.0, 0.5):
        ours.step(metric), reference.step(metric)
        rates = [g["lr"] for g in theirs.param_groups]
        assert [g["lr"] for g in mine.param_groups] == pytest.approx(rates)
        assert ours.get_last_lr() == pytest.approx(reference.get_last_lr())
        assert ours.in_cooldown == reference.in_cooldown


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
