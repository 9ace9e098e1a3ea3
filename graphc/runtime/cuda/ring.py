"""ring: pinned host memory that small copies to the device read from, slot after slot.

A copy reads its slot when the stream comes to it, so a slot is written again only once the half of
the ring that it is in has been read; with as many slots, that is long past.
"""

from __future__ import annotations

import ctypes
import weakref

from graphc.runtime.cuda.device import Device

SLOTS = 64  # in two halves


class Ring:
    """Slots of `size_bytes`."""

    def __init__(self, device: Device, size_bytes: int) -> None:
        self._device, self._size = device, size_bytes
        driver = device.driver
        self._base = driver.MemHostAlloc(SLOTS * size_bytes)
        self._read = [0, 0]  # events: the copies of each half are done
        self._next = 0
        weakref.finalize(self, driver.MemFreeHost, self._base).atexit = False

    def send(self, target: int, data: bytes) -> None:
        """Copy `data` to the device's address `target`, in stream order."""
        driver, stream = self._device.driver, self._device.stream
        half, place = divmod(self._next, SLOTS // 2)
        if place == 0 and self._read[half]:
            driver.EventSynchronize(self._read[half])
        slot = self._base + self._next * self._size
        ctypes.memmove(slot, data, len(data))
        driver.MemcpyHtoDAsync(target, slot, len(data), stream)
        if place == SLOTS // 2 - 1:
            self._read[half] = self._read[half] or driver.EventCreate()
            driver.EventRecord(self._read[half], stream)
        self._next = (self._next + 1) % SLOTS
