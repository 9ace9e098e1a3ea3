"""The back end for a GPU: passes with its numbers, Triton kernels, programs on its stream.

With `compile.py` the one place that wires passes, code generation and runtime together. A kernel's
blocks are chosen by the sizes that were seen, so other sizes run the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import cast

from graphc import config
from graphc.codegen_gpu import attention_kernel, routine
from graphc.codegen_gpu.contract_descriptors import DESCRIBES
from graphc.codegen_gpu.contract_parts import product_dtype
from graphc.codegen_gpu.facts import sass
from graphc.codegen_gpu.grouped import TYPICAL, grouped, may_group
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.module import ALIGN, emit, needs_wide
from graphc.codegen_gpu.profile import profile
from graphc.codegen_gpu.target import Target
from graphc.errors import NotAvailable
from graphc.frontend.devices import accelerator
from graphc.frontend.places import DevicePlace, Place
from graphc.frontend.step.alone import run_alone
from graphc.frontend.step.family import Backend
from graphc.frontend.step.finiteness import Exactly, Kind
from graphc.frontend.step.inspect.checking import check
from graphc.frontend.step.inspect.inspection import GPU_STAGES, Unit
from graphc.frontend.step.inspect.profile import Limits, Run
from graphc.frontend.step.inspect.written import with_trace
from graphc.frontend.step.native import Latch, Native
from graphc.frontend.step.native_backend import native
from graphc.frontend.storage import running
from graphc.frontend.switches import Precision, precision
from graphc.ir import kernel_text
from graphc.ir.cuda_abi import Image, Source
from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Kernel
from graphc.ir.kernel_contraction import is_convolution
from graphc.ir.program import Launch, Program
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import HINTS, Evaluation
from graphc.ir.types import Array, Scalar, Shape, f32
from graphc.ir.verify_program import verify_program
from graphc.passes.known import Known, Schedules
from graphc.passes.partition import Split, partition
from graphc.passes.profile import Profile
from graphc.runtime import peaks
from graphc.runtime.cuda import device
from graphc.runtime.cuda.engine import Engine
from graphc.runtime.cuda.executor import CudaExecutable, timing
from graphc.runtime.cuda.group import Group
from graphc.runtime.disk_cache import DiskCache

__all__ = ["GpuBackend", "backend_at", "cuda_backend"]


@dataclass(frozen=True, slots=True)
class Need:
    """A kernel's code: for sizes like these, with offsets of 64 bits or without, whether it
    stores nothing once a check has failed, whether its products may be of TF32, and which of its
    buffers begin at any element, as rows of a loop do."""

    key: str
    kernel: Kernel = field(compare=False, repr=False)
    sizes: tuple[int, ...]
    wide: bool
    guarded: bool
    tf32: bool
    anywhere: tuple[int, ...] = ()


class ByPrecision:
    """A program's code as the switches of precision ask for it, which each call looks at."""

    def __init__(self, make: Callable[[], CudaExecutable]) -> None:
        """`make` gives the program as the switches are."""
        self._make = make
        self._states: Sequence[int] = ()
        self._made: dict[Precision, CudaExecutable] = {}
        self._last = self._now()

    def _now(self) -> CudaExecutable:
        asked = precision()
        found = self._made.get(asked)
        if found is None:
            found = self._made[asked] = self._make()
        return found

    @property
    def done(self) -> bool:
        return self._last.done

    @property
    def captures(self) -> int:
        return sum(x.captures for x in self._made.values())

    @property
    def program(self) -> Program:
        return self._last.program

    @property
    def orders(self) -> tuple[Shape, ...]:
        return self._last.orders

    @property
    def table_bytes(self) -> int:
        return sum(x.table_bytes for x in self._made.values())

    def bind_state(self, pointers: Sequence[int]) -> None:
        self._states = tuple(pointers)

    def doubt(self) -> None:
        """It assumes nothing of state."""

    def run(
        self, args: Sequence[int], outs: Sequence[int] = (), scalars: Sequence[Scalar] = ()
    ) -> None:
        self._last.done = False  # should there be no code for what is asked now
        self._last = self._now()
        self._last.bind_state(self._states)
        self._last.run(args, outs, scalars)

    def settle(self) -> None:
        self._last.settle()

    def watch(self, words: Array) -> bool:
        return self._last.watch(words)

    def again(self, pointers: Sequence[int], scalars: Sequence[Scalar] = ()) -> bool:
        """Of the same one: with the switches moves what tells that a call is like the last one."""
        return self._last.again(pointers, scalars)

    def latch(self, cells: Mapping[str, int], keep: object) -> Latch | None:
        return self._last.latch(cells, keep)


class CudaTemplate:
    """A program's schedule with its code: an executable for each set of sizes."""

    def __init__(self, known: Known, backend: GpuBackend) -> None:
        self._known, self._backend = known, backend
        self._hints = [x.sizes for x in known.program.launches]
        self._first = {x.kernel.key(): x.sizes for x in reversed(known.program.launches)}
        self.seen = self.needs(known.program)
        backend.images(self.seen)

    def needs(self, program: Program) -> list[Need | None]:
        """The code of each launch; None for routines."""
        largest = {s.name: s.spec.numel for s in program.slots}
        fails = any(x.kernel.may_fail() for x in program.launches if not x.kernel.call)
        rows = _rows(program)
        found: list[Need | None] = []
        for i, (x, hints) in enumerate(zip(program.launches, self._seen(program), strict=True)):
            key = x.kernel.key()
            row = rows.get(key, ())
            if x.kernel.call is not None:
                need = _routine(x, hints, largest)
                found.append(need and replace(need, anywhere=row))
                continue
            guarded, wide = fails and i >= program.commit, _is_wide(x, largest)
            found.append(Need(key, x.kernel, hints, wide, guarded, _tf32(x.kernel), row))
        return found

    def _seen(self, program: Program) -> list[tuple[int, ...]]:
        """The sizes by which each launch's blocks are chosen; of another number of trips, whose
        launches are others, those that the kernel was first seen with."""
        if len(program.launches) == len(self._hints):
            return self._hints
        return [self._first.get(x.kernel.key(), x.sizes) for x in program.launches]

    def at(self, sizes: Evaluation) -> Native:
        program = self._known.at(sizes)
        if config.verify_graphs():
            verify_program(program)

        def make() -> CudaExecutable:
            needs = self.needs(program)
            images = self._backend.images(needs)
            groups = self._backend.groups(program, needs)
            return CudaExecutable(program, images, self._backend.engine, groups)

        free = any(_may_round(x.kernel) for x in program.launches)
        return ByPrecision(make) if free else make()


def _rows(program: Program) -> dict[str, tuple[int, ...]]:
    """Of each kernel the buffers, by number, that do not begin at a multiple of what all others do
    in some launch: rows of what a loop reads and writes."""
    crooked = {s.name for s in program.slots if s.space == "arena" and s.index % ALIGN}
    found: dict[str, set[int]] = {}
    for x in program.launches if crooked else ():
        rows = {k for k, name in enumerate(x.slots) if name in crooked}
        found.setdefault(x.kernel.key(), set()).update(rows)
    return {key: tuple(sorted(rows)) for key, rows in found.items()}


def _routine(launch: Launch, hints: tuple[int, ...], numel: dict[str, int]) -> Need | None:
    """The code of a routine, which is for rows of one length; None where the host runs it."""
    kernel, sizes = launch.kernel, launch.sizes
    if not routine.takes(kernel, sizes):
        return None
    sizes = hints if routine.length(kernel, hints) == routine.length(kernel, sizes) else sizes
    return Need(kernel.key(), kernel, sizes, _is_wide(launch, numel), False, False)


def _may_round(kernel: Kernel) -> bool:
    """Whether it multiplies what the switches of precision speak of."""
    products = {"contract": product_dtype, "attention": attention_kernel.dtype}
    return kernel.kind in products and products[kernel.kind](kernel) is f32


def _tf32(kernel: Kernel) -> bool:
    """What they say of it now."""
    if not _may_round(kernel):
        return False
    allowed = precision()
    convolves = kernel.kind == "contract" and is_convolution(kernel)
    return allowed.convolution if convolves else allowed.matmul


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
        disk = DiskCache()
        self._schedules = Schedules(disk, self._profile)
        self._library = GpuLibrary(self.target, disk)
        self._sources: dict[Need, Source] = {}
        self._images: dict[Need, Image] = {}
        self.engine = Engine(on, running, lambda text, names: native().functions(text, names))

    @property
    def profile(self) -> Profile:
        return self._profile

    def build(self, graph: Graph, trace_ms: float) -> tuple[Unit, CudaTemplate]:
        known = self._schedules.of(graph)
        native = CudaTemplate(known, self)
        stages = with_trace(graph, trace_ms, known.stages)
        needs = [n for n in native.seen if n is not None]
        shown = {n.kernel.key(): n for n in reversed(needs)}  # where it was launched first
        unit = Unit(
            graph.name, stages, known.program, kernel_text.show,
            lambda kernel, level: self._code(kernel, level, shown.get(kernel.key())),
            codes=GPU_STAGES, device=f"cuda:{self.engine.device.index}",
            blocks=tuple(self._blocks(n) for n in dict.fromkeys(needs)), coded=frozenset(shown),
            found=known.found,
        )  # fmt: skip
        if config.verify():
            graphs = [(s.name, at_sizes(s.graph, HINTS)) for s in known.stages if s.graph]
            here = at_sizes(graph, HINTS)
            on = accelerator().place(self.engine.device.index)
            check(here, graphs, lambda inputs: run_alone(here, native.at(HINTS), inputs, on))
        return unit, native

    def on(self, place: Place) -> Backend:
        return self

    def checking(self, kind: Kind) -> Backend:
        raise Exactly

    def split(self, joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
        return partition(joint, gradients, cotangents)

    @contextmanager
    def timing(self) -> Iterator[Sequence[Run]]:
        """On all GPUs."""
        runs: list[Run] = []
        with timing(runs):
            yield runs

    def peaks(self, device: str = "cuda") -> Limits | None:
        return peaks.load(device)

    def counts(self) -> tuple[int, int]:
        """On FakeDriver, which runs the text itself, each text counts as compiled."""
        if self._fake:
            return len({s.text for s in self._sources.values()}), 0
        return self._library.compiled, self._library.hits

    def source(self, need: Need) -> Source:
        found = self._sources.get(need)
        if found is None:
            found = self._sources[need] = emit(
                need.kernel,
                need.sizes,
                self.target,
                wide=need.wide,
                guarded=need.guarded,
                tf32=need.tf32,
                anywhere=need.anywhere,
            )
        return found

    def images(self, needs: Sequence[Need | None]) -> list[Image | None]:
        """Compiled code; what is new is compiled together."""
        missing = [n for n in dict.fromkeys(needs) if n is not None and n not in self._images]
        sources = [self.source(n) for n in missing]
        self._images |= zip(missing, self.compiled(sources), strict=True)
        return [None if n is None else self._images[n] for n in needs]

    def groups(self, program: Program, needs: Sequence[Need | None]) -> list[Group]:
        """Elementwise launches with one text that wait for nothing between them."""
        alike: dict[tuple[int, Source], list[int]] = {}
        stretch = 0
        for i, (x, need) in enumerate(zip(program.launches, needs, strict=True)):
            stretch += x.barrier or i == program.commit or need is None
            if need is not None and not need.anywhere and may_group(need.kernel):
                anywhere = replace(need, sizes=(TYPICAL,) * len(need.sizes))
                alike.setdefault((stretch, self.source(anywhere)), []).append(i)
        found = []
        for (_, single), members in alike.items():
            together = grouped(single) if len(members) > 1 else None
            if together is not None:
                found.append((tuple(members), single, together))
        images = self.compiled([together for *_, together in found])
        return [Group(m, single, x) for (m, single, _), x in zip(found, images, strict=True)]

    def compiled(self, sources: Sequence[Source]) -> list[Image]:
        return [Image(s) for s in sources] if self._fake else self._library.images(sources)

    def _blocks(self, need: Need) -> str:
        """What `explain` says of a kernel's code."""
        source = self.source(need)
        blocks = "x".join(str(d.block) for d in source.grid) or "1"
        constants = "".join(f", {name}={value}" for name, value in source.constants)
        told = f"{need.kernel.name}: blocks of {blocks}, {source.num_warps} warps{constants}"
        told += ", 64-bit offsets" if need.wide else ""
        told += ", tensor descriptors" if DESCRIBES in source.text else ""
        return told + (", products of TF32" if need.tf32 else "")

    def _code(self, kernel: Kernel, level: str, need: Need | None) -> str:
        if need is None:
            return f"# {kernel.name} has no code of ours: NumPy runs it on the host\n"
        if level not in GPU_STAGES:
            raise NotAvailable(f"no `{level}`: device is cuda", fix=f"read {', '.join(GPU_STAGES)}")
        source = self.source(need)
        if level == "triton":
            return source.text
        (image,) = self._library.images([source])  # which FakeDriver has not asked for
        return image.ptx if level == "ptx" else sass(image)


@cache
def cuda_backend(on: device.Device) -> GpuBackend:
    """The one back end of a device, which its first compile makes."""
    return GpuBackend(on)


def backend_at(place: Place) -> GpuBackend:
    """The back end of the device whose memory this is."""
    return cuda_backend(device.current(cast(DevicePlace, place).index))
