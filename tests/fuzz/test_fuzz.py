"""Random graphs: the Graph interpreter, the Kernel interpreter and native code must agree.

A failing graph is shrunk with the check that it failed, and shown as text that parses back. Fixed
seeds come first; a few fresh ones follow, whose seeds a failure names.
"""

from __future__ import annotations

import os

import pytest

from graphc.ir import text
from graphc.passes.pipeline import Stage
from tests.fuzz import checks
from tests.fuzz.checks import OPTIONAL, Check
from tests.fuzz.growth import grow
from tests.fuzz.shrink import shrink

SEEDS = range(120)
FRESH = [int.from_bytes(os.urandom(4), "little") for _ in range(4)]


def assert_holds(check: Check, seed: int) -> None:
    """Fail with the smallest graph that still fails."""
    graph, inputs = grow(seed)
    if not check(graph, inputs):
        return
    small, given = shrink(graph, inputs, lambda g, x: bool(check(g, x)))
    pytest.fail(f"seed {seed}: {check(small, given)}\n{text.show(small)}")


@pytest.mark.parametrize("seed", SEEDS)
def test_native_code_gives_what_the_graph_means(seed: int) -> None:
    assert_holds(checks.native, seed)


@pytest.mark.parametrize("seed", SEEDS[::3])
def test_nothing_but_the_inputs_changes_a_bit(seed: int) -> None:
    assert_holds(checks.same_bits, seed)


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_the_kernel_interpreter_agrees(seed: int) -> None:
    assert_holds(checks.interpreted, seed)


@pytest.mark.parametrize("seed", SEEDS[::4])
def test_plans_do_not_overlap_and_print_back(seed: int) -> None:
    assert_holds(checks.plan, seed)


@pytest.mark.parametrize("stage", OPTIONAL, ids=lambda s: s.name)
@pytest.mark.parametrize("seed", SEEDS[::12])
def test_each_pass_may_be_left_out(seed: int, stage: Stage) -> None:
    assert_holds(checks.without(stage), seed)


def test_fresh_seeds() -> None:
    for seed in FRESH:
        assert_holds(checks.native, seed)
