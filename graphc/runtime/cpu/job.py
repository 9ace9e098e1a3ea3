"""What native code is told to run, and how long that took."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import pairwise

from graphc.ir.cpu_abi import JOB, JOB_CELLS
from graphc.ir.program import Program
from graphc.runtime.cpu.routines import Routine


class Job:
    """The block of cells that tells native code what to run (`cpu_abi.JOB`).

    `done`: the last run went to its end, although a signal handler may have raised meanwhile.
    `clean`: and no check failed. `routines`: by number, the entries that Python runs. `uses`: the
    memory and the code that the cells point to, which stay while a job is unfinished, even if its
    program is dropped.
    """

    __slots__ = ("address", "cells", "clean", "commit", "done", "parallel", "routines", "uses")

    def __init__(
        self,
        routines: Mapping[int, Routine],
        uses: Sequence[object],
        commit: int = 0,
        parallel: bool = True,
    ) -> None:
        self.routines, self.uses = routines, uses
        self.commit, self.parallel = commit, parallel
        self.cells = (ctypes.c_int64 * JOB_CELLS)()
        self.address = ctypes.addressof(self.cells)
        self.done = self.clean = False

    @contextmanager
    def stamped(self) -> Iterator[ctypes.Array[ctypes.c_int64]]:
        """Inside, a run notes when each launch began and the last one ended, in ticks."""
        ticks = (ctypes.c_int64 * (self.cells[JOB["entries"]] + 1))()
        self.cells[JOB["ticks"]] = ctypes.addressof(ticks)
        try:
            yield ticks
        finally:
            self.cells[JOB["ticks"]] = 0


class Timed:
    """One run of a program: the seconds of each launch, by the thread that called.

    Threads meet only where one needs what another wrote, so a launch without a barrier before it
    takes what is left of the one before along. `ticks` are when each began and the last one ended,
    `rate` how many make a second, both looked at later: the caller's clock is still running.
    """

    calls = 1

    def __init__(self, program: Program, ticks: Iterable[int], rate: Callable[[], float]) -> None:
        self.program, self._ticks, self._rate = program, ticks, rate

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        rate = self._rate()
        return tuple((b - a) / rate for a, b in pairwise(self._ticks))
