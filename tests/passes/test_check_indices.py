"""Every index that becomes an address is in range: by proof, else by a check that is put there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import IndexOutOfRange
from graphc.ir import sugar as P
from graphc.ir.graph import Value
from graphc.ir.ops import OPS
from graphc.ir.ranges import Ranges
from graphc.passes.check_indices import check_indices, unproven
from graphc.passes.pipeline import compile_graph
from tests.op_table import TABLE, OpRow
from tests.ops.rows import samples
from tests.ops.test_traced import traced
from tests.passes.graphs import Case, make
from tests.program_native import run_native
from tests.targets import CPU


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_the_public_functions_leave_nothing_to_check(row: OpRow) -> None:
    graph, _ = traced(row, samples(row, np.float32))
    ranges = Ranges()
    assert not [v.name for v in graph.values() if unproven(v, ranges)]
    assert check_indices(graph) is graph


def test_the_table_has_every_op_that_takes_an_index() -> None:
    met = {
        v.op.name
        for row in TABLE
        for v in traced(row, samples(row, np.float32))[0].values()
        if v.op is not None
    }
    assert met >= {op.name for op in OPS.values() if op.kind == "index"}


def take(_b: Any, table: Value, index: Value) -> Value:
    return P.apply("take_along", table, index, axis=0)


def gather(_b: Any, table: Value, index: Value) -> Value:
    return P.apply("gather", table, index, axis=0)


def scatter(_b: Any, rows: Value, index: Value) -> Value:
    return P.apply("scatter_add", rows, index, axis=0, length=3)


def put(_b: Any, rows: Value, index: Value) -> Value:
    return P.apply("put_along", rows, index, axis=0, length=100)


RAW = [
    Case("take", take, ((5,), (4,)), 1, integers=(1,)),
    Case("gather", gather, ((5, 2), (4,)), 1, integers=(1,)),
    Case("scatter", scatter, ((4, 2), (4,)), 1, integers=(1,)),
    Case("put", put, ((4,), (4,)), 1, integers=(1,)),
    Case("gather_of_nothing", gather, ((0, 2), (4,)), 1, integers=(1,)),
]


@pytest.mark.parametrize("case", RAW, ids=lambda c: c.name)
@pytest.mark.parametrize("bad", [-1, 100, 1 << 40, -(1 << 62)])
def test_an_unproven_index_is_checked(case: Case, bad: int) -> None:
    graph = make(case)
    program = compile_graph(graph, CPU).program
    x = np.ones(case.shapes[0], np.float32)
    good, wrong = np.zeros(4, np.int64), np.array([0, 0, bad, 0])
    if case.shapes[0][0]:
        run_native(program, graph, [x, good])
    first = bad if case.shapes[0][0] else 0  # where there is nothing, 0 is out of range, too
    with pytest.raises(IndexOutOfRange, match=f"index {first} is out of range"):
        run_native(program, graph, [x, wrong])


WIDE = graphc.ones(1, 1, 1, 301)  # of which bfloat16 rounds the last place, 300 of 0..300, to 300
REFUSED: dict[str, tuple[Callable[[Any], Any], list[float]]] = {
    "quantile": (lambda q: graphc.quantile(graphc.arange(3.0), q), [1.5, -3.0, 1e5, float("nan")]),
    "quantile_nearest": (
        lambda q: graphc.quantile(graphc.arange(3.0), q, interpolation="nearest"), [1.1, -0.1]),
    "nanquantile": (lambda q: graphc.nanquantile(graphc.arange(3.0), q), [1.5, -3.0, 1e5]),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_fraction_outside_its_interval_is_refused(name: str) -> None:
    function, values = REFUSED[name]
    compiled = graphc.compile(function)
    compiled(graphc.tensor([0.5, 1.0]))
    for value in values:
        for f in (function, compiled):
            with pytest.raises(RuntimeError, match=r"q must be in \[0, 1\]"):
                f(graphc.tensor([0.5, value]))


def test_numbers_that_no_place_has_read_nothing_outside() -> None:
    """Infinities and NaN become the least whole number, and large places are rounded up."""
    odd = graphc.tensor([0.5, float("inf"), float("nan"), -float("inf"), 1e30])
    assert graphc.compile(lambda x: graphc.histc(x, 4, -1, 2))(odd).shape == (4,)
    sample = graphc.compile(graphc.nn.functional.grid_sample)
    for dtype in (graphc.float32, graphc.bfloat16):
        grid = graphc.stack([odd, odd], 1).reshape(1, 1, 5, 2).to(dtype)
        for mode in ("nearest", "bilinear", "bicubic"):
            out = sample(WIDE.to(dtype), grid * 2, mode=mode, align_corners=True)
            assert out.shape == (1, 1, 1, 5)
