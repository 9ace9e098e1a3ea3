"""room: the arena of a device, one piece of memory for the temporaries of every program.

Programs run one after the other on one stream, so the neediest one's size is enough for all.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from graphc.errors import DeviceOutOfMemory
from graphc.ir.program import Slot
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.memory import Allocation
from graphc.runtime.failures import out_of_memory

SMALL = 1 << 20  # bytes that are not worth giving back


class Room:
    """An address that stays until a program needs more, or all that live need less than half."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._block: Allocation | None = None
        self.moves = ctypes.c_int64(0)  # moves where it may be laid out anew
        self._needs: dict[int, int] = {}  # bytes that each living executable needs, by its id

    @property
    def size_bytes(self) -> int:
        return 0 if self._block is None else self._block.size_bytes

    def reserve(self, owner: int, size_bytes: int, slots: Sequence[Slot]) -> int:
        """Its address. Raises DeviceOutOfMemory, naming the largest of `slots`, before use."""
        self._needs[owner] = size_bytes
        fits = size_bytes <= self.size_bytes <= 2 * max(SMALL, *self._needs.values())
        if self._block is None or not fits:
            self.moves.value += 1
            self._block = None  # first: the old and the new need not fit together
            try:
                self._block = self._device.allocate(max(1, size_bytes))
            except DeviceOutOfMemory:
                free = self._device.driver.MemGetInfo()[0]
                raise out_of_memory(size_bytes, free, slots, DeviceOutOfMemory) from None
        return self._block.address

    def release(self, owner: int) -> None:
        """`owner` is gone; touches no memory, so it may be called at any time."""
        self._needs.pop(owner, None)
        self.moves.value += 1
