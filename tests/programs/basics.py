"""Training loops: accumulation, freezing, groups, schedules, clipping, zeroing of gradients.

A program takes `T` (graphc or torch) and `wrap` (the identity, or graphc.compile), trains a few
steps, and returns the numbers it saw.
"""

from __future__ import annotations

from typing import Any

from tests.programs.nets import data, filled, labels, mlp

Losses = list[float]


def loop(T: Any, step: Any, steps: int = 5, rows: int = 4) -> Losses:
    return [step(data(T, rows, 3, seed=k)).item() for k in range(steps)]


def accumulation(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.Adam(net.parameters(), lr=0.05)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        total = 0.0
        for micro in x.chunk(2):
            loss = (net(micro) ** 2).mean() / 2
            loss.backward()
            total = total + loss.detach()
        opt.step()
        return total

    return loop(T, step)


def accumulation_over_calls(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)

    @wrap
    def add(x: Any) -> Any:
        loss = (net(x) ** 2).mean()
        loss.backward()
        return loss

    @wrap
    def update() -> None:
        opt.step()
        opt.zero_grad()

    seen = []
    for k in range(6):
        seen.append(add(data(T, 4, 3, seed=k)).item())
        if k % 2:
            update()
    return seen


def tied_weights(T: Any, wrap: Any) -> Losses:
    class Tied(T.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embed = T.nn.Embedding(5, 3)
            self.out = T.nn.Linear(3, 5, bias=False)
            self.out.weight = self.embed.weight

        def forward(self, ids: Any) -> Any:
            return self.out(self.embed(ids).tanh())

    net = filled(Tied(), T)
    opt = T.optim.AdamW(net.parameters(), lr=0.05)
    ids = labels(T, 6, 5)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = T.nn.functional.cross_entropy(net(ids) + x.sum() * 0, ids)
        loss.backward()
        opt.step()
        return loss

    assert len(list(net.parameters())) == 1
    return loop(T, step)


def frozen(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 4, 1)
    net[0].requires_grad_(False)
    before = net[0].weight.tolist(), net[2].weight.tolist()
    opt = T.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1, momentum=0.9)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    seen = loop(T, step)
    assert net[0].weight.tolist() == before[0] and net[2].weight.tolist() != before[1]
    assert net[0].weight.grad is None
    net[0].requires_grad_(True)
    opt.add_param_group({"params": net[0].parameters(), "lr": 0.01})
    return seen + loop(T, step)


def left_out_of_the_optimizer(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net[2].parameters(), lr=0.1)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return [*loop(T, step), net[0].weight.grad.sum().item()]


def groups(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    decayed = {"params": [net[0].weight, net[2].weight], "weight_decay": 0.1, "lr": 0.02}
    plain = {"params": [net[0].bias, net[2].bias], "betas": (0.5, 0.9)}
    opt = T.optim.AdamW([decayed, plain], lr=0.05, weight_decay=0.0)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def schedule(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    turns = T.optim.lr_scheduler.OneCycleLR(opt, 0.2, total_steps=12)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    seen = []
    for k in range(8):
        seen += [step(data(T, 4, 3, seed=k)).item(), turns.get_last_lr()[0]]
        turns.step()
    return seen


def plateau(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.5)
    turns = T.optim.lr_scheduler.ReduceLROnPlateau(opt, patience=0, factor=0.5)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) - 1).abs().mean()
        loss.backward()
        opt.step()
        return loss

    seen = []
    for k in range(8):
        loss = step(data(T, 4, 3, seed=k))
        turns.step(loss.item())
        seen += [loss.item(), opt.param_groups[0]["lr"]]
    return seen


def clipped(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = ((net(x) * 10) ** 2).mean()
        loss.backward()
        norm = T.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        T.nn.utils.clip_grad_value_(net.parameters(), 0.1)
        opt.step()
        return loss + norm

    return loop(T, step)


def zeros_at_the_end(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)

    @wrap
    def step(x: Any) -> Any:
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        opt.zero_grad()
        return loss

    return loop(T, step)


def zeros_kept(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1, momentum=0.5)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad(set_to_none=False)
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def zeroed_by_the_module(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.RMSprop(net.parameters(), lr=0.05)

    @wrap
    def step(x: Any) -> Any:
        net.zero_grad()
        loss = T.nn.functional.mse_loss(net(x), x[:, :1])
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def never_zeroed(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.01)

    @wrap
    def step(x: Any) -> Any:
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step)


def another_batch_at_the_end(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.Adam(net.parameters(), lr=0.05)

    @wrap
    def step(x: Any) -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean()
        loss.backward()
        opt.step()
        return loss

    return loop(T, step) + loop(T, step, 1, 3) + loop(T, step)


def closure(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.SGD(net.parameters(), lr=0.1)

    @wrap
    def step(x: Any) -> Any:
        def compute() -> Any:
            opt.zero_grad()
            loss = (net(x) ** 2).mean()
            loss.backward()
            return loss

        return opt.step(compute)

    return loop(T, step)


def lbfgs_with_a_compiled_closure(T: Any, wrap: Any) -> Losses:
    net = mlp(T, 3, 4, 1)
    opt = T.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
    x = data(T, 6, 3)

    @wrap
    def compute() -> Any:
        opt.zero_grad()
        loss = (net(x) ** 2).mean() + (net(x) - 1).square().mean()
        loss.backward()
        return loss

    return [opt.step(compute).item() for _ in range(5)]


BASICS = [
    accumulation,
    accumulation_over_calls,
    tied_weights,
    frozen,
    left_out_of_the_optimizer,
    groups,
    schedule,
    plateau,
    clipped,
    zeros_at_the_end,
    zeros_kept,
    zeroed_by_the_module,
    never_zeroed,
    another_batch_at_the_end,
    closure,
    lbfgs_with_a_compiled_closure,
]
