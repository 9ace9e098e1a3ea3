"""Numbers that a step keeps in Python and reads in the next call, however it reads them."""

from __future__ import annotations

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
