"""Runs programs: one at a time in a process, on all threads, in one native call.

`Executable` is a program bound to its code, run by the process's `Engine` (`engine.py`). A step
that fails before its commit point leaves all state as it was.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from graphc.errors import GraphcError, InternalError, InvalidState
from graphc.ir.cpu_abi import CELL_BYTES, ERROR_CELLS, JOB, LEFT, OUTSIDE, RUNNING
from graphc.ir.program import Program
from graphc.ir.types import Array, Scalar, Shape
from graphc.runtime.cpu import threads
from graphc.runtime.cpu.binding import Binding
from graphc.runtime.cpu.engine import Engine
from graphc.runtime.cpu.job import TICKS, Job, Timed, clocked
from graphc.runtime.cpu.outside import outside
from graphc.runtime.cpu.routines import routines_of
from graphc.runtime.cpu.trust import Trust
from graphc.runtime.failures import failed_check
from graphc.runtime.latch import Latch, functions
from graphc.runtime.tally import Tally


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
        job.cells[JOB["denormals"]] = threads.denormals
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
