"""Integers among the arguments: a few values are a program each, many are read at each call."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any, NamedTuple

import pytest

import graphc
from graphc.errors import WideInteger

pytestmark = pytest.mark.usefixtures("uncollected")


def test_a_number_of_the_loop_that_says_when_to_step() -> None:
    """`if (i + 1) % 3 == 0`: had a program for each i."""
    w = graphc.nn.Parameter(graphc.zeros(2))
    opt = graphc.optim.SGD([w], lr=1.0)

    @graphc.compile
    def step(i: int, x: Any) -> Any:
        (w * x).sum().backward()
        if (i + 1) % 3 == 0:
            opt.step()
            opt.zero_grad()
        return w.detach().sum() + i

    found = [step(i, graphc.ones(2)).item() for i in range(15)]
    assert found == [-6.0 * ((i + 1) // 3) + i for i in range(15)]
    assert step.stats.programs <= 7  # of 3 values, and of each answer with and without gradients


def test_as_a_factor_an_exponent_a_text_and_a_size() -> None:
    def step(i: int, x: Any, k: Any) -> Any:
        texts = f"{i:03d}", str(i), isinstance(i, int)
        return x * i, k + i, x / (1 - 0.5**i), k // (i + 1), texts, i

    compiled = graphc.compile(step)
    x, k = graphc.tensor([0.5, -1.25]), graphc.arange(3)
    for i in (1, 2, 3, 4, 5, 6, -3, 1 << 40):
        found, expected = compiled(i, x, k), step(i, x, k)
        for a, b in zip(found[:4], expected[:4], strict=True):
            assert a.dtype == b.dtype and a.tolist() == b.tolist()
        assert found[4:] == expected[4:] and type(found[5]) is int
    assert compiled.stats.programs == 4
    wide = 1 << 70
    assert compiled(True, x, k)[0].tolist() == x.tolist()
    assert graphc.compile(lambda i: i + 1)(wide) == wide + 1

    @graphc.compile
    def sized(n: int) -> Any:
        return graphc.ones(n).sum()

    assert [sized(n).item() for n in range(1, 8)] == [float(n) for n in range(1, 8)]


def test_a_mode_of_two_values_stays_a_part_of_the_signature() -> None:
    @graphc.compile
    def step(x: Any, mode: int) -> Any:
        return (x * 2 if mode else x).sum()

    x = graphc.ones(2)
    for k in range(8):
        assert step(x, k % 2).item() == 2.0 * (1 + k % 2)
    assert step.stats.programs == 2
    for _ in range(4):
        step(x, 1)
    assert step._latch is not None


class State(NamedTuple):
    t: int
    m: Any


@dataclasses.dataclass(frozen=True)
class Record:
    t: int
    rate: float
    m: Any


def passed_on(s: Any, x: Any) -> Any:
    m = 0.9 * s.m + 0.1 * x
    return s._replace(t=s.t + 1, m=m), (m / (1 - 0.9 ** (s.t + 1))).sum()


def of_a_record(s: Any, x: Any) -> Any:
    s = dataclasses.replace(s, t=s.t + 1, rate=s.rate * 0.5, m=s.m + s.rate * x)
    return s, s.m.sum() / s.t


def of_a_dict(s: Any, x: Any) -> Any:
    new = {"t": s["t"] + 1, "inner": [s["inner"][0] + x * s["t"], s["inner"][1] + 2]}
    return new, new["inner"][0].sum() * s["inner"][1]


def changed_in_place(s: Any, x: Any) -> Any:
    s["t"] += 1
    s["m"] = s["m"] + x / s["t"]
    return s, s["m"].sum()


ZEROS = graphc.zeros(3)
STATES: list[Any] = [
    (passed_on, State(0, ZEROS)),
    (of_a_record, Record(0, 1.0, ZEROS)),
    (of_a_dict, {"t": 0, "inner": [ZEROS, 1]}),
    (changed_in_place, {"t": 0, "m": ZEROS}),
]


@pytest.mark.parametrize("step, state", STATES)
def test_a_number_in_a_container_that_is_passed_on(step: Any, state: Any) -> None:
    """Numbers of states as they are written functionally: of which each call gets the next."""
    compiled = graphc.compile(step)
    mine, wanted = copy.deepcopy(state), copy.deepcopy(state)
    for k in range(8):
        x = graphc.arange(3.0) + k
        (mine, out), (wanted, expected) = compiled(mine, x), step(wanted, x)
        assert out.item() == expected.item()
        assert str(mine) == str(wanted)
    assert compiled.stats.programs == 3


def test_a_number_in_a_container_by_which_a_step_decides() -> None:
    @graphc.compile
    def step(cfg: Any, x: Any) -> Any:
        return x[: cfg["rows"]].sum() * cfg["scale"]

    x = graphc.ones(9)
    for rows in (1, 2, 3, 4, 5, 2):
        assert step({"rows": rows, "scale": rows * 0.5}, x).item() == rows * rows * 0.5


def test_calls_with_a_number_that_changes_are_prepared() -> None:
    """The next call takes another number, of its kind, and asks what the step decides by it."""
    w = graphc.ones(3)

    @graphc.compile
    def step(x: Any, rate: float, k: int) -> Any:
        y = (x * w).sum() * (rate if rate < 0.7 else 2 * rate) + k
        w.mul_(1.0)
        return y

    def wanted(rate: float, k: int) -> float:
        return 3 * (rate if rate < 0.7 else 2 * rate) + k

    x = graphc.ones(3)
    for k in range(12):
        step(x, k / 32, k)
    ready = step._next
    assert ready is not None
    for k in range(12, 18):
        assert step(x, k / 32, k).item() == wanted(k / 32, k)
    assert step._next is ready and ready.hits >= 6
    assert step(x, 0.75, 3).item() == wanted(0.75, 3)
    assert step(x, 1, 3).item() == wanted(1, 3)
    assert step(x, 0.25, 4).item() == wanted(0.25, 4)
    assert step(x, 0.25, True).item() == wanted(0.25, 1)
    with pytest.raises(WideInteger):  # as in eager code
        step(x, 0.25, 1 << 70)
