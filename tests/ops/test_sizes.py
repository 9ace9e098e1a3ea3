"""What a program is made of does not depend on the sizes of its operands: nothing unrolls.

Scans take a step for each doubling of their axis, and each step is the same few kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc
from graphc.frontend.trace import Trace
from graphc.ir.graph import Graph
from graphc.ir.types import TensorSpec
from graphc.passes.pipeline import PIPELINE, compile_graph, run_passes
from tests.op_table import TABLE, OpRow
from tests.ops.rows import samples
from tests.ops.test_traced import traced
from tests.targets import CPU

F: Any = graphc.nn.functional


class Made(NamedTuple):
    """The parts of a compiled graph."""

    values: int
    launches: int
    statements: int


def made(graph: Graph) -> Made:
    values = len(run_passes(graph, PIPELINE, CPU).values())
    compiled = compile_graph(graph, CPU).program
    bodies = {k.key(): len(list(k.statements())) for k in compiled.kernels()}
    return Made(values, len(compiled.launches), sum(bodies.values()))


def grown(row: OpRow, times: int) -> OpRow:
    """The row with its longest dimensions longer."""
    longest = max(n for x in row.inputs for n in x.shape)
    inputs = [
        replace(x, shape=tuple(n * times if n == longest else n for n in x.shape))
        for x in row.inputs
    ]
    return replace(row, inputs=tuple(inputs))


SCANS = ("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp")
OWN_SHAPES = frozenset(
    """put_add view expand broadcast_to reshape_as reshape_named cross cross_dim inverse
    max_pool2d_x max_unpool1d max_unpool2d_of_max_pool2d affine_grid affine_grid_volume
    """.split()  # noqa: SIM905  a table reads better so
)
SIZED = [
    row
    for row in TABLE
    if row.name not in OWN_SHAPES and any(n > 1 for x in row.inputs for n in x.shape)
]


def graphs(row: OpRow) -> list[Graph]:
    rows = [grown(row, times) for times in (2, 20)]
    return [traced(r, samples(r, np.float32))[0] for r in rows]


@pytest.mark.parametrize("row", SIZED, ids=str)
def test_a_program_is_as_large_for_long_operands(row: OpRow) -> None:
    short, long = map(made, graphs(row))
    if row.name.startswith((*SCANS, "cumulative_trapezoid")):
        assert long.launches <= 2 * short.launches + 8
        assert long.values <= 2 * short.values + 40
    else:
        assert all(n <= 1.3 * few + 2 for n, few in zip(long, short)), (short, long)


@pytest.mark.parametrize("name", SCANS)
def test_a_long_scan_takes_a_step_for_each_doubling(name: str) -> None:
    few, many = (
        made(gradient_of(lambda x, _: extremes(getattr(graphc, name)(x, 1)), n, 0))
        for n in (100, 100_000)
    )
    assert many.launches <= 3 * few.launches
    assert many.statements <= 2 * few.statements


def extremes(y: Any) -> graphc.Tensor:
    return y if isinstance(y, graphc.Tensor) else y[0]


def gradient_of(f: Callable[[Any, int], Any], length: int, size: int) -> Graph:
    trace = Trace()
    like = graphc.zeros(2, length).requires_grad_()
    with trace.activate():
        x = trace.argument(like, "x")
        y = f(x, size)
        return trace.graph("step", [y, *graphc.autograd.grad(y.sum(), [x])])


WINDOWS: dict[str, Callable[[Any, int], Any]] = {
    "max_pool1d": lambda x, k: F.max_pool1d(x, k, 1),
    "avg_pool1d": lambda x, k: F.avg_pool1d(x, k, 2),
    "avg_pool2d": lambda x, k: F.avg_pool2d(x[None, ..., None], (k, 1), 1),
    "lp_pool1d": lambda x, k: F.lp_pool1d(x, 2.0, k, 1),
    "unfold": lambda x, k: x.unfold(1, k, 3),
    "fold": lambda x, k: F.fold(F.unfold(x[None, :, :, None], (k, 1)), (x.size(1), 1), (k, 1)),
    "local_response_norm": lambda x, k: F.local_response_norm(x.t()[None], k),
    "conv1d": lambda x, k: F.conv1d(x[None], x.detach()[None, :, :k]),
    "conv_transpose1d": lambda x, k: F.conv_transpose1d(x[None], x.detach()[:, None, :k]),
    "adaptive_avg_pool1d": lambda x, k: F.adaptive_avg_pool1d(x, k),
    "adaptive_max_pool1d": lambda x, k: F.adaptive_max_pool1d(x, k),
    "interpolate": lambda x, k: F.interpolate(x[None], size=k, mode="linear"),
    "one_hot": lambda x, k: F.one_hot(x.detach().long(), k) * x[..., None],
    "repeat": lambda x, k: x.repeat(1, k),
    "reflect": lambda x, k: F.pad(x, (k, k), mode="reflect"),
}


@pytest.mark.parametrize("name", WINDOWS)
def test_a_program_is_as_large_for_large_windows(name: str) -> None:
    short, long = (made(gradient_of(WINDOWS[name], 400, k)) for k in (23, 97))
    assert all(n <= 1.3 * few + 2 for n, few in zip(long, short)), (short, long)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_long_sums_and_products_are_rounded_once(dtype: str) -> None:
    x = graphc.tensor(np.random.default_rng(0).uniform(0.999, 1.001, (2, 3000)))
    for scan, exact in ((graphc.cumsum, np.cumsum), (graphc.cumprod, np.cumprod)):
        given = x.to(getattr(graphc, dtype))
        want = exact(given.double().numpy(), 1)
        for f in (scan, graphc.compile(lambda x, scan=scan: scan(x, 1))):
            got = (f(given, 1) if f is scan else f(given)).double().numpy()
            error = np.abs(got - want) / np.abs(want)
            assert error.max() <= graphc.finfo(given.dtype).eps


def test_many_taps_fold_to_the_same_sums() -> None:
    """A loop over the taps gives what their unrolled sum gives."""
    from graphc.ir.builder import Builder
    from graphc.ir.interpret import interpret
    from graphc.ir.types import f32
    from tests.program_interpret import run_program

    for taps, step, dilation in ((17, 1, 1), (17, 1, 2), (19, 3, 1), (19, 2, 3), (17, 20, 1)):
        b = Builder()
        x = b.input("x", TensorSpec(f32, (2, 5, 3, taps)))
        attrs = {"axis": 1, "step": step, "dilation": dilation}
        y = b.apply("fold", x, length=4 * step + (taps - 1) * dilation + 3, **attrs)
        graph = Graph("fold", (x,), ("arg",), (y,), (None,))
        given = np.random.default_rng(taps).standard_normal(x.shape).astype("f4")
        got = run_program(compile_graph(graph, CPU).program, graph, [given])
        np.testing.assert_allclose(got[0], interpret(graph, given)[0], rtol=1e-5, atol=1e-5)
