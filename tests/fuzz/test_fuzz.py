"""Random graphs: the Graph interpreter, the Kernel interpreter and native code must agree.

A failing graph is shrunk with the check that it failed, and shown as text that parses back; put
into `tests/regress/` it is a test. Fixed seeds come first; fresh ones follow for a few seconds,
and a failure names its seed.
"""

from __future__ import annotations

import os
import time
import traceback
from importlib.util import find_spec

import pytest

from graphc.ir import text
from graphc.ir.graph import Graph
from graphc.ir.types import Array
from graphc.ir.verify import verify
from graphc.passes.pipeline import Stage
from tests.fuzz import checks
from tests.fuzz.checks import OPTIONAL, Check
from tests.fuzz.growth import grow
from tests.fuzz.shrink import shrink

SEEDS = range(150)
FRESH_SECONDS = 8.0


def why(check: Check, graph: Graph, inputs: list[Array]) -> str:
    """What is wrong; an exception is wrong too, and shrinks like a wrong answer."""
    try:
        return check(graph, inputs)
    except Exception as e:
        return "".join(traceback.format_exception(e))


def assert_holds(check: Check, seed: int) -> None:
    """Fail with the smallest graph that still fails."""
    graph, inputs = grow(seed)
    verify(graph)
    if not why(check, graph, inputs):
        return
    small, given = shrink(graph, inputs, lambda g, x: bool(why(check, g, x)))
    pytest.fail(f"seed {seed}: {why(check, small, given)}\n{text.show(small)}\n{given}")


@pytest.mark.parametrize("seed", SEEDS)
def test_native_code_gives_what_the_graph_means(seed: int) -> None:
    assert_holds(checks.native, seed)


@pytest.mark.skipif(find_spec("triton") is None, reason="the fake GPU needs Triton")
@pytest.mark.parametrize("seed", SEEDS[4::10])
def test_a_gpus_code_gives_what_the_graph_means(seed: int) -> None:
    assert_holds(checks.on_gpu, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_but_the_inputs_changes_a_bit(seed: int) -> None:
    assert_holds(checks.same_bits, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_kernel_interpreter_agrees(seed: int) -> None:
    assert_holds(checks.interpreted, seed)


@pytest.mark.parametrize("seed", SEEDS)
def test_plans_do_not_overlap_and_print_back(seed: int) -> None:
    assert_holds(checks.plan, seed)


@pytest.mark.parametrize("seed", SEEDS[::5])
def test_no_kernel_reaches_out_of_its_buffers(seed: int) -> None:
    assert_holds(checks.bounded, seed)


@pytest.mark.parametrize("stage", OPTIONAL, ids=lambda s: s.name)
@pytest.mark.parametrize("seed", SEEDS[::2])
def test_each_pass_may_be_left_out(seed: int, stage: Stage) -> None:
    assert_holds(checks.without(stage), seed)


def test_fresh_seeds() -> None:
    end = time.monotonic() + FRESH_SECONDS
    while time.monotonic() < end:
        seed = int.from_bytes(os.urandom(4), "little")
        for check in (checks.native, checks.same_bits, checks.interpreted):
            assert_holds(check, seed)
