"""Checked steps: as fast a program as an unchecked one, and state as it was where it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import NotFinite
from graphc.nn import functional as F
from graphc.passes import spans, watch

pytestmark = pytest.mark.usefixtures("uncollected")

OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True),
    "adam": lambda p: optim.Adam(p),
    "adamw": lambda p: optim.AdamW(p, amsgrad=True),
    "rmsprop": lambda p: optim.RMSprop(p, momentum=0.9),
    "adagrad": lambda p: optim.Adagrad(p),
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(64, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.norm(self.conv(x)).relu().flatten(1))


def training(make: Callable[[Any], Any], **options: Any) -> tuple[Any, Any, Any]:
    graphc.manual_seed(0)
    net = Net()
    opt = make(net.parameters())

    @graphc.compile(**options)
    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        opt.step()
        return loss

    return net, opt, step


def batch(n: int = 8) -> tuple[Any, Any]:
    graphc.manual_seed(1)
    return graphc.randn(n, 1, 6, 6), graphc.randint(0, 3, (n,))


def held(net: Any, opt: Any) -> list[Any]:
    rows = [x.detach().numpy().copy() for x in net.state_dict().values()]
    slots = opt.state_dict()["state"].values()
    return rows + [
        x.numpy().copy() for row in slots for x in row.values() if isinstance(x, graphc.Tensor)
    ]


def same(a: list[Any], b: list[Any]) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def launches(step: Any) -> tuple[int, int]:
    text = step.ir("memory")
    return text.count(": launch "), text.count(": launch copy")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_checked_step_gives_the_same_bits_in_about_as_many_launches(name: str) -> None:
    plain, checked = training(OPTIMIZERS[name]), training(OPTIMIZERS[name], check="finite")
    for n in (8, 8, 8, 8, 5):  # the last one is another size
        x, y = batch(n)
        assert plain[2](x, y).item() == checked[2](x, y).item()
    assert same(held(*plain[:2]), held(*checked[:2]))
    assert launches(checked[2])[0] <= launches(plain[2])[0] + 6
    assert launches(checked[2])[1] <= 5  # of a norm's gains and slots, of a counter of steps
    assert checked[2]._failed == 0 and checked[2].stats.programs == 1


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("calls", [1, 5])  # at 5 a builtin makes the calls
def test_nothing_has_changed_where_it_fails(name: str, calls: int) -> None:
    net, opt, step = training(OPTIMIZERS[name], check="finite")
    x, y = batch()
    for _ in range(calls):
        step(x, y)
    assert (step._latch is not None) == (calls == 5)
    before, bad = held(net, opt), x.clone()
    bad[3, 0, 2, 2] = float("inf")
    with pytest.raises(NotFinite, match=rf"`x` holds Inf in 1 of 288 .* at call {calls + 1}"):
        step(bad, y)
    assert same(before, held(net, opt))
    step(x, y)
    assert not same(before, held(net, opt))


def summing(**slots: Any) -> tuple[Any, Any, Any]:
    w = nn.Parameter(graphc.ones(4, 4))
    opt = optim.SGD([w], lr=1.0, **slots)

    @graphc.compile(check="finite")
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (x * w).sum()
        loss.backward()
        opt.step()
        return loss

    return w, opt, step


def test_a_learning_rate_that_makes_state_infinite_is_found_before() -> None:
    w, opt, step = summing()
    x = graphc.full((4, 4), 10.0)
    for _ in range(4):
        step(x)
    opt.param_groups[0]["lr"] = 3e38
    before = w.detach().numpy().copy()
    with pytest.raises(NotFinite, match=r"gave Inf .*in the update"):
        step(x)
    assert np.array_equal(before, w.detach().numpy())


def test_state_that_others_made_large_is_looked_at_before_it_is_updated() -> None:
    w, opt, step = summing(momentum=0.9)
    x = graphc.ones(4, 4)
    for _ in range(4):
        step(x)
    momentum = opt.state[w]["momentum_buffer"]
    with graphc.no_grad():
        momentum.fill_(3.0e38)
        w.fill_(-3.0e38)
        w[0] = 1.0
    kept = w.detach().numpy().copy(), momentum.numpy().copy()
    with pytest.raises(NotFinite):
        step(x * 0.0)
    assert np.array_equal(kept[0], w.detach().numpy()) and np.array_equal(kept[1], momentum.numpy())


@pytest.mark.parametrize("size", [1e6, 1e12, 1e18])
def test_what_is_large_but_finite_is_no_error(size: float) -> None:
    def made(**options: Any) -> tuple[Any, Any]:
        w = nn.Parameter(graphc.ones(4, 4))
        opt = optim.SGD([w], lr=1e-3)

        def step(x: Any) -> Any:
            opt.zero_grad()
            loss = (x @ w).sum()
            loss.backward()
            opt.step()
            return loss

        return w, graphc.compile(step, **options)

    (w, plain), (v, checked) = made(), made(check="finite")
    x = graphc.full((4, 4), size)
    for k in range(8):
        assert plain(x).item() == checked(x).item(), k
    assert np.array_equal(w.detach().numpy(), v.detach().numpy())
    small = graphc.ones(4, 4)
    assert plain(small).item() == checked(small).item()


def test_more_terms_than_were_proven_finite_are_for_another_program(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spans, "MOST", 4)
    monkeypatch.setattr(watch, "CHOICES", (2.0**118,))  # four such are a float32, 2**12 are not
    w = nn.Parameter(graphc.ones(4))
    opt = optim.SGD([w], lr=1.0)

    @graphc.compile(check="finite")
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (x * (w - w.detach())).sum()  # 0, with a gradient
        loss.backward()
        opt.step()
        return loss

    for n in (3, 4, 2):
        step(graphc.ones(n, 4))
    assert step.stats.programs == 1 and "only where 4 >= B" in str(step.explain())
    assert w.detach().numpy().tolist() == [-8.0] * 4 and step._failed == 0
    with pytest.raises(NotFinite, match="gave Inf in 4 of 4"):
        step(graphc.full((1 << 12, 4), 2.0**117))
    assert w.detach().numpy().tolist() == [-8.0] * 4 and step.stats.programs == 2


def test_a_nan_that_reaches_nothing_is_no_error() -> None:
    w = nn.Parameter(graphc.ones(4))
    opt = optim.SGD([w], lr=0.1)

    @graphc.compile(check="nan")
    def step(x: Any) -> Any:
        opt.zero_grad()
        y = (x * w.detach()).log()  # NaN where x is negative
        loss = (graphc.where(x > 0, y, graphc.zeros(4)) * w).sum()
        loss.backward()
        opt.step()
        return loss

    for _ in range(5):
        assert np.isfinite(step(graphc.tensor([1.0, -1.0, 2.0, 3.0])).item())
    assert np.isfinite(w.detach().numpy()).all()


@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_updates_that_a_scaler_skips_are_no_error(name: str, keeps: bool) -> None:
    def made(**options: Any) -> tuple[Any, Any, Any, Any]:
        graphc.manual_seed(0)
        net, signs = nn.Linear(4, 2), graphc.tensor([[1.0], [-1.0], [1.0]])
        opt, scaler = OPTIMIZERS[name](net.parameters()), graphc.amp.GradScaler("cpu", 2.0**20)
        for p in net.parameters():
            p.grad = graphc.zeros_like(p) if keeps else None

        @graphc.compile(**options)
        def step(x: Any) -> Any:
            opt.zero_grad(set_to_none=not keeps)
            loss = (net(x).tanh() * signs + net(x) * signs).mean()
            scaler.scale(loss).backward()
            scaler.unscale_(opt)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(opt)
            scaler.update()
            return loss

        return net, opt, scaler, step

    plain, checked, strict = made(), made(check="nan"), made(check="finite")
    for k in range(7):
        x = graphc.full((3, 4), 1e35 if k in (2, 5) else 1.0)
        before = held(*checked[:2])
        losses = [step(x).item() for *_, step in (plain, checked, strict)]
        assert losses[0] == losses[1] == losses[2] and np.isfinite(losses[0])
        assert same(before[:2], held(*checked[:2])[:2]) == (k in (2, 5))
        assert np.isfinite(plain[0].weight.grad.numpy()).all() == (k not in (2, 5))
    assert same(held(*plain[:2]), held(*checked[:2])) and same(held(*plain[:2]), held(*strict[:2]))
    assert [m[2].get_scale() for m in (plain, checked, strict)] == [2.0**18] * 3
    with pytest.raises(NotFinite, match="`x` holds NaN"):  # what is no gradient is looked at
        checked[3](graphc.full((3, 4), np.nan))


@pytest.mark.parametrize(("dtype", "check"), [("float16", "nan"), ("bfloat16", "finite")])
def test_narrow_nets_give_the_same_bits_when_checked(dtype: str, check: str) -> None:
    def made(**options: Any) -> tuple[Any, Any, Any]:
        net, opt, step = training(lambda p: optim.Adam(p, lr=1e-3, eps=1e-4), **options)
        net.to(getattr(graphc, dtype))
        return net, opt, step

    plain, checked = made(), made(check=check)
    x, y = batch()
    x = x.to(plain[0].out.weight.dtype)
    for _ in range(3):
        assert plain[2](x, y).item() == checked[2](x, y).item()
    assert checked[2]._failed == 0
    states = [n.state_dict().values() for n, *_ in (plain, checked)]
    assert all((a == b).all().item() for a, b in zip(*states, strict=True))
    kept = [a.clone() for a in states[1]]
    x[2, 0, 3, 3] = float("nan")
    with pytest.raises(NotFinite, match="`x` holds NaN in 1 of 288"):
        checked[2](x, y)
    assert all((a == b).all().item() for a, b in zip(kept, states[1], strict=True))


def test_a_backward_that_runs_later_is_no_part_of_it() -> None:
    net = graphc.compile(nn.Linear(3, 2), check="nan")
    out = net(graphc.ones(4, 3))
    out.sum().backward()
    assert net.weight.grad is not None
    with pytest.raises(NotFinite, match=r"`args.0` holds NaN"):
        net(graphc.full((4, 3), float("nan")))
