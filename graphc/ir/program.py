"""Program: a flat list of launches on planned buffers; data, not code.

Every buffer is an offset in one arena or a numbered slot that is bound at each call:
  arg    k  the k-th tensor argument of the call
  state  k  the k-th tensor of the discovered state (parameter, buffer, optimizer slot, grad)
  scalar k  the k-th host scalar (8 bytes each: learning rate, random position)
  out    k  the k-th returned tensor, newly allocated for each call
  arena  o  byte offset o of the arena, a multiple of `align`

Launches run in order on all threads. `barrier` is set where a launch touches bytes that an earlier
launch since the last barrier wrote, or writes bytes it touched. Launches before `commit` write no
state: if the error cell is set when it is reached, the rest of the program is skipped.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from graphc.ir.kernel import Kernel
from graphc.ir.types import Scalar, Shape, TensorSpec

# What `tracemalloc` sees of a program for one more set of sizes, and of its executable.
SLOT_BYTES, LAUNCH_BYTES = 300, 200

GROWN = "grown"  # in place of an error's class
Space = Literal["arena", "arg", "state", "scalar", "out"]


@dataclass(frozen=True, slots=True)
class Slot:
    """One planned buffer: where it lives, and from which launch to which (inclusive) it is live."""

    name: str
    spec: TensorSpec
    space: Space
    index: int  # byte offset in the arena, else the number of the slot in its space
    first: int
    last: int
    where: str = field(default="", compare=False)
    within: str = ""  # the slot of the arena that it is a part of: one trip's share

    @property
    def size_bytes(self) -> int:
        return self.spec.size_bytes


@dataclass(frozen=True, slots=True)
class Launch:
    """Run `kernel` with these slots, sizes and scalars, in the order of its signature."""

    kernel: Kernel
    slots: tuple[str, ...]
    sizes: tuple[int, ...]
    scalars: tuple[Scalar, ...]
    barrier: bool = False
    members: tuple[str, ...] = field(default=(), compare=False)  # names of the values it computes
    trip: int = field(default=-1, compare=False)  # of the loop that it is in


@dataclass(frozen=True, slots=True)
class CheckSite:
    """What a run-time check reports: its text, and the user's line; `error` names the class where
    it is not `IndexOutOfRange`, whose text goes on with the index."""

    what: str
    where: tuple[str, int, str]
    error: str = ""
    fix: str = ""

    @property
    def late(self) -> bool:
        """Whether it is behind the commit point, and no error: state has grown large."""
        return self.error == GROWN


@dataclass(frozen=True, slots=True)
class Assumption:
    """Between which numbers a program takes all of a float state to lie: `Store.bound` keeps them
    there while the program alone writes it; before that it has to be looked at."""

    state: int
    lo: float
    hi: float


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled step; `outs[i]` names the slot returned i-th."""

    name: str
    slots: tuple[Slot, ...]
    launches: tuple[Launch, ...]
    commit: int  # launches[commit:] may write state
    outs: tuple[str, ...]
    arena_bytes: int
    bound_bytes: int  # the most bytes ever live at once: no plan can be smaller
    checks: tuple[CheckSite, ...] = ()
    orders: tuple[Shape, ...] = ()  # of each state slot: its dimensions, outermost in memory first
    align: int = 64  # bytes: what each arena offset is a multiple of
    assumed: tuple[Assumption, ...] = ()

    def kernels(self) -> list[Kernel]:
        """The distinct kernels, in order of first launch."""
        objects = {id(x.kernel): x.kernel for x in self.launches}  # trips have them in common
        return list(dict.fromkeys(objects.values()))

    def buffers(self) -> list[Slot]:
        """The slots that are not parts of others."""
        return [s for s in self.slots if not s.within]

    def rows(self) -> list[list[int]]:
        """The numbers of the launches, those of all trips of a loop as one row."""
        rows: list[list[int]] = []
        first = at = 0
        before = -1
        for i, launch in enumerate(self.launches):
            if launch.trip != before:
                at = 0
                first = len(rows) if launch.trip <= 0 else first
            if launch.trip > 0:
                rows[first + at].append(i)
                at += 1
            else:
                rows.append([i])
            before = launch.trip
        return rows

    @property
    def table_bytes(self) -> int:
        """About what this object and a runtime's tables for it take in memory; kernels aside,
        which programs of other sizes share."""
        return SLOT_BYTES * len(self.slots) + LAUNCH_BYTES * len(self.launches)
