"""`graphc.compile`: the one place where passes, code generation and runtime meet.

@graphc.compile                       a step function, or a Module class
@graphc.compile(on_limit="raise")
graphc.compile(model)                 the same model, its calls compiled
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any, TypeVar, cast, overload

from graphc import config
from graphc.codegen_cpu.describe import describe
from graphc.codegen_cpu.jit import assembly
from graphc.codegen_cpu.library import KernelLibrary
from graphc.codegen_cpu.module import emit_kernel
from graphc.codegen_cpu.profile import profile
from graphc.codegen_cpu.target import Target
from graphc.errors import InvalidType
from graphc.frontend.devices import MAKERS, Accelerator
from graphc.frontend.places import HOST, Place
from graphc.frontend.step.alone import run_alone
from graphc.frontend.step.checking import check
from graphc.frontend.step.compile_options import checked
from graphc.frontend.step.compiled import (
    CompiledFunction,
    CompiledModule,
    disable,
)
from graphc.frontend.step.family import Backend
from graphc.frontend.step.found import is_module
from graphc.frontend.step.inspection import Unit
from graphc.frontend.step.profile import Limits, Run, print_tally
from graphc.frontend.step.progress import Progress
from graphc.frontend.step.recompiles import assert_max_compiles
from graphc.frontend.step.signature import refuse_foreign
from graphc.frontend.step.written import with_trace
from graphc.frontend.storage import running
from graphc.ir import kernel_text
from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Kernel
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import HINTS, Evaluation
from graphc.ir.verify_program import verify_program
from graphc.passes.partition import Split, partition
from graphc.passes.pipeline import compile_graph
from graphc.passes.profile import Profile
from graphc.passes.schedule import Schedule
from graphc.runtime import peaks
from graphc.runtime.cpu.dispatch import walker
from graphc.runtime.cpu.executor import Engine, Executable
from graphc.runtime.disk_cache import DiskCache
from graphc.runtime.tally import Tally

__all__ = ["assert_max_compiles", "compile", "disable"]

T = TypeVar("T")
SMALL_BYTES = 1 << 16  # a program that touches less is done before other threads wake


class NativeTemplate:
    """A program's schedule with its code: an Executable for each set of sizes."""

    def __init__(
        self,
        schedule: Schedule,
        functions: Sequence[int],
        engine: Engine,
        checked: bool,
    ) -> None:
        """`checked`: the functions are those that check bounds."""
        self._schedule, self._functions, self._engine = schedule, functions, engine
        self._checked = checked

    def at(self, sizes: Evaluation) -> Executable:
        program = self._schedule.at(sizes)
        if config.verify_graphs():
            verify_program(program)
        small = sum(s.size_bytes for s in program.slots) < SMALL_BYTES
        return Executable(
            program, self._functions, self._engine, parallel=not small, checked=self._checked
        )


class NativeBackend:
    """Compiles for this machine's CPU: one library of kernels and one engine for the process."""

    def __init__(self) -> None:
        self._target = Target.host()
        self._profile = profile(self._target)
        self._library = KernelLibrary(self._target, DiskCache())
        self._progress = Progress()
        self._library.told = self._progress.tell
        self._engine = Engine(walker(self._library.native, self._target.triple), running)

    @property
    def profile(self) -> Profile:
        return self._profile

    def build(self, graph: Graph, trace_ms: float) -> tuple[Unit, NativeTemplate]:
        checked = config.check_bounds()
        with self._progress.of(graph.name):
            compiled = compile_graph(graph, self._profile)
            program = compiled.program
            functions = self._library.functions([x.kernel for x in program.launches], checked)
        native = NativeTemplate(compiled.schedule, functions, self._engine, checked)
        unit = Unit(
            graph.name,
            with_trace(graph, trace_ms, compiled.stages),
            program,
            kernel_text.show,
            self._code,
        )
        if config.verify():
            graphs = [(s.name, s.graph) for s in compiled.stages if s.graph is not None]
            graphs = [(name, at_sizes(g, HINTS)) for name, g in graphs]
            here = at_sizes(graph, HINTS)
            check(here, graphs, lambda inputs: run_alone(here, native.at(HINTS), inputs))
        return unit, native

    def split(self, joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
        return partition(joint, gradients, cotangents)

    def timing(self) -> AbstractContextManager[Sequence[Run]]:
        return self._engine.timing()

    def tally(self) -> Tally:
        """From now on, the times of all runs are put together by program."""
        return self._engine.tally()

    def peaks(self) -> Limits | None:
        return peaks.load()

    def on(self, place: Place) -> Backend:
        return self

    def counts(self) -> tuple[int, int]:
        return self._library.compiled, self._library.hits

    def _code(self, kernel: Kernel, level: str) -> str:
        if level == "plan":
            return describe(kernel, self._target)
        if kernel.kind == "routine":
            return f"; {kernel.name} has no code of ours: NumPy runs it on the host\n"
        code = emit_kernel(kernel, self._target)
        return code if level == "llvm" else assembly(code, self._target)


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


class _LateBackend:
    """The backend of the device that a step is on, not made before it is needed."""

    @property
    def profile(self) -> Profile:
        return native_backend().profile

    def on(self, place: Place) -> Backend:
        return native_backend() if place is HOST else _backend_of(place)

    def build(self, graph: Graph, trace_ms: float) -> Any:
        return native_backend().build(graph, trace_ms)

    def split(self, joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
        return partition(joint, gradients, cotangents)

    @contextmanager
    def timing(self) -> Iterator[Sequence[Run]]:
        """On all devices."""
        from graphc.runtime.cuda.executor import timing

        with native_backend().timing() as runs, timing(cast("list[Any]", runs)):
            yield runs

    def peaks(self) -> Limits | None:
        return peaks.load()

    def counts(self) -> tuple[int, int]:
        """Of all devices."""
        rows = [native_backend().counts(), *(b.counts() for b in _on_devices.values())]
        return sum(n for n, _ in rows), sum(hits for _, hits in rows)


_on_devices: dict[Place, Backend] = {}


def _backend_of(place: Place) -> Backend:
    """The backend of a GPU."""
    if place not in _on_devices:
        from graphc.frontend.step.cuda_backend import backend_at

        _on_devices[place] = backend_at(place)
    return _on_devices[place]


def _accelerator() -> Accelerator:
    """What works on GPUs, with all that compiles for one, which importing graphc does not load."""
    from graphc.frontend.step.accelerated import make

    return make()


MAKERS.append(_accelerator)


@overload
def compile(model: T, **options: Any) -> T: ...
@overload
def compile(model: None = None, **options: Any) -> Callable[[T], T]: ...
def compile(model: Any = None, **options: Any) -> Any:
    """Compile a function, a Module class (its instances), a Module, or a bound method.

    A function becomes a `CompiledFunction`: its first call for each signature is traced, and runs
    as one native program. A module or class is returned itself, with compiled calls. Options:
    `on_limit` "warn" or "raise", when plans are made over and over; `grads` "keep", or "drop" to
    store no gradients of parameters, after which reading `.grad` raises; `check` "nan" or "finite"
    to stop before such a value is returned or stored, and to name the op that made it.

    PyTorch's: `fullgraph` is always so; `dynamic` None opens the first dimension of arguments, and
    others once a second size is seen, True opens all at once, False none, so that each size is a
    program of its own; `backend` "eager" and `disable=True` run calls plainly; `mode` changes
    nothing. Raises InvalidArgument for any other option or value.
    """
    kept, plain = checked(options)
    if model is None:
        return lambda real: compile(real, **options)
    refuse_foreign(model, "compile()")
    if plain:
        return model
    if isinstance(model, type):
        return _compile_class(model, kept)
    if is_module(model):
        model.__dict__["_compiled"] = CompiledModule(model, _LateBackend(), **kept)
        return model
    if not callable(model):
        raise InvalidType(
            f"compile() of a {type(model).__name__}", fix="pass a function, a Module or its class"
        )
    return CompiledFunction(model, _LateBackend(), **kept)


def _compile_class(cls: type, options: dict[str, Any]) -> type:
    """The same class; every instance is compiled when it has been made."""
    if not hasattr(cls, "named_parameters"):
        raise InvalidType(f"compile() of the class {cls.__name__}, which is no nn.Module")
    init = cls.__init__  # type: ignore[misc]  # wrapped below for this very class

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self) is cls:
            compile(self, **options)

    __init__.__doc__, __init__.__wrapped__ = init.__doc__, init  # type: ignore[attr-defined]
    cls.__init__ = __init__  # type: ignore[misc]
    return cls
