"""engine: what the programs of a GPU share: turn, arena, and native code of the host."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from graphc.errors import InvalidState
from graphc.ir.cpu_abi import RUNNING
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.latch import Code, Native, code
from graphc.runtime.cuda.memory import HostRing
from graphc.runtime.cuda.room import Room
from graphc.runtime.turn import OwnTurn, Turn

SLOT_BYTES, SLOTS = 1 << 10, 64  # of pinned memory that the host's numbers are sent from


class Engine:
    """A device's arena, and the turn in which programs are started on its stream."""

    def __init__(
        self, device: Device, turn: Turn | None = None, native: Native | None = None
    ) -> None:
        """`native` compiles functions of the host; without it all is done by Python."""
        self.device = device
        self.room = Room(device)
        self._ring = HostRing(device.driver, SLOT_BYTES, SLOTS)
        self._turn: Turn = turn or OwnTurn()
        self._native = native
        self.running = ctypes.c_int64(0)  # as `cpu_abi` has it

    @cached_property
    def code(self) -> Code | None:
        return None if self._native is None else code(self._native)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One program at a time; a signal's handler that calls another meanwhile is refused."""
        with self._turn.lock:
            if self.running.value:
                raise InvalidState("a compiled step was called by a handler while one was running")
            self.device.enter()
            self.running.value = RUNNING
            try:
                yield
            finally:
                self.running.value = 0

    def send(self, address: int, data: bytes) -> None:
        """Copy a few numbers to the device, in the order of its stream."""
        driver, stream = self.device.driver, self.device.stream
        for first in range(0, len(data), SLOT_BYTES):
            part = data[first : first + SLOT_BYTES]
            slot = self._ring.take()
            ctypes.memmove(slot, part, len(part))
            driver.MemcpyHtoDAsync(address + first, slot, len(part), stream)
            self._ring.sent(stream)
