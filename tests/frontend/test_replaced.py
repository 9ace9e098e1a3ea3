"""An optimizer's eager step as one program has the bits of its calls, and writes where they lie."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import graphc
from graphc import nn, optim
from graphc.frontend import replaced
from graphc.frontend.replaced import Replacing

T = graphc.Tensor
Optimizer = Any
KINDS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda ps: optim.SGD(ps, lr=0.1),
    "momentum": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda ps: optim.SGD(ps, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda ps: optim.Adam(ps, lr=0.01, weight_decay=0.1),
    "rmsprop": lambda ps: optim.RMSprop(ps, lr=0.01, momentum=0.9, centered=True),
    "adagrad": lambda ps: optim.Adagrad(ps, lr=0.1, lr_decay=0.1, weight_decay=0.01),
    "adadelta": lambda ps: optim.Adadelta(ps, lr=0.5),
    "adamax": lambda ps: optim.Adamax(ps, lr=0.01, weight_decay=0.1),
    "rprop": lambda ps: optim.Rprop(ps, lr=0.01),
    "adamw": lambda ps: optim.AdamW(ps, lr=0.01, amsgrad=True),
}


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaced, "AFTER", 2)


def parameters(dtype: Any = graphc.float32) -> list[T]:
    graphc.manual_seed(3)
    shapes = ((40, 30), (7,), (), (3, 5, 2))
    return [nn.Parameter(graphc.randn(s, dtype=dtype)) for s in shapes]


def give(ps: Sequence[T], seed: int) -> None:
    graphc.manual_seed(seed)
    for p in ps:
        p.grad = graphc.randn(p.shape, dtype=p.dtype)


def bytes_of(ps: list[T], o: Optimizer) -> list[bytes]:
    slots = [x for s in o.state.values() for x in s.values() if isinstance(x, T)]
    return [x.detach().numpy().tobytes() for x in (*ps, *slots)]


def programs(o: Optimizer) -> list[Replacing]:
    return [r for r in replaced._made.get(o, {}).values() if r._native is not None]


def trained(make: Callable[[Any], Optimizer], steps: int = 6, dtype: Any = graphc.float32) -> Any:
    ps = parameters(dtype)
    o = make(ps)
    schedule = optim.lr_scheduler.StepLR(o, 1, gamma=0.7)
    for k in range(steps):
        give(ps, k)
        o.step()
        schedule.step()
    return ps, o


@pytest.mark.parametrize("dtype", [graphc.float32, graphc.float64], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_the_bits_are_those_of_the_calls(
    kind: str, dtype: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    want, slow = trained(KINDS[kind], dtype=dtype)
    assert not programs(slow)  # it took few steps
    monkeypatch.setattr(replaced, "AFTER", 2)
    got, fast = trained(KINDS[kind], dtype=dtype)
    assert len(programs(fast)) == 1  # for all rates of the schedule
    assert bytes_of(got, fast) == bytes_of(want, slow)


@pytest.mark.parametrize("kind", [optim.NAdam, optim.RAdam, optim.ASGD])
def test_rules_that_are_no_arithmetic_of_elements_go_call_by_call(
    kind: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conditions among the rates, and slots of one number."""
    want, slow = trained(lambda ps: kind(ps, lr=0.01))
    monkeypatch.setattr(replaced, "AFTER", 2)
    got, fast = trained(lambda ps: kind(ps, lr=0.01))
    assert not programs(fast) and bytes_of(got, fast) == bytes_of(want, slow)


def test_it_writes_where_they_lie_and_says_so(soon: None) -> None:
    ps, o = trained(KINDS["adam"])
    arrays, versions = [p.array for p in ps], [p._version for p in ps]
    before = [p.detach().clone() for p in ps]
    give(ps, 9)
    o.step()
    assert all(p.array is a for p, a in zip(ps, arrays))
    assert [p._version for p in ps] == [v + 1 for v in versions]
    assert not any(p.equal(b) for p, b in zip(ps, before))
    y = (ps[0] * ps[0]).sum()
    give(ps, 10)
    o.step()
    with pytest.raises(RuntimeError, match="changed by an in-place operation"):
        y.backward()


def test_what_a_handler_raises_once_all_is_written(soon: None) -> None:
    ps, o = trained(KINDS["sgd"])
    (program,) = programs(o)
    native, versions = program._native, [p._version for p in ps]

    class Interrupted:
        done = False

        def run(self, *args: Any) -> None:
            if self.done:
                native.run(*args)
            raise KeyboardInterrupt

    program._native = interrupted = Interrupted()
    for written in (False, True):
        interrupted.done = written
        give(ps, 9)
        before = ps[0].detach().clone()
        with pytest.raises(KeyboardInterrupt):
            o.step()
        assert ps[0].equal(before) != written
        assert [p._version - v for p, v in zip(ps, versions)] == [written] * 4


def test_memory_that_was_replaced_is_found(soon: None) -> None:
    """Parameters and slots with other memory are written there, by the same program."""
    ps, o = trained(KINDS["momentum"])
    (program,) = programs(o)
    native = program._native
    old = [p.detach() for p in ps]
    kept = [x.clone() for x in old]
    for p in ps:
        p.data = p.detach().clone()
    o.load_state_dict(o.state_dict())
    give(ps, 9)
    other_ps, other = trained(KINDS["momentum"])
    give(other_ps, 9)
    for optimizer in (o, other):
        for _ in range(8):
            optimizer.step()
    assert bytes_of(ps, o) == bytes_of(other_ps, other)
    assert all(x.equal(y) for x, y in zip(old, kept))
    assert program._native is native


def test_what_shares_memory_goes_call_by_call(soon: None) -> None:
    """What one is given another would read, or a gradient would be written before it is read."""
    for shared in ("parameters", "gradient"):
        results = []
        for _ in range(2):
            x = graphc.ones(8)
            ps = [nn.Parameter(x[:4]), nn.Parameter(x[4:])]
            o = optim.SGD(ps, lr=0.5)
            for _ in range(6):
                give(ps, 1)
                if shared == "gradient":
                    ps = o.param_groups[0]["params"] = [nn.Parameter(graphc.ones(4))]
                    ps[0].grad = ps[0].detach()
                o.step()
            results.append(ps[0].detach().tolist())
            assert not programs(o) or shared == "gradient"
        assert results[0] == results[1]
        if shared == "gradient":
            assert results[0] == [0.5] * 4


def test_gradients_of_no_row_major_memory_go_call_by_call(soon: None) -> None:
    ps, o = trained(KINDS["sgd"])
    before = ps[0].detach().clone()
    give(ps, 3)
    ps[0].grad = graphc.randn(30, 40).t()
    want = before - ps[0].grad * o.param_groups[0]["lr"]
    o.step()
    assert ps[0].detach().equal(want)


def test_a_parameter_that_sits_out_and_other_options(soon: None) -> None:
    """The others make another program; with other options there is one more."""
    ps, o = trained(KINDS["momentum"])
    give(ps, 4)
    ps[1].grad = None
    before = ps[1].detach().clone()
    versions = [p._version for p in ps]
    for _ in range(5):
        o.step()
    assert ps[1].equal(before) and [p._version - v for p, v in zip(ps, versions)] == [5, 0, 5, 5]
    o.param_groups[0]["weight_decay"] = 0
    for _ in range(5):
        o.step()
    assert len(programs(o)) == 2


def test_a_rate_too_large_for_the_type_is_infinite(soon: None) -> None:
    ps, o = trained(KINDS["sgd"])
    give(ps, 1)
    o.param_groups[0]["lr"] = 1e300
    o.step()
    assert bool(ps[0].isinf().all())


CHANGES: dict[str, Callable[[Any], object]] = {
    "a double parameter": lambda p: setattr(p, "data", p.data.double()),
    "a parameter of halves": lambda p: setattr(p, "data", p.data.half()),
    "a longer parameter": lambda p: setattr(p, "data", graphc.ones(128)),
    "a double gradient": lambda p: setattr(p.grad, "data", p.grad.data.double()),
    "a shorter gradient": lambda p: setattr(p.grad, "data", graphc.ones(3)),
    "a gradient resized": lambda p: p.grad.resize_(3),
    "a gradient set": lambda p: p.grad.set_(graphc.ones(3)),
}


@pytest.mark.parametrize("name", CHANGES)
def test_types_that_change_between_gradient_and_step(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was bound reads and writes as many numbers as it was made for: it must not then."""

    def outcome() -> Any:
        p = graphc.nn.Parameter(graphc.ones(64))
        optimizer = graphc.optim.SGD([p], lr=0.1, momentum=0.5)
        for k in range(replaced.AFTER + 4):
            optimizer.zero_grad()
            (p * p).sum().backward()
            if k == replaced.AFTER + 2:
                CHANGES[name](p)
            try:
                optimizer.step()
            except graphc.errors.ShapeMismatch as e:
                return str(e)
            if k == replaced.AFTER + 2:
                p.grad = None
        return p.dtype, p.detach().tolist()

    found = outcome()
    monkeypatch.setattr(replaced, "REPLACERS", [])
    assert found == outcome()
