"""What is done with a strided data gradient is done by each contraction that gives some of it."""

from __future__ import annotations

import pytest

from graphc.ir.graph import Graph
from graphc.passes.pipeline import PIPELINE, compile_graph, run_passes
from tests.passes.graphs import CASES, make
from tests.passes.texts import graph
from tests.targets import CPU

HEAD = """
graph(%g: f32[2,4,8,8], %w: f32[3,4,3,3], %x: f32[2,3,16,16]) {
  %0: f32[2,3,16,16] = conv %g %w {stride=(1,1) padding=((1,2),(1,2)) lhs_dilation=(2,2) \
rhs_dilation=(1,1)}
"""
READERS = {
    "alone": "%1: f32[2,3,16,16] = mul %0 %x\n %2: f32[2,3,16,16] = sin %1\n return %2",
    "summed": "%1: f32[2,3,16,16] = mul %0 %x\n %2: f32[3] = sum %1 {axes=(0,2,3)}\n return %2, %0",
    "two": "%1: f32[2,3,16,16] = mul %0 %x\n return %1, %0",
    "itself": "%1: f32[2,3,16,16] = sin %0\n %2: f32[2,3,16,16] = mul %0 %1\n return %2",
    "rows": "%1: f32[2,3,16] = sum %0 {axes=(3,)}\n return %1",
}


def taken(body: str) -> Graph:
    stages = PIPELINE[: [s.name for s in PIPELINE].index("interleaved") + 1]
    return run_passes(graph(HEAD + body + "\n}"), stages, CPU)


def count(g: Graph, name: str) -> int:
    return sum(v.op is not None and v.op.name == name for v in g.values())


@pytest.mark.parametrize(
    ("reader", "op", "parts"),
    [("alone", "mul", 4), ("summed", "sum", 4), ("two", "mul", 1), ("itself", "mul", 1),
     ("rows", "sum", 1)],
)  # fmt: skip
def test_readers_go_to_the_parts(reader: str, op: str, parts: int) -> None:
    assert count(taken(READERS[reader]), op) == parts


def test_a_norm_s_gradient_reads_each_image_once_more() -> None:
    """Its mask and its sums are found by the tiles that compute the parts; what waits for the sums
    is one kernel behind them."""
    case = next(c for c in CASES if c.name == "interleaving")
    kernels = [launch.kernel for launch in compile_graph(make(case), CPU).program.launches]
    tiles = [k for k in kernels if k.kind == "contract"]
    assert [len(k.partials) for k in tiles] == [2] * 4


def test_a_depthwise_convolution_s_parts_stay_together() -> None:
    text = HEAD.replace("[2,4,8,8]", "[2,3,8,8]").replace("[3,4,3,3]", "[3,1,3,3]")
    body = text.replace("rhs_dilation=(1,1)}", "rhs_dilation=(1,1) groups=3}") + READERS["alone"]
    stages = PIPELINE[: [s.name for s in PIPELINE].index("interleaved") + 1]
    assert count(run_passes(graph(body + "\n}"), stages, CPU), "mul") == 1
