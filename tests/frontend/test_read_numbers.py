"""Numbers of Python state that change from call to call: read at each call, by one program."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace as Space
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim

Step = Callable[[Any], Any]
XS = [graphc.arange(8.0).reshape(2, 4) * 0.1 + k for k in range(6)]
RATES = (0.5, 0.25, 0.75, 0.1, 0.9, 0.3)
WHOLE = (1, 2, 3, 4, 5, 6)
rate = 1.0


def trained(before: Callable[[Any, Any], float], after: Callable[[Any], None]) -> Step:
    """A step of SGD at a rate that is set in it."""
    graphc.manual_seed(0)
    net, me = nn.Linear(4, 3), Space(step=0, base=0.1, warm=4)
    opt = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any) -> Any:
        lr = before(me, opt)
        for group in opt.param_groups:
            group["lr"] = lr
        opt.zero_grad()
        loss = net(x).pow(2).mean()
        loss.backward()
        opt.step()
        after(me)
        return loss, lr, me.step

    return step


def counts(me: Any) -> None:
    me.step += 1


def warmed_up(me: Any, _: Any) -> float:
    me.step += 1
    return float(me.base * min(1.0, me.step / me.warm))


def along_a_cosine(me: Any, _: Any) -> float:
    return float(me.base * 0.5 * (1 + math.cos(math.pi * me.step / 10)))


def decayed(me: Any, opt: Any) -> float:
    lr: float = opt.param_groups[0]["lr"] * 0.9 ** (me.step // 2)
    return lr


def adam() -> Step:
    p, m, v = graphc.ones(4), graphc.zeros(4), graphc.zeros(4)
    me = Space(t=0, betas=(0.9, 0.999))

    def step(x: Any) -> Any:
        g, (b1, b2) = x.sum(0), me.betas
        me.t += 1
        m.mul_(b1).add_(g, alpha=1 - b1)
        v.mul_(b2).addcmul_(g, g, value=1 - b2)
        p.sub_(0.1 * (m / (1 - b1**me.t)) / ((v / (1 - b2**me.t)).sqrt() + 1e-8))
        return p.clone(), f"{me.t}"

    return step


COUNTED = {
    "warm-up": lambda: trained(warmed_up, lambda me: None),
    "cosine": lambda: trained(along_a_cosine, counts),
    "decay": lambda: trained(decayed, counts),
    "adam": adam,
}


def equal(a: Any, b: Any) -> bool:
    """The same types and bits."""
    if isinstance(a, tuple):
        return type(b) is tuple and len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, graphc.Tensor):
        return a.dtype is b.dtype and np.array_equal(a.numpy(), b.numpy(), equal_nan=True)
    return type(a) is type(b) and repr(a) == repr(b)


def close(a: Any, b: Any) -> bool:
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(close, a, b))
    return (
        bool(np.allclose(a.detach().numpy(), b.detach().numpy()))
        if isinstance(a, graphc.Tensor)
        else equal(a, b)
    )


@pytest.mark.parametrize("name", COUNTED)
def test_what_a_step_counts_and_computes_with_is_traced_once(name: str) -> None:
    plain, compiled = COUNTED[name](), graphc.compile(COUNTED[name]())
    with graphc.assert_max_compiles(3 if name == "decay" else 1):
        for x in XS:
            assert close(plain(x), compiled(x))


def of_attribute(f: Callable[[Any, Any], Any]) -> tuple[Step, Callable[[Any], None]]:
    me = Space(v=0)
    return (lambda x: f(x, me.v)), lambda v: setattr(me, "v", v)


def of_item(f: Callable[[Any, Any], Any]) -> tuple[Step, Callable[[Any], None]]:
    table = {"v": 0}
    return (lambda x: f(x, table["v"])), lambda v: table.update(v=v)


def of_cell(f: Callable[[Any, Any], Any]) -> tuple[Step, Callable[[Any], None]]:
    value = 0

    def put(v: Any) -> None:
        nonlocal value
        value = v

    return (lambda x: f(x, value)), put


def of_global(f: Callable[[Any, Any], Any]) -> tuple[Step, Callable[[Any], None]]:
    def put(v: Any) -> None:
        global rate
        rate = v

    return (lambda x: f(x, rate)), put


def of_slot(f: Callable[[Any, Any], Any]) -> tuple[Step, Callable[[Any], None]]:
    class Slotted:
        __slots__ = ("v",)

    me = Slotted()
    return (lambda x: f(x, me.v)), lambda v: setattr(me, "v", v)


def of_class(f: Callable[[Any, Any], Any]) -> tuple[Step, Callable[[Any], None]]:
    class Options:
        v = 0

    me = Options()
    return (lambda x: f(x, me.v)), lambda v: setattr(Options, "v", v)


def of_module(f: Callable[[Any, Any], Any]) -> tuple[Step, Callable[[Any], None]]:
    class Scaled(nn.Module):
        v = 0

        def forward(self, x: Any) -> Any:
            return f(x, self.v)

    net = Scaled()
    return net.__call__, lambda v: setattr(net, "v", v)


def of_property(f: Callable[[Any, Any], Any]) -> tuple[Step, Callable[[Any], None]]:
    class Options:
        kept = 0

        @property
        def v(self) -> Any:
            return self.kept

    me = Options()
    return (lambda x: f(x, me.v)), lambda v: setattr(me, "kept", v)


WAYS = (of_attribute, of_item, of_cell, of_global, of_slot, of_class, of_module, of_property)


@pytest.mark.parametrize("way", WAYS)
def test_what_is_set_between_calls_is_read_after_two_changes(way: Any) -> None:
    step, put = way(lambda x, v: ((x / v).softmax(-1), v * 2, f"{v:.2f}"))
    compiled = graphc.compile(step)
    with graphc.assert_max_compiles(3):
        for x, v in zip(XS, RATES):
            put(v)
            assert close(step(x), compiled(x))


def caught(x: Any, v: Any) -> Any:
    try:
        return x * (1 / (v - 0.5))
    except ZeroDivisionError:
        return x


def overflowing(x: Any, v: Any) -> Any:
    try:
        return x * math.log(2.0 ** (v * 300))
    except OverflowError:
        return x


DECIDED: dict[str, tuple[Callable[[Any, Any], Any], tuple[Any, ...], int]] = {
    "a branch": (lambda x, v: x * 2 if v > 0.4 else x, RATES, 5),
    "its sign": (lambda x, v: x * math.copysign(1, v), (1.0, 2.0, 3.0, -0.0, 0.0, -1.0), 3),
    "its type": (lambda x, v: x.long() * v, (1, 2, 3, 4.0, True, 5), 5),
    "a division": (caught, (0.1, 0.2, 0.3, 0.5, 0.4, 0.7), 5),
    "a branch of it": (lambda x, v: x * 2 if v % 2 == 0 else x * v, WHOLE, 4),
    "a range": (lambda x, v: sum(x * k for k in range(v)), WHOLE, 6),
    "a length": (lambda x, v: x[:, : v % 4], WHOLE, 6),
    "a look-up": (lambda x, v: x * {1: 2.0, 2: 3.0}.get(v, 4.0), WHOLE, 6),
    "a shape": (lambda x, v: x.repeat(v, 1), WHOLE, 6),
    "an overflow": (overflowing, WHOLE, 6),
    "a wide integer": (lambda x, v: x * (2**63 + v), WHOLE, 6),
    "a complex one": (lambda x, v: (x, isinstance(v**0.5, float)), (1.0, 2.0, 3.0, -1.0), 6),
    "no number": (lambda x, v: x if v is None else x * v, (1.0, 2.0, 3.0, None, 4.0, 5.0), 5),
}  # fmt: skip


@pytest.mark.parametrize("name", DECIDED)
def test_what_python_decides_by_such_a_number(name: str) -> None:
    f, values, traces = DECIDED[name]
    step, put = of_attribute(f)
    compiled = graphc.compile(step)
    with graphc.assert_max_compiles(traces):
        for x, v in zip(XS, values):
            put(v)
            assert equal(step(x), compiled(x)), v


def written_over(x: Any, me: Any) -> Any:
    y = x * me.v
    me.v = 0.125
    return y + me.v


def written_by_another_name(x: Any, me: Any) -> Any:
    y = x * me.v
    vars(me)["v"] = 3
    return y + me.v


READ_TWICE: dict[str, Callable[[Any, Any], Any]] = {
    "getattr": lambda x, me: x * me.v + getattr(me, "v"),  # noqa: B009  # another way to read
    "getattr first": lambda x, me: x * getattr(me, "v") + me.v,  # noqa: B009
    "all of it": lambda x, me: (x * me.v + sum(vars(me).values()), repr(me)),
    "written": written_over,
    "written by another name": written_by_another_name,
}


@pytest.mark.parametrize("name", READ_TWICE)
def test_such_a_number_read_or_set_in_other_ways(name: str) -> None:
    f, one, two = READ_TWICE[name], Space(v=1), Space(v=1)
    compiled = graphc.compile(lambda x: f(x, two))
    for x, v in zip(XS, (1, 2, 3, 3, 5, 3)):
        one.v = two.v = v
        assert equal(f(x, one), compiled(x))
        assert one == two


def test_a_value_that_is_there_already_is_written_when_another_has_come() -> None:
    me, table = Space(v=3), {"v": None}

    def step(x: Any) -> Any:
        me.v, table["v"] = 3, None
        return x * 2

    compiled = graphc.compile(step)
    with graphc.assert_max_compiles(2):
        for v in (3, 5, 3, 7):
            me.v, table["v"] = v, v
            compiled(XS[0])
            assert (me.v, table["v"]) == (3, None)


def test_numbers_of_two_objects_that_one_line_reads() -> None:
    class Scale:
        def __init__(self, v: float) -> None:
            self.v = v

        def __call__(self, x: Any) -> Any:
            return x * self.v

    layers = [Scale(1.0), Scale(3.0)]

    def step(x: Any) -> Any:
        for layer in layers:
            x = layer(x)
        return x

    compiled = graphc.compile(step)
    with graphc.assert_max_compiles(3):
        for x, v in zip(XS, RATES):
            layers[0].v = v
            assert equal(step(x), compiled(x))
    layers[1].v = 7.0
    assert equal(step(XS[0]), compiled(XS[0]))


def test_nothing_of_python_runs_after_a_call_for_a_number_that_only_the_program_needs() -> None:
    me = Space(v=0.5)
    step = graphc.compile(lambda x: x * (1 - me.v))
    for v in RATES:
        me.v = v
        step(XS[0])
    entry = step._last
    assert entry is not None and not entry.has_effects and len(entry.plan.getters) == 1


def test_what_a_module_without_a_forward_keeps_is_read_by_whoever_reads_it() -> None:
    class Trained(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.logged, self.step = nn.Linear(4, 3), {"loss": []}, 0  # type: ignore[var-annotated]

        def training_step(self, x: Any) -> Any:
            loss = self.net(x).mean()
            self.logged["loss"].append(loss.detach())
            self.step += 1
            return loss

    trained = Trained()
    compiled = graphc.compile(trained.training_step)
    with graphc.assert_max_compiles(1):
        losses = [compiled(x).item() for x in XS]
    assert [x.item() for x in trained.logged["loss"]] == losses and trained.step == len(XS)
