"""The arena: one mapping for the temporaries of every program, as large as the neediest.

One step runs at a time in a process, so all programs share it and rebind when it moves. Mapped
memory is page-aligned, zeroed by the kernel at first touch (so by the thread that will use it),
and asked for in huge pages as far as it fills them: 2 MB pages save a page fault per 4 KB in the
first step and TLB misses in all others, but one for the last few KB would be 2 MB of nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from graphc.ir.program import Slot
from graphc.runtime.failures import out_of_memory

HUGE_PAGE = 2 << 20
# Python's default is shared: a forked child would write over its parent's, and the system gives
# no huge pages.
PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
SMALL = 1 << 20  # bytes that are not worth asking the system about


class Arena:
    """`base` is the address of `size_bytes` of memory; when either changes, so does `epoch`."""

    def __init__(self) -> None:
        self.base = 0
        self.size_bytes = 0
        self.moves = ctypes.c_int64(0)
        self._memory: mmap.mmap | None = None
        self._needs: dict[int, int] = {}  # bytes that each living executable needs, by its id

    @property
    def epoch(self) -> int:
        """How often the memory has moved."""
        return self.moves.value

    def reserve(self, owner: int, size_bytes: int, slots: Sequence[Slot]) -> None:
        """Make room for `owner`. Raises OutOfMemory, naming the largest of `slots`, before use."""
        results = {s.index: s.size_bytes for s in slots if s.space == "out"}
        grows = max(0, size_bytes - self.size_bytes)
        if grows + (returned := sum(results.values())) > SMALL:
            check_free(grows + returned, slots)  # both are memory that nobody has touched yet
        if grows:
            self._drop()  # first: the old and the new need not fit together
            self._map(size_bytes, slots)
        self._needs[owner] = size_bytes

    def release(self, owner: int) -> None:
        """`owner` is gone; touches no memory, so it may be called at any time."""
        self._needs.pop(owner, None)

    def trim(self) -> None:
        """Give the memory back if less than half of it is needed; the next run maps anew."""
        if max(self._needs.values(), default=0) < self.size_bytes // 2:
            self._drop()

    def _map(self, size_bytes: int, slots: Sequence[Slot]) -> None:
        try:
            self._memory = mmap.mmap(-1, size_bytes + HUGE_PAGE, **PRIVATE)
        except (OSError, ValueError, OverflowError):
            raise out_of_memory(size_bytes, None, slots) from None
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.base = -(-start // HUGE_PAGE) * HUGE_PAGE
        _ask_for_pages(self._memory, self.base - start, size_bytes)
        self.size_bytes = size_bytes
        self.moves.value += 1

    def _drop(self) -> None:
        """Unmap; the buffer export of `from_buffer` ended with the object it made."""
        if self._memory is not None:
            self._memory.close()
        self._memory, self.base, self.size_bytes = None, 0, 0
        self.moves.value += 1


def _ask_for_pages(memory: mmap.mmap, at: int, size_bytes: int) -> None:
    """Huge ones from `at` on where so many bytes fill them, and none behind."""
    filled = size_bytes // HUGE_PAGE * HUGE_PAGE
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # a kernel without huge pages
            if filled:
                memory.madvise(mmap.MADV_HUGEPAGE, at, filled)
            memory.madvise(mmap.MADV_NOHUGEPAGE, at + filled)


def check_free(size_bytes: int, slots: Sequence[Slot]) -> None:
    """Raise OutOfMemory if the machine or its control group has less than that free."""
    free = free_bytes()
    if free is not None and size_bytes > free:
        raise out_of_memory(size_bytes, free, slots)


@lru_cache(maxsize=1)
def _trim() -> Callable[[int], object]:
    """glibc's; elsewhere nothing."""
    return getattr(ctypes.CDLL(None), "malloc_trim", bool)


def return_free_memory() -> None:
    """Hand pages that malloc holds for later to the system: a compilation frees many of them."""
    _trim()(0)


# ---- what is free -------------------------------------------------------------------------------


def free_bytes() -> int | None:
    """Memory this process may still take; None where the system does not say."""
    known = [n for n in (_machine_free(), _group_free()) if n is not None]
    return min(known, default=None)


def _machine_free() -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _group_free() -> int | None:
    """Free bytes under the control group's limit, version 2 then 1; file cache counts as free."""
    for controller, limit_file, usage_file, cache_row in (
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, usage = group_file(controller, limit_file), group_file(controller, usage_file)
        if limit.isdigit() and usage.isdigit():
            rows = (r.split() for r in group_file(controller, "memory.stat").splitlines())
            cache = sum(int(r[1]) for r in rows if r[0] == cache_row)
            return max(0, int(limit) - int(usage) + cache)
    return None


def group_file(controller: str, name: str) -> str:
    """The text of a file of this process's control group, or "" (`controller` "" is version 2)."""
    root = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                folder = root / controller / path.lstrip("/")
                # In a container the group's path is that of the host, its files at the root.
                for place in (folder, root / controller):
                    if (place / name).exists():
                        return (place / name).read_text().strip()
    return ""
