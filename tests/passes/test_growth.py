"""The compiler's work grows with the graph: no walk repeats itself, recurses or unrolls.

Work is counted in calls of Python functions, which are the same on every machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.ir import sugar as P
from graphc.ir import text
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import interpret
from graphc.ir.types import TensorSpec, f32
from graphc.ir.verify import verify
from graphc.passes.partition import partition
from graphc.passes.pipeline import compile_graph
from tests.program_interpret import run_program
from tests.targets import CPU

Step = Callable[[Value, Value, int], Value]  # the value so far, the input, how deep


def concat(*parts: Value, axis: int = 1) -> Value:
    return parts[0].builder.apply("concat", *parts, axis=axis)


def halves(y: Value) -> tuple[Value, Value]:
    return P.slice(y, (0, 0), (4, 4)), P.slice(y, (0, 4), (4, 8))


def turned(y: Value) -> Value:
    return P.transpose(P.reshape(y, (8, 4)), (1, 0))


def row_sums(y: Value) -> Value:
    return P.expand(P.reshape(y.builder.apply("sum", y, axes=(1,)), (4, 1)), (4, 8))


def shifted(y: Value) -> Value:
    return P.slice(P.pad(y, (0, 1), (0, 0)), (0, 0), (4, 8))


STEPS: dict[str, Step] = {
    "chain": lambda y, x, k: P.apply("sin", y),
    "diamond": lambda y, x, k: y * y + y,
    "pairs": lambda y, x, k: concat(*(-h for h in halves(y)[::-1])),
    "meeting": lambda y, x, k: P.apply("max", P.reshape(concat(y, y * 2.0), (4, 2, 8)), axes=(1,)),
    "growing": lambda y, x, k: concat(y, x) if k < 400 else y * 2.0,
    "rows": lambda y, x, k: y / (row_sums(y) * row_sums(y) + 1.0),
    "beside": lambda y, x, k: y + P.apply("sin", row_sums(x * float(k + 2))),
    "flips": lambda y, x, k: P.apply("flip", y, axes=(k % 2,)),
    "shifts": lambda y, x, k: y + shifted(y),
    "ones": lambda y, x, k: P.slice(P.pad(y, (0, 1), (0, 0), value=1.0), (0, 0), (4, 8)),
    "turns": lambda y, x, k: turned(y),
    "dots": lambda y, x, k: P.apply(
        "dot", y, P.reshape(concat(x, x), (8, 8)), batch=(), contract=((1, 0),)
    ),
}


def deep(name: str, depth: int) -> Graph:
    b = Builder()
    x = y = b.input("x", TensorSpec(f32, (4, 8)))
    for k in range(depth):
        y = STEPS[name](y, x, k)
    return Graph(name, (x,), ("arg",), (y,), (None,))


def wide(readers: int) -> Graph:
    """Everything reads x, and everything is a result."""
    b = Builder()
    x = b.input("x", TensorSpec(f32, (4, 8)))
    outs = [b.apply("sum", x * float(k + 2), axes=(k % 2,)) for k in range(readers)]
    return Graph("wide", (x,), ("arg",), tuple(outs), (None,) * readers)


def calls(f: Callable[[], Any]) -> int:
    """How many functions written in Python ran."""
    count = 0

    def note(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        f()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("name", STEPS)
def test_a_deep_graph_compiles_and_means_the_same(name: str) -> None:
    graph = deep(name, 40)
    x = np.random.default_rng(0).standard_normal((4, 8)).astype("f4")
    program = compile_graph(graph, CPU).program
    with np.errstate(all="ignore"):
        want, got = interpret(graph, x)[0], run_program(program, graph, [x])[0]
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", STEPS)
def test_work_grows_with_depth(name: str) -> None:
    short, long = (deep(name, depth) for depth in (50, 200))
    assert calls(lambda: compile_graph(long, CPU)) < 5.5 * calls(lambda: compile_graph(short, CPU))


def test_work_grows_with_width() -> None:
    few, many = wide(50), wide(200)
    assert calls(lambda: compile_graph(many, CPU)) < 5.5 * calls(lambda: compile_graph(few, CPU))


@pytest.mark.parametrize("name", ["chain", "diamond", "flips", "pairs"])
def test_depth_is_no_limit(name: str) -> None:
    """Far more than frames that Python allows, in every walk over a graph."""
    graph = deep(name, 2500)
    verify(graph)
    assert text.show(text.parse(text.show(graph))) == text.show(graph)
    compile_graph(graph, CPU)
    partition(graph, 0, ())


class Cell(graphc.nn.Module):
    """Two paths that meet, each of them a window."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = graphc.nn.Conv2d(4, 4, 3, padding=1, groups=4)

    def forward(self, x: graphc.Tensor) -> graphc.Tensor:
        return graphc.relu(self.conv(x) + graphc.nn.functional.max_pool2d(x, 3, 1, 1))


def training_step(net: graphc.nn.Module, x: graphc.Tensor) -> Callable[[], Any]:
    trainer = graphc.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    def step(x: graphc.Tensor) -> graphc.Tensor:
        trainer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        trainer.step()
        return loss

    return lambda: captured(step, x)


def captured(step: Callable[..., Any], x: graphc.Tensor) -> None:
    from graphc.frontend.trace import Trace

    trace = Trace()
    with trace.activate():
        graph = trace.graph("step", [step(trace.argument(x, "x"))])
    compile_graph(graph, CPU)


@pytest.mark.parametrize("layer", [Cell, lambda: graphc.nn.LayerNorm(6)])
def test_a_training_step_grows_with_its_layers(layer: Callable[[], graphc.nn.Module]) -> None:
    x = graphc.randn(2, 4, 6, 6)
    few, many = (
        calls(training_step(graphc.nn.Sequential(*(layer() for _ in range(n))), x)) for n in (3, 12)
    )
    assert many < 5.5 * few
