"""The kernels that a user's step becomes for a GPU, with data to run them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import pytest

from graphc.codegen_gpu.profile import profile
from graphc.codegen_gpu.target import Target
from graphc.frontend.step.native_backend import NativeBackend
from graphc.ir.graph import Graph
from graphc.ir.kernel import Load, Size, Store
from graphc.ir.sizes import HINTS
from graphc.ir.types import Array
from graphc.passes.nest import Lowered
from graphc.passes.pipeline import Compiled, compile_graph


class Enough(Exception):
    """The graph was seen; nothing is to be compiled for the CPU."""


def lowered(step: Callable[..., Any], *args: Any) -> list[Lowered]:
    """What a decorated step's graph lowers to with a GPU's profile; the step does not run.

    Sizes are those seen.
    """
    kernels = compiled(step, *args).kernels
    return [replace(k, sizes=HINTS(k.sizes), scalars=HINTS(k.scalars)) for k in kernels]


def compiled(step: Callable[..., Any], *args: Any) -> Compiled:
    """Its program."""
    seen: list[Graph] = []

    def build(self: NativeBackend, graph: Graph, trace_ms: float) -> NoReturn:
        seen.append(graph)
        raise Enough

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NativeBackend, "build", build)
        with pytest.raises(Enough):
            step(*args)
    return compile_graph(seen[0], profile(Target()))


def memory(launch: Lowered, seed: int = 0, spread: int = 8) -> dict[str, Array]:
    """A buffer for each of the kernel's: multiples of 1/8, so that sums of a few are exact."""
    rng = np.random.default_rng(seed)
    data = {}
    for value, b in zip(launch.buffers, launch.kernel.buffers, strict=True):
        elements = max(HINTS(value.spec.numel), reach(launch, b.name))
        whole = rng.integers(-spread, spread + 1, elements)
        scale = 8 if b.dtype.is_floating_point else 1
        data[b.name] = (whole / scale).astype(b.dtype.numpy)
    return data


def reach(launch: Lowered, buffer: str) -> int:
    """Elements of a buffer that the kernel addresses: it may be a part of a larger one."""
    kernel, last = launch.kernel, -1
    sizes = dict(zip(kernel.sizes, launch.sizes, strict=True))

    def number(size: Size) -> int:
        return size if isinstance(size, int) else sizes[size]

    for phase in kernel.phases:
        extents = {a.name: number(a.extent) for a in (*kernel.axes, *phase.axes)}
        for s in phase.body:
            if isinstance(s, Load | Store) and s.buffer == buffer:
                steps = (number(n) * (extents[a] - 1) for a, n in s.at.terms)
                last = max(last, number(s.at.const) + sum(max(0, step) for step in steps))
    return last + 1
