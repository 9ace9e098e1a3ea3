"""Containers that contain themselves are refused with a code, not by the end of the stack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import graphc
from graphc.errors import RefusedArgument
from graphc.utils import _pytree as pytree


@dataclass
class Record:
    value: Any
    inner: Any = None


def cyclic() -> list[Any]:
    x = graphc.ones(3)
    table: dict[str, Any] = {"x": x}
    table["inner"] = table
    row: list[Any] = [x]
    row.append((row,))
    record = Record(x)
    record.inner = record
    return [table, row, record]


@pytest.mark.parametrize("k", range(3))
def test_as_an_argument_and_as_a_result(k: int) -> None:
    given = cyclic()[k]
    with pytest.raises(RefusedArgument, match="contains itself"):
        graphc.compile(lambda a: graphc.ones(2))(given)
    with pytest.raises(RefusedArgument, match="contains itself"):
        graphc.compile(lambda x: (x + 1, cyclic()[k]))(graphc.ones(3))


@pytest.mark.parametrize("k", [0, 2])
def test_one_older_than_the_step_is_handed_on_as_itself(k: int) -> None:
    given = cyclic()[k]
    step = graphc.compile(lambda x: (x + 1, given))
    for _ in range(3):
        assert step(graphc.ones(3))[1] is given


@pytest.mark.parametrize("k", range(2))
def test_as_a_tree(k: int) -> None:
    with pytest.raises(RefusedArgument, match="contains itself"):
        pytree.tree_map(lambda x: x, cyclic()[k])


def test_one_that_is_met_twice_is_none() -> None:
    shared = [graphc.ones(2)]
    step = graphc.compile(lambda a: a[0][0] + a[1][0])
    assert step([shared, shared]).tolist() == [2, 2]
    assert len(pytree.tree_leaves([shared, shared])) == 2


def test_an_overflow_of_another_kind_is_told_as_such() -> None:
    deep: Any = [graphc.ones(1)]
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(RecursionError):
        pytree.tree_leaves(deep)
