"""Code of this process: compiled by LLVM, or an image that is copied to where it may run.

One object a kernel and one piece of memory for many: an image of each kernel is its own cache
entry, and a program's are copied side by side. What has no image (`elf.py`) LLVM's engine loads.

Traps (llvmlite 0.50, LLVM 22): an MCJIT engine owns the TargetMachine it was made with, which is
therefore never used again; dropping an engine unmaps code whose addresses may still be held, so
whoever holds an address holds its `Loaded`; an unresolved symbol ends the process at load, so it
is looked for while compiling; so do a function and its constants 2 GB apart, which a large process
has room for in such places only, so the memory of an engine is asked for in one piece (`use_lmm`);
but that piece has no room for the table by which code for x86-64 calls the library, and it ends
the process when it finds out, so objects that call get theirs piece by piece.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import llvmlite.binding as llvm

from graphc.codegen_cpu.elf import ALIGN, LIBRARY, Image, image_of, undefined_symbols, unpacked
from graphc.codegen_cpu.llvm import Processor, assembly_text, machine_of, object_code
from graphc.codegen_cpu.server import checked
from graphc.codegen_cpu.target import Target
from graphc.errors import BackendError

PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}

# One thread compiles or loads at a time, as it is several calls on shared objects. A fork waits for
# it, else the child would inherit it locked by a thread that the child does not have.
LLVM_LOCK = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=LLVM_LOCK.acquire,
        after_in_parent=LLVM_LOCK.release,
        after_in_child=LLVM_LOCK.release,
    )


def processor_of(target: Target) -> Processor:
    return Processor(target.triple, target.cpu, target.features)


def compile_module(text: str, target: Target) -> bytes:
    """Object code of a module, made in this process. Raises BackendError if LLVM refuses it or it
    needs a library."""
    with LLVM_LOCK:
        return checked(object_code(text, processor_of(target)))


def assembly(text: str, target: Target) -> str:
    """What `compile_module` makes, as assembly text."""
    with LLVM_LOCK:
        return assembly_text(text, processor_of(target))


class Loaded:
    """Code mapped into this process, which lives as long as this does."""

    def __init__(self, find: Callable[[str], int], size_bytes: int = 0) -> None:
        """`find` gives a function's address, or 0."""
        self.find = find
        self.size_bytes = size_bytes  # of the code

    def address(self, symbol: str) -> int:
        """Where `symbol` is. Raises BackendError if nothing defines it."""
        found = self.find(symbol)
        if not found:
            raise BackendError(f"object code lacks {symbol}")
        return found


def load_objects(objects: Sequence[bytes], target: Target) -> Loaded:
    """Map objects, or the images of such, side by side."""
    images = [unpacked(code) or image_of(code) for code in objects]
    known = [image for image in images if image is not None]
    others = [code for code, image in zip(objects, images, strict=True) if image is None]
    if not others:
        return _copied(known)
    if not known:
        return _engine(others, target)
    parts = _copied(known), _engine(others, target)
    sizes = sum(part.size_bytes for part in parts)
    return Loaded(lambda symbol: parts[0].find(symbol) or parts[1].find(symbol), sizes)


# ---- images -------------------------------------------------------------------------------------


def _copied(images: Sequence[Image]) -> Loaded:
    """Copy images into memory of their own, which nobody can write afterwards."""
    size = sum(len(i.code) + ALIGN for i in images)
    memory = mmap.mmap(-1, max(1, size), **PRIVATE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    functions: dict[str, int] = {}
    at = 0
    for image in images:
        memory[at : at + len(image.code)] = image.code
        for name, cell in image.calls.items():
            memory[at + cell : at + cell + 8] = _library()[name].to_bytes(8, "little")
        functions |= {name: base + at + offset for name, offset in image.functions.items()}
        at += -(-len(image.code) // ALIGN) * ALIGN
    _seal(base, len(memory))
    return Loaded(_Kept(memory, functions).find, size)


class _Kept:
    """Memory with the functions in it."""

    def __init__(self, memory: mmap.mmap, functions: Mapping[str, int]) -> None:
        self._memory, self._functions = memory, functions

    def find(self, symbol: str) -> int:
        return self._functions.get(symbol, 0)


@cache
def _library() -> dict[str, int]:
    """Where the functions are that code may call."""
    library = ctypes.CDLL(None)
    found = {name: ctypes.cast(getattr(library, name), ctypes.c_void_p) for name in LIBRARY}
    return {name: address.value or 0 for name, address in found.items()}


def _seal(base: int, size: int) -> None:
    """Let memory be read and run, no more written. Raises BackendError if the system forbids it."""
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    if protect(base, size, mmap.PROT_READ | mmap.PROT_EXEC):
        reason = os.strerror(ctypes.get_errno())
        raise BackendError(f"the system lets no code run that a process made: {reason}")


# ---- LLVM's engine ------------------------------------------------------------------------------

_unused: deque[llvm.ExecutionEngine] = deque()  # engines whose code nobody can call any more


class _Engine:
    """An engine that is closed with whoever holds this."""

    def __init__(self, engine: llvm.ExecutionEngine) -> None:
        self._engine = engine
        weakref.finalize(self, _unmap, engine).atexit = False

    def find(self, symbol: str) -> int:
        with LLVM_LOCK:
            return int(self._engine.get_function_address(symbol))


def _engine(objects: Sequence[bytes], target: Target) -> Loaded:
    """Map objects in one engine: 60 load in 2 ms, where 60 engines take 50."""
    with LLVM_LOCK:
        _unmap_unused()
        machine = machine_of(processor_of(target))
        calls = target.triple.startswith("x86") and any(any(undefined_symbols(o)) for o in objects)
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine, use_lmm=not calls)
        for code in objects:
            engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
    return Loaded(_Engine(engine).find, sum(map(len, objects)))


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
