"""Ranges of whole values: wide enough for every sample, narrow enough to prove what is clamped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import interpret
from graphc.ir.ranges import Range, Ranges, everything, whole
from graphc.ir.types import TensorSpec, i8, i64
from tests.op_table import TABLE, OpRow
from tests.ops.rows import samples
from tests.ops.test_traced import traced

ANY = everything(i64)


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_no_value_leaves_its_range(row: OpRow) -> None:
    arrays = samples(row, np.float32)
    graph, state = traced(row, arrays)
    values = [v for v in graph.values() if whole(v.spec.dtype) and v.spec.numel]
    shown = Graph("all", graph.inputs, graph.roles, tuple(values), (None,) * len(values))
    ranges = Ranges()
    for v, found in zip(values, interpret(shown, *arrays, *state), strict=True):
        assert Range(int(found.min()), int(found.max())).within(ranges[v]), v.name


def clamped(x: Value) -> Value:
    low = P.apply("where", P.apply("lt", x, 0), 0, x)
    return P.apply("where", P.apply("lt", 9, low), 9, low)


EXPECTED: list[tuple[str, Callable[[Value], Any], Range]] = [
    ("an input", lambda x: x, ANY),
    ("checked", lambda x: P.apply("check_index", x, bound=5, what=""), Range(0, 4)),
    ("clamped", clamped, Range(0, 9)),
    ("scaled", lambda x: clamped(x) * 3 - 2, Range(-2, 25)),
    ("may wrap", lambda x: clamped(x) * (1 << 62), ANY),
    ("remainder", lambda x: P.apply("rem", x, 7), Range(0, 6)),
    ("masked", lambda x: P.apply("and", x, 7), Range(0, 7)),
    ("absolute", lambda x: P.apply("abs", clamped(x) - 3), Range(0, 6)),
    ("the least may not be negated", lambda x: P.apply("abs", x), ANY),
    ("padded", lambda x: P.pad(clamped(x), (1, 0), (0, 0), -1), Range(-1, 9)),
    ("summed", lambda x: P.apply("sum", clamped(x), axes=(0,)), Range(0, 27)),
    ("a row's position", lambda x: P.apply("argmax", x, axis=1), Range(0, 3)),
    ("cut by a cast", lambda x: P.cast(clamped(x) * 100, i8), everything(i8)),
    ("not what the test says", lambda x: P.apply("where", P.apply("lt", x, 0), x, x + 1), ANY),
]


@pytest.mark.parametrize(("what", "build", "expected"), EXPECTED, ids=[row[0] for row in EXPECTED])
def test_range(what: str, build: Callable[[Value], Value], expected: Range) -> None:
    x = Builder().input("x", TensorSpec(i64, (3, 4)))
    assert Ranges()[build(x)] == expected, what


def test_a_deep_chain_takes_no_stack() -> None:
    x = Builder().input("x", TensorSpec(i64, (3,)))
    value = P.apply("check_index", x, bound=5, what="")
    for k in range(5000):
        value = P.apply("maximum", value, k % 5)
    assert Ranges()[value] == Range(4, 4)
