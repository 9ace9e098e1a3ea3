"""A GPU in memory of the host, for tensors alone: copies by NumPy, operations by their meaning.

Its addresses are moved by a distance that no host memory has, so that whatever follows one on the
host fails at once.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from graphc.errors import InvalidArgument
from graphc.frontend import device_ops, places
from graphc.frontend.devices import ACCELERATORS, HOST_POINTER
from graphc.frontend.step.one_op import on_host
from graphc.ir.types import Array
from graphc.runtime.cuda.array import DeviceArray
from graphc.runtime.cuda.copies import Moves
from graphc.runtime.cuda.place import CudaPlace

FAR = 1 << 60  # beyond what a processor can address


class Block:
    """Bytes of the host, aligned as a device's are."""

    def __init__(self, size: int) -> None:
        self.bytes = np.full(size + 256, 0xA5, np.uint8)  # of new memory nobody may expect zeros
        self.offset = -self.bytes.ctypes.data % 256
        self.address = self.bytes.ctypes.data + self.offset + FAR
        self.size = size


class StandInMemory:
    """Checks that each access lies in a block that is still held."""

    def __init__(self, index: int = 0) -> None:
        self.index = index
        self.blocks: weakref.WeakValueDictionary[int, Block] = weakref.WeakValueDictionary()
        self.uploads = 0

    def allocate(self, size: int) -> Block:
        block = Block(size)
        self.blocks[block.address] = block
        return block

    def bytes_at(self, address: int, size: int) -> Array:
        for start, block in self.blocks.items():
            if start <= address and address + size <= start + block.size:
                first = block.offset + address - start
                return block.bytes[first : first + size]
        raise AssertionError(f"{size} bytes at {address:#x} are not allocated")

    def upload(self, address: int, source: Array, wait: bool) -> None:
        self.uploads += 1
        self.bytes_at(address, source.nbytes)[...] = source.reshape(-1).view(np.uint8)

    def fetch(self, source: Array) -> Block | None:
        """None: nothing is pinned here."""

    def download(self, target: Array, address: int) -> None:
        target.reshape(-1).view(np.uint8)[...] = self.bytes_at(address, target.nbytes)

    def move(self, target: int, source: int, size: int) -> None:
        self.bytes_at(target, size)[...] = self.bytes_at(source, size).copy()

    def set(self, address: int, word: bytes, count: int) -> None:
        self.bytes_at(address, len(word) * count)[...] = np.frombuffer(word * count, np.uint8)

    def synchronize(self) -> None:
        pass

    def settle(self) -> None:
        pass

    def copy(self, how: Moves, target: int, source: int) -> None:
        """What the kernel of a strided copy does."""
        seen = []
        for address, strides in ((target, how.target), (source, how.source)):
            last = sum((n - 1) * s for n, s in zip(how.shape, strides)) + 1
            words = self.bytes_at(address, last * how.itemsize).view(f"V{how.itemsize}")
            steps = tuple(s * how.itemsize for s in strides)
            seen.append(np.lib.stride_tricks.as_strided(words, how.shape, steps))
        seen[0][...] = seen[1].copy()


class StandIn:
    """An accelerator with two devices."""

    def __init__(self, count: int = 2) -> None:
        self._memories = [StandInMemory(k) for k in range(count)]
        self._places = [CudaPlace(m, m.copy, on_host) for m in self._memories]
        self._pinned: list[Array] = []

    def count(self) -> int:
        return len(self._places)

    def current(self) -> int:
        return 0

    def place(self, index: int) -> CudaPlace:
        return self._places[index]

    def owning(self, address: int) -> int:
        for k, memory in enumerate(self._memories):
            if any(a <= address < a + b.size for a, b in memory.blocks.items()):
                return k
        raise InvalidArgument(HOST_POINTER.format(address))

    def pinned(self, array: Array) -> Array:
        self._pinned.append(array.copy())
        return self._pinned[-1]

    def is_pinned(self, array: Array) -> bool:
        return any(np.shares_memory(array, p) for p in self._pinned)

    apply = staticmethod(device_ops.apply)
    full = staticmethod(device_ops.full)


@contextmanager
def standing_in() -> Iterator[StandIn]:
    """Inside, "cuda" is a stand-in."""
    before, made = list(ACCELERATORS), StandIn()
    ACCELERATORS[:] = [made]
    places.PLACES[DeviceArray] = lambda a: made.place(a.index)
    try:
        yield made
    finally:
        ACCELERATORS[:] = before
        del places.PLACES[DeviceArray]
