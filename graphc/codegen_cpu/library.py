"""The process's compiled kernels: looked up in memory, then on disk, then compiled.

Code is mapped as long as somebody holds what `functions` returned: a program does, for its kernels.
What no program uses any more is unmapped, but for the last bit, so that a step made anew in
each round of a loop finds its kernels in memory.

An entry is found by what its code depends on: the kernel's text without names, the target, LLVM's
version and the sources of this package. Equal kernels of different programs are one entry, so a
new batch size finds everything here. One program is compiled at a time, its kernels by several
processes (`workers.py`), and another that wants the same kernels finds them when it gets its turn.
"""

from __future__ import annotations

import hashlib
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from graphc.codegen_cpu.jit import LLVM_LOCK, Loaded, load_objects, processor_of
from graphc.codegen_cpu.llvm import VERSION
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.workers import Work, Workers, start_early
from graphc.ir.cpu_abi import Function
from graphc.ir.kernel import Kernel

if TYPE_CHECKING:
    from graphc.codegen_cpu.module import Module

RECENT_BYTES = 1 << 18  # of object code that stays mapped when nothing uses it
NO_CODE = Function(0), None
CHECKED = "; every access checked\n"  # before the text of a kernel: another function


class Cache(Protocol):
    """Where code outlives the process; `runtime.disk_cache.DiskCache` is one."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, data: bytes) -> None: ...


@lru_cache(maxsize=1)
def code_hash() -> str:
    """Hash of this package's sources: a changed generator finds none of the old one's entries."""
    state = hashlib.blake2b(digest_size=16)
    package = Path(__file__).parent
    for file in sorted(package.rglob("*.py")):
        state.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes() + b"\0")
    return state.hexdigest()


def environment(target: Target) -> str:
    """The part of a key that all kernels of a target share."""
    features = ",".join(sorted(f for f in target.features.split(",") if f.startswith("+")))
    return "\n".join((target.triple, target.cpu, features, VERSION, code_hash()))


class Functions(list[int]):
    """Addresses of kernels' functions, and what keeps their code mapped."""

    def __init__(self, addresses: Iterable[int], code: Iterable[Loaded]) -> None:
        super().__init__(addresses)
        self.code = tuple(code)


class Place(NamedTuple):
    """Where a kernel's code is while it is mapped."""

    function: Function
    code: weakref.ref[Loaded]


class Made(NamedTuple):
    """A kernel's code: object code that may be others', too, its function there, its numbers."""

    symbol: str
    numbers: tuple[int, ...]
    code: bytes

    def packed(self) -> bytes:
        head = " ".join((self.symbol, *map(str, self.numbers)))
        return head.encode() + b"\n" + self.code

    @staticmethod
    def unpacked(data: bytes) -> Made:
        head, _, code = data.partition(b"\n")
        symbol, *numbers = head.decode().split(" ")
        return Made(symbol, tuple(map(int, numbers)), code)


class KernelLibrary:
    """Finds the code of kernels, or makes it."""

    def __init__(self, target: Target, cache: Cache | None = None) -> None:
        self.target = target
        self.compiled = 0  # kernels that LLVM compiled
        self.hits = 0  # kernels found on disk, or whose code another one has
        self.told: Callable[[int, int], None] | None = None  # of kernels done, of how many
        self.seconds = 0.0  # spent in looking up, compiling and loading
        self._cache = cache
        self._environment = environment(target)
        self._places: dict[str, Place] = {}
        self._batch: Batch | None = None  # inside `ahead`
        self._recent: list[Loaded] = []  # kept mapped; what was used last comes last

    def functions(self, kernels: Sequence[Kernel], checked: bool = False) -> Functions:
        """The address of each kernel's function, in order; 0 for a routine, which has no code.

        `checked`: of the function that asks before each access whether its buffer reaches so far.
        """
        prefix = CHECKED * checked
        wanted = {prefix + k.key(): k for k in kernels if k.kind != "routine"}
        found = self.mapped(wanted)
        if len(found) < len(wanted):
            with LLVM_LOCK:
                start = time.perf_counter()
                found = self.mapped(wanted)  # another thread may have been first
                missing = {key: k for key, k in wanted.items() if key not in found}
                found |= self._add(missing, checked)
                self.seconds += time.perf_counter() - start
        code = list(dict.fromkeys(loaded for _, loaded in found.values()))
        self._keep(code)
        return Functions((found.get(prefix + k.key(), NO_CODE)[0] for k in kernels), code)

    def mapped(self, wanted: Iterable[str]) -> dict[str, tuple[Function, Loaded]]:
        """Those kernels whose code is in memory, which it is while this result lives."""
        found = {}
        for key in wanted:
            place = self._places.get(key)
            if place is not None and (code := place.code()) is not None:
                found[key] = place.function, code
        return found

    def _keep(self, code: Sequence[Loaded]) -> None:
        """Hold what was used last, up to RECENT_BYTES; without a lock, as either of two threads'
        lists will do."""
        held = [*(c for c in self._recent if c not in code), *code]
        while held and sum(c.size_bytes for c in held) > RECENT_BYTES:
            del held[0]
        self._recent = held

    def native(self, text: str, symbols: Sequence[str]) -> Functions:
        """Functions of a module of LLVM text, compiled once and cached like a kernel."""
        with LLVM_LOCK:
            with self._open() as batch:
                batch.begin_text(text)
                code = batch.code(text)
            loaded = load_objects([code], self.target)
        return Functions(map(loaded.address, symbols), [loaded])

    def _open(self) -> AbstractContextManager[Batch]:
        return self._ahead(False) if self._batch is None else nullcontext(self._batch)

    def foresee(self, text: str) -> None:
        """`native` will be asked for `text`, and `functions` for kernels as new as that is."""
        if self.stored(text) is None:
            with LLVM_LOCK:
                start_early()

    def stored(self, text: str) -> bytes | None:
        """Object code of what `text` describes, if the disk has it."""
        return self._cache.get(f"{self._environment}\n{text}") if self._cache else None

    def store(self, text: str, code: bytes) -> bytes:
        if self._cache:
            self._cache.put(f"{self._environment}\n{text}", code)
        return code

    def count(self, found: bool) -> None:
        self.hits += found
        self.compiled += not found

    def _add(self, missing: dict[str, Kernel], checked: bool) -> dict[str, tuple[Function, Loaded]]:
        if not missing:
            return {}
        if self._batch is not None and self._batch.checked == checked:
            codes = self._batch.codes(missing)
        else:
            with self._ahead(checked) as batch:
                codes = batch.codes(missing)
        loaded = load_objects(
            list(dict.fromkeys(made.code for made in codes.values())), self.target
        )
        for key in [key for key, place in self._places.items() if place.code() is None]:
            del self._places[key]
        at = {key: Function(loaded.address(m.symbol), m.numbers) for key, m in codes.items()}
        self._places |= {key: Place(function, weakref.ref(loaded)) for key, function in at.items()}
        return {key: (function, loaded) for key, function in at.items()}

    @contextmanager
    def ahead(self, checked: bool, kernels: int) -> Iterator[Batch]:
        """Inside, what this gives begins with a kernel that `functions` will be asked for, or a
        text that `native` will; about so many kernels will be."""
        with LLVM_LOCK, self._ahead(checked) as batch:
            try:
                self._batch = batch
                batch.prepare(kernels)
                yield batch
            finally:
                self._batch = None

    @contextmanager
    def _ahead(self, checked: bool) -> Iterator[Batch]:
        with Workers(processor_of(self.target)) as workers:
            yield Batch(self, workers, checked)


class Batch:
    """Kernels that are compiled together, each from when it is known."""

    def __init__(self, library: KernelLibrary, workers: Workers, checked: bool) -> None:
        self.checked = checked
        self._library, self._workers = library, workers
        self._texts: dict[str, Work | bytes] = {}  # by the text
        self._begun: dict[str, Made | Module] = {}  # by the kernel's

    def prepare(self, kernels: int) -> None:
        """Kernels will come, and the disk does not have them."""
        self._workers.prepare(kernels)

    def begin(self, kernel: Kernel) -> None:
        """Look for it on disk, else have it compiled."""
        key = CHECKED * self.checked + kernel.key()
        if kernel.kind != "routine" and not self._library.mapped([key]):
            self._begin(key, kernel)

    def _begin(self, key: str, kernel: Kernel) -> None:
        if key in self._begun:
            return
        found = self._library.stored(key)
        self._begun[key] = Made.unpacked(found) if found else self._emitted(kernel)

    def _emitted(self, kernel: Kernel) -> Module:
        from graphc.codegen_cpu.module import emit_shared

        module = emit_shared(kernel, self._library.target, self.checked)
        if module.numbers:  # others may have had it compiled
            self.begin_text(module.text)
        elif module.text not in self._texts:
            self._texts[module.text] = self._workers.add(module.text)
        return module

    def begin_text(self, text: str) -> None:
        """The same for a module of LLVM text."""
        if text not in self._texts:
            found = self._library.stored(text)
            self._texts[text] = self._workers.add(text) if found is None else found

    def code(self, text: str, keep: bool = True) -> bytes:
        """Object code of a text that was begun; what is new goes to the disk, if that is to keep
        it."""
        work = self._texts[text]
        if isinstance(work, bytes):
            return work
        self._texts[text] = code = work.code()
        return self._library.store(text, code) if keep else code

    def _made(self, key: str) -> Made:
        """A kernel's code, which is counted."""
        begun = self._begun[key]
        if isinstance(begun, Made):
            self._library.count(found=True)
            return begun
        text, symbol, numbers = begun
        self._library.count(found=isinstance(self._texts[text], bytes))
        made = self._begun[key] = Made(symbol, numbers, self.code(text, keep=bool(numbers)))
        self._library.store(key, made.packed())
        return made

    def codes(self, wanted: Mapping[str, Kernel]) -> dict[str, Made]:
        """The code of each, in order."""
        for key, kernel in wanted.items():
            self._begin(key, kernel)
        library, codes = self._library, dict[str, Made]()
        for key in wanted:
            codes[key] = self._made(key)
            if library.told is not None:
                library.told(len(codes), len(wanted))
        return codes
