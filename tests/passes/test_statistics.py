"""Statistics of a contraction's result: sums as tiles find them, and how often a step reads it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import graphc
from graphc import Tensor, nn
from graphc.ir import text
from graphc.passes.fuse import fuse
from graphc.passes.split_reduce import split_reduce
from tests.passes.texts import assert_becomes, graph, groups, kernels
from tests.targets import CPU

F = nn.functional
CONV = (
    "{stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) rhs_dilation=(1,1)"
    " groups=1 batch_groups=1}"
)
SUM = f"""
graph(%x: f32[4,3,9,9], %w: f32[8,3,2,2]) {{
  %0: f32[4,8,8,8] = conv %x %w {CONV}
  %1: f32[4,8,8,8] = relu %0
  %2: f32[8] = sum %1 {{axes=(0,2,3)}}
  return %1, %2
}}"""
SUM_IN_PARTS = f"""
graph(%x: f32[4,3,9,9], %w: f32[8,3,2,2]) {{
  %0: f32[4,8,8,8] = conv %x %w {CONV}
  %1: f32[4,8,8,8] = relu %0
  %2: f32[4,8] = sum %1 {{axes=(2,3)}}
  %3: f32[8] = sum %2 {{axes=(0,)}}
  return %1, %3
}}"""
SQUARES = f"""
graph(%x: f32[4,3,9,9], %w: f32[8,3,2,2]) {{
  %0: f32[4,8,8,8] = conv %x %w {CONV}
  %1: f32[1,8,1,1] = slice %0 {{start=(0,0,0,0) stop=(1,8,1,1) step=(1,1,1,1)}}
  %2: f32[4,8,8,8] = expand %1 {{shape=(4,8,8,8)}}
  %3: f32[4,8,8,8] = sub %0 %2
  %4: f32[4,8,8,8] = mul %3 %3
  %5: f32[8] = sum %4 {{axes=(0,2,3)}}
  return %5
}}"""
SQUARES_ABOUT_ZERO = f"""
graph(%x: f32[4,3,9,9], %w: f32[8,3,2,2]) {{
  %0: f32[4,8,8,8] = conv %x %w {CONV}
  %2: f32[1,8,1,1] = slice %0 {{start=(0,0,0,0) stop=(1,8,1,1) step=(1,1,1,1)}}
  %1: f64[4,8,8,8] = cast %0 {{dtype='f64'}}
  %3: f32[8] = reshape %2 {{shape=(8,)}}
  %4: f64[8] = cast %3 {{dtype='f64'}}
  %5: f64[4,8] = sum %1 {{axes=(2,3)}}
  %6: f64[8] = sum %5 {{axes=(0,)}}
  %7: f64[8] = 256.0
  %8: f64[8] = div %6 %7
  %9: f64[8] = sub %8 %4
  %10: f64[8] = mul %9 %7
  %11: f64[4,8,8,8] = mul %1 %1
  %12: f64[4,8] = sum %11 {{axes=(2,3)}}
  %13: f64[8] = sum %12 {{axes=(0,)}}
  %14: f64[8] = add %6 %10
  %15: f64[8] = mul %4 %14
  %16: f64[8] = sub %13 %15
  %17: f32[8] = cast %16 {{dtype='f32'}}
  return %17
}}"""


@pytest.mark.parametrize(("before", "after"), [(SUM, SUM_IN_PARTS), (SQUARES, SQUARES_ABOUT_ZERO)])
def test_becomes(before: str, after: str) -> None:
    assert_becomes(split_reduce, before, after)


LEFT = {
    "few points": SUM.replace("9,9", "5,5").replace("8,8,8]", "8,4,4]"),
    "one channel": (
        SUM.replace("%w: f32[8", "%w: f32[1")
        .replace("[4,8,8", "[4,1,8")
        .replace("f32[8]", "f32[1]")
    ),
    "one image": SUM.replace("f32[4,", "f32[1,"),
    "the channels go": SUM.replace("f32[8] = sum", "f32[8,8] = sum").replace("(0,2,3)", "(0,1)"),
    "no contraction": """
graph(%x: f32[4,8,8,8]) {
  %0: f32[4,8,8,8] = exp %x
  %1: f32[8] = sum %0 {axes=(0,2,3)}
  return %1
}""",
}  # fmt: skip


@pytest.mark.parametrize("why", LEFT)
def test_others_are_left(why: str) -> None:
    with graph(LEFT[why]).in_passes():
        assert text.show(split_reduce(graph(LEFT[why]), CPU)) == text.show(graph(LEFT[why]))


def test_a_profile_may_want_none() -> None:
    never = replace(CPU, partial_reductions=0)
    assert_becomes(split_reduce, SUM, SUM, never)
    assert groups(SUM_IN_PARTS, never) == ["conv relu", "sum", "sum"]


def test_tiles_sum_what_the_epilogue_computes() -> None:
    """Over two merged axes; the next kernel adds up the samples."""
    first, second = kernels(SUM_IN_PARTS)
    assert (
        first
        == """
kernel conv_relu_sum contract (b0: r f32, b1: r f32, b2: w f32, b3: w f32 | n0 | ) {
  roles d0: n, d3: h, d4: w, d2: k, d5: c, d6: r, d7: s
  window h*1 + r*1, w*1 + s*1
  for d0 in n0, d3 in 8, d4 in 8, d2 in 8 {
    for d5 in 3, d6 in 2, d7 in 2 {
      %0: f32 = load b0[d0*243 + d3*9 + d4 + d5*81 + d6*9 + d7]
      %1: f32 = load b1[d2*12 + d5*4 + d6*2 + d7]
      %2: f32 = dot %0 %1
    }
    once {
      %3: f32 = relu %2
      store b2[d0*512 + d2 + d3*64 + d4*8] = %3
    }
  }
  partial b3[d0*8 + d2] = sum %3 over d3, d4 by 64
}""".strip()
    )
    assert second.startswith("kernel sum map")


FAILS = (
    SUM_IN_PARTS
    .replace("relu %0", "check %0 %ok {what='no' error='ValueError' fix=''}")
    .replace("%w: f32[8,3,2,2]", "%w: f32[8,3,2,2], %ok: bool[4,8,8,8]")
)  # fmt: skip
READ_BACK = SUM_IN_PARTS.replace("return %1, %3", """%4: f32[4,8,1,1] = reshape %2 {shape=(4,8,1,1)}
  %5: f32[4,8,8,8] = expand %4 {shape=(4,8,8,8)}
  %6: f32[4,8,8,8] = add %1 %5
  return %3, %6""")  # fmt: skip


def test_what_no_tile_can_do_stays_outside() -> None:
    """What may fail, and what waits for the sums."""
    assert not any("partial" in k for k in kernels(FAILS))
    assert sorted(groups(READ_BACK)) == ["add", "conv relu sum", "sum"]


def test_notes_say_so() -> None:
    start = graph(READ_BACK)
    fusion = fuse(start, CPU)
    notes = [fusion.note(g) for g in fusion.groups if g.kind == "contract"]
    assert "%6 reads sums that are done when all tiles are" in notes[0]


# ---- batch norm --------------------------------------------------------------------------------


class Block(nn.Module):
    """Two convolutions with their batch norms, and a residual."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.norm2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.first(x)))
        return F.relu(self.norm2(self.second(y)) + y)


def passes_over(dump: str, points: int) -> dict[str, int]:
    """How many kernels that are no contraction read something as large as an activation."""
    found = {"sums": 0, "all": 0}
    for kernel in dump.split("\n\n"):
        head = kernel.split("\n", 1)[0]
        if " map (" in head and re.search(r"for d0 in n\d+, d\d", kernel):
            found["all"] += 1
            found["sums"] += bool(re.search(r"= sum %", kernel))
    return found


def test_no_kernel_reads_a_result_for_statistics_alone() -> None:
    """Forward: each result is read once, to be normalised. Backward: each gradient once, too."""
    model = Block()
    optimizer = graphc.optim.SGD(model.parameters(), lr=0.1)

    @graphc.compile
    def step(x: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    step(graphc.randn(2, 3, 12, 12))
    found = passes_over(step.ir("fuse"), 144)
    # sums: the loss, and what begins the backward of the last norm behind it
    assert found["sums"] <= 2
    tiles = [k for k in step.ir("fuse").split("\n\n") if "\n  partial " in k]
    assert len(tiles) == 3  # both results, and the gradient of the first one
    assert all(k.count("\n  partial ") == 2 for k in tiles)


@pytest.mark.parametrize("shape", [(8, 64, 16, 16), (3, 16, 9, 7)])
def test_the_variance_keeps_its_digits_beside_a_large_mean(shape: tuple[int, ...]) -> None:
    x = (1000 + np.random.default_rng(1).standard_normal(shape)).astype(np.float32)
    conv, norm = nn.Conv2d(shape[1], shape[1], 1, bias=False), nn.BatchNorm2d(shape[1], momentum=1)
    with graphc.no_grad():
        conv.weight.copy_(graphc.eye(shape[1]).reshape(shape[1], shape[1], 1, 1))

    @graphc.compile
    def f(x: Tensor) -> Tensor:
        return norm(conv(x))

    y = f(graphc.from_numpy(x)).detach().numpy()
    assert "\n  partial " in f.ir("fuse")
    exact = x.astype(np.float64)
    wanted = exact.var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(norm.running_var.numpy(), wanted, 1e-6)
    centred = exact - exact.mean(axis=(0, 2, 3), keepdims=True)
    scale = 1 / np.sqrt(exact.var(axis=(0, 2, 3), keepdims=True) + norm.eps)
    np.testing.assert_allclose(y, centred * scale, 1e-5, 1e-5)
