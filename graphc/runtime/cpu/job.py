"""What native code is told to run, and how long that took."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from graphc.ir.cpu_abi import JOB, JOB_CELLS
from graphc.ir.program import Program
from graphc.runtime.cpu import threads
from graphc.runtime.cpu.routines import Routine
from graphc.runtime.latch import Clocked
from graphc.runtime.tally import Tally

ENTRIES, TICKS = JOB["entries"], JOB["ticks"]


class Job:
    """The block of cells that tells native code what to run (`cpu_abi.JOB`).

    `done`: the last run went to its end, although a signal handler may have raised meanwhile.
    `clean`: and no check failed. `routines`: by number, the entries that Python runs. `uses`: the
    memory and the code that the cells point to, which stay while a job is unfinished, even if its
    program is dropped.
    """

    __slots__ = (
        "_kind",
        "_threads",
        "_ticks",
        "address", "cells", "clean", "commit", "done", "parallel", "routines", "uses",
    )  # fmt: skip

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
        self._threads, self._kind = 0, ctypes.c_int64 * 0 * 0  # of how many threads, and their rows
        self._ticks: tuple[object, object] = None, None  # the last two; a job may be unfinished

    def stamp(self) -> ctypes.Array[Any]:
        """From now on each thread of a run notes in a row of its own when it began each launch, the
        caller also when the last one ended, in ticks; until the cell TICKS is 0 again."""
        if self._threads != threads.wanted:
            self._threads = threads.get_num_threads()
            self._kind = ctypes.c_int64 * (self.cells[ENTRIES] + 1) * self._threads
        ticks = self._kind()
        self._ticks = ticks, self._ticks[0]
        self.cells[TICKS] = ctypes.addressof(ticks)
        return ticks


class Timed:
    """One run of a program: the seconds of each launch, which add up to those of the run.

    Threads meet only where one needs what another wrote; where they do not, one may be at the next
    launch already. So a launch has the mean of what it took each thread, and waiting at a barrier
    belongs to the launch before it. `ticks` are as of `Job.stamp`, `rate` how many make a second,
    both looked at later: the caller's clock is still running.
    """

    calls = 1

    def __init__(self, program: Program, ticks: ArrayLike, rate: Callable[[], float]) -> None:
        self.program, self._ticks, self._rate = program, ticks, rate

    @cached_property
    def threads(self) -> list[list[float]]:
        """Of each thread that ran: when it began each launch and when the last one ended, in
        seconds from the begin of the run."""
        rows = np.asarray(self._ticks)
        ran = rows[rows[:, 0] != 0]
        ran[:, 0] = ran[:, 0].min()  # a thread that came later, the caller too, was waited for
        ran[:, -1] = ran[0, -1]
        found: list[list[float]] = ((ran - ran[0, 0]) / self._rate()).tolist()
        return found

    @cached_property
    def seconds(self) -> tuple[float, ...]:
        return tuple(np.diff(self.threads).mean(axis=0).tolist())


class Noting(Protocol):
    """An engine."""

    timed: list[Timed] | Tally | None

    def rate(self) -> float: ...


def clocked(
    engine: Noting, job: Job, program: Program, call: Callable[..., Any], args: Sequence[Any]
) -> Clocked:
    """Time the runs of one call; a latch of this job that makes it stays what it is.

    In one frame: all that is touched here has been swept out of the caches, and costs as much as
    what it does."""
    before = engine.timed
    runs: list[Timed] = []
    try:
        engine.timed = runs
        ticks = job.stamp()
        begun = time.perf_counter()
        result = call(*args)
        ended = time.perf_counter()
    finally:
        job.cells[TICKS] = 0
        engine.timed = before
    if ticks[0][-1]:  # its latch has made it, and all launches have run
        runs.append(Timed(program, ticks, engine.rate))
    return result, begun, ended, runs
