"""The kernels of the benchmark nets: all have Triton text; some run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache
from math import prod
from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")

from kernels import TARGET, alike, expected, launch

import graphc
from graphc.codegen_gpu.module import emit
from graphc.codegen_gpu.profile import profile
from graphc.codegen_gpu.tiles import plan
from graphc.ir.graph import Graph
from graphc.ir.kernel import Indirect, Kernel, Load, Size, Store
from graphc.ir.kernel_text import show
from graphc.ir.types import Array
from graphc.passes import known
from graphc.passes.pipeline import compile_graph
from tests.test_benchmarks_nets import losses, nets, small


class Seen(BaseException):
    """The graph of a step, which is not compiled."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph


@cache
def kernels(name: str) -> list[tuple[Kernel, tuple[int, ...]]]:
    """What a training step launches, with the sizes of the first call."""

    def seen(graph: Graph, *_: object, **__: object) -> None:
        raise Seen(graph)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known, "compile_graph", seen)
        with pytest.raises(Seen) as caught:
            losses(graphc, small(name), 1, graphc.compile)
    launches = compile_graph(caught.value.graph, profile(TARGET)).program.launches
    found = {x.kernel.key(): (x.kernel, x.sizes) for x in launches if x.kernel.call is None}
    return [(k, sizes) for k, sizes in found.values() if k.kind in ("map", "scatter")]


@pytest.mark.parametrize("name", nets.NETS)
def test_every_kernel_has_text(name: str) -> None:
    forms = Counter[str]()
    for kernel, sizes in kernels(name):
        source = emit(kernel, sizes, TARGET)
        compile(source.text, source.name, "exec")
        assert not [x for x in source.text.splitlines() if "atomic" in x and "error" not in x]
        assert emit(kernel, sizes, TARGET) == source
        forms[plan(kernel, sizes, TARGET).form] += 1
    assert forms


def reach(kernel: Kernel, size: Callable[[Size], int]) -> dict[str, int]:
    """Elements of each buffer that a kernel may touch, but for what data addresses."""
    found: dict[str, int] = {}
    for phase in kernel.phases:
        extents = {a.name: size(a.extent) for a in (*kernel.axes, *phase.axes)}
        for s in phase.body:
            if isinstance(s, Load | Store):
                span = sum(abs(size(k)) * (extents[a] - 1) for a, k in s.at.terms)
                found[s.buffer] = max(found.get(s.buffer, 0), size(s.at.const) + span + 1)
    return found


def data(kernel: Kernel, sizes: dict[str, int], seed: int = 0) -> dict[str, Array]:
    r = np.random.default_rng(seed)
    lengths = reach(kernel, lambda n: n if isinstance(n, int) else sizes[n])
    made: dict[str, Array] = {}
    for b in kernel.buffers:
        n = lengths[b.name]
        floating = b.dtype.is_floating_point
        x: Any = r.uniform(0.25, 1.0, n) if floating else r.integers(0, 2, n)
        made[b.name] = x.astype(b.dtype.numpy)
    return made


def runs(kernel: Kernel) -> bool:
    """Whether data made at random is fit for it: no addresses in it."""
    indirect = [i for s in kernel.statements() if isinstance(s, Load | Store) for i in s.indirect]
    return not any(isinstance(i, Indirect) for i in indirect) and not kernel.may_fail()


@pytest.mark.parametrize("name", ["mlp", "lenet", "tinybert"])
def test_kernels_run(name: str) -> None:
    ran = 0
    for kernel, values in kernels(name):
        sizes = dict(zip(kernel.sizes, values, strict=True))
        source = emit(kernel, values, TARGET)
        if not runs(kernel) or prod(d.count(sizes) for d in source.grid) > 48:
            continue
        buffers = data(kernel, sizes)
        numbers = {s.name: s.dtype.numpy.type(1).item() for s in kernel.scalars}
        want = expected(kernel, buffers, sizes, numbers)
        got = launch(kernel, source, buffers, sizes, numbers)
        for b in kernel.buffers:
            assert alike(got[b.name], want[b.name], 2e-5), (show(kernel), b.name)
        ran += 1
    assert ran >= 3
