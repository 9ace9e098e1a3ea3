"""Numbers in a container that a step replaces by another: the count in a NamedTuple, a dataclass or
a dict of state is read at each call, as a count that is an attribute is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace as Space
from typing import Any, NamedTuple

import pytest

import graphc


class Pair(NamedTuple):
    t: int
    m: Any


@dataclasses.dataclass(frozen=True)
class Frozen:
    t: int
    m: Any
    rate: float = 1.0


@dataclasses.dataclass
class Open:
    t: int
    m: Any


Step = Callable[[Any], Any]


def zeros() -> Any:
    return graphc.zeros(3)


def of_a_tuple(box: Any) -> Step:
    box.s = (0, zeros())

    def step(x: Any) -> Any:
        t, m = box.s
        box.s = (t + 1, 0.9 * m + x)
        return (m / (1 + t)).sum()

    return step


def of_a_pair(box: Any) -> Step:
    box.s = Pair(0, zeros())

    def step(x: Any) -> Any:
        box.s = box.s._replace(t=box.s.t + 1, m=box.s.m * 0.5 + x)
        return (box.s.m / (1 - 0.9**box.s.t)).sum()

    return step


def of_a_frozen_one(box: Any) -> Step:
    box.s = Frozen(0, zeros())

    def step(x: Any) -> Any:
        s = box.s
        box.s = dataclasses.replace(s, t=s.t + 1, m=s.m + s.rate * x, rate=s.rate * 0.9)
        return box.s.m.sum() * s.t

    return step


def of_a_dict(box: Any) -> Step:
    box.s = {"t": 0, "m": zeros()}

    def step(x: Any) -> Any:
        box.s = {**box.s, "t": box.s["t"] + 1, "m": box.s["m"] + x}
        return (box.s["m"] / box.s["t"]).sum()

    return step


def nested(box: Any) -> Step:
    box.s = Pair(0, [Open(0, zeros()), Open(3, zeros())])

    def step(x: Any) -> Any:
        new = [dataclasses.replace(q, t=q.t + 2, m=q.m + x * q.t) for q in box.s.m]
        box.s = Pair(box.s.t + 1, new)
        return sum(q.m.sum() for q in new) / box.s.t

    return step


def without_tensors(box: Any) -> Step:
    box.s = (0, 1.0)

    def step(x: Any) -> Any:
        k, rate = box.s
        box.s = (k + 1, rate * 0.9)
        return x.sum() * rate + k

    return step


def handed_on(box: Any) -> Step:
    box.s, box.old, box.rows = Pair(0, zeros()), None, []

    def step(x: Any) -> Any:
        box.old = box.s
        box.rows.append(box.s.t)
        box.s = Pair(box.s.t + 1, box.s.m + x)
        return box.old.m.sum()

    return step


@pytest.mark.parametrize(
    "make",
    [of_a_tuple, of_a_pair, of_a_frozen_one, of_a_dict, nested, without_tensors, handed_on],
)
def test_a_number_is_read_at_each_call(make: Any) -> None:
    mine, wanted = Space(), Space()
    step, plain = graphc.compile(make(mine)), make(wanted)
    for k in range(8):
        x = graphc.arange(3.0) + k
        assert step(x).item() == pytest.approx(plain(x).item(), rel=1e-5)
        assert str(mine) == str(wanted)
    assert step.stats.programs <= 3


def decides(box: Any) -> Step:
    box.s = Pair(0, zeros())

    def step(x: Any) -> Any:
        y = x * 2 if box.s.t % 3 == 2 else x
        box.s = Pair(box.s.t + 1, box.s.m + y)
        return box.s.m.sum() + len(range(box.s.t))

    return step


def changes_what_it_has_read(box: Any) -> Step:
    """The container that it leaves to others, too: no copy may stand for that."""
    box.s, box.seen = {"t": 0, "m": zeros()}, []

    def step(x: Any) -> Any:
        s = box.s
        box.seen[:] = [s]
        s["t"] += 1
        s["m"] = s["m"] + x
        box.s = dict(s)
        return s["m"].sum() * s["t"]

    return step


def a_flag(box: Any) -> Step:
    box.s = (True, 1, zeros())

    def step(x: Any) -> Any:
        flag, k, m = box.s
        box.s = (not flag, k, m + (x if flag else -x))
        return m.sum() + k

    return step


@pytest.mark.parametrize("make", [decides, changes_what_it_has_read, a_flag])
def test_what_is_more_than_a_number_stays_right(make: Any) -> None:
    mine, wanted = Space(), Space()
    step, plain = graphc.compile(make(mine)), make(wanted)
    for k in range(7):
        x = graphc.arange(3.0) + k
        assert step(x).item() == pytest.approx(plain(x).item(), rel=1e-5)
        assert str(mine) == str(wanted)


def test_a_number_that_somebody_sets_between_calls() -> None:
    box = Space(s=Pair(0, zeros()))

    @graphc.compile
    def step(x: Any) -> Any:
        box.s = Pair(box.s.t + 1, box.s.m + x)
        return box.s.m.sum() * box.s.t

    for t in (0, 1, 5, -3, 100):
        box.s = Pair(t, zeros())
        assert step(graphc.ones(3)).item() == 3 * (t + 1)
    assert step.stats.programs <= 3
    box.s = Pair(0.5, zeros())  # type: ignore[arg-type]
    assert step(graphc.ones(3)).item() == 4.5
