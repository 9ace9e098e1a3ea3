"""The GPU kernels of what is measured, as Triton text, without a GPU and without running them.

A call is traced on the CPU with a back end that compiles nothing: it notes the sources of the
program's kernels and stops the call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from unittest.mock import patch

import gpu_tune
import gpu_work

import graphc
from graphc.codegen_gpu.tuned import tuned
from graphc.frontend import fused
from graphc.frontend.step.compiled import CompiledFunction
from graphc.frontend.step.cuda_backend import GpuBackend
from graphc.ir.cuda_abi import Image, Source
from graphc.ir.kernel import Kernel
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.driver import DeviceAttribute
from graphc.runtime.cuda.fake import FakeDriver

Note = Callable[[str], dict[Source, Kernel]]


class Noted(Exception):
    """The call needs not to go on."""


A100 = {
    DeviceAttribute.COMPUTE_CAPABILITY_MAJOR: 8,
    DeviceAttribute.MULTIPROCESSOR_COUNT: 108,
    DeviceAttribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: 163 << 10,
}


class OlderDriver(FakeDriver):
    """An A100, as far as kernels are chosen by it."""

    def DeviceGetAttribute(self, attribute: DeviceAttribute, device: int) -> int:
        found = A100.get(attribute)
        return super().DeviceGetAttribute(attribute, device) if found is None else found


DRIVERS = {"sm_90a": FakeDriver, "sm_80": OlderDriver}


class NotingBackend(GpuBackend):
    """The back end of a GPU of this architecture, up to where it would compile."""

    def __init__(self, arch: str) -> None:
        super().__init__(Device(DRIVERS[arch]()))
        self.found: dict[Source, Kernel] = {}

    def images(self, needs: Sequence[Any]) -> list[Image | None]:
        self.found |= {self.source(n): n.kernel for n in needs if n is not None}
        return [None if n is None else Image(self.source(n)) for n in needs]

    def build(self, graph: Any, trace_ms: float) -> Any:
        unit, template = super().build(graph, trace_ms)
        needs = template.needs(unit.program)
        for group in self.groups(unit.program, needs):
            if (need := needs[group.members[0]]) is not None:
                self.found[group.image.source] = need.kernel
        raise Noted


def sources(
    call: Callable[..., Any], args: Sequence[Any], arch: str, dynamic: bool | None = None
) -> dict[Source, Kernel]:
    """The kernels of a call as Triton text."""
    backend = NotingBackend(arch)
    with suppress(Noted), patch.object(fused, "has_code", lambda *_: True):
        CompiledFunction(call, backend, dynamic=dynamic)(*args)
    return backend.found


def net_sources(work: gpu_work.Work, arch: str) -> dict[Source, Kernel]:
    step, x, y, *_ = gpu_work.training(graphc, work, "cpu")
    return sources(step, (x, y), arch)


def all_calls(only: Sequence[str] = ()) -> Iterator[tuple[str, Note]]:
    """Everything that is measured: its name, and what notes its sources for an architecture."""
    for work in gpu_work.works():
        if not only or work.net.name in only:
            yield work.name, partial(net_sources, work)
    if only:
        return
    for n in gpu_work.chosen(gpu_work.MATMULS, gpu_work.TINY_MATMULS):
        yield f"matmul {n}", partial(matmul_sources, n)
    for conv in gpu_work.chosen(gpu_work.CONVS, gpu_work.TINY_CONVS):
        for direction in gpu_work.DIRECTIONS:
            yield f"conv {conv.name} {direction}", partial(conv_sources, conv, direction)
    for case in gpu_work.chosen(gpu_work.ATTENTIONS, gpu_work.TINY_ATTENTIONS):
        for backward in (False, True):
            name = f"attention {case.name}" + ", backward" * backward
            yield name, partial(attention_sources, case, backward)
    for variant in gpu_tune.variants():
        yield f"attention {variant.name}", partial(tuned_sources, variant)


def matmul_sources(n: int, arch: str) -> dict[Source, Kernel]:
    found: dict[Source, Kernel] = {}
    for dtype in (graphc.bfloat16, graphc.float32):
        a, b = (graphc.zeros(n, n, dtype=dtype) for _ in range(2))
        found |= sources(lambda a, b: a @ b, (a, b), arch)
    return found


def conv_sources(conv: gpu_work.Conv, direction: str, arch: str) -> dict[Source, Kernel]:
    call, shapes = gpu_work.convolution(graphc, conv, direction)
    args = [graphc.zeros(*s, dtype=graphc.bfloat16) for s in shapes]
    last = graphc.channels_last
    return sources(call, [a.to(memory_format=last) for a in args], arch, dynamic=False)


def attention_sources(case: gpu_work.Attention, backward: bool, arch: str) -> dict[Source, Kernel]:
    shape = (case.batch, case.heads, case.length, case.width)
    args = [graphc.zeros(*shape, dtype=graphc.bfloat16) for _ in range(4)]
    return sources(gpu_work.attention(graphc, case, backward), args, arch)


def tuned_sources(variant: gpu_tune.Variant, arch: str) -> dict[Source, Kernel]:
    before = dict(tuned(arch).get("attention", {}))
    gpu_tune.use(arch, variant)
    try:
        return attention_sources(variant.case, variant.backward, arch)
    finally:
        tuned(arch)["attention"] = before


def small(name: str, half: bool) -> gpu_work.Work:
    """A net at batch 2: the kernels' texts are those of any batch, up to their blocks."""
    return gpu_work.Work(gpu_work.sized(name, 2), half)
