"""What must hold of every graph: each check says what is wrong with it, or nothing.

A check takes a graph and inputs, so that a failing one can be shrunk with the very same check.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from graphc.ir.graph import Graph
from graphc.ir.types import Array
from graphc.passes.pipeline import PIPELINE, Stage, compile_graph
from tests import reading_back
from tests.fuzz import fake_gpu, oracle
from tests.fuzz.native import POISONS, Native, threads, without_reuse
from tests.plans import assert_no_overlap
from tests.program_interpret import run_program
from tests.targets import CPU

NEEDED = ("decompose", "bufferize", "foresee")  # lowering counts on what these establish
OPTIONAL = tuple(s for s in PIPELINE if s.name not in NEEDED)

Check = Callable[[Graph, list[Array]], str]


def native(graph: Graph, inputs: list[Array]) -> str:
    """Compiled code gives what the graph means."""
    got = Native(compile_graph(graph, CPU).program, graph, inputs)()
    return _compare(graph, inputs, got)


def on_gpu(graph: Graph, inputs: list[Array]) -> str:
    """Code for a GPU does, too, on a fake one."""
    return _compare(graph, inputs, fake_gpu.run(graph, inputs))


def same_bits(graph: Graph, inputs: list[Array]) -> str:
    """Threads, what lies in the arena and where its buffers lie change no bit."""
    program = compile_graph(graph, CPU).program
    run = Native(program, graph, inputs)
    first = run()
    for byte in POISONS:
        if why := _differs(first, run(byte)):
            return f"arena filled with {byte:#x}: {why}"
    if why := _differs(first, Native(without_reuse(program), graph, inputs)(POISONS[1])):
        return f"arena without reuse: {why}"
    for count in (2, 3):
        with threads(count):
            if why := _differs(first, run()):
                return f"{count} threads: {why}"
    return ""


def bounded(graph: Graph, inputs: list[Array]) -> str:
    """No kernel reaches out of its buffers, and asking for that changes no bit but NaN's sign,
    which follows from the order of operands that LLVM chooses."""
    program = compile_graph(graph, CPU).program
    first, second = (Native(program, graph, inputs, checked=c)() for c in (False, True))
    for a in (*first, *second):
        a[a != a] = np.nan if a.dtype.kind not in "biu" else 0
    return _differs(first, second)


def plan(graph: Graph, inputs: list[Array]) -> str:
    """The three levels read back, no live buffers overlap, and the arena is near its bound."""
    compiled = compile_graph(graph, CPU)
    assert_no_overlap(compiled.program)
    return reading_back.of_graph(graph) or reading_back.of_compiled(compiled)


def without(stage: Stage) -> Check:
    """The other passes alone keep the meaning, by the Kernel interpreter."""

    def check(graph: Graph, inputs: list[Array]) -> str:
        program = compile_graph(graph, CPU, [s for s in PIPELINE if s is not stage]).program
        return _compare(graph, inputs, run_program(program, graph, inputs))

    return check


def interpreted(graph: Graph, inputs: list[Array]) -> str:
    """The Kernel interpreter agrees: where native code does not, code generation is to blame."""
    return _compare(graph, inputs, run_program(compile_graph(graph, CPU).program, graph, inputs))


def _compare(graph: Graph, inputs: list[Array], got: list[Array]) -> str:
    rows = zip(graph.outs, got, oracle.expect(graph, inputs), strict=True)
    found = ((v.name, oracle.complaint(a, want, v.spec)) for v, a, want in rows)
    return "; ".join(f"{name} {why}" for name, why in found if why)


def _differs(first: list[Array], second: list[Array]) -> str:
    for k, (a, b) in enumerate(zip(first, second, strict=True)):
        if a.tobytes() != b.tobytes():
            bad = int(np.sum(a.reshape(-1).view(np.uint8) != b.reshape(-1).view(np.uint8)))
            return f"output {k} differs in {bad} bytes"
    return ""
