"""A program as one block of cells: error cell, scalars, table of launches, argument blocks.

Everything that does not change is written once. What does is listed: pointers into the arena
(when it moves), to state (when a tensor got other storage), to arguments and results (each call;
native code copies those, from pairs of cell and pointer number). With `checked` kernels, a block
ends in the sizes of its buffers, and a launch after a bad access does not run.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.errors import InternalError
from graphc.ir.cpu_abi import (
    AGAIN,
    BARRIER,
    CELL_BYTES,
    COMMIT,
    ENTRY_CELLS,
    HOST,
    PAIR_BYTES,
    numbers_of,
    scalar_bits,
)
from graphc.ir.program import Launch, Program, Slot
from graphc.runtime.cpu.threads import aligned_cells
from graphc.runtime.slots import count_of, scalar_format


class Binding:
    """The cells of one program, and where in them each kind of pointer stands."""

    def __init__(self, program: Program, functions: Sequence[int], checked: bool = False) -> None:
        slots = {s.name: s for s in program.slots}
        for s in program.slots:
            if s.space == "arena" and not 0 <= s.index <= program.arena_bytes - s.size_bytes:
                raise InternalError(f"{program.name}: slot {s.name} lies outside the arena")
        self._checked = checked
        self.counts = {
            space: count_of(program, space) for space in ("arg", "state", "scalar", "out")
        }
        self.scalar_format = scalar_format(program, self.counts["scalar"])
        first = PAIR_BYTES // CELL_BYTES  # the error cell has a line of its own
        table = first + self.counts["scalar"]
        blocks = table + ENTRY_CELLS * len(program.launches)
        launches = list(zip(program.launches, functions, strict=True))
        width = sum(self._block_cells(*each) for each in launches)
        self.cells = aligned_cells(blocks + width)
        self.address: int = self.cells.ctypes.data
        self.scalars_at, self.table_at = first, table
        self._places: dict[str, list[tuple[int, int]]] = {s: [] for s in ("arena", "state", "call")}
        self.blocks: list[int] = []  # of each launch, the cell where its arguments begin
        at = blocks
        for i, (launch, function) in enumerate(launches):
            resumes = i > 0 and program.launches[i - 1].kernel.call is not None
            flags = BARRIER if launch.barrier or resumes else 0
            if (i == program.commit or checked) and i > 0:
                flags = BARRIER | COMMIT  # always: integer division fails without a check site
                flags |= AGAIN if checked else 0
            if launch.kernel.call is not None:
                flags |= HOST
            row = table + ENTRY_CELLS * i
            self.cells[row : row + ENTRY_CELLS] = function, self.at(at), flags, 0
            self.blocks.append(at)
            self._fill(at, launch, function, [slots[name] for name in launch.slots])
            at += self._block_cells(launch, function)
        self.arena, self.state, self.call = (
            np.array(self._places[s], np.int64).reshape(-1, 2) for s in ("arena", "state", "call")
        )

    def at(self, cell: int) -> int:
        """The address of a cell."""
        return self.address + CELL_BYTES * cell

    def bind_arena(self, base: int) -> None:
        self.cells[self.arena[:, 0]] = self.arena[:, 1] + base

    def bind_state(self, pointers: Sequence[int]) -> None:
        self.cells[self.state[:, 0]] = np.array(pointers, np.int64)[self.state[:, 1]]

    def _fill(self, at: int, launch: Launch, function: int, slots: Sequence[Slot]) -> None:
        """Write one argument block, noting the pointers that come later."""
        self.cells[at] = self.address
        for cell, slot in enumerate(slots, at + 1):
            if slot.space == "scalar":
                self.cells[cell] = self.at(self.scalars_at + slot.index)
            elif slot.space in ("arena", "state"):
                self._places[slot.space].append((cell, slot.index))
            else:  # results first, so that arguments no launch reads may follow
                skip = self.counts["out"] if slot.space == "arg" else 0
                self._places["call"].append((cell, slot.index + skip))
        kernel = launch.kernel
        numbers = [scalar_bits(v, a.dtype) for v, a in zip(launch.scalars, kernel.scalars)]
        extents = [s.size_bytes for s in slots] if self._checked else []
        rest = [*launch.sizes, *numbers, *numbers_of(function), *extents]
        self.cells[at + 1 + len(slots) : at + self._block_cells(launch, function)] = rest

    def _block_cells(self, launch: Launch, function: int) -> int:
        buffers = len(launch.slots) * (2 if self._checked else 1)
        others = len(launch.sizes) + len(launch.scalars) + len(numbers_of(function))
        return 1 + buffers + others
