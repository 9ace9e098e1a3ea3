"""The process's compiled kernels: looked up in memory, then on disk, then compiled.

An entry is found by what its code depends on: the kernel's text without names, the target, LLVM's
version and the sources of this package. Equal kernels of different programs are one entry, so a
new batch size finds everything here. One thread compiles at a time (LLVM has one lock for the
process), and another that wants the same kernels finds them when it gets its turn.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Protocol

from graphc.codegen_cpu import walk
from graphc.codegen_cpu.jit import LLVM_LOCK, LLVM_VERSION, Loaded, compile_module, load_objects
from graphc.codegen_cpu.target import Target
from graphc.ir.cpu_abi import Walker
from graphc.ir.kernel import Kernel

CHECKED = "; every access checked\n"  # before the text of a kernel: another function


class Cache(Protocol):
    """Where object code outlives the process; `runtime.disk_cache.DiskCache` is one."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, data: bytes) -> None: ...


@lru_cache(maxsize=1)
def code_hash() -> str:
    """Hash of this package's sources: a changed generator finds none of the old one's entries."""
    state = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(__file__).parent.glob("*.py")):
        state.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return state.hexdigest()


def environment(target: Target) -> str:
    """The part of a key that all kernels of a target share."""
    features = ",".join(sorted(f for f in target.features.split(",") if f.startswith("+")))
    return "\n".join((target.triple, target.cpu, features, LLVM_VERSION, code_hash()))


class KernelLibrary:
    """Addresses of compiled kernels, which stay mapped for the life of the library."""

    def __init__(self, target: Target, cache: Cache | None = None) -> None:
        self.target = target
        self.compiled = 0  # kernels that LLVM compiled
        self.hits = 0  # kernels found on disk
        self.seconds = 0.0  # spent in looking up, compiling and loading
        self._cache = cache
        self._environment = environment(target)
        self._addresses: dict[str, int] = {}
        self._loaded: list[Loaded] = []

    def functions(self, kernels: Sequence[Kernel], checked: bool = False) -> list[int]:
        """The address of each kernel's function, in order; 0 for a routine, which has no code.

        `checked`: of the function that asks before each access whether its buffer reaches so far.
        """
        if any(k.kind == "routine" for k in kernels):
            found = iter(self.functions([k for k in kernels if k.kind != "routine"], checked))
            return [0 if k.kind == "routine" else next(found) for k in kernels]
        wanted = [CHECKED * checked + k.key() for k in kernels]
        if any(key not in self._addresses for key in wanted):
            with LLVM_LOCK:
                start = time.perf_counter()
                missing = {key: k for key, k in zip(wanted, kernels) if key not in self._addresses}
                self._add(missing, checked)
                self.seconds += time.perf_counter() - start
        return [self._addresses[key] for key in wanted]

    def walker(self) -> Walker:
        """The native loop that runs programs, compiled once and cached like a kernel."""
        text = walk.module_text(self.target.triple)
        with LLVM_LOCK:
            code, _ = self._object(text, lambda: text)
            loaded = load_objects([code], self.target)
        run, worker, wake, clock = map(loaded.address, walk.SYMBOLS)
        return Walker(run, worker, wake, clock, loaded)

    def _object(self, text: str, emit: Callable[[], str]) -> tuple[bytes, bool]:
        """Object code of what `text` describes, and whether the disk had it."""
        key = f"{self._environment}\n{text}"
        if self._cache and (found := self._cache.get(key)):
            return found, True
        code = compile_module(emit(), self.target)
        if self._cache:
            self._cache.put(key, code)
        return code, False

    def _add(self, missing: dict[str, Kernel], checked: bool) -> None:
        from graphc.codegen_cpu.module import emit_kernel, symbol

        objects = []
        for key, kernel in missing.items():
            code, found = self._object(key, partial(emit_kernel, kernel, self.target, checked))
            objects.append(code)
            self.hits += found
            self.compiled += not found
        if objects:
            loaded = load_objects(objects, self.target)
            self._loaded.append(loaded)
            self._addresses |= {
                key: loaded.address(symbol(k, checked)) for key, k in missing.items()
            }
