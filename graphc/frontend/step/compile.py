"""`graphc.compile`: the one place where passes, code generation and runtime meet.

@graphc.compile                       a step function, or a Module class
@graphc.compile(on_limit="raise")
graphc.compile(model)                 the same model, its calls compiled
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache, partial
from typing import Any, cast, overload

from graphc.errors import InvalidType
from graphc.frontend.devices import MAKERS, Accelerator
from graphc.frontend.eager.blocks import MAKERS as BLOCK_MAKERS
from graphc.frontend.eager.compiled import DRAWERS, RUNNERS
from graphc.frontend.eager.groups import MAKERS as GROUP_MAKERS
from graphc.frontend.eager.groups import Recipe, Runner
from graphc.frontend.places import HOST, Place
from graphc.frontend.replaced import REPLACERS, Replacer
from graphc.frontend.step.checked import CheckedFunction, CheckedModule
from graphc.frontend.step.compile_options import checked
from graphc.frontend.step.compiled import CompiledFunction, CompiledModule
from graphc.frontend.step.family import Backend
from graphc.frontend.step.finiteness import Kind
from graphc.frontend.step.grouped import Groups
from graphc.frontend.step.inspect.profile import Limits, Run
from graphc.frontend.step.inspect.recompiles import assert_max_compiles
from graphc.frontend.step.native_backend import native, native_backend
from graphc.frontend.step.one_op import OneOp, OverVectors
from graphc.frontend.step.plainly import disable
from graphc.frontend.step.python.found import is_module
from graphc.frontend.step.signature import refuse_foreign
from graphc.frontend.step.typed import Compiler, M, P, R, Step, T
from graphc.ir.graph import Graph, Value
from graphc.ir.ops import Attrs, Op
from graphc.ir.types import Array, Shape, TensorSpec
from graphc.passes.partition import Split, partition
from graphc.passes.profile import Profile
from graphc.runtime import peaks

__all__ = ["assert_max_compiles", "compile", "disable"]


class _LateBackend:
    """The backend of the device that a step is on, not made before it is needed."""

    @property
    def profile(self) -> Profile:
        return native_backend().profile

    def on(self, place: Place) -> Backend:
        return native_backend() if place is HOST else _backend_of(place)

    def checking(self, kind: Kind) -> Backend:
        return native_backend().checking(kind)

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

    def peaks(self, device: str = "cpu") -> Limits | None:
        return peaks.load(device)

    def counts(self) -> tuple[int, int]:
        """Of all devices."""
        rows = [native_backend().counts(), *(b.counts() for b in _on_devices.values())]
        return sum(n for n, _ in rows), sum(hits for _, hits in rows)


LARGE = 512  # programs of large products kept: some 50 KB each, where they differ in all
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


@lru_cache(maxsize=1)
def _single() -> OneOp:
    return OneOp(native_backend(), lambda *_: False, kept=LARGE)


def _run_compiled(op: Op, arrays: Sequence[Array], attrs: Attrs, spec: TensorSpec) -> Array | None:
    """An eager operation of the host that NumPy would be slow at; None inside a program's run."""
    if native().busy():
        return None
    return cast(Array, _single().run(HOST, op, arrays, [False] * len(arrays), attrs, spec))


@lru_cache(maxsize=1)
def _over_vectors() -> OverVectors:
    return OverVectors(native_backend(), kept=LARGE)


def _draw_compiled(
    op: Op, arrays: Sequence[Array], numbers: Sequence[bool], attrs: Attrs, spec: TensorSpec
) -> Array | None:
    """What a random draw rounds, as a compiled one does; None inside a program's run."""
    if native().busy():
        return None
    programs = _over_vectors() if op.kind == "elementwise" else _single()
    return cast(Array, programs.run(HOST, op, arrays, numbers, attrs, spec))


@lru_cache(maxsize=1)
def _groups() -> Groups:
    return Groups(native_backend(), native().busy, kept=LARGE)


def _run_grouped(recipe: Recipe, sizes: Shape) -> Runner:
    """Elementwise lines of eager mode as one program."""
    return _groups()(recipe, sizes)


RUNNERS.append(_run_compiled)
DRAWERS.append(_draw_compiled)
GROUP_MAKERS.append(_run_grouped)
BLOCK_MAKERS.append(lambda graph: _groups().of(graph))
REPLACERS.append(Replacer(lambda graph: _groups().native(graph), lambda: native().busy()))


@overload  # a class is callable, too
def compile(model: type[T], **options: Any) -> type[T]: ...
@overload
def compile(model: M, **options: Any) -> M: ...
@overload
def compile(model: Callable[P, R], **options: Any) -> Step[P, R]: ...
@overload
def compile(model: None = None, **options: Any) -> Compiler: ...
def compile(model: Any = None, **options: Any) -> Any:
    """Compile a function, a Module class (its instances), a Module, or a bound method.

    A function becomes a `CompiledFunction`: its first call for each signature is traced, and runs
    as one native program. A module or class is returned itself, with compiled calls. Options:
    `on_limit` "warn" or "raise", when plans are made over and over; `grads` "keep", or "drop" to
    store no gradients of parameters, after which reading `.grad` raises; `check` "nan" or "finite"
    to stop before such a value is returned or stored, and to name the op that made it. (Not for a
    gradient that nothing is computed of, nor one that a GradScaler skips the update for.)

    PyTorch's: `fullgraph` is always so; `dynamic` None opens the first dimension of arguments, and
    others once a second size is seen, True opens all at once, False none, so that each size is a
    program of its own; `backend` "eager" and `disable=True` run calls plainly; `mode` changes
    nothing. Raises InvalidArgument for any other option or value.
    """
    checked(options)
    if model is None:
        return partial(_compile, **options)
    return _compile(model, **options)


def _compile(model: Any, **options: Any) -> Any:
    kept, plain = checked(options)
    refuse_foreign(model, "compile()")
    if plain:
        return model
    if isinstance(model, type):
        return _compile_class(model, kept)
    if is_module(model):
        kind = CheckedModule if kept.get("check") else CompiledModule
        model.__dict__["_compiled"] = kind(model, _LateBackend(), **kept)
        return model
    if not callable(model):
        raise InvalidType(
            f"compile() of a {type(model).__name__}", fix="pass a function, a Module or its class"
        )
    return (CheckedFunction if kept.get("check") else CompiledFunction)(
        model, _LateBackend(), **kept
    )


def _compile_class(cls: type, options: dict[str, Any]) -> type:
    """The same class; every instance is compiled when it has been made."""
    if not hasattr(cls, "named_parameters"):
        raise InvalidType(f"compile() of the class {cls.__name__}, which is no nn.Module")
    init = cls.__init__  # type: ignore[misc]  # wrapped below for this very class

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if type(self) is cls:
            _compile(self, **options)

    __init__.__doc__, __init__.__wrapped__ = init.__doc__, init  # type: ignore[attr-defined]
    cls.__init__ = __init__  # type: ignore[misc]
    return cls


def timing() -> AbstractContextManager[Sequence[Run]]:
    """Inside, the launches of each run of any compiled step are timed, and noted in the list."""
    return _LateBackend().timing()
