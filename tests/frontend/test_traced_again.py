"""What a step does besides computing, where its first trace fails and a second one is made, and
where it changes hooks: as in eager code, call by call."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pytest

import graphc
from graphc import nn

Step = Callable[[Any], Any]
Make = Callable[[list[Any]], Step]


class Meter:
    """Whose count begins as its class's."""

    n = 0
    total: Any = 0.0


def asks(x: Any) -> Any:
    """A question about the size, which the first trace does not know."""
    return x * 2 if x.shape[0] % 3 == 1 else x * 3


def counts(log: list[Any]) -> Step:
    meter = Meter()

    def step(x: Any) -> Any:
        meter.n += 1
        y = asks(x)
        log.append(meter.n)
        return y

    return step


def counts_in_a_table(log: list[Any]) -> Step:
    table: dict[str, Any] = {}

    def step(x: Any) -> Any:
        table["n"] = table.get("n", 0) + 1
        table.setdefault("k", 1)
        table["k"] += 2
        y = asks(x)
        log.append(tuple(table.items()))
        return y

    return step


def adds_a_tensor(log: list[Any]) -> Step:
    meter = Meter()

    def step(x: Any) -> Any:
        meter.total += 1
        meter.total = meter.total + x.sum()
        log.append(meter.total)
        return asks(x)

    return step


def looks_and_leaves(log: list[Any]) -> Step:
    w = graphc.ones(2, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        handle = w.register_hook(lambda g: log.append(g.sum().item()))
        (w * asks(x)).sum().backward()
        handle.remove()
        return w.grad.clone()

    return step


def hooks_stay(log: list[Any]) -> Step:
    w = graphc.ones(2, requires_grad=True)

    def step(x: Any) -> Any:
        w.grad = None
        w.register_hook(lambda g: log.append(g.sum().item()))
        w.register_post_accumulate_grad_hook(lambda w: log.append("done"))
        (w * x).sum().backward()
        return w.grad.clone()

    return step


def hooks_once(log: list[Any]) -> Step:
    w, first = graphc.ones(2, requires_grad=True), [True]

    def step(x: Any) -> Any:
        w.grad = None
        if first[0]:
            w.register_hook(lambda g: g * 2)
            first[0] = False
        (w * x).sum().backward()
        log.append(w.grad.clone())
        return w.grad.clone()

    return step


def hooks_of_a_module_stay(log: list[Any]) -> Step:
    net = nn.Linear(2, 2)

    def step(x: Any) -> Any:
        net.register_forward_hook(lambda m, i, o: log.append(tuple(o.shape)))
        return net(asks(x)).sum()

    return step


def a_hook_is_taken_off(log: list[Any]) -> Step:
    net = nn.Linear(2, 2)
    handle = net.register_forward_hook(lambda m, i, o: log.append(tuple(o.shape)))

    def step(x: Any) -> Any:
        y = net(x).sum()
        handle.remove()
        return y

    return step


def catches(log: list[Any]) -> Step:
    table = {"n": 0}

    def step(x: Any) -> Any:
        try:
            x.reshape(7)
        except RuntimeError:
            log.append("caught")
            table["n"] += 1
        log.append(table["n"])
        return x * 2

    return step


def ends_anyway(log: list[Any]) -> Step:
    def step(x: Any) -> Any:
        try:
            if x.shape[0] == 5:
                raise KeyError
            return x * 2
        except KeyError:
            log.append("five")
            return x * 3
        finally:
            log.append("end")

    return step


def takes_off(log: list[Any]) -> Step:
    numbers = [1, 0, 3, 4, 5, 6, 7, 8]

    def step(x: Any) -> Any:
        del numbers[0]
        log.append(len(numbers))
        return x * len(numbers)

    return step


def recurrent(hooked: str) -> Make:
    def make(log: list[Any]) -> Step:
        w = graphc.full((2, 2), 0.3, requires_grad=True)

        def trip(h: Any, x: Any) -> Any:
            h = (h @ w + x).tanh()
            return h, h * 2

        def step(x: Any) -> Any:
            w.grad = None
            x = x[:, None].expand(-1, 3, -1)
            last, ys = graphc.scan(trip, x[0], x)
            if hooked == "look":
                last.register_hook(lambda g: log.append(g.sum().item()))
                ys.register_hook(lambda g: log.append(g.sum().item()))
            elif hooked == "replace":
                last.register_hook(lambda g: g * 2)
            else:
                last.retain_grad()
                ys.retain_grad()
            (last.sum() + ys.square().sum()).backward()
            log.append(w.grad.clone())
            if hooked == "retain":
                log.extend((last.grad.clone(), ys.grad.clone()))
            return w.grad.clone()

        return step

    return make


MAKES: dict[str, Make] = {
    f.__name__: f
    for f in (
        counts, counts_in_a_table, adds_a_tensor, looks_and_leaves, hooks_stay, hooks_once,
        hooks_of_a_module_stay, a_hook_is_taken_off, catches, ends_anyway, takes_off,
    )
} | {f"recurrent_{how}": recurrent(how) for how in ("look", "replace", "retain")}  # fmt: skip


def plain(x: Any) -> Any:
    return x.tolist() if isinstance(x, graphc.Tensor) else x


@pytest.mark.parametrize("name", MAKES)
def test_each_call_does_what_eager_code_does(name: str) -> None:
    found: list[list[Any]] = []
    for compiled in (False, True):
        graphc.manual_seed(0)
        log: list[Any] = []
        step = MAKES[name](log)
        step = graphc.compile(step) if compiled else step
        for k in (4, 4, 4, 5, 4):
            step(graphc.ones(k, 2) / k)
        found.append([plain(x) for x in log])
    eager, compiled_log = found
    assert eager
    assert len(compiled_log) == len(eager)
    for a, b in zip(compiled_log, eager):
        assert a == b or graphc.allclose(graphc.tensor(a), graphc.tensor(b), rtol=1e-5)


def test_a_failed_trace_leaves_no_hook() -> None:
    w = graphc.ones(2, requires_grad=True)

    @graphc.compile
    def step(x: Any) -> Any:
        w.register_hook(lambda g: g * 2)
        if (w * x).sum() > 0:
            return x
        return w

    with pytest.raises(graphc.errors.GraphcError):
        step(graphc.ones(2))
    w.sum().backward()
    assert w.grad is not None and w.grad.tolist() == [1, 1]


def test_a_class_attribute_is_not_left_in_the_object() -> None:
    meter = Meter()

    @graphc.compile
    def step(x: Any) -> Any:
        meter.n += 1
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        step(graphc.ones(2))
    assert meter.__dict__ == {}


def test_a_returned_value_that_a_loop_slices_lies_where_the_loop_reads() -> None:
    """It is an output's memory, of which no trip can read a slice."""
    w = graphc.full((3, 3), 0.3, dtype=graphc.float64, requires_grad=True)

    def f(x: Any) -> Any:
        last, ys = graphc.scan(lambda h, x: ((h @ w + x).tanh(), h * 2), x[0], x)
        return graphc.autograd.grad(ys.square().sum() + last.sum(), (w, ys))

    x = graphc.ones(5, 2, 3, dtype=graphc.float64)
    for got, want in zip(graphc.compile(f)(x), f(x), strict=True):
        assert graphc.allclose(got, want, rtol=1e-12)


SOURCE = """
def step(x):
    return x * max(1, 2) * len([1, 2, 3]) + abs(-2)
"""


@pytest.mark.parametrize("shadow", ["max", "len", "abs"])
def test_a_global_that_stands_before_a_builtin_is_seen(shadow: str) -> None:
    space: dict[str, Any] = {"__name__": "somewhere"}
    exec(compile(SOURCE, "somewhere.py", "exec"), space)
    plain, step = space["step"], graphc.compile(space["step"])
    x = graphc.ones(2)
    assert step(x).tolist() == plain(x).tolist()
    space[shadow] = lambda *args: 7
    assert step(x).tolist() == plain(x).tolist() != [8, 8]
    del space[shadow]
    assert step(x).tolist() == plain(x).tolist() == [8, 8]


def test_a_builtin_that_is_replaced_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    step = graphc.compile(lambda x: x * abs(-2))
    assert step(graphc.ones(2)).tolist() == [2, 2]
    monkeypatch.setattr(builtins, "abs", lambda x: 5)
    assert step(graphc.ones(2)).tolist() == [5, 5]


def test_a_step_that_prints_keeps_one_program(capsys: pytest.CaptureFixture[str]) -> None:
    @graphc.compile
    def step(x: Any) -> Any:
        print(len([1, 2]))
        return x * 2

    for _ in range(3):
        step(graphc.ones(2))
    assert step.stats.programs == 1
    assert capsys.readouterr().out == "2\n" * 3


FLOATS: dict[str, Callable[[Any, float], Any]] = {
    "sum": lambda x, k: x.sum() * k,
    "integers": lambda x, k: x.long() * k,
    "half": lambda x, k: x.half().sum() * k,
    "twice": lambda x, k: (k * 2 + 1) * x.sum(),
    "full": lambda x, k: graphc.full((2,), k),
    "where": lambda x, k: graphc.where(x > 0, k, 0.0),
    "divided": lambda x, k: k / x.long().sum(),
    "powered": lambda x, k: x.long() ** k,
}


@pytest.mark.parametrize("name", FLOATS)
def test_a_float_that_keeps_changing_promotes_as_a_float(name: str) -> None:
    """It becomes a scalar of the call, which is no tensor of float64 to the code."""
    f = FLOATS[name]
    step, x = graphc.compile(f), graphc.ones(3)
    for k in (1.5, 2.5, 3.5, 4.5):
        got, want = step(x, k), f(x, k)
        assert got.dtype is want.dtype
        assert graphc.allclose(got, want)


def test_what_belongs_to_a_parameter_is_named_without_its_elements() -> None:
    p = nn.Parameter(graphc.ones(2, 3))
    rates = {p: "slow"}

    @graphc.compile
    def step(x: Any) -> Any:
        return x * (0.1 if rates[p] == "slow" else 1.0)

    step(graphc.ones(2))
    rates[p] = "fast"
    step(graphc.ones(2))
    assert "`rates[Parameter f32[2,3]]`: 'slow' -> 'fast'" in str(step.explain())


def test_keyword_arguments_that_an_inner_function_reads_are_new_at_each_call() -> None:
    def inner(x: graphc.Tensor, **options: Any) -> graphc.Tensor:
        options.pop("told", None)
        asked = [options.get(name) for name in ("a", "b")]  # which puts `options` in a cell
        return x * len([v for v in asked if v])

    step = graphc.compile(lambda x: inner(x, told=True, a=1) + inner(x, told=True, a=1, b=2))
    for _ in range(4):
        assert step(graphc.ones(2)).tolist() == [3, 3]
    assert not step.explain().recompiles
