"""Whether state is as its program assumes (`Program.assumed`), so that it may be written in place.

While the program alone writes it, its tests keep it so. When others may have, or when a test says
that it has grown, it is looked at before the next run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from graphc.errors import NotFinite
from graphc.ir.program import Program, Slot


class Trust:
    """Of one program. `cell` moves with each doubt, which native code can see."""

    def __init__(self, program: Program) -> None:
        self._program = program
        states = {s.index: s for s in program.slots if s.space == "state"}
        self._rows = [(states[a.state], a) for a in program.assumed if a.state in states]
        self._pointers: Sequence[int] = ()
        self.known = not self._rows
        self.cell = ctypes.c_int64(0)

    def bind(self, pointers: Sequence[int]) -> None:
        """State is there from now on."""
        self._pointers = pointers
        self.doubt()

    def doubt(self) -> None:
        if self._rows:
            self.known = False
            self.cell.value += 1

    def look(self) -> None:
        """Raise NotFinite unless state is known to be as assumed."""
        if self.known:
            return
        for slot, a in self._rows:
            if not _lies_within(self._pointers[slot.index], slot, a.lo, a.hi):
                raise NotFinite(f"state {slot.name} is larger than an update in place allows")
        self.known = True

    def has_grown(self, error: ctypes.Array[ctypes.c_int64]) -> bool:
        """Whether the error cell says no more than that; it is cleared then."""
        checks = self._program.checks
        if not 0 <= error[1] < len(checks) or not checks[error[1]].late:
            return False
        error[0] = 0
        self.doubt()
        return True


def _lies_within(pointer: int, slot: Slot, lo: float, hi: float) -> bool:
    """NaN lies nowhere."""
    if not slot.size_bytes:
        return True
    memory = (ctypes.c_char * slot.size_bytes).from_address(pointer)
    x = np.ndarray(slot.spec.numel, slot.spec.dtype.numpy, memoryview(memory))
    return bool(lo <= x.min() and x.max() <= hi)
