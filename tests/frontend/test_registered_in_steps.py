"""What a step makes and registers in a module: a layer built when it is first needed, a parameter
in place of another, a buffer of a new name; and what hooks of ours leave in a module."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace as Space
from typing import Any

import pytest

import graphc
from graphc import nn
from graphc.errors import Untraceable
from graphc.nn.utils import prune


class Built(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = None
        self.scale = None

    def forward(self, x: Any) -> Any:
        if self.net is None:
            self.net = nn.Sequential(nn.Linear(x.shape[1], 3), nn.Tanh())
            self.scale = nn.Parameter(graphc.ones(3))
        return self.net(x) * self.scale


class Centred(nn.Module):
    def forward(self, x: Any) -> Any:
        self.register_buffer("mean", x.mean(0).detach())
        return x - self.mean


class Weighted(nn.Module):
    def forward(self, x: Any) -> Any:
        if "w" not in self._parameters:
            self.register_parameter("w", nn.Parameter(graphc.ones(4)))
        return x * self.w


def trained(m: Any, wrap: Callable[[Any], Any]) -> list[Any]:
    def step(x: Any) -> Any:
        loss = m(x).pow(2).mean()
        loss.backward()
        with graphc.no_grad():
            for p in m.parameters():
                p -= 0.1 * p.grad
                p.grad = None
        return loss

    call = wrap(step)
    graphc.manual_seed(3)
    return [call(graphc.arange(8.0).reshape(2, 4) / 8 + k).item() for k in range(4)]


@pytest.mark.parametrize("kind", [Built, Weighted])
def test_what_the_first_call_builds(kind: Any) -> None:
    step: list[Any] = []

    def compiled(f: Any) -> Any:
        step.append(graphc.compile(f))
        return step[0]

    plain, mine = kind(), kind()
    with pytest.warns(RuntimeWarning, match="ran this call without being compiled: the step reg"):
        found = trained(mine, compiled)
    assert found == pytest.approx(trained(plain, lambda f: f))
    assert step[0].stats.programs == 1
    assert all(type(p) is nn.Parameter for p in mine.parameters())
    assert [n for n, _ in mine.named_parameters()] == [n for n, _ in plain.named_parameters()]


def test_gradients_of_what_the_first_call_builds_are_found_outside() -> None:
    m = Built()
    step = graphc.compile(lambda x: m(x).sum())
    with pytest.warns(RuntimeWarning):
        losses = [step(graphc.ones(2, 4)) for _ in range(3)]
    for loss in losses:
        loss.backward()
        assert m.net[0].weight.grad is not None and m.scale.grad is not None
        m.zero_grad()


def test_a_buffer_that_each_call_registers() -> None:
    m = Centred()
    step = graphc.compile(lambda x: m(x).pow(2).sum())
    with pytest.warns(RuntimeWarning, match="registers `mean`"):
        step(graphc.ones(2, 3))
    for k in range(3):
        x = graphc.arange(6.0).reshape(2, 3) * k
        assert step(x).item() == (x - x.mean(0)).pow(2).sum().item()
        assert m.mean.tolist() == x.mean(0).tolist()
        assert [*dict(m.named_buffers())] == ["mean"]
    assert step.stats.programs == 1


def test_a_parameter_that_is_put_there_now_and_then() -> None:
    m, at = nn.Linear(4, 4), Space(n=0)

    def step(x: Any) -> Any:
        at.n += 1
        if at.n % 3 == 0:
            kept = graphc.where(m.weight.abs() > 0.1, m.weight, 0.0)
            m.weight = nn.Parameter(kept.detach())
        return m(x).sum()

    call = graphc.compile(step)
    for k in range(1, 8):
        before, x = m.weight, graphc.arange(8.0).reshape(2, 4)
        if k % 3 == 0:
            with pytest.warns(RuntimeWarning, match="registers `weight` in `m`"):
                out = call(x)
        else:
            out = call(x)
        assert (m.weight is not before) is (k % 3 == 0)
        assert out.item() == pytest.approx(m(x).sum().item())
    assert at.n == 7


def test_a_step_that_registers_at_each_call_is_refused_and_changes_nothing() -> None:
    m = nn.Linear(4, 4)

    @graphc.compile
    def step(x: Any) -> Any:
        m.weight = nn.Parameter(m.weight.detach() * 0.5)
        return m(x).sum()

    with pytest.warns(RuntimeWarning):
        for _ in range(3):
            step(graphc.ones(2, 4))
    before = m.weight, m.weight.tolist()
    with pytest.raises(Untraceable, match="registers `weight` in `m`"):
        step(graphc.ones(2, 4))
    assert m.weight is before[0]
    assert m.weight.tolist() == before[1]


def test_names_that_a_step_takes_away_and_puts_back() -> None:
    m = nn.Linear(3, 3)

    @graphc.compile
    def step(x: Any) -> Any:
        kept = m.bias
        del m.bias
        m.bias = None
        y = m(x)
        del m.bias
        m.bias = kept
        return y.sum()

    assert step(graphc.ones(2, 3)).item() == pytest.approx((m.weight.sum() * 2).item())
    assert [*m._parameters] == ["weight", "bias"] and step.stats.programs == 1


def test_a_parameter_that_a_step_keeps_elsewhere_or_returns_is_one() -> None:
    box = Space(w=nn.Parameter(graphc.ones(3)))

    @graphc.compile
    def step(x: Any) -> Any:
        box.w = nn.Parameter(box.w.detach() * 0.5)
        return nn.Parameter(x), (x * box.w).sum()

    for k in range(1, 4):
        made, out = step(graphc.ones(3))
        assert type(made) is nn.Parameter and type(box.w) is nn.Parameter
        assert box.w.is_leaf and box.w.requires_grad and made.requires_grad
        assert out.item() == pytest.approx(3 * 0.5**k)


def normed() -> Any:
    return nn.utils.weight_norm(nn.Linear(4, 3))


def spectral() -> Any:
    return nn.utils.spectral_norm(nn.Linear(4, 3))


def pruned() -> Any:
    m = nn.Linear(4, 3)
    prune.l1_unstructured(m, "weight", 0.3)
    return m


@pytest.mark.parametrize("make", [normed, spectral, pruned])
def test_the_weight_that_a_hook_makes_is_that_of_the_last_call(make: Any) -> None:
    plain, mine = make(), make()
    plain.load_state_dict(mine.state_dict())
    worlds = []
    for m, wrap in ((plain, lambda f: f), (mine, graphc.compile)):
        opt = graphc.optim.SGD(m.parameters(), lr=0.1)

        def step(x: Any, m: Any = m, opt: Any = opt) -> Any:
            loss = (m(x) - 1).pow(2).mean()
            opt.zero_grad()
            loss.backward()
            opt.step()
            return loss

        call, seen = wrap(step), []
        for k in range(3):
            call(graphc.arange(8.0).reshape(2, 4) / 8 + k)
            seen += [m.weight.detach().flatten(), m(graphc.ones(1, 4)).detach().flatten()]
        worlds.append(graphc.cat(seen).tolist())
    assert worlds[1] == pytest.approx(worlds[0], rel=1e-4)


def test_the_weight_that_a_hook_makes_takes_part_in_a_later_backward() -> None:
    m = normed()
    step = graphc.compile(lambda x: m(x).sum())
    for _ in range(3):
        step(graphc.ones(2, 4)).backward()
        assert m.weight_v.grad is not None
        norm = m.weight_v.norm(dim=1, keepdim=True)
        assert graphc.allclose(m.weight, m.weight_g * m.weight_v / norm)
