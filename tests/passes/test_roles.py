"""Contractions say what their loops run over, merged or not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.interpret import interpret
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_text import show
from graphc.ir.verify_kernel import verify_kernel
from graphc.passes.pipeline import compile_graph
from graphc.passes.profile import Profile
from tests.passes.graphs import Case, make, sample
from tests.program_interpret import run_program
from tests.targets import CPU

GUARDED = dataclasses.replace(CPU, stored_halo=False, mixed_roles=False)


def conv(stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> Case:
    def build(b: Builder, x: Value, w: Value) -> Value:
        return b.apply(
            "conv", x, w, stride=(stride,) * 2, padding=((padding, padding),) * 2,
            lhs_dilation=(1, 1), rhs_dilation=(dilation,) * 2, groups=groups,
        )  # fmt: skip

    return Case("conv", build, ((2, 4, 9, 9), (6, 4 // groups, 3, 3)), 1)


def contraction(case: Case, profile: Profile) -> Kernel:
    kernels = compile_graph(make(case), profile).program.kernels()
    (found,) = (k for k in kernels if k.kind == "contract")
    verify_kernel(found)
    return found


def told(kernel: Kernel) -> list[str]:
    lines = [line.strip() for line in show(kernel).split("\n")]
    return [line for line in lines if line.startswith(("roles", "window"))]


ROLES = "roles d0: n, d3: h, d4: w, d2: k, d6: r, d7: s, d5: c"


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "window"),
    [
        (1, 0, 1, "h*1 + r*1, w*1 + s*1"),
        (2, 0, 1, "h*2 + r*1, w*2 + s*1"),
        (1, 1, 1, "1 <= h*1 + r*1 < 10, 1 <= w*1 + s*1 < 10"),
        (2, 3, 2, "3 <= h*2 + r*2 < 12, 3 <= w*2 + s*2 < 12"),
    ],
)
def test_windows_of_a_convolution(stride: int, padding: int, dilation: int, window: str) -> None:
    roles, slides = told(contraction(conv(stride, padding, dilation), GUARDED))
    assert sorted(roles.replace("roles", "").split(",")) == sorted(
        ROLES.replace("roles", "").split(",")
    )
    assert slides == f"window {window}"


def test_a_stored_halo_is_inside() -> None:
    assert told(contraction(conv(padding=1), CPU))[1] == "window h*1 + r*1, w*1 + s*1"


def test_merged_taps_and_channels_are_told_apart() -> None:
    (roles, _) = told(contraction(conv(), CPU))
    assert "d5: s c[4]" in roles


def test_groups_have_a_loop() -> None:
    roles = told(contraction(conv(groups=2), GUARDED))[0]
    assert "d1: g" in roles and "d2: k" in roles and "d5: c" in roles


@pytest.mark.parametrize("padding", [0, 1])
def test_loops_that_are_not_mixed_mean_the_same(padding: int) -> None:
    case = conv(padding=padding)
    graph, inputs = make(case), sample(case)
    program = compile_graph(graph, GUARDED).program
    for got, want in zip(run_program(program, graph, inputs), interpret(graph, *inputs)):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_images_without_a_window_are_points() -> None:
    """So a product of each place's channels is one kernel for images of every size."""

    def build(_: Builder, x: Value, w: Value) -> Value:
        return x.builder.apply("dot", x, w, batch=(), contract=((3, 0),))

    shapes = ((3, 5, 5, 8), (3, 7, 9, 8))
    kernels = [contraction(Case("dot", build, (s, (8, 4)), 1), CPU) for s in shapes]
    assert all(told(k) == ["roles d2: m, d3: n, d4: k"] for k in kernels)
    assert kernels[0].key() == kernels[1].key()


def test_a_dot_has_rows_and_columns_in_each_batch() -> None:
    def build(b: Builder, x: Value, y: Value) -> Value:
        return b.apply("dot", x, y, batch=((0, 0), (1, 1)), contract=((3, 2),))

    kernel = contraction(Case("dot", build, ((2, 3, 4, 5), (2, 3, 5, 6)), 1), GUARDED)
    assert told(kernel) == ["roles d1: batch, d2: m, d3: n, d4: k"]
