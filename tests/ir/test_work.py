"""The work of a launch, counted by hand."""

from __future__ import annotations

import pytest

from graphc.ir import sugar as P
from graphc.ir.graph import Value
from graphc.ir.work import Work, work_of
from graphc.passes.pipeline import compile_graph
from tests.passes.graphs import SAME, Case, make
from tests.targets import CPU


def dot(_b: object, x: Value, y: Value) -> Value:
    return P.apply("dot", x, y, batch=(), contract=((1, 0),))


def chain(_b: object, x: Value) -> Value:
    return P.apply("exp", x * 2.0 + 1.0)


def halves(_b: object, x: Value) -> Value:
    return -P.apply("slice", x, start=(0, 0), stop=(4, 6), step=(1, 2))


def rows(_b: object, x: Value) -> Value:
    return P.apply("sum", x, axes=(1,))


def conv(_b: object, x: Value, w: Value) -> Value:
    return P.apply("conv", x, w, **SAME)


ROWS = {
    "dot": (dot, ((5, 7), (7, 3)), Work(2 * 5 * 7 * 3, 4 * (35 + 21), 4 * 15)),
    "chain": (chain, ((4, 6),), Work(3 * 24, 96, 96)),
    "half is read": (halves, ((4, 6),), Work(0, 48, 48)),
    "rows": (rows, ((8, 32),), Work(256, 1024, 32)),
}


@pytest.mark.parametrize("name", ROWS)
def test_of_one_launch(name: str) -> None:
    build, shapes, wanted = ROWS[name]
    program = compile_graph(make(Case(name, build, shapes, 1)), CPU).program
    assert work_of(program) == [wanted]


def test_a_convolution_counts_its_products() -> None:
    case = Case("conv", conv, ((2, 3, 8, 8), (4, 3, 3, 3)), 1)
    program = compile_graph(make(case), CPU).program
    (last,) = [w for w in work_of(program) if w.flops]
    assert last.flops == 2 * 2 * 4 * 8 * 8 * 3 * 3 * 3


def test_a_routine_reads_and_writes_its_arrays() -> None:
    case = Case("sort", lambda _b, x: P.apply("argsort", x, axis=1, descending=False), ((4, 6),), 1)
    (launch,) = work_of(compile_graph(make(case), CPU).program)
    assert launch == Work(0, 96, 192)
