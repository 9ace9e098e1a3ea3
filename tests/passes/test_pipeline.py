"""Every pass keeps the meaning of every graph, down to native code, with the promised kernels."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest

from graphc.ir.graph import Graph
from graphc.ir.interpret import interpret
from graphc.passes.pipeline import PIPELINE, Stage, compile_graph, run_passes
from tests.passes.graphs import CASES, Case, make, sample
from tests.plans import assert_no_overlap
from tests.program_interpret import run_program
from tests.program_native import run_native
from tests.targets import CPU


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_graph_passes_keep_meaning(case: Case) -> None:
    graph, inputs = make(case), sample(case)
    want = interpret(graph, *inputs)

    def watch(stage: Stage, after: Graph) -> None:
        for got, ref in zip(interpret(after, *inputs), want, strict=True):
            np.testing.assert_allclose(got, ref, rtol=1e-5, atol=1e-5, err_msg=stage.name)

    run_passes(graph, PIPELINE, CPU, watch)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_programs_keep_meaning(case: Case) -> None:
    """The Kernel interpreter and native code both agree with the Graph interpreter."""
    graph, inputs = make(case), sample(case)
    program = compile_graph(graph, CPU).program
    want = interpret(graph, *inputs)
    for run in (run_program, run_native):
        for got, ref in zip(run(program, graph, inputs), want, strict=True):
            np.testing.assert_allclose(got, ref, rtol=1e-4, atol=1e-4, err_msg=run.__name__)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_kernel_counts(case: Case) -> None:
    assert len(compile_graph(make(case), CPU).program.launches) == case.kernels


NEEDED = ("decompose", "bufferize", "foresee")  # lowering counts on what these establish


@pytest.mark.parametrize(
    "left_out", [s for s in PIPELINE if s.name not in NEEDED], ids=lambda s: s.name
)
def test_each_pass_may_be_left_out(left_out: Stage) -> None:
    """The other passes only make things fast."""
    stages = [s for s in PIPELINE if s is not left_out]
    for case in CASES:
        graph, inputs = make(case), sample(case)
        got = run_program(compile_graph(graph, CPU, stages).program, graph, inputs)
        for a, b in zip(got, interpret(graph, *inputs), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4, err_msg=case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_no_two_live_buffers_overlap(case: Case) -> None:
    assert_no_overlap(compile_graph(make(case), CPU).program)


def test_no_launch_reads_what_was_not_written() -> None:
    """Launch order is a topological order of the buffers' data flow."""
    for case in CASES:
        program = compile_graph(make(case), CPU).program
        flow = nx.DiGraph()
        written = {s.name for s in program.slots if s.space in ("arg", "state", "scalar")}
        for n, launch in enumerate(program.launches):
            flow.add_node(n)
            for name, buffer in zip(launch.slots, launch.kernel.buffers, strict=True):
                assert name in written or buffer.access != "r", f"{case.name}: {name}"
            written |= set(launch.slots)
