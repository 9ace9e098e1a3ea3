"""LLVM text -> object code -> addresses, through llvmlite's binding layer.

One object a kernel and one engine for many objects: with a shared TargetMachine a module of one
kernel costs 0.6 ms more than its share of a module of ten, and an engine with 60 objects loads in
2 ms where 60 engines take 50. So every kernel is its own cache entry, and nothing is batched.

Traps (llvmlite 0.50, LLVM 22): an MCJIT engine owns the TargetMachine it was made with, which is
therefore never used again; dropping an engine unmaps code whose addresses may still be held, so
whoever holds an address holds its `Loaded`; an unresolved symbol ends the process at load, so it
is looked for while compiling; so do a function and its constants 2 GB apart, which a large process
has room for in such places only, so the memory of an engine is asked for in one piece (`use_lmm`).
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from typing import Any, cast

import llvmlite.binding as llvm

from graphc.codegen_cpu.target import Target
from graphc.errors import BackendError

LLVM_VERSION = ".".join(map(str, llvm.llvm_version_info))

# The emitted text is already vectorised, unrolled and hoisted: these clean up after it, in 0.6 ms
# for a microkernel of 24 accumulators where the standard pipelines take 2.5 (level 1) and 3.3.
PASSES = ("sroa", "simplify_cfg", "instruction_combine", "new_gvn", "aggressive_dce")

# Code generation may turn a copy loop or an intrinsic into these, which any process has.
LIBRARY_SYMBOLS = frozenset({"memset", "memcpy", "memmove", "_GLOBAL_OFFSET_TABLE_"})

# llvmlite serialises single calls; a compilation is several of them on shared objects. A fork
# waits for it, else the child would inherit it locked by a thread that the child does not have.
LLVM_LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=LLVM_LOCK.acquire,
        after_in_parent=LLVM_LOCK.release,
        after_in_child=LLVM_LOCK.release,
    )


@cache
def _initialize() -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


def machine_of(target: Target) -> llvm.TargetMachine:
    """A fresh TargetMachine. The default code model is large, with movabs for every constant."""
    _initialize()
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, reloc="pic", codemodel="small"
    )


@lru_cache(maxsize=4)
def _shared_machine(target: Target) -> llvm.TargetMachine:
    """For compiling only: never handed to an engine."""
    return machine_of(target)


def _unlocked(name: str) -> Callable[..., Any]:
    """An LLVM function without llvmlite's own lock, for objects that one thread alone uses."""
    function = getattr(llvm.ffi.lib, name)
    return cast("Callable[..., Any]", getattr(function, "_cfn", function))


class Module:
    """Text on its way to object code, with all that LLVM needs for it: two modules share nothing,
    so that each may be compiled in a thread of its own."""

    def __init__(self, text: str, machine: llvm.TargetMachine) -> None:
        """Raises BackendError if LLVM refuses the text."""
        context = llvm.create_context()  # of its own: types and constants live as long as this
        try:
            self._module = llvm.parse_assembly(text, context)
            self._module.verify()
        except RuntimeError as e:
            raise BackendError(f"LLVM refuses generated code: {e}") from None
        self._machine = machine
        self._manager = llvm.create_new_module_pass_manager()
        for name in PASSES:
            getattr(self._manager, f"add_{name}_pass")()
        options = llvm.create_pipeline_tuning_options(speed_level=1)
        self._builder = llvm.create_pass_builder(machine, options)
        self._optimise = _unlocked("LLVMPY_RunNewModulePassManager")
        self._emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")
        self._buffer: Any = None
        self._error = llvm.ffi.OutputString()
        # The collector finalises the objects of a ring in any order, and a module without its
        # context ends the process; so nothing but this lets go of them.
        self._close = weakref.finalize(
            self, _close_all, self._manager, (self._builder, self._module, context)
        )
        self._close.atexit = False

    def optimised(self) -> llvm.ModuleRef:
        self._optimise(self._manager, self._module, self._builder)
        return self._module

    def run(self) -> None:
        """The long part: two calls of LLVM, during which other threads run, Python's as well."""
        self._optimise(self._manager, self._module, self._builder)
        self._buffer = self._emit(self._machine, self._module, 1, self._error)

    def code(self) -> bytes:
        """The object code, after `run`. Raises BackendError if it needs a library."""
        if not self._buffer:
            raise BackendError(f"LLVM makes no object code: {self._error}")
        lib, buffer, self._buffer = llvm.ffi.lib, self._buffer, None
        at, size = lib.LLVMPY_GetBufferStart(buffer), lib.LLVMPY_GetBufferSize(buffer)
        code = ctypes.string_at(at, size)
        lib.LLVMPY_DisposeMemoryBuffer(buffer)
        self._close()
        missing = sorted(set(undefined_symbols(code)) - LIBRARY_SYMBOLS)
        if missing:
            raise BackendError(f"generated code calls {', '.join(missing)}, which no library has")
        return code


def _close_all(manager: llvm.ModulePassManager, owned: Sequence[llvm.ffi.ObjectRef]) -> None:
    llvm.ffi.lib.LLVMPY_DisposeNewModulePassManger(manager)  # its own `close` frees nothing
    manager.detach()
    for thing in owned:
        thing.close()


def compile_module(text: str, target: Target) -> bytes:
    """Object code of a module. Raises BackendError if LLVM refuses it or it needs a library."""
    with LLVM_LOCK:
        module = Module(text, _shared_machine(target))
        module.run()
        return module.code()


def assembly(text: str, target: Target) -> str:
    """What `compile_module` makes, as assembly text."""
    with LLVM_LOCK:
        machine = _shared_machine(target)
        module = Module(text, machine)  # what it owns is closed with it
        return str(machine.emit_assembly(module.optimised()))


class Loaded:
    """Objects mapped into this process; code lives as long as this does."""

    def __init__(self, engine: llvm.ExecutionEngine, size_bytes: int = 0) -> None:
        self._engine = engine
        self.size_bytes = size_bytes  # of the objects
        weakref.finalize(self, _unmap, engine).atexit = False

    def address(self, symbol: str) -> int:
        """Where `symbol` is. Raises BackendError if no object defines it."""
        with LLVM_LOCK:
            found = int(self._engine.get_function_address(symbol))
        if not found:
            raise BackendError(f"object code lacks {symbol}")
        return found


_unused: deque[llvm.ExecutionEngine] = deque()  # engines whose code nobody can call any more


def _unmap(engine: llvm.ExecutionEngine) -> None:
    """Free an engine. Runs wherever the garbage collector does, so it never waits: while another
    thread compiles, the engine is left to the next load."""
    _unused.append(engine)
    if LLVM_LOCK.acquire(blocking=False):
        try:
            _unmap_unused()
        finally:
            LLVM_LOCK.release()


def _unmap_unused() -> None:
    """The caller holds LLVM_LOCK."""
    while _unused:
        _unused.pop().close()


def load_objects(objects: Sequence[bytes], target: Target) -> Loaded:
    """Map objects in one engine."""
    with LLVM_LOCK:
        _unmap_unused()
        machine = machine_of(target)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=True)
        for code in objects:
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
    return Loaded(engine, sum(map(len, objects)))


# ---- ELF: the names an object needs from outside ------------------------------------------------


def undefined_symbols(code: bytes) -> Iterator[str]:
    """Names of undefined symbols of a 64-bit little-endian ELF object; none for other formats."""
    if code[:6] != b"\x7fELF\x02\x01":
        return
    (sections_at,) = struct.unpack_from("<Q", code, 0x28)
    size, count = struct.unpack_from("<HH", code, 0x3A)
    sections = [
        # (type, offset, size, link)
        (*struct.unpack_from("<4xI", code, at), *struct.unpack_from("<24xQQI", code, at))
        for at in range(sections_at, sections_at + size * count, size)
    ]
    for kind, offset, length, link in sections:
        if kind != 2:  # SHT_SYMTAB
            continue
        names_at = sections[link][1]
        for at in range(offset + 24, offset + length, 24):  # symbol 0 is reserved
            name, section = struct.unpack_from("<IxxH", code, at)
            if section == 0:
                start = names_at + name
                yield code[start : code.index(b"\0", start)].decode()
