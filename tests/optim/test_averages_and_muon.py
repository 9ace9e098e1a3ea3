"""Averaged models and their schedule, and Muon, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.optim import swa_utils

OPTIONS: list[dict[str, Any]] = [
    {},
    {"nesterov": False, "weight_decay": 0.0, "lr": 0.02},
    {"adjust_lr_fn": "match_rms_adamw", "momentum": 0.9, "ns_steps": 3},
]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
def test_muon_steps_as_torchs(options: dict[str, Any], compiled: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    starts = [rng.standard_normal(s).astype(np.float32) for s in ((4, 6), (5, 2))]
    found = []
    for T in (graphc, torch):
        params = [T.nn.Parameter(T.tensor(a)) for a in starts]
        optimizer = T.optim.Muon(params, **options)

        def step(params: Any = params, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = sum(((p - 1) ** 2).sum() for p in params)
            loss.backward()
            optimizer.step()
            return loss

        run = graphc.compile(step) if compiled and T is graphc else step
        for _ in range(4):
            run()
        found.append([p.detach().numpy() for p in params])
    for mine, theirs, start in zip(*found, starts):
        # both compute the direction in bfloat16, whose rounding differs
        np.testing.assert_allclose(mine, theirs, atol=0.02 * np.abs(theirs - start).max())


def test_muon_refuses() -> None:
    with pytest.raises(ValueError, match="2D"):
        graphc.optim.Muon([nn.Parameter(graphc.ones(3))])
    with pytest.raises(ValueError, match="not supported"):
        graphc.optim.Muon([nn.Parameter(graphc.ones(3, 3))], adjust_lr_fn="other")


def make(T: Any, name: str, net: Any) -> Any:
    utils = T.optim.swa_utils
    return {
        "mean": lambda: utils.AveragedModel(net),
        "ema": lambda: utils.AveragedModel(net, multi_avg_fn=utils.get_ema_multi_avg_fn(0.9)),
        "ema_one": lambda: utils.AveragedModel(net, avg_fn=utils.get_ema_avg_fn(0.5)),
        "buffers": lambda: utils.AveragedModel(net, use_buffers=True),
    }[name]()


@pytest.mark.parametrize("name", ["mean", "ema", "ema_one", "buffers"])
def test_averages_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    mine = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    mine.load_state_dict({k: graphc.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    averages = []
    for T, net in ((graphc, mine), (torch, theirs)):
        average = make(T, name, net)
        for k in range(4):
            with T.no_grad():
                for p in net.parameters():
                    p.add_(k + 1.0)
            net(T.tensor([[1.0, 2.0], [float(k), -1.0]]))
            average.update_parameters(net)
        averages.append(average.state_dict())
    assert list(averages[0]) == list(averages[1])
    for key, value in averages[0].items():
        np.testing.assert_allclose(value.numpy(), averages[1][key].numpy(), rtol=1e-5, err_msg=key)


def test_averages_inside_a_compiled_step() -> None:
    net = nn.Linear(2, 1)
    average = swa_utils.AveragedModel(net, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5))
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.1)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        average.update_parameters(net)
        return loss

    expected = None
    for _ in range(3):
        step(graphc.ones(4, 2))
        now = net.weight.detach().clone()
        expected = now if expected is None else 0.5 * expected + 0.5 * now
    assert expected is not None
    assert graphc.allclose(average.module.weight, expected) and average.n_averaged.item() == 3


def test_statistics_are_taken_anew() -> None:
    net = nn.Sequential(nn.BatchNorm1d(2))
    batches = [(graphc.randn(8, 2) * 3 + 1, None) for _ in range(4)]
    net.eval()
    swa_utils.update_bn(batches, net)
    assert not net.training and net[0].momentum == 0.1
    mean = sum(b.mean(0) for b, _ in batches) / 4
    assert graphc.allclose(net[0].running_mean, mean, atol=1e-5)


@pytest.mark.parametrize("strategy", ["cos", "linear"])
@pytest.mark.parametrize("epochs", [0, 3])
def test_schedule_is_torchs(strategy: str, epochs: int) -> None:
    torch = pytest.importorskip("torch")
    found = []
    for T in (graphc, torch):
        optimizer = T.optim.SGD([T.nn.Parameter(T.ones(1))], lr=0.5)
        schedule = T.optim.swa_utils.SWALR(optimizer, 0.05, epochs, strategy)
        rates = []
        for _ in range(5):
            optimizer.step()
            schedule.step()
            rates.append(schedule.get_last_lr()[0])
        found.append(rates)
    np.testing.assert_allclose(*found)
    with pytest.raises(ValueError):
        swa_utils.SWALR(graphc.optim.SGD([nn.Parameter(graphc.ones(1))]), 0.1, 3, "other")
