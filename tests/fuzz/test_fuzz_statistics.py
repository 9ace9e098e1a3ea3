"""Random contractions with random statistics of what their epilogues make: kernels sum in tiles.

The profile asks for it however small an image is, so that tiles end in the middle of everything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
import pytest

from graphc.frontend.devices import accelerator
from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.types import Array, DType, TensorSpec, bf16, f32, f64
from graphc.passes.pipeline import compile_graph
from tests.fuzz import checks, fake_gpu
from tests.fuzz.growth import grow
from tests.fuzz.test_fuzz import why
from tests.targets import CPU

TILES = dataclasses.replace(CPU, partial_reductions=1)
CHECKS = [checks.native, checks.same_bits, checks.interpreted, checks.plan, checks.bounded]
EXTENTS = (1, 2, 3, 5, 8, 17)


@pytest.fixture(autouse=True)
def in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "CPU", TILES)


def contraction(r: np.random.Generator, b: Builder, dtype: DType) -> Value:
    """A convolution, in groups or not, or a product of a batch of matrices by one."""

    def one_of(*choices: int) -> int:
        return int(r.choice(choices))

    n, c, k = one_of(1, 2, 3, 5), one_of(1, 2, 3, 16), one_of(*EXTENTS, 20)
    if one_of(0, 0, 1):
        x = b.input("x", TensorSpec(dtype, (n, one_of(*EXTENTS, 30), c)))
        w = b.input("w", TensorSpec(dtype, (c, k)))
        return b.apply("dot", x, w, batch=(), contract=((2, 0),))
    groups, size = one_of(1, 1, c), one_of(1, 2, 3)
    k = groups * max(1, k // groups)
    pad = tuple((one_of(0, 1), one_of(0, 1)) for _ in range(2))
    places = one_of(*EXTENTS[2:]), one_of(*EXTENTS[2:])
    x = b.input("x", TensorSpec(dtype, (n, c, *places)))
    w = b.input("w", TensorSpec(dtype, (k, c // groups, size, size)))
    return b.apply("conv", x, w, stride=(one_of(1, 1, 2), 1), padding=pad, lhs_dilation=(1, 1),
                   rhs_dilation=(1, 1), groups=groups, batch_groups=1)  # fmt: skip


def build(seed: int) -> Graph:
    """The result, what follows it, and sums over all but its channels."""
    r, b = np.random.default_rng(seed), Builder()
    x = y = contraction(r, b, (f32, f32, f32, f64, bf16)[seed % 5])
    channel = 1 if len(x.shape) == 4 else 2
    axes = tuple(k for k in range(len(x.shape)) if k != channel)
    inputs = [v for v in x.args if v.is_input]
    other = b.input("z", y.spec)
    if r.random() < 0.5:
        y = y + other if r.random() < 0.5 else b.apply("relu", y)
    if r.random() < 0.2:
        y = b.apply("where", b.apply("le", other, y), y, other * y)
    stop = tuple(n if k == channel else 1 for k, n in enumerate(y.shape))
    shift = P.expand(P.slice(y, (0,) * len(stop), stop), y.shape)
    wanted: list[Callable[[], Value]] = [
        lambda: P.sum(y, axes), lambda: P.sum(y - shift, axes),
        lambda: P.sum((y - shift) * (y - shift), axes), lambda: P.sum(y * other, axes),
        lambda: P.sum(y, axes[1:]), lambda: b.apply("max", y, axes=axes),
    ]  # fmt: skip
    picked = r.permutation(len(wanted))[: int(r.integers(1, 5))]
    outs = (y, *(wanted[k]() for k in picked))
    given = (*inputs, other)
    return Graph("f", given, ("arg",) * len(given), outs, (None,) * len(outs))


def data(graph: Graph, seed: int) -> list[Array]:
    """Halves, so that sums of products have one right answer."""
    r = np.random.default_rng(seed)
    return [(r.integers(-4, 5, v.shape) / 2).astype(v.spec.dtype.numpy) for v in graph.inputs]


@pytest.mark.skipif(find_spec("triton") is None, reason="the fake GPU needs Triton")
@pytest.mark.parametrize("seed", range(10))
def test_a_gpus_tiles_find_them(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    with fake_gpu.fake_gpu():
        from graphc.frontend.step.cuda_backend import backend_at

        backend = backend_at(accelerator().place(0))
        tiles = dataclasses.replace(backend.profile, partial_reductions=1)
        monkeypatch.setattr(backend, "_profile", tiles)
    graph = build(seed)
    assert why(checks.on_gpu, graph, data(graph, seed)) == ""


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("seed", range(24))
def test_statistics_of_contractions(seed: int, check: checks.Check) -> None:
    graph = build(seed)
    assert why(check, graph, data(graph, seed)) == ""


@pytest.mark.parametrize("seed", range(1000, 1040))
def test_any_graph(seed: int) -> None:
    assert why(checks.native, *grow(seed)) == ""


def test_most_of_them_are_partial_results() -> None:
    """Else nothing was tested."""
    made = [compile_graph(build(seed), TILES).program.kernels() for seed in range(24)]
    assert sum(any(k.partials for k in kernels) for kernels in made) > 6
