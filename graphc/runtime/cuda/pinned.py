"""Pinned memory of the host for arrays, kept and handed out again.

To give it back makes the driver wait for all work of the device, so it is kept, as PyTorch's is.
What a copy may still read is not handed out: an event behind each stream's last copy tells. Sizes
are powers of two, so that batches of any size share a few pieces. All GPUs may read all of it.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import numpy as np

from graphc.ir.types import Array
from graphc.runtime.cuda.driver import Driver

SMALLEST = 512  # bytes of a piece


@dataclass(frozen=True, slots=True)
class Use:
    """Memory that an array is in: its bytes, and an event for each stream that was told to read."""

    size: int
    events: dict[int, int] = field(default_factory=dict)


class Piece(NamedTuple):
    """Memory that no array is in, and what may use it until they have happened."""

    address: int
    events: tuple[int, ...]


class Pinned:
    """The pinned arrays of a driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._used: dict[int, Use] = {}  # by address
        self._dropped: deque[tuple[int, Use]] = deque()  # of late
        self._free: dict[int, list[Piece]] = {}  # by bytes
        self._lock = threading.RLock()  # threads share a device

    def array(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
        """An array that copies read and write by themselves; its memory is in use as its views."""
        wanted = prod(shape) * dtype.itemsize
        size = max(SMALLEST, 1 << max(wanted - 1, 0).bit_length())
        with self._lock:
            address = self._known(size) or self._driver.MemHostAlloc(size)
            self._used[address] = Use(size)
        memory = _Bytes(address, size)
        weakref.finalize(memory, self._drop, address).atexit = False
        return np.asarray(memory)[:wanted].view(dtype).reshape(shape)

    def holds(self, array: Array) -> bool:
        return self._use(array) is not None

    def read_by(self, stream: int, array: Array) -> None:
        """The stream, of the context that is this thread's, was told to read it just now."""
        if (use := self._use(array)) is not None:
            if stream not in use.events:
                use.events[stream] = self._driver.EventCreate()
            self._driver.EventRecord(use.events[stream], stream)

    def _use(self, array: Array) -> Use | None:
        start, end = array.ctypes.data, array.ctypes.data + array.nbytes
        found = (u for a, u in self._used.copy().items() if a <= start and end <= a + u.size)
        return next(found, None)

    def empty_cache(self) -> None:
        """Give back all that no array is in."""
        with self._lock:
            self._collect()
            for piece in (x for pieces in self._free.values() for x in pieces):
                self._take(piece)
                self._driver.MemFreeHost(piece.address)
            self._free.clear()

    def _known(self, size: int) -> int:
        """A piece that nothing uses any more; 0 if there is none."""
        self._collect()
        for piece in self._free.get(size, []):
            if all(map(self._driver.EventQuery, piece.events)):
                self._free[size].remove(piece)
                self._take(piece)
                return piece.address
        return 0

    def _take(self, piece: Piece) -> None:
        for event in piece.events:
            self._driver.EventDestroy(event)

    def _collect(self) -> None:
        while self._dropped:
            address, use = self._dropped.popleft()
            piece = Piece(address, tuple(use.events.values()))
            self._free.setdefault(use.size, []).append(piece)

    def _drop(self, address: int) -> None:
        """Wherever the garbage collector runs, in a capture even: no call of the driver is made."""
        self._dropped.append((address, self._used.pop(address)))


_shared: weakref.WeakValueDictionary[int, Pinned] = weakref.WeakValueDictionary()


def shared(driver: Driver) -> Pinned:
    """The one of a driver, for all of its GPUs, one of which has it."""
    return _shared.get(id(driver)) or _shared.setdefault(id(driver), Pinned(driver))


class _Bytes:
    """Bytes at an address, as NumPy takes them."""

    def __init__(self, address: int, size: int) -> None:
        self.__array_interface__ = {
            **{"data": (address, False), "shape": (size,), "typestr": "|u1", "version": 3}
        }
