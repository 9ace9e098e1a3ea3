"""What programs of a process share: threads, the arena, and the lock that makes steps take turns,
so that two writers of one state never overlap.

A signal handler that raises (Ctrl-C) ends a step before its commit point, else after the step is
finished: never in the middle. Forks and the process's end wait for a step in flight.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from graphc.ir.cpu_abi import FINISHED, JOB, MOVED, POOL, ROUTINE, Walker
from graphc.runtime.cpu import threads
from graphc.runtime.cpu.arena import Arena, return_free_memory
from graphc.runtime.cpu.entry import Entry
from graphc.runtime.cpu.job import Job, Timed
from graphc.runtime.cpu.threads import Pool, forget_threads, get_num_threads
from graphc.runtime.tally import Tally
from graphc.runtime.turn import OwnTurn, Turn

SIGNAL_SECONDS = 0.05  # how long a step may keep a signal waiting between two kernels
DEFAULT_TICKS = 1e9  # a clock's rate until a millisecond of it was seen
NO_ENTRY = -1  # as `resume`: begin; as `stop_at`: do not stop
STOP_AT, RESULT = JOB["stop_at"], JOB["result"]


class Engine:
    """The process's threads, its arena, and the lock under which a step runs."""

    def __init__(self, walker: Walker, turn: Turn | None = None) -> None:
        self.arena = Arena()
        self._turn: Turn = turn or OwnTurn()
        self._busy = ctypes.c_int64(0)
        self.timed: list[Timed] | Tally | None = None  # where runs are noted, while somebody looks
        self._walker = walker
        self._entry = Entry(walker)
        self._run = self._entry.run
        self._clock = ctypes.CFUNCTYPE(ctypes.c_int64)(walker.clock)
        self._born = self._clock(), time.perf_counter()
        self._solo = Pool(walker, 1)
        self._pool = self._solo
        self._unfinished: tuple[Pool, Job] | None = None
        self._closed = False
        ENGINES.add(self)

    @property
    def lock(self) -> Any:
        """Whoever holds it runs a program."""
        return self._turn.lock

    @property
    def busy(self) -> int:
        """Whether a job runs: RUNNING, or LEFT by a latch that could not end it; else 0."""
        return self._busy.value

    @busy.setter
    def busy(self, value: int) -> None:
        self._busy.value = value

    @property
    def walked(self) -> int:
        """Ticks that callers have spent in kernels, with as many threads as now."""
        return sum(int(pool.cells[POOL["walked"]]) for pool in {self._pool, self._solo})

    def rate(self) -> float:
        """Ticks of the native clock in a second, as seen since birth."""
        seconds = time.perf_counter() - self._born[1]
        return (self._clock() - self._born[0]) / seconds if seconds > 1e-3 else DEFAULT_TICKS

    def budget(self) -> int:
        """`SIGNAL_SECONDS` in ticks of the native clock."""
        return int(SIGNAL_SECONDS * self.rate())

    @contextmanager
    def timing(self) -> Iterator[list[Timed]]:
        """Inside, runs are timed by launch and noted."""
        with self.lock:
            found: list[Timed] = []
            before, self.timed = self.timed, found
            threads.turned()
        try:
            yield found
        finally:
            self.timed = before

    def tally(self) -> Tally:
        """From now on, the times of all runs are put together by program."""
        self.timed = tally = Tally()
        threads.turned()
        return tally

    def walk(self, job: Job, pointers: Sequence[int], watched: int = 0) -> bool:
        """Run a job to its end on these addresses; False if one of the first `watched` words that
        it brings differs, and nothing ran. The caller holds the lock, and looks at the error cell
        unless the job is `clean`. Re-raises what a handler raised."""
        if self._unfinished is not None:
            self._end_unfinished(KeyboardInterrupt())
        pool = self._pool if job.parallel else self._solo
        if pool.threads != threads.wanted and job.parallel:
            pool = self._threads()
        raised = None
        self._unfinished = pool, job
        try:
            try:
                ended = self._run(
                    pool.address, job.address, NO_ENTRY, pointers, threads.denormals, watched
                )
                if ended == FINISHED:  # and no check failed
                    self._unfinished = None
                    job.done = job.clean = True
                    return True
            except BaseException as e:
                raised = e
            return self.rest(pool, job, raised)
        except BaseException as e:
            self._end_unfinished(e)
            raise

    def rest(self, pool: Pool, job: Job, raised: BaseException | None) -> bool:
        """What is left to do where the first round was not all, or something was raised."""
        resume = job.cells[RESULT]
        if resume >= 0:
            raised = self._walk(pool, job, job.commit, resume, raised)
        else:
            self._unfinished = None
            job.done = resume != MOVED
        if raised is not None:
            raise raised
        return job.cells[RESULT] != MOVED

    def _walk(
        self, pool: Pool, job: Job, commit: int, resume: int, raised: BaseException | None
    ) -> BaseException | None:
        """Call native code until no more is left; it returns where a signal handler has raised.

        What was raised first is returned, and ends the step where it has not committed. A second
        one, within microseconds, may leave this loop itself; then `_unfinished` is still set, and
        the workers wait. Routines run here, all before the commit; one that fails ends the step
        like a handler that raises.
        """
        threads.turned()
        while True:
            if resume >= ROUTINE:
                resume, raised = self._host(job, resume - ROUTINE, raised)
            if raised is not None and 0 <= resume <= commit:
                job.cells[STOP_AT] = resume
            try:
                self._run(pool.address, job.address, resume)
            except BaseException as e:
                raised = raised or e
            resume = job.cells[RESULT]
            if resume < 0:
                self._unfinished = None
                job.done = job.cells[STOP_AT] == NO_ENTRY
                return raised

    @staticmethod
    def _host(
        job: Job, entry: int, raised: BaseException | None
    ) -> tuple[int, BaseException | None]:
        """Run a routine, unless something was raised; where to resume, and what was raised."""
        if raised is None:
            try:
                job.routines[entry]()
            except BaseException as e:
                raised = e
        return entry + 1, raised

    def _end_unfinished(self, raised: BaseException) -> None:
        """End what handlers left in the middle: abandoned before its commit, else finished."""
        if self._unfinished is not None:
            pool, job = self._unfinished
            if job.cells[RESULT] >= 0:
                self._walk(pool, job, job.commit, job.cells[RESULT], raised)
            self._unfinished = None

    def _threads(self) -> Pool:
        """The pool of as many threads as are wanted now."""
        if self._pool.threads != get_num_threads() and not self._closed:
            self.stop()
            wanted = get_num_threads()
            self._pool = self._solo if wanted == 1 else Pool(self._walker, wanted)
        return self._pool

    def stop(self) -> None:
        """End the workers; the next parallel step starts new ones."""
        threads.turned()
        self._pool.stop()
        self._pool = self._solo

    def close(self) -> None:
        """At exit: after a step in flight, end the workers for good."""
        with self.lock:
            self._closed = True
            self.stop()

    def forget(self) -> None:
        """In a forked child: the workers do not exist here, nor does a step in flight."""
        self._turn.forget()
        self._pool, self._unfinished, self.busy = self._solo, None, 0
        forget_threads()

    def release(self, owner: int) -> None:
        """An executable is gone. Runs wherever the garbage collector does, so it never waits."""
        self.arena.release(owner)
        if self.lock.acquire(blocking=False):
            try:
                if not self.busy and self._unfinished is None:
                    self.arena.trim()
                    return_free_memory()
            finally:
                self.lock.release()


ENGINES: weakref.WeakSet[Engine] = weakref.WeakSet()


def _before_fork() -> None:
    for engine in list(ENGINES):
        engine.lock.acquire()


def _after_fork() -> None:
    for engine in list(ENGINES):
        engine.lock.release()


def _in_child() -> None:
    for engine in list(ENGINES):
        engine.forget()


def _at_exit() -> None:
    for engine in list(ENGINES):
        engine.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)
atexit.register(_at_exit)
