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
from typing import NamedTuple, Protocol

from graphc.codegen_cpu.jit import LLVM_LOCK, Loaded, load_objects, processor_of
from graphc.codegen_cpu.llvm import VERSION
from graphc.codegen_cpu.target import Target
from graphc.codegen_cpu.workers import Work, Workers, start_early
from graphc.ir.kernel import Kernel

RECENT_BYTES = 1 << 18  # of object code that stays mapped when nothing uses it
NO_CODE = 0, None
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

    address: int
    code: weakref.ref[Loaded]


class KernelLibrary:
    """Finds the code of kernels, or makes it."""

    def __init__(self, target: Target, cache: Cache | None = None) -> None:
        self.target = target
        self.compiled = 0  # kernels that LLVM compiled
        self.hits = 0  # kernels found on disk
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

    def mapped(self, wanted: Iterable[str]) -> dict[str, tuple[int, Loaded]]:
        """Those kernels whose code is in memory, which it is while this result lives."""
        found = {}
        for key in wanted:
            place = self._places.get(key)
            if place is not None and (code := place.code()) is not None:
                found[key] = place.address, code
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

    def _add(self, missing: dict[str, Kernel], checked: bool) -> dict[str, tuple[int, Loaded]]:
        from graphc.codegen_cpu.module import symbol

        if not missing:
            return {}
        if self._batch is not None and self._batch.checked == checked:
            objects = self._batch.objects(missing)
        else:
            with self._ahead(checked) as batch:
                objects = batch.objects(missing)
        loaded = load_objects(objects, self.target)
        for key in [key for key, place in self._places.items() if place.code() is None]:
            del self._places[key]
        made = {key: (loaded.address(symbol(k, checked)), loaded) for key, k in missing.items()}
        self._places |= {key: Place(at, weakref.ref(loaded)) for key, (at, _) in made.items()}
        return made

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
        self._begun: dict[str, Work | bytes] = {}

    def prepare(self, kernels: int) -> None:
        """Kernels will come, and the disk does not have them."""
        self._workers.prepare(kernels)

    def begin(self, kernel: Kernel) -> None:
        """Look for it on disk, else have it compiled."""
        key = CHECKED * self.checked + kernel.key()
        if kernel.kind != "routine" and not self._library.mapped([key]):
            self._begin(key, lambda: self._text(kernel))

    def begin_text(self, text: str) -> None:
        """The same for a module of LLVM text."""
        self._begin(text, lambda: text)

    def _begin(self, key: str, text: Callable[[], str]) -> None:
        if key not in self._begun:
            found = self._library.stored(key)
            self._begun[key] = self._workers.add(text()) if found is None else found

    def _text(self, kernel: Kernel) -> str:
        from graphc.codegen_cpu.module import emit_kernel

        return emit_kernel(kernel, self._library.target, self.checked)

    def code(self, key: str) -> bytes:
        """Object code of what was begun; what is new goes to the disk."""
        work = self._begun[key]
        return work if isinstance(work, bytes) else self._library.store(key, work.code())

    def objects(self, wanted: Mapping[str, Kernel]) -> list[bytes]:
        """Object code of each, in order."""
        for kernel in wanted.values():
            self.begin(kernel)
        library, objects = self._library, []
        for key in wanted:
            library.count(found=isinstance(self._begun[key], bytes))
            objects.append(self.code(key))
            if library.told is not None:
                library.told(len(objects), len(wanted))
        return objects
