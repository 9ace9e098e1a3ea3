"""autocast and GradScaler on a GPU: PyTorch's lists; steps skip without asking the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.nn import functional as F
from graphc.optim import SGD, Adam

pytest.importorskip("triton")

from graphc.runtime.cuda import device


@pytest.fixture(autouse=True)
def fake(fake_gpu: None) -> None:
    """All of it on the fake GPU."""


def half(*shape: int) -> Any:
    return graphc.rand(*shape).to("cuda", graphc.float16)


def full(*shape: int) -> Any:
    return graphc.rand(*shape).to("cuda")


NARROW: dict[str, Callable[[], Any]] = {
    "matmul": lambda: full(4, 4) @ full(4, 4),
    "mv": lambda: graphc.mv(full(4, 4), full(4)),
    "conv2d": lambda: F.conv2d(full(1, 2, 4, 4), full(2, 2, 2, 2)),
    "linear": lambda: F.linear(full(4, 4), half(4, 4), full(4)),
    "attention": lambda: F.scaled_dot_product_attention(*(full(1, 1, 4, 4) for _ in range(3))),
}
WIDE: dict[str, Callable[[], Any]] = {
    "exp": lambda: half(4).exp(),
    "sum": lambda: half(4).sum(),
    "softmax": lambda: half(4, 4).softmax(1),
    "layer_norm": lambda: F.layer_norm(half(4, 4), (4,)),
    "cross_entropy": lambda: F.cross_entropy(half(2, 4), graphc.tensor([0, 1], device="cuda")),
    "pow": lambda: half(4) ** 3,
    "reciprocal": lambda: 1 / half(4),
    "addcmul": lambda: graphc.addcmul(half(4), full(4), half(4)),
    "norm": lambda: half(4).norm(),
}
KEPT: dict[str, Callable[[], Any]] = {
    "relu": lambda: half(4).relu(),
    "mean": lambda: half(4).mean(),
    "asked": lambda: half(4).sum(dtype=graphc.float16),
    "add": lambda: half(4) + half(4),
}


@pytest.mark.parametrize(
    ("case", "want"),
    [
        *((c, graphc.bfloat16) for c in NARROW.values()),
        *((c, graphc.float32) for c in WIDE.values()),
        *((c, graphc.float16) for c in KEPT.values()),
    ],
    ids=[*NARROW, *WIDE, *KEPT],
)
def test_types(case: Callable[[], Any], want: Any) -> None:
    with graphc.autocast("cuda", dtype=graphc.bfloat16):
        assert case().dtype is want


def test_what_is_unsafe_is_refused_and_the_host_is_left_alone() -> None:
    with graphc.cuda.amp.autocast():
        x = graphc.rand(3, 3)
        assert (x @ x).dtype is graphc.float32
        assert (x.to("cuda") @ x.to("cuda")).dtype is graphc.float16
        with pytest.raises(RuntimeError, match="unsafe to autocast"):
            F.binary_cross_entropy(full(3), full(3))


def net() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)
    )


def trained(
    where: str, compiled: bool, make: Any, bad: int = -1, dtype: Any = graphc.bfloat16
) -> dict[str, Any]:
    """Three steps; at step `bad` a gradient is infinite."""
    graphc.manual_seed(1)
    rng = np.random.default_rng(0)
    model = net().to(where)
    optimizer = make(model.parameters())
    scaler = graphc.amp.GradScaler(where, init_scale=1024.0, growth_interval=2)

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        with graphc.autocast(where, dtype=dtype):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    run = graphc.compile(step) if compiled else step
    losses, weights = [], [model[4].weight.detach().cpu().numpy().copy()]
    for k in range(3):
        x = rng.standard_normal((4, 2, 4, 4)).astype(np.float32)
        x[0, 0, 0, 0] = np.inf if k == bad else x[0, 0, 0, 0]
        y = graphc.from_numpy(rng.integers(0, 4, 4)).to(where)
        losses.append(run(graphc.from_numpy(x).to(where), y).item())
        weights.append(model[4].weight.detach().cpu().numpy().copy())
    return {
        "losses": losses,
        "weights": weights,
        "scaler": scaler.state_dict(),
        "slots": optimizer.state_dict()["state"],
        "step": run,
    }


def sgd(params: Any) -> Any:
    return SGD(params, lr=0.05, momentum=0.9, dampening=0.1)


def adam(params: Any) -> Any:
    return Adam(params, lr=1e-2, eps=1e-3)


@pytest.mark.parametrize("make", [sgd, adam])
def test_training_is_the_cpus(make: Any) -> None:
    want = trained("cpu", True, make)
    got = trained("cuda", True, make)
    np.testing.assert_allclose(got["losses"], want["losses"], rtol=3e-2)
    np.testing.assert_allclose(got["weights"][-1], want["weights"][-1], rtol=0.1, atol=1e-2)
    assert got["scaler"] == want["scaler"]
    assert got["scaler"]["scale"] == 2048.0 and got["scaler"]["_growth_tracker"] == 1
    assert got["step"].stats.programs == 1


@pytest.mark.parametrize("make", [sgd, adam])
@pytest.mark.parametrize(("where", "compiled"), [("cuda", True), ("cpu", True), ("cpu", False)])
def test_an_infinite_gradient_skips_the_step(make: Any, where: str, compiled: bool) -> None:
    got = trained(where, compiled, make, bad=1)
    w = got["weights"]
    assert not np.array_equal(w[0], w[1]) and np.array_equal(w[1], w[2])
    assert not np.array_equal(w[2], w[3]) and np.isfinite(w[3]).all()
    assert got["scaler"]["scale"] == 512.0 and got["scaler"]["_growth_tracker"] == 1
    for slots in got["slots"].values():
        for name, value in slots.items():
            assert np.isfinite(value.cpu().numpy()).all(), name
        if "step" in slots:
            assert slots["step"].item() == 2.0


@pytest.mark.parametrize("make", [sgd, adam])
def test_a_skipped_first_step_leaves_slots_new(make: Any) -> None:
    """As if it had not been: the second is the first of PyTorch's rule."""
    graphc.manual_seed(0)
    results = []
    for bad in (True, False):
        p = graphc.nn.Parameter(graphc.ones(3).to("cuda"))
        optimizer = make([p])
        scaler = graphc.amp.GradScaler("cuda", init_scale=2.0)
        for factor in ((np.inf,) if bad else ()) + (1.0, 1.0):
            optimizer.zero_grad()
            scaler.scale((p * factor).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        results.append(p.detach().cpu().numpy())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


def test_a_step_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    p = graphc.nn.Parameter(graphc.ones(8).to("cuda"))
    optimizer = Adam([p])
    scaler = graphc.amp.GradScaler()

    @graphc.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (p * x).sum()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_([p], 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    x = graphc.rand(8).to("cuda")
    step(x)
    driver = device.current().driver
    for name in ("StreamSynchronize", "MemcpyDtoHAsync", "CtxSynchronize", "EventSynchronize"):
        monkeypatch.setattr(driver, name, lambda *a: pytest.fail("the host waits"))
    step(x)
    monkeypatch.undo()


def test_the_scaler_by_itself() -> None:
    p = graphc.nn.Parameter(graphc.ones(2).to("cuda"))
    optimizer = SGD([p], lr=1.0)
    scaler = graphc.amp.GradScaler(init_scale=4.0, growth_interval=1)
    a, (b,) = scaler.scale([p.sum(), (p * 2,)])
    assert a.item() == 8.0 and b.tolist() == [8.0, 8.0]
    with pytest.raises(AssertionError, match="No inf checks were recorded prior"):
        scaler.update()
    with pytest.raises(AssertionError, match="No inf checks were recorded for this"):
        scaler.step(optimizer)
    a.backward()
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.step(optimizer)
    scaler.update()
    assert p.tolist() == [0.0, 0.0] and scaler.get_scale() == 8.0
    scaler.update(3.0)
    other = graphc.amp.GradScaler()
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 3.0 and other.state_dict() == scaler.state_dict()
    with pytest.raises(RuntimeError, match="empty"):
        scaler.load_state_dict({})


def test_a_step_may_be_divided() -> None:
    """backward and unscale_ in one compiled function, the step outside."""
    p = graphc.nn.Parameter(graphc.ones(2).to("cuda"))
    optimizer = SGD([p], lr=1.0)
    scaler = graphc.amp.GradScaler(init_scale=4.0)

    @graphc.compile
    def backward(x: Any) -> None:
        optimizer.zero_grad()
        scaler.scale((p * x).sum()).backward()
        scaler.unscale_(optimizer)

    for x, want in ((1.0, 0.0), (np.inf, 0.0), (2.0, -2.0)):
        backward(graphc.full((2,), x).to("cuda"))
        scaler.step(optimizer)
        scaler.update()
        assert p.tolist() == [want, want]
    assert scaler.get_scale() == 2.0
