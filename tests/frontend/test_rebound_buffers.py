"""Buffers that a step rebinds: whoever kept the old one has its values, as in eager PyTorch, by any
way to set it; a buffer that is written in place is followed by all that show it."""

from __future__ import annotations

from typing import Any

import pytest

import graphc
from graphc.errors import Untraceable
from tests.frontend.test_rebound_places import CALLS, Scenario, check, given

pytestmark = pytest.mark.usefixtures("uncollected")

torch: Any = pytest.importorskip("torch")


def net(T: Any, *names: str) -> Any:
    made = T.nn.Module()
    for name in names or ("b",):
        made.register_buffer(name, T.zeros(4))
    return made


def losses(call: Any, T: Any, calls: int = CALLS) -> Any:
    return [call(given(T, k)).item() for k in range(calls)]


# ---- ways to set one -----------------------------------------------------------------------------


def by_attribute(T: Any, wrap: Any) -> Any:
    m = net(T)

    def step(x: Any) -> Any:
        m.b = 0.9 * m.b + x
        return m.b.sum()

    first, call = m.b, wrap(step)
    return [losses(call, T), m.b, first]


def by_forward(T: Any, wrap: Any) -> Any:
    class Net(T.nn.Module):  # type: ignore[misc]  # of the library under test
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("b", T.zeros(4))

        def forward(self, x: Any) -> Any:
            self.b = 0.9 * self.b + x
            return self.b.sum()

    m = Net()
    first, call = m.b, wrap(lambda x: m(x))
    return [losses(call, T), m.b, first]


def by_table(T: Any, wrap: Any) -> Any:
    m = net(T)

    def step(x: Any) -> Any:
        m._buffers["b"] = 0.9 * m._buffers["b"] + x
        return m.b.sum()

    first, call = m.b, wrap(step)
    return [losses(call, T), m.b, first]


def by_registration(T: Any, wrap: Any) -> Any:
    m = net(T)

    def step(x: Any) -> Any:
        m.register_buffer("b", 0.9 * m.get_buffer("b") + x)
        return m.b.sum()

    first, call = m.b, wrap(step)
    return [losses(call, T), m.b, first]


def by_setattr(T: Any, wrap: Any) -> Any:
    m = net(T)

    def step(x: Any) -> Any:
        setattr(m, "b", 0.9 * getattr(m, "b") + x)  # noqa: B009, B010  # what is tested
        return m.b.sum()

    first, call = m.b, wrap(step)
    return [losses(call, T), m.b, first]


def in_place(T: Any, wrap: Any) -> Any:
    """Nothing is rebound: all that show it see each write."""
    m = net(T)

    def step(x: Any) -> Any:
        m.b.mul_(0.9).add_(x)
        m.b += x
        return m.b.sum()

    first, saved, call = m.b, m.state_dict(), wrap(step)
    return [losses(call, T), m.b, first, first is m.b, saved["b"]]


def batch_norm(T: Any, wrap: Any) -> Any:
    """Its statistics are written in place, as PyTorch does."""
    m, x = T.nn.BatchNorm1d(2, affine=False), T.tensor([[1.0, 2.0], [3.0, 5.0]])
    saved, kept, call = m.state_dict(), m.running_mean, wrap(lambda x: m(x).sum())
    for _ in range(CALLS):
        call(x)
    return [saved["running_mean"], saved["running_var"], kept, kept is m.running_mean]


STEADY = (by_attribute, by_forward, by_table, by_registration, by_setattr, in_place, batch_norm)


@pytest.mark.parametrize("scenario", STEADY, ids=lambda f: f.__name__)
def test_it_is_traced_once_and_latched(scenario: Scenario) -> None:
    step = check(scenario)
    assert step.stats.programs == 1
    assert step._latch is not None


# ---- what somebody keeps, and several of them ----------------------------------------------------


def kept(T: Any, wrap: Any) -> Any:
    """The tensor, a state_dict, a dict of them, NumPy's, a view, a list."""
    m, found = net(T), []
    ways: Any = [
        lambda: m.b,
        lambda: m.state_dict()["b"],
        lambda: dict(m.named_buffers())["b"],
        lambda: m.b.numpy(),
        lambda: m.b[1:],
        lambda: [*m.buffers()],
    ]

    def step(x: Any) -> Any:
        m.b = 0.9 * m.b + x
        return m.b.sum()

    call, out = wrap(step), []
    for k in range(4 * len(ways)):
        out.append(call(given(T, k)))
        if k % 4 == 3:
            found.append(ways[k // 4]())
    return [out, found, m.b]


def swapped(T: Any, wrap: Any) -> Any:
    m = net(T, "a", "b")

    def step(x: Any) -> Any:
        m.a, m.b = m.b, m.a + x
        return (m.a * 2 + m.b).sum()

    first, call = m.a, wrap(step)
    return [losses(call, T), m.a, m.b, first]


def swapped_only(T: Any, wrap: Any) -> Any:
    """No tensor of the step comes into it."""
    m = net(T, "a", "b")
    first = m.a

    def step(x: Any) -> Any:
        m.a, m.b = m.b, m.a
        return (m.a * x).sum()

    call = wrap(step)
    return [[[call(given(T, k)), m.a is first] for k in range(CALLS)], m.a, m.b]


def the_argument_itself(T: Any, wrap: Any) -> Any:
    m = net(T)

    def step(x: Any) -> Any:
        out = (x - m.b).sum()
        m.b = x
        return out

    call, found = wrap(step), []
    for k in range(CALLS):
        x = given(T, k)
        found.append([call(x), m.b is x])
        x.add_(1.0)
    return [found, m.b]


def from_none(T: Any, wrap: Any) -> Any:
    m = T.nn.Module()
    m.register_buffer("b", None)

    def step(x: Any) -> Any:
        m.b = x * 2 if m.b is None else 0.9 * m.b + x
        return m.b.sum()

    return [losses(wrap(step), T), m.b]


def declared(T: Any, wrap: Any) -> Any:
    """An `nn.Buffer`, which a tensor takes the place of."""
    m = T.nn.Module()
    m.b = T.nn.Buffer(T.zeros(4))
    first = m.b

    def step(x: Any) -> Any:
        m.b = 0.9 * m.b + x
        return m.b.sum()

    call = wrap(step)
    return [losses(call, T), m.b, first, len(m.state_dict())]


def trained_and_evaluated(T: Any, wrap: Any) -> Any:
    """By one function; in eval mode nobody reads it, and it is no reason to trace again."""
    m, out = net(T), []

    def step(x: Any) -> Any:
        if m.training:
            m.b = 0.9 * m.b + x
        return x.sum()

    call = wrap(step)
    for k in range(CALLS):
        m.train()
        out.append([call(given(T, k)), call(given(T, k + 1))])
        m.eval()
        out.append([call(given(T, k)), m.b.clone()])
    return out


def gradient_through(T: Any, wrap: Any) -> Any:
    """What it is set to has a history, which the step's own backward follows."""
    m, w = net(T), T.nn.Parameter(T.ones(4))

    def step(x: Any) -> Any:
        m.b = 0.9 * m.b.detach() + x * w
        w.grad = None
        (m.b * m.b).sum().backward()
        return m.b.detach().sum()

    call = wrap(step)
    return [[[call(given(T, k)), w.grad.clone()] for k in range(CALLS)], m.b.detach()]


def gradient_from_outside(T: Any, wrap: Any) -> Any:
    m, w, found = net(T), T.nn.Parameter(T.ones(4)), []

    def step(x: Any) -> Any:
        y = x * w
        m.b = y * y
        return y.sum()

    call = wrap(step)
    for k in range(CALLS):
        w.grad = None
        (call(given(T, k)) + m.b.sum()).backward()
        found.append(w.grad.clone())
    return found


def replaced_for_a_call(T: Any, wrap: Any) -> Any:
    class Net(T.nn.Module):  # type: ignore[misc]  # of the library under test
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("b", T.zeros(4))

        def forward(self, x: Any) -> Any:
            return (self.b * x).sum()

    m = Net()
    call = wrap(lambda x, b: T.func.functional_call(m, {"b": b}, (x,)))
    return [[call(given(T, k), given(T, k + 1)) for k in range(CALLS)], m.b]


FEW: dict[Scenario, int] = {
    kept: 1, swapped: 1, swapped_only: 1, the_argument_itself: 1, from_none: 2, declared: 2,
    trained_and_evaluated: 2, gradient_through: 1, gradient_from_outside: 2, replaced_for_a_call: 1,
}  # fmt: skip


@pytest.mark.parametrize("scenario", FEW, ids=lambda f: f.__name__)
def test_values_and_programs(scenario: Scenario) -> None:
    assert check(scenario).stats.programs <= FEW[scenario]


def test_the_memory_stays_while_nobody_else_has_it() -> None:
    m = net(graphc)

    @graphc.compile
    def step(x: Any) -> Any:
        m.b = m.b + x
        return x.sum()

    one = graphc.ones(4)
    step(one)
    step(one)
    first, at = id(m.b), m.b.data_ptr()
    for _ in range(4):
        step(one)
        assert (id(m.b), m.b.data_ptr()) == (first, at)
    saved = m.state_dict()
    step(one)
    assert m.b.data_ptr() != at and saved["b"].tolist() == [6.0] * 4
    at = m.b.data_ptr()
    step(one)
    assert m.b.data_ptr() == at and m.b.tolist() == [8.0] * 4
    assert step.stats.programs == 1


def test_another_step_reads_what_is_there_and_is_not_traced_for_ever() -> None:
    m = net(graphc)

    @graphc.compile
    def step(x: Any) -> Any:
        m.b = m.b + x
        return x.sum()

    look, one, history = graphc.compile(lambda x: (m.b * x).sum()), graphc.ones(4), []
    for k in range(6):
        step(one)
        history.append(m.b)
        assert look(one).item() == 4.0 * (k + 1)
    assert [b.tolist() for b in history] == [[k + 1.0] * 4 for k in range(6)]
    assert step.stats.programs == 1 and look.stats.programs == 2


def test_a_branch_and_a_body_of_a_loop_rebind_none() -> None:
    m, one = net(graphc), graphc.ones(4)

    def rebinds(x: Any, *others: Any) -> Any:
        m.b = m.b + x
        return (x + m.b, *others)

    for step in (
        lambda x: graphc.scan(rebinds, x, graphc.ones(3, 4)),
        lambda x: graphc.cond(x.sum() > 0, rebinds, lambda x: (x,), (x,)),
    ):
        with pytest.raises(Untraceable, match="stores something"):
            graphc.compile(step)(one)
        assert m.b.tolist() == [0.0] * 4


def test_a_call_that_fails_leaves_the_buffer_as_it_was() -> None:
    m = net(graphc)

    @graphc.compile
    def step(x: Any, k: Any) -> Any:
        m.b = m.b + x
        return m.b[k].sum()

    step(graphc.ones(4), graphc.tensor(1))
    before, values = m.b, m.b.tolist()
    with pytest.raises(IndexError):
        step(graphc.ones(4), graphc.tensor(9))
    assert m.b is before and m.b.tolist() == values
