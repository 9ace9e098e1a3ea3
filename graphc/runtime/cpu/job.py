"""What native code is told to run, and how long that took."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from graphc.ir.cpu_abi import JOB, JOB_CELLS
from graphc.ir.program import Program
from graphc.ir.types import Array
from graphc.runtime.cpu.routines import Routine
from graphc.runtime.cpu.threads import get_num_threads


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
    def stamped(self) -> Iterator[Array]:
        """Inside, each thread of a run notes in a row of its own when it began each launch, the

        caller also when the last one ended, in ticks."""
        ticks = np.zeros((get_num_threads(), self.cells[JOB["entries"]] + 1), np.int64)
        self.cells[JOB["ticks"]] = ticks.ctypes.data
        try:
            yield ticks
        finally:
            self.cells[JOB["ticks"]] = 0


class Timed:
    """One run of a program: the seconds of each launch, which add up to those of the run.

    Threads meet only where one needs what another wrote; where they do not, one may be at the next
    launch already. So a launch has the mean of what it took each thread, and waiting at a barrier
    belongs to the launch before it. `ticks` are as of `Job.stamped`, `rate` how many make a second,
    both looked at later: the caller's clock is still running.
    """

    calls = 1

    def __init__(self, program: Program, ticks: Array, rate: Callable[[], float]) -> None:
        self.program, self._ticks, self._rate = program, ticks, rate

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        ran = self._ticks[self._ticks[:, 0] != 0]
        ran[:, (0, -1)] = ran[0, (0, -1)]  # a thread that wakes late was waited for
        return tuple((np.diff(ran).mean(axis=0) / self._rate()).tolist())
