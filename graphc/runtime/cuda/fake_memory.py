"""FakeDriver's memory: allocations of the host, which of their bytes are in use, and poison."""

from __future__ import annotations

import ctypes

import numpy as np

from graphc.errors import InternalError
from graphc.ir.types import Array
from graphc.runtime.cuda.guard import Guard
from graphc.runtime.cuda.order import Timeline

ALIGNMENT = 256
POISON = 0xFF  # NaN in every float, -1 in every signed integer


def allocate(size_bytes: int) -> Array:
    room = np.full(size_bytes + ALIGNMENT, POISON, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size_bytes]


def is_within(memory: dict[int, Array], address: int, size_bytes: int) -> bool:
    spans = ((base, base + len(m)) for base, m in memory.items())
    return any(base <= address and address + size_bytes <= end for base, end in spans)


class FakeMemory:
    """What is allocated on the device, and pinned on the host.

    An allocation is in use as a whole until a part of it is lent; from then on, what is lent is.
    """

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.guard = Guard()
        self.guard.touched = timeline.touched
        self.used_bytes = 0
        self.device: dict[int, Array] = {}
        self.pinned: dict[int, Array] = {}
        self._whole: set[int] = set()

    def add(self, size_bytes: int) -> int:
        memory = allocate(size_bytes)
        address = int(memory.ctypes.data)
        self.device[address] = memory
        self.used_bytes += size_bytes
        self.guard.add(address, size_bytes)
        self.timeline.watch(address, size_bytes)
        self._whole.add(address)
        return address

    def remove(self, address: int) -> None:
        size = len(self.device[address])
        if address in self._whole:
            self.guard.remove(address)
            self._whole.remove(address)
        elif lent := [s for s in self.guard.starts() if address <= s < address + size]:
            raise InternalError(f"memory at {address:#x} is freed, and {len(lent)} parts are lent")
        self.timeline.forget(address)
        self.used_bytes -= size
        self.device.pop(address)[:] = POISON

    def add_pinned(self, size_bytes: int) -> int:
        memory = allocate(size_bytes)
        self.pinned[int(memory.ctypes.data)] = memory
        return int(memory.ctypes.data)

    def remove_pinned(self, address: int) -> None:
        self.pinned.pop(address)[:] = POISON

    def is_pinned(self, address: int, size_bytes: int) -> bool:
        return is_within(self.pinned, address, size_bytes)

    def lend(self, address: int, size_bytes: int) -> None:
        base = self._allocation_of(address)
        if base in self._whole:
            self._whole.remove(base)
            self.guard.remove(base)
        self.guard.add(address, size_bytes)
        self._poison(address, size_bytes, "lend")

    def reclaim(self, address: int, size_bytes: int) -> None:
        self._poison(address, size_bytes, "reclaim")
        if self.guard.remove(address) != size_bytes:
            raise InternalError(f"{size_bytes} bytes at {address:#x} were not lent")

    def discard(self, address: int, size_bytes: int) -> None:
        self._poison(address, size_bytes, "discard")

    def touch(self, address: int, size_bytes: int, what: str, write: bool) -> None:
        self.guard.check_range(address, size_bytes, what)
        self.timeline.touched_range(address, size_bytes, write)

    def _poison(self, address: int, size_bytes: int, what: str) -> None:
        self.touch(address, size_bytes, what, write=True)
        ctypes.memset(address, POISON, size_bytes)

    def _allocation_of(self, address: int) -> int:
        for base, memory in self.device.items():
            if base <= address < base + len(memory):
                return base
        raise InternalError(f"{address:#x} is not memory of the device")
