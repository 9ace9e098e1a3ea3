"""The zeros around what a contraction computes are parts beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from graphc.ir.interpret import interpret
from graphc.ir.types import Shape
from graphc.passes.halo import framed, is_epilogue
from graphc.passes.layout import layout
from tests.passes.texts import CPU, assert_becomes, graph, groups

IMAGE = """
graph(%x: f32[2,16,8,8], state %w: f32[4,16,1,1] order (2,3,1,0), state %b: f32[4]) {
  %0: f32[2,4,8,8] = conv %x %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %1: f32[1,4,1,1] = reshape %b {shape=(1,4,1,1)}
  %2: f32[2,4,8,8] = expand %1 {shape=(2,4,8,8)}
  %3: f32[2,4,8,8] = add %0 %2
  %4: f32[2,4,8,8] = relu %3
  %5: f32[4] = sum %4 {axes=(0,2,3)}
  %6: f32[1,4,1,1] = reshape %5 {shape=(1,4,1,1)}
  %7: f32[2,4,8,8] = expand %6 {shape=(2,4,8,8)}
  %8: f32[2,4,8,8] = sub %4 %7
  return %8
}"""
TWO_CONVS = """
graph(%x: f32[2,16,8,8], state %w: f32[4,16,1,1], state %u: f32[5,4,3,3]) {
  %0: f32[2,4,8,8] = conv %x %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %1: f32[2,4,8,8] = relu %0
  %2: f32[2,5,4,4] = conv %1 %u {stride=(2,2) padding=((1,0),(1,1)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %2
}"""
FRAMED = """
graph(%x: f32[2,16,8,8], state %w: f32[4,16,1,1] order (2,3,1,0), \
state %u: f32[5,4,3,3] order (2,3,1,0)) {
  %2: f32[2,16,8,8] = contiguous %x {order=(0,2,3,1)}
  %3: f32[2,4,8,8] = conv %2 %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %4: f32[2,4,8,8] = relu %3
  %0: f32[2,4,1,10] = 0.0
  %1: f32[2,4,8,2] = 0.0
  %5: f32[2,4,9,10] = assemble %4 %0 %1 {shape=(2,4,9,10) \
starts=((0,0,1,1),(0,0,0,0),(0,0,1,0)) steps=((1,1,1,1),(1,1,1,1),(1,1,1,9))}
  %6: f32[2,5,4,4] = conv %5 %u {stride=(2,2) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %6
}"""


def test_a_contraction_writes_into_its_frame() -> None:
    profile = replace(CPU, few_outputs=0)  # the order of weights is not what this is about
    assert_becomes(layout, TWO_CONVS, FRAMED, profile)


def test_its_epilogue_stays_with_it() -> None:
    assert "conv relu" in groups(FRAMED)


@pytest.mark.parametrize(
    ("low", "high"),
    [((0, 0, 1, 1), (0, 0, 1, 1)), ((0, 0, 2, 0), (0, 0, 1, 3)), ((1, 0, 0, 1), (0, 2, 0, 0))],
    ids=["even", "uneven", "others"],
)
def test_a_frame_is_a_pad(low: Shape, high: Shape) -> None:
    start = graph(TWO_CONVS)
    v = next(v for v in start.values() if v.op is not None and v.op.name == "relu")
    with start.in_passes():
        whole = framed(v, low, high)
    assert whole is not None
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(x.shape).astype(np.float32) for x in start.inputs]
    (inner,) = interpret(start.with_outs([v]), *inputs)
    (got,) = interpret(start.with_outs([whole]), *inputs)
    np.testing.assert_array_equal(got, np.pad(inner, list(zip(low, high, strict=True))))


def test_what_waits_for_a_contraction_is_none_of_its_epilogue() -> None:
    named = {v.name: v for v in graph(IMAGE).values()}
    assert is_epilogue(named["%4"]) and not is_epilogue(named["%8"])
