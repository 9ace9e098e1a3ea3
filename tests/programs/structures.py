"""Training steps with several nets, odd arguments and results, state, hooks and modes."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.programs.basics import Losses, loop
from tests.programs.nets import data, filled, mlp


def two_optimizers(T: Any, wrap: Any) -> Losses:
    maker, judge = mlp(T, 3, 4, 2), mlp(T, 2, 4, 1)
    opt_m = T.optim.Adam(maker.parameters(), lr=0.02)
    opt_j = T.optim.Adam(judge.parameters(), lr=0.05)
    bce = T.nn.functional.binary_cross_entropy_with_logits

    @wrap
    def step(x: Any) -> Any:
        real, fake = x[:, :2], maker(x)
        opt_j.zero_grad()
        good, bad = judge(real), judge(fake.detach())
        loss_j = bce(good, T.ones_like(good)) + bce(bad, T.zeros_like(bad))
        loss_j.backward()
        opt_j.step()
        opt_m.zero_grad()
        wish = judge(fake)
        loss_m = bce(wish, T.ones_like(wish))
        loss_m.backward()
        opt_m.step()
        return loss_j + 2 * loss_m

    return loop(T, step)


class Batch(NamedTuple):
    x: Any
    scale: float


@dataclass(frozen=True)
class Weights:
    first: float
    second: Any


@dataclass
class Report:
    loss: Any
    parts: OrderedDict[str, Any]
    weights: Weights


def structured(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)

    @wrap
    def step(batch: Batch, weights: Weights, *, extra: dict[str, Any]) -> Report:
        opt.zero_grad()
        out = net(batch.x) * batch.scale
        first, second = (out**2).mean(), (out - extra["target"][0]).abs().mean()
        loss = weights.first * first + weights.second * second
        loss.backward()
        opt.step()
        return Report(loss, OrderedDict(a=first, b=[second]), weights)

    seen = []
    for k in range(5):
        x = data(T, 4, 3, seed=k)
        weights = Weights(2.0, T.tensor(0.5 + k))
        found = step(Batch(x, 2.0), weights, extra={"target": [x[:, :1], None]})
        assert found.weights.first == 2.0 and found.weights.second.item() == 0.5 + k
        seen += [found.loss.item(), found.parts["a"].item(), found.parts["b"][0].item()]
    return seen


def several_outputs(T: Any, wrap: Any) -> Losses:
    class Two(T.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body, self.a = T.nn.Linear(3, 4), T.nn.Linear(4, 2)
            self.b, self.unused = T.nn.Linear(4, 1), T.nn.Linear(7, 7)

        def forward(self, x: Any, with_b: bool = True) -> Any:
            h = self.body(x).relu()
            return self.a(h), self.b(h) if with_b else None

    net = filled(Two(), T)
    opt = T.optim.Adam(net.parameters(), lr=0.05)

    @wrap
    def step(x: Any, with_b: bool) -> Any:
        opt.zero_grad()
        a, b = net(x, with_b)
        loss = (a**2).mean() if b is None else (a**2).mean() + (b - 1).abs().mean()
        loss.backward()
        opt.step()
        return loss

    seen = [step(data(T, 4, 3, seed=k), k % 3 != 1).item() for k in range(7)]
    assert net.unused.weight.grad is None and net.unused.weight not in opt.state
    return seen


def buffers(T: Any, wrap: Any) -> Losses:
    class Counted(T.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.inner = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.BatchNorm1d(4), T.nn.Linear(4, 1))
            self.register_buffer("seen", T.zeros(()))

        def forward(self, x: Any) -> Any:
            if self.training:
                self.seen += x.shape[0]
            return self.inner(x)

    net = filled(Counted(), T)
    opt = T.optim.SGD(net.parameters(), lr=0.1)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    @wrap
    def evaluate(x: Any) -> Any:
        with T.no_grad():
            return (net(x) ** 2).mean()

    seen = []
    for k in range(5):
        net.train()
        seen.append(step(data(T, 4, 3, seed=k)).item())
        net.eval()
        seen += [evaluate(data(T, 5, 3, seed=k)).item(), net.seen.item()]
    return [*seen, net.inner[1].running_var.sum().item()]


def weight_average(T: Any, wrap: Any) -> Losses:
    net, average = mlp(T, 3, 4, 1), mlp(T, 3, 4, 1)
    average.requires_grad_(False)
    opt = T.optim.SGD(net.parameters(), lr=0.2)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean() + ((net(x) - average(x)) ** 2).mean()
        loss.backward()
        opt.step()
        with T.no_grad():
            for a, p in zip(average.parameters(), net.parameters()):
                a.mul_(0.9).add_(p, alpha=0.1)
        return loss

    return [*loop(T, step), average[0].weight.sum().item()]


def retained_twice(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.05)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward(retain_graph=True)
        (2 * loss).backward()
        opt.step()
        return loss

    return loop(T, step)


def gradient_penalty(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.Adam(net.parameters(), lr=0.05)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        x = x.detach().requires_grad_()
        out = net(x)
        (slope,) = T.autograd.grad(out.sum(), x, create_graph=True)
        loss = (out**2).mean() + ((slope.norm(dim=1) - 1) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def recording_hook(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)
    kept: dict[str, Any] = {}
    net[1].register_forward_hook(lambda module, args, out: kept.update(act=out))

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean() + 0.1 * kept["act"].abs().sum()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def scaling_hook(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)
    net[0].weight.register_hook(lambda g: g * 0.5)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        h = net[1](net[0](x))
        h.register_hook(lambda g: g.clamp(-0.01, 0.01))
        loss = (net[2](h) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def optimizer_in_a_hook(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opts = {p: T.optim.SGD([p], lr=0.1) for p in net.parameters()}

    def update(p: Any) -> None:
        opts[p].step()
        opts[p].zero_grad()

    for p in net.parameters():
        p.register_post_accumulate_grad_hook(update)

    @wrap
    def step(x: Any) -> Any:
        loss = (net(x) ** 2).mean()
        loss.backward()
        return loss

    return loop(T, step)


def own_function(T: Any, wrap: Any) -> Losses:
    class Straight(T.autograd.Function):  # type: ignore[misc, name-defined]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x.round()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * (ctx.saved_tensors[0].abs() < 1)

    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net[2](Straight.apply(net[0](x) * 2)) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def mixed_dtypes(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    head = T.nn.Parameter(T.ones(1, dtype=T.float32))
    opt = T.optim.SGD([*net.parameters(), head], lr=0.1)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = ((net(x) * head).float() ** 2).mean()
        loss.backward()
        opt.step()
        return loss.double()

    return loop(T, step)


def closed_over_numbers(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)

    @wrap
    def step(x: Any, weight: float) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean() * weight
        loss.backward()
        opt.step()
        return loss

    return [step(data(T, 4, 3, seed=k), 1.0 + k / 7).item() for k in range(8)]


def loss_outside(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    forward = wrap(lambda x: net(x))
    opt = T.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (forward(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def loaded_midway(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.Adam(net.parameters(), lr=0.05)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    seen = loop(T, step)
    weights = {k: v.clone() for k, v in net.state_dict().items()}
    seen += loop(T, step)
    net.load_state_dict(weights)
    for group in opt.param_groups:
        group["lr"] = 0.01
    return seen + loop(T, step)


STRUCTURES = [
    two_optimizers,
    structured,
    several_outputs,
    buffers,
    weight_average,
    retained_twice,
    gradient_penalty,
    recording_hook,
    scaling_hook,
    optimizer_in_a_hook,
    own_function,
    mixed_dtypes,
    closed_over_numbers,
    loss_outside,
    loaded_midway,
]
