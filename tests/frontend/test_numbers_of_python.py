"""Numbers that a step keeps in Python and reads in the next call, however it reads them."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import pytest

import graphc

CALLS = 6


class Plain:
    n: int


def by_getattr(of: Any) -> None:
    of.n = getattr(of, "n", 0) + 1


def by_hasattr(of: Any) -> None:
    of.n = of.n + 1 if hasattr(of, "n") else 1


def by_error(of: Any) -> None:
    try:
        of.n = of.n + 1
    except AttributeError:
        of.n = 1


@pytest.mark.parametrize("count", [by_getattr, by_hasattr, by_error], ids=lambda f: f.__name__)
@pytest.mark.parametrize("make", [Plain, lambda: graphc.nn.Linear(2, 1)], ids=["plain", "module"])
def test_a_number_that_was_not_there(make: Any, count: Callable[[Any], None]) -> None:
    """With a module each call found it missing: what a step repeats sets it past the module."""
    of = make()

    @graphc.compile
    def step(x: Any) -> Any:
        count(of)
        return x.sum() * of.n

    x = graphc.ones(3)
    assert [step(x).item() for _ in range(CALLS)] == [3.0 * (k + 1) for k in range(CALLS)]
    assert of.n == CALLS
    assert step.stats.programs <= 2


def test_a_number_that_follows_from_itself() -> None:
    of = Plain()
    of.n = 1

    @graphc.compile
    def step(x: Any) -> Any:
        of.n = (3 * of.n) % 101
        return x.sum() * of.n

    found = [step(graphc.ones(1)).item() for _ in range(CALLS)]
    assert found == [3.0**k % 101 for k in range(1, CALLS + 1)]
    assert step.stats.programs == 2


def by_get(state: Any, x: Any) -> Any:
    state["n"] = state.get("n", 0) + 1
    return x.sum() / state["n"]


def by_get_before(state: Any, x: Any) -> Any:
    n = state.get("n", 0)
    state["n"] = n + 2
    return x.sum() * n


def in_a_counter(state: Any, x: Any) -> Any:
    state["n"] += 1
    state["rows"] += x.shape[0]
    return x.sum() * state["rows"]


@pytest.mark.parametrize(
    "kind, count",
    [
        (dict, by_get), (dict, by_get_before), (collections.Counter, in_a_counter),
        (lambda: collections.defaultdict(int), in_a_counter),
    ],
)  # fmt: skip
def test_a_number_in_a_dict_that_is_empty_at_first(kind: Any, count: Any) -> None:
    mine, wanted = kind(), kind()
    step = graphc.compile(lambda x: count(mine, x))
    for k in range(6):
        x = graphc.arange(4.0) + k
        assert step(x).item() == count(wanted, x).item()
        assert mine == wanted
    assert step.stats.programs <= 4  # six before


def test_a_function_of_the_users_that_is_called_get() -> None:
    state = {"n": 0}

    def get(of: Any, key: str) -> float:
        return of[key] * 10.0

    @graphc.compile
    def step(x: Any) -> Any:
        y = x.sum() * get(state, "n")
        state["n"] = state["n"] + 1
        return y

    assert [step(graphc.ones(2)).item() for _ in range(4)] == [0.0, 20.0, 40.0, 60.0]
