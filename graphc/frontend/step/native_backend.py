"""The compiler for this machine's CPU: passes, code generation and the engine put together."""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, lru_cache

from graphc import config
from graphc.codegen_cpu.describe import describe
from graphc.codegen_cpu.jit import LLVM_LOCK, assembly
from graphc.codegen_cpu.library import Functions, KernelLibrary
from graphc.codegen_cpu.module import emit_shared
from graphc.codegen_cpu.profile import profile
from graphc.codegen_cpu.target import Target
from graphc.frontend.places import Place
from graphc.frontend.step.alone import run_alone
from graphc.frontend.step.family import Backend
from graphc.frontend.step.finiteness import Exactly, Kind
from graphc.frontend.step.inspect.checking import check
from graphc.frontend.step.inspect.inspection import Unit
from graphc.frontend.step.inspect.profile import Limits, Run, print_tally
from graphc.frontend.step.inspect.progress import Progress
from graphc.frontend.step.inspect.written import with_trace
from graphc.frontend.storage import running
from graphc.ir import kernel_text
from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Kernel
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import HINTS, Evaluation
from graphc.ir.verify_program import verify_program
from graphc.passes.known import Known, Schedules
from graphc.passes.partition import Split, partition
from graphc.passes.profile import Profile
from graphc.runtime import peaks
from graphc.runtime.cpu.dispatch import module_text, walker
from graphc.runtime.cpu.engine import Engine
from graphc.runtime.cpu.executor import Executable
from graphc.runtime.disk_cache import DiskCache
from graphc.runtime.tally import Tally

VALUES = 16  # of a graph, about, that become a kernel
SMALL_BYTES = 1 << 16  # a program that touches less is done before other threads wake


class NativeTemplate:
    """A program's schedule with its code: an Executable for each set of sizes."""

    def __init__(self, known: Known, functions: Functions, engine: Engine, checked: bool) -> None:
        """`functions`: of its kernels; `checked`: these check bounds."""
        self._known, self._engine = known, engine
        self._checked, self._code = checked, functions.code
        self._of = {k.key(): f for k, f in zip(known.program.kernels(), functions, strict=True)}

    def at(self, sizes: Evaluation) -> Executable:
        program = self._known.at(sizes)
        if config.verify_graphs():
            verify_program(program)
        small = sum(s.size_bytes for s in program.slots if not s.within) < SMALL_BYTES
        kernels = (x.kernel for x in program.launches)
        found = (0 if k.call is not None else self._of[k.key()] for k in kernels)
        functions = Functions(found, self._code)
        return Executable(
            program, functions, self._engine, parallel=not small, checked=self._checked
        )


class NativeBackend:
    """Compiles for this machine's CPU: one library of kernels and one engine for the process."""

    def __init__(self) -> None:
        self._target = Target.host()
        self._profile = profile(self._target)
        self._disk = DiskCache()
        self._schedules = Schedules(self._disk, self._profile)
        self._library = KernelLibrary(self._target, self._disk)
        self._progress = Progress()
        self._library.told = self._progress.tell
        self._loop = module_text(self._target.triple)
        self._library.foresee(self._loop)
        self._started: Engine | None = None

    @property
    def _engine(self) -> Engine:
        """Started by the first program: its kernels are compiled along with the engine's loop."""
        if self._started is None:
            with LLVM_LOCK:
                if self._started is None:
                    loop = walker(self._library.native, self._target.triple)
                    self._started = Engine(loop, running)
        return self._started

    @property
    def profile(self) -> Profile:
        return self._profile

    def build(self, graph: Graph, trace_ms: float) -> tuple[Unit, NativeTemplate]:
        checked = config.check_bounds()
        if not self._profile.narrow and any(v.attrs.get("narrow") for v in graph.values()):
            _note_exact()
        with self._progress.of(graph.name):
            known, key = self._schedules.find(graph)
            if known is None:
                known, native = self._made(graph, key, checked)
            else:
                functions = self._library.functions(known.program.kernels(), checked)
                native = NativeTemplate(known, functions, self._engine, checked)
        unit = Unit(
            graph.name,
            with_trace(graph, trace_ms, known.stages),
            known.program,
            kernel_text.show,
            self._code,
            found=known.found,
        )
        if config.verify():
            graphs = [(s.name, s.graph) for s in known.stages if s.graph is not None]
            graphs = [(name, at_sizes(g, HINTS)) for name, g in graphs]
            here = at_sizes(graph, HINTS)
            check(here, graphs, lambda inputs: run_alone(here, native.at(HINTS), inputs))
        return unit, native

    def _made(self, graph: Graph, key: str, checked: bool) -> tuple[Known, NativeTemplate]:
        """What passes make of a graph now; kernels are compiled from when they are lowered."""
        count = 1 + len(graph.values()) // VALUES
        with self._library.ahead(checked, count) as batch:
            if self._started is None:
                batch.begin_text(self._loop)
            made = self._schedules.make(graph, key, batch.begin)  # meanwhile processes compile
            functions = self._library.functions(made.program.kernels(), checked)
            return made, NativeTemplate(made, functions, self._engine, checked)

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
            return bool(running.programs or (self._started and self._started.busy))

    def on(self, place: Place) -> Backend:
        return self

    def checking(self, kind: Kind) -> Backend:
        return _checking(self, kind)

    def counts(self) -> tuple[int, int]:
        return self._library.compiled, self._library.hits

    def functions(self, text: str, symbols: Sequence[str]) -> Sequence[int]:
        """Functions of LLVM text, as those of this machine that others run."""
        return self._library.native(f'target triple = "{self._target.triple}"\n{text}', symbols)

    def _code(self, kernel: Kernel, level: str) -> str:
        if level == "plan":
            return describe(kernel, self._target)
        if kernel.kind == "routine":
            return f"; {kernel.name} has no code of ours: NumPy runs it on the host\n"
        code = _llvm(kernel, self._target)
        return code if level == "llvm" else assembly(code, self._target)


class _Checking(NativeBackend):
    """The same, with kernels that test what they store."""

    def __init__(self, of: NativeBackend, kind: Kind) -> None:
        if config.check_bounds():  # those kernels stop at any error, behind the commit point, too
            raise Exactly
        vars(self).update(vars(of))
        self._of = of
        self._profile = replace(of.profile, check=kind)
        self._schedules = Schedules(self._disk, self._profile)

    @property
    def _engine(self) -> Engine:
        return self._of._engine

    def split(self, joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
        """A backward that runs later, when nobody would find out what is bad."""
        raise Exactly


@cache
def _checking(of: NativeBackend, kind: Kind) -> _Checking:
    """One for all steps, as what it tests is: they share schedules."""
    return _Checking(of, kind)


@cache
def _note_exact() -> None:
    """Once in a process."""
    warnings.warn(
        'float32 products stay exact: this processor lacks avx512bf16, which "medium" asks for',
        stacklevel=2,
    )


@lru_cache(maxsize=1)
def _llvm(kernel: Kernel, target: Target) -> str:
    """Whoever looks at one level often looks at the next."""
    return emit_shared(kernel, target).text


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
