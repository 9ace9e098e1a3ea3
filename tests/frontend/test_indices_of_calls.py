"""Places in tensors that only a call knows: the value of a tensor, or a counter of Python's that
was another one in several calls. Queues, replay buffers and caches are written so."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace as Space
from typing import Any

import pytest

import graphc

Step = Callable[[Any], Any]


def state() -> Any:
    return Space(
        rows=graphc.zeros(7, 3), long=graphc.arange(42.0).reshape(14, 3),
        at=graphc.zeros(1, dtype=graphc.int64), i=0, back=-1,
    )  # fmt: skip


def of_a_tensor(s: Any) -> Step:
    def step(x: Any) -> Any:
        k = s.at.item()
        s.rows[k] = x
        s.at[0] = (s.at[0] + 1) % 7
        return s.rows.sum() + s.rows[int(s.at)].sum()

    return step


def in_two_dimensions(s: Any) -> Step:
    def step(x: Any) -> Any:
        s.rows[int(s.at), 1] = x[0]
        s.rows[int(s.at)] += x
        s.rows[int(s.at)][2] = 5.0
        s.at += 1
        return s.rows.sum()

    return step


def counted(s: Any) -> Step:
    def step(x: Any) -> Any:
        s.rows[s.i] = x
        s.i = (s.i + 1) % 7
        return s.rows.sum()

    return step


def read(s: Any) -> Step:
    def step(x: Any) -> Any:
        y = (s.long[s.i] * x).sum() + s.long[2 * s.i, 0]
        s.i += 1
        return y

    return step


def from_the_end(s: Any) -> Step:
    def step(x: Any) -> Any:
        s.rows[s.back] = x
        s.rows[s.back] *= 2
        s.back -= 1
        return s.rows.sum()

    return step


def sliced(s: Any) -> Step:
    def step(x: Any) -> Any:
        s.long[s.i : s.i + 2] = x
        s.i = (s.i + 2) % 14
        return s.long.sum()

    return step


PROGRAMS = {
    of_a_tensor: 1, in_two_dimensions: 1, counted: 3, read: 2, from_the_end: 2, sliced: 3,
}  # fmt: skip


@pytest.mark.parametrize("make", PROGRAMS)
def test_an_index_is_read_at_each_call(make: Callable[[Any], Step]) -> None:
    plain, mine = state(), state()
    wanted, step = make(plain), graphc.compile(make(mine))
    for k in range(7):
        x = graphc.arange(3.0) + k
        assert step(x).item() == wanted(x).item()
        assert mine.rows.tolist() == plain.rows.tolist()
        assert mine.long.tolist() == plain.long.tolist()
        assert (mine.i, mine.back) == (plain.i, plain.back)
    assert step.stats.programs == PROGRAMS[make]


def test_an_index_of_a_call_that_is_out_of_range_raises_and_nothing_is_stored() -> None:
    s = state()

    @graphc.compile
    def step(x: Any) -> Any:
        s.rows[s.i] = x
        s.i += 1
        return s.rows.sum()

    for k in range(7):
        step(graphc.ones(3) + k)
    before = s.rows.tolist()
    with pytest.raises(IndexError):
        step(graphc.ones(3))
    assert s.i == 7
    assert s.rows.tolist() == before


def test_an_index_that_alternates_has_two_programs_without_gathers() -> None:
    s = state()

    @graphc.compile
    def step(x: Any) -> Any:
        s.rows[s.i] = x
        s.i = 1 - s.i
        return s.rows.sum()

    for _ in range(6):
        step(graphc.ones(3))
    assert step.stats.programs == 2
    assert not any("gather" in unit.text("trace") for unit in step._all_units())
