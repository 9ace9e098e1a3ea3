"""Runs programs: one at a time in a process, on all threads, in one native call.

`Engine` is what programs share (threads, arena, the lock that makes steps take turns, so that two
writers of one state never overlap); `Executable` is a bound program. A step that fails before its
commit point leaves all state as it was. A signal handler that raises (Ctrl-C) ends a step before
its commit point, else after the step is finished: never in the middle.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from graphc.errors import GraphcError, InternalError, InvalidState
from graphc.ir.cpu_abi import (
    CELL_BYTES,
    ERROR_CELLS,
    FINISHED,
    JOB,
    LEFT,
    MOVED,
    OUTSIDE,
    POOL,
    ROUTINE,
    RUNNING,
    Walker,
)
from graphc.ir.program import Program
from graphc.ir.types import Array, Scalar, Shape
from graphc.runtime.cpu import threads
from graphc.runtime.cpu.arena import Arena, return_free_memory
from graphc.runtime.cpu.binding import Binding
from graphc.runtime.cpu.entry import Entry
from graphc.runtime.cpu.job import TICKS, Job, Timed, clocked
from graphc.runtime.cpu.outside import outside
from graphc.runtime.cpu.routines import routines_of
from graphc.runtime.cpu.threads import Pool, forget_threads, get_num_threads
from graphc.runtime.cpu.trust import Trust
from graphc.runtime.failures import failed_check
from graphc.runtime.latch import Latch, functions
from graphc.runtime.tally import Tally
from graphc.runtime.turn import OwnTurn, Turn

SIGNAL_SECONDS = 0.05  # how long a step may keep a signal waiting between two kernels
DEFAULT_TICKS = 1e9  # a clock's rate until a millisecond of it was seen
NO_ENTRY = -1  # as `resume`: begin; as `stop_at`: do not stop
STOP_AT, RESULT = JOB["stop_at"], JOB["result"]

_flush_denormals = False


def set_flush_denormal(mode: bool) -> bool:
    """Treat denormal floats as zero in compiled steps (not by default, as in PyTorch)."""
    global _flush_denormals
    _flush_denormals = bool(mode)
    threads.turned()
    return True


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
                    pool.address, job.address, NO_ENTRY, pointers, _flush_denormals, watched
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


class Executable:
    """A program bound to its code. `functions[i]` is the address of launch i's kernel.

    What keeps those addresses mapped is `functions` itself, which is held. A program too small to
    be worth waking other threads for runs with `parallel=False`; the results are the same.
    `checked`: the functions are those that check bounds.
    """

    def __init__(
        self,
        program: Program,
        functions: Sequence[int],
        engine: Engine,
        *,
        parallel: bool = True,
        checked: bool = False,
    ) -> None:
        self.program = program
        self._engine = engine
        self._binding = Binding(program, functions, checked)
        self._trust = Trust(program)
        self.doubt = self._trust.doubt
        cells = self._binding.cells
        self._error = (ctypes.c_int64 * ERROR_CELLS).from_buffer(cells.data)
        self._scalars = cells.data.cast("B")[8 * self._binding.scalars_at :]
        self._pointers = np.zeros(0, np.int64)  # of results, then arguments; native code fills it
        self._watched, self._arena_epoch = 0, -1
        self._patches = np.ascontiguousarray(self._binding.call)
        uses = functions, self._binding, self._patches
        self._job = Job(routines_of(program, self._binding), uses, program.commit, parallel)
        self._describe_job(len(program.launches))
        self.timed = partial(clocked, engine, self._job, program)
        self._arg_count, self._out_count = self._binding.counts["arg"], self._binding.counts["out"]
        self._bound = len(self._binding.state) == 0
        weakref.finalize(self, engine.release, id(self)).atexit = False

    @property
    def orders(self) -> tuple[Shape, ...]:
        """How each state tensor has to lie in memory: its dimensions, outermost first."""
        return self.program.orders

    @property
    def table_bytes(self) -> int:
        return self.program.table_bytes

    def bind_state(self, pointers: Sequence[int]) -> None:
        """Where the state tensors are, from now on; they must stay alive while bound."""
        with self._engine.lock:
            self._binding.bind_state(pointers)
            self._trust.bind(pointers)
            self._bound = True

    def run(
        self, args: Sequence[int], outs: Sequence[int] = (), scalars: Sequence[Scalar] = ()
    ) -> None:
        """Run the step on these addresses; results are written to `outs`.

        Raises the error of the first failed check, or OutOfMemory, with all state unchanged; what
        a signal handler raises, with state unchanged or, where `done` says so, complete.
        """
        self._job.done = False
        with self._engine.lock:
            if self._engine.busy:
                raise InvalidState("a compiled step was called by a handler while one was running")
            self.again((), scalars, (args, outs))

    def again(
        self,
        pointers: Sequence[int],
        scalars: Sequence[Scalar] = (),
        given: tuple[Sequence[int], Sequence[int]] | None = None,
    ) -> bool:
        """As `run`, with a list of results, then arguments, and the numbers of last time if none
        are given; False, and nothing ran, if a watched word differs or `run` has things to put in
        order, whose arguments and results are `given`. The caller holds the engine's lock."""
        engine, job = self._engine, self._job
        job.done = job.clean = False
        if engine.busy or (given is None and self._arena_epoch != engine.arena.epoch):
            return False
        self._trust.look()
        engine.busy = RUNNING  # at once: a handler may run at any call, and move what was compared
        try:
            if given is not None:
                pointers = self._bind(*given, scalars)
            elif scalars:
                self._binding.scalar_format.pack_into(self._scalars, 0, *scalars)
            watched = 0 if given else self._watched
            if (timed := engine.timed) is None:  # once: another thread may end it
                ran = engine.walk(job, pointers, watched)
            else:
                ran = self._time(timed, pointers, watched)
        except BaseException as e:
            self._explain(e)
            raise
        finally:
            engine.busy = 0
        if not job.clean and self._error[0] and not self._trust.has_grown(self._error):
            raise self._failure()
        return ran

    def _time(self, runs: list[Timed] | Tally, pointers: Sequence[int], watched: int) -> bool:
        """Run with the clock read at each launch."""
        try:
            ticks = self._job.stamp()
            ran = self._engine.walk(self._job, pointers, watched)
        finally:
            self._job.cells[TICKS] = 0
        if self._job.done and not self._error[0]:  # else the walk ended before the last launch
            runs.append(Timed(self.program, ticks, self._engine.rate))
        return ran

    def _explain(self, e: BaseException) -> None:
        """Raise the error of a check, if one failed before e was raised."""
        if self._error[0] and (failed := self._failure()) and isinstance(e, GraphcError):
            raise failed from None

    def watch(self, words: Array) -> bool:
        """Have `again` compare rows of an address and what must be there, valid meanwhile."""
        self._job.cells[JOB["watched"]] = words.ctypes.data
        self._words, self._watched = words, len(words)
        return True

    def settle(self) -> None:
        """All has been raised."""

    def latch(self, cells: Mapping[str, int], keep: object) -> Latch | None:
        """A whole call as one builtin (`latch.py`), where the program and Python allow one."""
        if (found := functions()) is None or self._job.routines:
            return None
        job, busy = self._job.address, ctypes.addressof(self._engine._busy)
        own = {"job": job, "busy": busy, "pointers": job + CELL_BYTES * JOB["pointers"]}
        return Latch(self, {**found, **own, **cells}, keep)

    @property
    def latched(self) -> int:
        return self._engine._walker.latch

    def words(self) -> list[tuple[int, int]]:
        """Addresses and words that tell whether it would run as it does now."""
        cells = self._engine._busy, self._engine.arena.moves, threads.turns, self._trust.cell
        return [(ctypes.addressof(x), x.value) for x in cells]

    def bound(self) -> dict[str, int]:
        """The threads that it would run on; nothing if there is something to put in order."""
        engine, job = self._engine, self._job
        pool = engine._pool if job.parallel else engine._solo
        ordered = engine.timed is None and engine._unfinished is None and not engine.busy
        settled = self._arena_epoch == engine.arena.epoch and len(self._pointers) > 0
        wanted = pool.threads == threads.wanted or not job.parallel
        job.cells[JOB["denormals"]] = _flush_denormals
        return {"pool": pool.address} if ordered and settled and wanted else {}

    def ways(self) -> int:
        return 1

    def left(self) -> bool:
        return self._engine.busy == LEFT

    def resume(self, raised: BaseException | None) -> None:
        """End the job that a latch has left, in whose turn this is."""
        engine, job = self._engine, self._job
        pool = engine._pool if job.parallel else engine._solo
        engine._unfinished = pool, job
        engine.busy, job.done, job.clean = RUNNING, False, False
        try:
            engine.rest(pool, job, raised)
        except BaseException as e:
            engine._end_unfinished(e)
            self._explain(e)
            raise
        finally:
            engine.busy = 0
        if self._error[0] and not self._trust.has_grown(self._error):
            raise self._failure()

    @property
    def done(self) -> bool:
        """Whether the last run went to its end, and no check of it failed."""
        return self._job.done

    def _bind(
        self, args: Sequence[int], outs: Sequence[int], scalars: Sequence[Scalar]
    ) -> list[int]:
        """Write what is new in this call into the cells; the addresses that the call hands over."""
        if len(args) < self._arg_count or len(outs) < self._out_count or not self._bound:
            raise InternalError(f"{self.program.name}: arguments, results or state are not bound")
        if len(args) + self._out_count != len(self._pointers):
            self._pointers = np.zeros(len(args) + self._out_count, np.int64)
            self._job.cells[JOB["pointers"]] = self._pointers.ctypes.data
        if count := self._binding.counts["scalar"]:
            self._binding.scalar_format.pack_into(self._scalars, 0, *scalars[:count])
        arena = self._engine.arena
        if self._arena_epoch != arena.epoch:
            arena.reserve(id(self), self.program.arena_bytes, self.program.slots)
            self._binding.bind_arena(arena.base)
            self._arena_epoch = arena.epoch
        return [*outs[: self._out_count], *args]

    def _describe_job(self, entries: int) -> None:
        binding, job = self._binding, self._job
        job.cells[JOB["table"]] = binding.at(binding.table_at)
        job.cells[JOB["entries"]] = entries
        job.cells[JOB["error"]] = job.cells[JOB["cells"]] = binding.address
        job.cells[JOB["budget"]] = self._engine.budget()
        job.cells[JOB["patches"]] = self._patches.ctypes.data
        job.cells[JOB["patch_count"]] = len(self._patches)

    def _failure(self) -> GraphcError:
        """The error in the error cell, which is cleared."""
        self._job.done = False
        kind, site, value, bound = self._error
        self._error[:] = [0] * ERROR_CELLS
        if kind >= OUTSIDE:
            launch = self._binding.blocks.index((site - self._binding.address) // CELL_BYTES)
            return outside(self.program, launch, kind - OUTSIDE, value, bound)
        return failed_check(self.program.checks, site, value, bound)
