"""The back end for a GPU: passes with its numbers, Triton kernels, programs on its stream.

With `compile.py` the one place that wires passes, code generation and runtime together. A kernel's
blocks are chosen by the sizes that were seen, so other sizes run the same code.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from typing import cast

from graphc import config
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.module import emit, needs_wide
from graphc.codegen_gpu.profile import profile
from graphc.codegen_gpu.target import Target
from graphc.errors import NotAvailable
from graphc.frontend.devices import accelerator
from graphc.frontend.places import DevicePlace, Place
from graphc.frontend.step.alone import run_alone
from graphc.frontend.step.checking import check
from graphc.frontend.step.family import Backend
from graphc.frontend.step.inspection import GPU_STAGES, Unit
from graphc.frontend.step.profile import Limits, Run
from graphc.frontend.step.written import with_trace
from graphc.ir import kernel_text
from graphc.ir.cuda_abi import Image, Source
from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Kernel
from graphc.ir.program import Launch, Program
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import HINTS, Evaluation
from graphc.ir.verify_program import verify_program
from graphc.passes.partition import Split, partition
from graphc.passes.pipeline import compile_graph
from graphc.passes.profile import Profile
from graphc.passes.schedule import Schedule
from graphc.runtime.cuda import device
from graphc.runtime.cuda.executor import CudaExecutable, Engine
from graphc.runtime.disk_cache import DiskCache

__all__ = ["GpuBackend", "backend_at", "cuda_backend"]


@dataclass(frozen=True, slots=True)
class Need:
    """A kernel's code: for sizes like these, with offsets of 64 bits or without, and whether it
    stores nothing once a check has failed."""

    key: str
    kernel: Kernel = field(compare=False, repr=False)
    sizes: tuple[int, ...]
    wide: bool
    guarded: bool


class CudaTemplate:
    """A program's schedule with its code: an executable for each set of sizes."""

    def __init__(self, schedule: Schedule, program: Program, backend: GpuBackend) -> None:
        """`program` is that of the sizes seen."""
        self._schedule, self._backend = schedule, backend
        self._hints = [x.sizes for x in program.launches]
        backend.images(self.needs(program))

    def needs(self, program: Program) -> list[Need | None]:
        """The code of each launch; None for routines."""
        largest = {s.name: s.spec.numel for s in program.slots}
        fails = any(x.kernel.may_fail() for x in program.launches if not x.kernel.call)
        found: list[Need | None] = []
        for i, (x, hints) in enumerate(zip(program.launches, self._hints, strict=True)):
            if x.kernel.call is not None:
                found.append(None)
                continue
            guarded = fails and i >= program.commit
            found.append(Need(x.kernel.key(), x.kernel, hints, _is_wide(x, largest), guarded))
        return found

    def at(self, sizes: Evaluation) -> CudaExecutable:
        program = self._schedule.at(sizes)
        if config.verify_graphs():
            verify_program(program)
        images = self._backend.images(self.needs(program))
        return CudaExecutable(program, images, self._backend.engine)


def _is_wide(launch: Launch, numel: dict[str, int]) -> bool:
    sizes = dict(zip(launch.kernel.sizes, launch.sizes, strict=True))
    return needs_wide(launch.kernel, sizes, max((numel[s] for s in launch.slots), default=0))


class GpuBackend:
    """Compiles for one GPU: a library of kernels and an engine."""

    def __init__(self, on: device.Device) -> None:
        p = on.properties
        self.target = Target(on.arch, p.multi_processor_count, p.shared_memory_per_block_optin)
        self._profile = profile(self.target)
        self._fake = on.driver.name == "fake"
        self._library = GpuLibrary(self.target, DiskCache())
        self._sources: dict[Need, Source] = {}
        self._images: dict[Need, Image] = {}
        self.engine = Engine(on)

    @property
    def profile(self) -> Profile:
        return self._profile

    def build(self, graph: Graph, trace_ms: float) -> tuple[Unit, CudaTemplate]:
        compiled = compile_graph(graph, self._profile)
        program = compiled.program
        native = CudaTemplate(compiled.schedule, program, self)
        stages = with_trace(graph, trace_ms, compiled.stages)
        needs = [n for n in native.needs(program) if n is not None]
        shown = {n.kernel.key(): n for n in reversed(needs)}  # where it was launched first
        unit = Unit(
            graph.name, stages, program, kernel_text.show,
            lambda kernel, level: self._code(kernel, level, shown.get(kernel.key())),
            codes=GPU_STAGES, device=f"cuda:{self.engine.device.index}",
            blocks=tuple(self._blocks(n) for n in dict.fromkeys(needs)),
        )  # fmt: skip
        if config.verify():
            graphs = [(s.name, at_sizes(s.graph, HINTS)) for s in compiled.stages if s.graph]
            here = at_sizes(graph, HINTS)
            on = accelerator().place(self.engine.device.index)
            check(here, graphs, lambda inputs: run_alone(here, native.at(HINTS), inputs, on))
        return unit, native

    def on(self, place: Place) -> Backend:
        return self

    def split(self, joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
        return partition(joint, gradients, cotangents)

    def timing(self) -> AbstractContextManager[Sequence[Run]]:
        """No run is noted: `Compiled.profile` refuses steps on a GPU."""
        return nullcontext(())

    def peaks(self) -> Limits | None:
        return None

    def counts(self) -> tuple[int, int]:
        """On FakeDriver, which runs the text itself, each text counts as compiled."""
        if self._fake:
            return len({s.text for s in self._sources.values()}), 0
        return self._library.compiled, self._library.hits

    def source(self, need: Need) -> Source:
        found = self._sources.get(need)
        if found is None:
            found = self._sources[need] = emit(
                need.kernel, need.sizes, self.target, wide=need.wide, guarded=need.guarded
            )
        return found

    def images(self, needs: Sequence[Need | None]) -> list[Image | None]:
        """Compiled code; what is new is compiled together."""
        missing = [n for n in dict.fromkeys(needs) if n is not None and n not in self._images]
        sources = [self.source(n) for n in missing]
        self._images |= zip(missing, self.compiled(sources), strict=True)
        return [None if n is None else self._images[n] for n in needs]

    def compiled(self, sources: Sequence[Source]) -> list[Image]:
        return [Image(s) for s in sources] if self._fake else self._library.images(sources)

    def _blocks(self, need: Need) -> str:
        """What `explain` says of a kernel's code."""
        source = self.source(need)
        blocks = "x".join(str(d.block) for d in source.grid) or "1"
        constants = "".join(f", {name}={value}" for name, value in source.constants)
        told = f"{need.kernel.name}: blocks of {blocks}, {source.num_warps} warps{constants}"
        return told + (", 64-bit offsets" if need.wide else "")

    def _code(self, kernel: Kernel, level: str, need: Need | None) -> str:
        if need is None:
            return f"# {kernel.name} has no code of ours: NumPy runs it on the host\n"
        if level != "triton":
            raise NotAvailable(f"no `{level}`: device is cuda", fix="read .triton")
        return self.source(need).text


@cache
def cuda_backend(on: device.Device) -> GpuBackend:
    """The one back end of a device, which its first compile makes."""
    return GpuBackend(on)


def backend_at(place: Place) -> GpuBackend:
    """The back end of the device whose memory this is."""
    return cuda_backend(device.current(cast(DevicePlace, place).index))
