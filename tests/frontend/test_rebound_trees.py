"""Containers of tensors that a step replaces or changes, tensors with a history, views, and state
that is written in place and then set anew: as in PyTorch, and traced once or twice."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any, NamedTuple

import pytest

import graphc
from graphc.errors import AutogradError
from tests.frontend.test_rebound_places import CALLS, Box, Scenario, check, given

torch: Any = pytest.importorskip("torch")


class Pair(NamedTuple):
    w: Any
    m: Any


@dataclasses.dataclass(frozen=True)
class Record:
    w: Any
    m: Any


def run(call: Any, T: Any, calls: int = CALLS) -> Any:
    return [call(given(T, k)).detach() for k in range(calls)]


# ---- containers that are replaced ----------------------------------------------------------------


def lists(T: Any, wrap: Any) -> Any:
    m, kept = Box(state=[T.zeros(4), T.ones(4)]), []

    def step(x: Any) -> Any:
        m.state = [T.tanh(s * 0.5 + x) for s in m.state]
        return sum(s.sum() for s in m.state)

    call, out = wrap(step), []
    for k in range(CALLS):
        out.append(call(given(T, k)))
        kept.append(m.state[k % 2])
    return [out, kept, m.state]


def tuples(T: Any, wrap: Any) -> Any:
    m = Box(state=(T.zeros(4), T.ones(4)))

    def step(x: Any) -> Any:
        a, b = m.state
        m.state = b * 0.5 + x, a * 0.5
        return m.state[0].sum()

    return [run(wrap(step), T), list(m.state)]


def dicts(T: Any, wrap: Any) -> Any:
    state = {"a": T.zeros(4), "b": T.ones(4)}

    def step(x: Any) -> Any:
        nonlocal state
        state = {k: v * 0.5 + x for k, v in state.items()}
        return state["a"].sum() - state["b"].sum()

    return [run(wrap(step), T), *state.values()]


def named_tuples(T: Any, wrap: Any) -> Any:
    m = Box(state=Pair(T.ones(4), T.zeros(4)))

    def step(x: Any) -> Any:
        momentum = 0.9 * m.state.m + x
        m.state = Pair(m.state.w - 0.1 * momentum, momentum)
        return momentum.sum()

    return [run(wrap(step), T), list(m.state)]


def records(T: Any, wrap: Any) -> Any:
    m = Box(state=Record(T.ones(4), T.zeros(4)))

    def step(x: Any) -> Any:
        s = m.state
        momentum = 0.9 * s.m + x
        m.state = dataclasses.replace(s, w=s.w - 0.1 * momentum, m=momentum)
        return momentum.sum()

    return [run(wrap(step), T), m.state.w, m.state.m]


def nested(T: Any, wrap: Any) -> Any:
    """A pair of tensors for each of several names, in a dict that stays."""
    state = {name: (T.zeros(4), [T.ones(4)]) for name in "ab"}

    def step(x: Any) -> Any:
        total = 0
        for name in state:
            h, (c,) = state[name]
            state[name] = h * 0.5 + c, [c * 0.5 + x]
            total = total + state[name][0].sum()
        return total

    call = wrap(step)
    return [run(call, T), [[h, c] for h, (c,) in state.values()]]


def old_parameters(T: Any, wrap: Any) -> Any:
    params = [T.nn.Parameter(T.ones(4)), T.nn.Parameter(T.zeros(4))]
    old = [p.detach().clone() for p in params]

    def step(x: Any) -> Any:
        nonlocal old
        out = sum(((p - o) * x).sum() for p, o in zip(params, old, strict=True))
        old = [p.detach().clone() for p in params]
        with T.no_grad():
            for p in params:
                p.add_(x)
        return out.detach()

    return [run(wrap(step), T), old, params]


# ---- containers that are changed -----------------------------------------------------------------


def queue(T: Any, wrap: Any) -> Any:
    rows = collections.deque([T.zeros(4) for _ in range(3)], maxlen=3)

    def step(x: Any) -> Any:
        rows.append(x * 2)
        return T.stack(list(rows)).mean(0)

    return [run(wrap(step), T), list(rows)]


def inserted_and_popped(T: Any, wrap: Any) -> Any:
    rows = [T.zeros(4) for _ in range(3)]

    def step(x: Any) -> Any:
        rows.insert(0, x * 2)
        last = rows.pop()
        return sum(r.sum() * (k + 1) for k, r in enumerate(rows)) + last.sum()

    return [run(wrap(step), T), rows]


def last_rows(T: Any, wrap: Any) -> Any:
    m = Box(rows=[T.full((4,), float(k)) for k in range(3)])

    def step(x: Any) -> Any:
        m.rows = [*m.rows, x * 2][-3:]
        return sum(r.sum() * (k + 1) for k, r in enumerate(m.rows))

    return [run(wrap(step), T), m.rows]


def features_of_hooks(T: Any, wrap: Any) -> Any:
    net, features = T.nn.Sequential(T.nn.Tanh(), T.nn.Tanh()), {}
    for k, part in enumerate(net):
        part.register_forward_hook(lambda m, i, o, k=k: features.__setitem__(k, o.detach()))

    def step(x: Any) -> Any:
        return net(x).sum() + sum(f.abs().sum() for f in features.values())

    return [run(wrap(step), T), features[0], features[1]]


# ---- tensors with a history, and views -----------------------------------------------------------


def history(T: Any, wrap: Any) -> Any:
    """The backward of a call goes on through those before, as far as they are kept."""
    w = T.nn.Parameter(T.ones(4))
    m = Box(ema=T.zeros(4))

    def step(x: Any) -> Any:
        m.ema = 0.9 * m.ema + 0.1 * w * x
        return (m.ema * x).sum()

    call, found = wrap(step), []
    for k in range(CALLS):
        out = call(given(T, k))
        if k % 3 == 2:
            w.grad = None
            out.backward()
            found.append(w.grad.clone())
            m.ema = m.ema.detach()
        found.append(out.detach())
    return [found, m.ema.requires_grad, m.ema]


def detached_by_the_next_call(T: Any, wrap: Any) -> Any:
    w = T.nn.Parameter(T.ones(4))
    m = Box(h=None)

    def step(x: Any) -> Any:
        h = T.zeros(4) if m.h is None else m.h.detach()
        w.grad = None
        m.h = T.tanh(w * x + h)
        m.h.sum().backward()
        with T.no_grad():
            w.sub_(0.1 * w.grad)
        return m.h.sum()

    return [run(wrap(step), T), m.h, w]


def part_of_a_result(T: Any, wrap: Any) -> Any:
    m = Box(h=T.zeros(4))

    def step(x: Any) -> Any:
        out = T.tanh(x + T.stack([m.h, m.h * 0.5, m.h * 0.25]))
        m.h = out[-1]
        return out

    return [run(wrap(step), T), m.h]


def result_that_is_part_of_a_place(T: Any, wrap: Any) -> Any:
    w = T.nn.Parameter(T.ones(4))
    m = Box(h=(w * 1.0)[None])

    def step(x: Any) -> Any:
        before = m.h[0, 1:]
        m.h = (m.h * w + x)[:1]
        return before * 2 + m.h[0, 1:]

    call, found = wrap(step), []
    for k in range(3):
        out = call(given(T, k))
        found.append(out.detach())
    out.sum().backward()
    return [found, w.grad, m.h]


# ---- written, and set anew -----------------------------------------------------------------------


def written_and_rebound(T: Any, wrap: Any) -> Any:
    m, kept = Box(ema=T.zeros(4)), []

    def step(x: Any) -> Any:
        m.ema.add_(x)
        m.ema = m.ema * 0.5
        return m.ema.sum()

    call, out = wrap(step), []
    for k in range(CALLS):
        kept.append(m.ema)
        out.append(call(given(T, k)))
    return [out, kept, m.ema, [x._version for x in kept]]


def item_written_and_all_rebound(T: Any, wrap: Any) -> Any:
    m, kept = Box(rows=[T.zeros(2, 4), T.ones(2, 4)]), []

    def step(x: Any) -> Any:
        m.rows[0][0] += x
        m.rows = [r * 0.5 for r in m.rows]
        return sum(r.sum() for r in m.rows)

    call, out = wrap(step), []
    for k in range(CALLS):
        kept += m.rows
        out.append(call(given(T, k)))
    return [out, kept, m.rows]


ONCE: dict[Scenario, int] = {
    lists: 1, tuples: 1, dicts: 1, named_tuples: 1, records: 1, nested: 1, old_parameters: 1,
    queue: 1, inserted_and_popped: 1, last_rows: 1, features_of_hooks: 2, history: 2,
    detached_by_the_next_call: 2, part_of_a_result: 2, result_that_is_part_of_a_place: 2,
    written_and_rebound: 1, item_written_and_all_rebound: 1,
}  # fmt: skip


@pytest.mark.parametrize("scenario", ONCE, ids=lambda f: f.__name__)
def test_values_and_programs(scenario: Scenario) -> None:
    step = check(scenario)
    assert step.stats.programs <= ONCE[scenario]
    assert len(step._recompiles) < 3  # what changed, of all traces


# ---- what is not the same each time --------------------------------------------------------------


def changed_between_calls(T: Any, wrap: Any) -> Any:
    """Another length, another type, the same tensor twice, one list by two names."""
    m = Box(state=[T.zeros(4), T.ones(4)])
    one = T.full((4,), 2.0)
    m.other = [one, T.ones(4)]
    others = {3: [T.ones(4)], 5: (T.ones(4), T.zeros(4)), 8: [one, one], 11: m.other}

    def step(x: Any) -> Any:
        m.state = [s * 0.5 + x for s in m.state]
        return sum(s.sum() for s in m.state) + m.other[0].sum()

    call, out = wrap(step), []
    for k in range(14):
        if k in others:
            m.state = others[k]
        if k == 12:
            m.other[0] = m.other[0] * 3
        out.append(call(given(T, k)))
    return [out, m.state, m.other]


def kept_by_somebody_who_changes_it(T: Any, wrap: Any) -> Any:
    """The list that the step replaces is another's, too, which the step reads."""
    m = Box(state=[T.zeros(4), T.ones(4)])
    m.first = m.state

    def step(x: Any) -> Any:
        m.state = [s * 0.5 + x for s in m.state]
        return sum(s.sum() for s in m.state) + m.first[0].sum()

    call, out = wrap(step), []
    for k in range(6):
        out.append(call(given(T, k)))
        m.first[0] = m.first[0] + 1
    return [out, m.state, m.first]


def passed_what_is_inside(T: Any, wrap: Any) -> Any:
    m = Box(state=[T.zeros(4), T.ones(4)])

    def step(x: Any, y: Any) -> Any:
        m.state = [s * 0.5 + x for s in m.state]
        y.add_(1.0)
        return m.state[0].sum() + y.sum()

    call, out = wrap(step), []
    for k in range(4):
        out.append(call(given(T, k), m.state[k % 2]))
    return [out, m.state]


def length_asked_before_a_key_is_new(T: Any, wrap: Any) -> Any:
    table = {"a": T.zeros(4)}
    m = Box(k=0)

    def step(x: Any, key: str) -> Any:
        before = len(table)
        table[key] = x * 2.0
        table["a"] = table["a"] + x
        return sum(v.sum() for v in table.values()) * before

    call = wrap(step)
    return [[call(given(T, k), "bcd"[k // 4]) for k in range(12)], [*table.values()], m.k]


def in_itself(T: Any, wrap: Any) -> Any:
    """A record that leads back to itself, replaced by the step."""

    @dataclasses.dataclass
    class Node:
        x: Any
        up: Any = None

    m = Box(node=Node(T.zeros(4)))
    m.node.up = m.node

    def step(x: Any) -> Any:
        total = (m.node.up.x * 0.5 + x).sum()
        m.node.up.x = m.node.x * 0.5 + x
        return total

    return [run(wrap(step), T), m.node.x]


def many(T: Any, wrap: Any) -> Any:
    """More tensors than each call should look at."""
    rows = [T.full((1,), float(k)) for k in range(300)]

    def step(x: Any) -> Any:
        rows.append(rows.pop(0) + x[:1])
        return sum(rows).sum()

    call = wrap(step)
    return [[call(given(T, k)) for k in range(3)], rows]


MANY = (
    changed_between_calls,
    length_asked_before_a_key_is_new,
    in_itself,
    many,
    kept_by_somebody_who_changes_it,
    passed_what_is_inside,
)


@pytest.mark.parametrize("scenario", MANY, ids=lambda f: f.__name__)
def test_values(scenario: Scenario) -> None:
    check(scenario)


def test_a_call_that_fails_leaves_the_container_as_it_was() -> None:
    m = Box(state=[graphc.ones(3)])

    @graphc.compile
    def step(k: Any) -> Any:
        m.state = [s * 2 for s in m.state]
        return m.state[0][k]

    for _ in range(2):
        step(graphc.tensor(1))
    before = m.state
    with pytest.raises(IndexError):
        step(graphc.tensor(9))
    assert m.state is before and before[0].tolist() == [4.0] * 3
    assert step.stats.programs == 1


def test_what_a_backward_needs_and_a_later_call_writes_is_told() -> None:
    w = graphc.nn.Parameter(graphc.ones(3))
    m = Box(h=graphc.ones(3))

    def look(x: Any) -> Any:
        return (w * m.h * x).sum()

    @graphc.compile
    def write(x: Any) -> Any:
        m.h.add_(x)
        m.h = m.h * 1.0
        return x.sum()

    x = graphc.ones(3)
    for _ in range(3):
        out = look(x)
        write(x)
        with pytest.raises(AutogradError, match="version"):
            out.backward()
    assert write.stats.programs == 1
