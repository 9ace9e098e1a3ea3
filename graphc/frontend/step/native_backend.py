"""The compiler for this machine's CPU: passes, code generation and the engine put together."""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import NamedTuple

from graphc import config
from graphc.codegen_cpu.describe import describe
from graphc.codegen_cpu.jit import assembly
from graphc.codegen_cpu.library import Functions, KernelLibrary
from graphc.codegen_cpu.module import emit_kernel
from graphc.codegen_cpu.profile import profile
from graphc.codegen_cpu.target import Target
from graphc.errors import FileFormatError
from graphc.frontend.places import Place
from graphc.frontend.step.alone import run_alone
from graphc.frontend.step.checking import check
from graphc.frontend.step.family import Backend
from graphc.frontend.step.inspection import Unit
from graphc.frontend.step.profile import Limits, Run, print_tally
from graphc.frontend.step.progress import Progress
from graphc.frontend.step.written import with_trace
from graphc.frontend.storage import running
from graphc.ir import kernel_text
from graphc.ir.fingerprint import symbols_of
from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Kernel
from graphc.ir.program import Program
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import HINTS, Evaluation
from graphc.ir.symbols import Symbol
from graphc.ir.verify_program import verify_program
from graphc.passes.late import LateStage, late_stages
from graphc.passes.partition import Split, partition
from graphc.passes.pipeline import StageRecord, compile_graph
from graphc.passes.profile import Profile
from graphc.passes.schedule import Schedule
from graphc.passes.stored import check_stored, key_of, restored, stored
from graphc.runtime import peaks
from graphc.runtime.cpu.dispatch import walker
from graphc.runtime.cpu.executor import Engine, Executable
from graphc.runtime.disk_cache import DiskCache
from graphc.runtime.tally import Tally

SMALL_BYTES = 1 << 16  # a program that touches less is done before other threads wake


class NativeTemplate:
    """A program's schedule with its code: an Executable for each set of sizes."""

    def __init__(
        self,
        schedule: Schedule,
        program: Program,
        functions: Functions,
        engine: Engine,
        checked: bool,
        symbols: Iterable[Symbol],
    ) -> None:
        """`program`: at the sizes seen, and its kernels' `functions`; `checked`: these check
        bounds."""
        self._schedule, self._seen, self._engine = schedule, program, engine
        self._checked, self._symbols, self._code = checked, tuple(symbols), functions.code
        self._of = {k.key(): f for k, f in zip(program.kernels(), functions, strict=True)}

    def at(self, sizes: Evaluation) -> Executable:
        seen = all(sizes.of(s) == s.hint for s in self._symbols)
        program = self._seen if seen else self._schedule.at(sizes)
        if config.verify_graphs():
            verify_program(program)
        small = sum(s.size_bytes for s in program.slots if not s.within) < SMALL_BYTES
        kernels = (x.kernel for x in program.launches)
        found = (0 if k.call is not None else self._of[k.key()] for k in kernels)
        functions = Functions(found, self._code)
        return Executable(
            program, functions, self._engine, parallel=not small, checked=self._checked
        )


class Made(NamedTuple):
    """What compiling a graph gives, or finding what it gave."""

    schedule: Schedule
    program: Program  # for the sizes seen
    stages: tuple[LateStage | StageRecord, ...]
    functions: Functions


class NativeBackend:
    """Compiles for this machine's CPU: one library of kernels and one engine for the process."""

    def __init__(self) -> None:
        self._target = Target.host()
        self._profile = profile(self._target)
        self._disk = DiskCache()
        self._library = KernelLibrary(self._target, self._disk)
        self._progress = Progress()
        self._library.told = self._progress.tell
        self._engine = Engine(walker(self._library.native, self._target.triple), running)

    @property
    def profile(self) -> Profile:
        return self._profile

    def build(self, graph: Graph, trace_ms: float) -> tuple[Unit, NativeTemplate]:
        checked = config.check_bounds()
        with self._progress.of(graph.name):
            found, key = self._found(graph, checked)
            schedule, program, stages, functions = found or self._made(graph, key, checked)
        symbols = set(symbols_of(graph))
        native = NativeTemplate(schedule, program, functions, self._engine, checked, symbols)
        unit = Unit(
            graph.name,
            with_trace(graph, trace_ms, stages),
            program,
            kernel_text.show,
            self._code,
            found=found is not None,
        )
        if config.verify():
            graphs = [(s.name, s.graph) for s in stages if s.graph is not None]
            graphs = [(name, at_sizes(g, HINTS)) for name, g in graphs]
            here = at_sizes(graph, HINTS)
            check(here, graphs, lambda inputs: run_alone(here, native.at(HINTS), inputs))
        return unit, native

    def _found(self, graph: Graph, checked: bool) -> tuple[Made | None, str]:
        """What an earlier process made of an equal graph, and the key that finds it."""
        if config.verify_graphs():  # what is verified is what passes make now
            return None, ""
        start = time.perf_counter()
        key = key_of(graph, self._profile)
        data = self._disk.get(key)
        if data is None:
            return None, key
        try:
            schedule = restored(data, graph, self._profile)
        except FileFormatError:
            return None, key
        program = schedule.at(HINTS)
        ms = 1e3 * (time.perf_counter() - start)
        stages = late_stages(graph, self._profile, program, ms)
        return Made(schedule, program, stages, self._functions(program, checked)), key

    def _functions(self, program: Program, checked: bool) -> Functions:
        return self._library.functions(program.kernels(), checked)

    def _made(self, graph: Graph, key: str, checked: bool) -> Made:
        """What passes make of a graph now; kernels are compiled from when they are lowered."""
        with self._library.ahead(checked) as begin:
            compiled = compile_graph(graph, self._profile, made=begin)
            for kernel in compiled.program.kernels():
                begin(kernel)
            data = stored(compiled.schedule, graph)  # meanwhile threads compile
            if config.verify_graphs():
                check_stored(data, compiled.schedule, graph)
            elif data is not None:
                self._disk.put(key, data)
            functions = self._functions(compiled.program, checked)
        return Made(compiled.schedule, compiled.program, compiled.stages, functions)

    def split(self, joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
        return partition(joint, gradients, cotangents)

    def timing(self) -> AbstractContextManager[Sequence[Run]]:
        return self._engine.timing()

    def tally(self) -> Tally:
        """From now on, the times of all runs are put together by program."""
        return self._engine.tally()

    def peaks(self, device: str = "cpu") -> Limits | None:
        return peaks.load(device)

    def busy(self) -> bool:
        """Whether this thread is in the middle of a program, as a handler is that asks."""
        with running.lock:  # once no other thread is
            return bool(running.programs or self._engine.busy)

    def on(self, place: Place) -> Backend:
        return self

    def counts(self) -> tuple[int, int]:
        return self._library.compiled, self._library.hits

    def _code(self, kernel: Kernel, level: str) -> str:
        if level == "plan":
            return describe(kernel, self._target)
        if kernel.kind == "routine":
            return f"; {kernel.name} has no code of ours: NumPy runs it on the host\n"
        code = _llvm(kernel, self._target)
        return code if level == "llvm" else assembly(code, self._target)


@lru_cache(maxsize=1)
def _llvm(kernel: Kernel, target: Target) -> str:
    """Whoever looks at one level often looks at the next."""
    return emit_kernel(kernel, target)


@lru_cache(maxsize=1)
def native() -> NativeBackend:
    """Made by the first compile, so that importing graphc does not start LLVM."""
    backend = NativeBackend()
    if config.profile():
        tally = backend.tally()
        atexit.register(lambda: print_tally(tally.means(), backend.peaks()))
    return backend


def native_backend() -> Backend:
    return native()
