"""Runs programs on a GPU: each a few CUDA graphs, started without waiting for them.

All programs of a process run on one stream, in the order of the calls, and share one arena, which
each uses after the last one has. Arguments, results and state are used where they are: staging
them would move every saved activation of a forward once more, and addresses recur, since the
allocator hands freed memory out again; a set of them that is new records the launches again
(`capture.py`), without compiling anything. The host's numbers and the words of a failed check are
in a block of the program's own.

All return at once. What a check found is told when somebody looks (`pending.py`): the launches
behind the commit point of a program whose check failed have stored nothing, so state is as it was.
Routines run on the host, between two graphs, on copies of their operands.
"""

from __future__ import annotations

import ctypes
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import prod
from typing import Any

import numpy as np

from graphc.errors import GraphcError, InternalError
from graphc.ir.cpu_abi import LEFT
from graphc.ir.cuda_abi import Image
from graphc.ir.kernel import Operand
from graphc.ir.program import Launch, Program
from graphc.ir.types import Array, Scalar, Shape
from graphc.runtime import routines
from graphc.runtime.cuda.apart import Apart, Around
from graphc.runtime.cuda.capture import (
    Forgotten,
    Ready,
    Recorded,
    Recordings,
    Report,
    Startable,
)
from graphc.runtime.cuda.dead import dead_behind
from graphc.runtime.cuda.device import entered
from graphc.runtime.cuda.engine import Engine
from graphc.runtime.cuda.group import Group, Member, tables
from graphc.runtime.cuda.latch import Graphs, spots
from graphc.runtime.cuda.launches import (
    ALIGN,
    aligned,
    counters,
    numbers_of,
    parts_of,
    scratches,
)
from graphc.runtime.cuda.pack import bound, grid, pack
from graphc.runtime.failures import failed_check
from graphc.runtime.latch import Clocked, Latch, functions
from graphc.runtime.slots import count_of, scalar_format
from graphc.runtime.tally import Mean

COUNTER_BYTES = 4
CELL_BYTES = 16  # of a number: kernels are compiled for buffers that begin at multiples
WARP = 32


_timed: list[list[Any]] = []  # where runs are noted while somebody looks, innermost last
_looks = ctypes.c_int64(0)  # moves with it


@contextmanager
def timing(runs: list[Any]) -> Iterator[list[Any]]:
    """Inside, each run on any device is timed by launch and noted in `runs`."""
    _timed.append(runs)
    _looks.value += 1
    try:
        yield runs
    finally:
        _timed[:] = [x for x in _timed if x is not runs]  # not another that is empty, too
        _looks.value += 1


class CudaExecutable:
    """A program bound to its code: `images[i]` is launch i's, None for a routine; the launches of
    a group are started as one, where its first stands."""

    def __init__(
        self,
        program: Program,
        images: Sequence[Image | None],
        engine: Engine,
        groups: Sequence[Group] = (),
    ) -> None:
        routines.check_sizes(program)
        self._groups = {g.members[0]: g for g in groups}
        self._absorbed = {i for g in groups for i in g.members[1:]}
        self.program, self._images, self._engine = program, images, engine
        self._device, self._driver = engine.device, engine.device.driver
        self._slots = {s.name: s for s in program.slots}
        self._counts = {space: count_of(program, space) for space in ("arg", "out", "state")}
        self._scalars = count_of(program, "scalar")
        self._format = scalar_format(program, self._scalars, CELL_BYTES)
        self._numbers = b""  # as they are on the device
        self._runs = ctypes.c_int64(0)  # moves with each run from here, and with what is bound
        self._starts = ctypes.c_int64(0)  # by native code
        self._graphs: Graphs | None = None
        self._states: tuple[int, ...] = ()
        self._recordings = Recordings(self._device)
        self._functions = [engine.device.function(x) if x is not None else 0 for x in images]
        self._parts = parts_of(images)
        self._apart = Apart(program if len(self._parts) == 1 else None, self._device)
        self._may_fail = any(x.kernel.may_fail() for x in program.launches if not x.kernel.call)
        self._scratch = self._most(lambda image, programs: sum(scratches(image, programs)))
        self._counters = ALIGN + aligned(CELL_BYTES * self._scalars)  # where they are in the block
        block_bytes = self._counters + COUNTER_BYTES * self._most(counters)
        self._block = engine.device.allocate(block_bytes)
        self._device.set(self._block.address, b"\0", block_bytes)
        self._dead = dead_behind(program) if self._driver.name == "fake" else None
        self.done = False
        weakref.finalize(self, engine.room.release, id(self)).atexit = False
        if self._may_fail:
            self._words = self._device.cells.take()
            weakref.finalize(self, self._device.cells.give_back, self._words).atexit = False

    @property
    def orders(self) -> tuple[Shape, ...]:
        """How each state tensor has to lie in memory: its dimensions, outermost first."""
        return self.program.orders

    @property
    def captures(self) -> int:
        """How often its launches were recorded."""
        return self._recordings.captures

    @property
    def table_bytes(self) -> int:
        """What it keeps for these sizes alone, code and arena aside."""
        return self.program.table_bytes

    def doubt(self) -> None:
        """It assumes nothing of state."""

    def bind_state(self, pointers: Sequence[int]) -> None:
        """Where the state tensors are, from now on; they must stay alive while bound."""
        self._states = tuple(pointers)
        self._runs.value += 1

    def run(
        self, args: Sequence[int], outs: Sequence[int] = (), scalars: Sequence[Scalar] = ()
    ) -> None:
        """Start the step on these addresses; results are written to `outs`.

        Raises the error of an earlier run's failed check, or OutOfMemory, with all state unchanged;
        what a signal handler raises, with state unchanged or, where `done` says so, complete.
        """
        self.done = False
        given = {"arg": args, "out": outs, "state": self._states}
        if any(len(given[space]) < n for space, n in self._counts.items()):
            raise InternalError(f"{self.program.name}: arguments, results or state are not bound")
        with self._engine.turn():
            self._runs.value += 1
            self._before()
            base = self._reserve()
            places = {**given, "arena": (base,)}
            if _timed:
                self._send(scalars)
                _timed[-1].append(Mean(self.program, self._clocked(places)))
                return
            key = base, self._states, *outs, *args
            started = self._apart.at(self._recordings, key, places, self._launches)
            ready = iter(started)
            if self._graphs is not None:
                self._recorded()
            self._send(scalars)
            for part in self._parts[:-1]:
                if isinstance(part, range):
                    next(ready).start()
                else:
                    self._on_host(part, places)
            self._finish(next(ready).start)

    def _clocked(self, places: dict[str, Sequence[int]]) -> tuple[float, ...]:
        """Run it launch by launch, each between two events; their seconds."""
        driver, stream = self._driver, self._device.stream
        seconds = [0.0] * len(self.program.launches)
        events: dict[int, tuple[int, int]] = {}
        try:
            for part in self._parts:
                for i in part if isinstance(part, range) else ():
                    if (ready := self._launch(i, places)) is not None:
                        events[i] = driver.EventCreate(True), driver.EventCreate(True)
                        driver.EventRecord(events[i][0], stream)
                        ready.start(driver, stream)
                        driver.EventRecord(events[i][1], stream)
                if isinstance(part, int):
                    begin = time.perf_counter()
                    self._on_host(part, places)
                    seconds[part] = time.perf_counter() - begin
            if self._may_fail:
                self._report().start(driver, stream)
            driver.StreamSynchronize(stream)
            for i, (start, end) in events.items():
                seconds[i] = driver.EventElapsedTime(start, end) / 1e3
            self._started()
            self.settle()
        finally:
            for pair in events.values():
                for event in pair:
                    driver.EventDestroy(event)
        return tuple(seconds)

    # ---- started again -------------------------------------------------------------------------

    def watch(self, words: Array) -> bool:
        """Have `again` compare rows of an address and what must be there, valid meanwhile."""
        self._watched = words
        return self._engine.code is not None

    def again(self, pointers: Sequence[int], scalars: Sequence[Scalar] = ()) -> bool:
        """As `run`, on results, then arguments, with the numbers of last time if none are given;
        False, and nothing ran, if a watched word differs."""
        code, words = self._engine.code, self._watched
        if code is None or self._engine.running.value:
            return False
        if not code.same(words.ctypes.data, len(words)):
            return False
        outs = self._counts["out"]
        self.run(pointers[outs:], pointers[:outs], scalars)
        return True

    def latch(self, cells: Mapping[str, int], keep: object) -> Latch | None:
        """A whole call as one builtin (`latch.py`), where the program and Python allow one."""
        code, found, at = self._engine.code, functions(), spots()
        if code is None or found is None or at is None or len(self._parts) > 1:
            return None
        own = {
            "busy": ctypes.addressof(self._engine.running), "stream": self._device.stream,
            "launch": self._driver.GraphLauncher(), "index": id(self._device.index),
            "copy": self._driver.Copier(),
            "starts": ctypes.addressof(self._starts),
        }  # fmt: skip
        self._recordings.all_as_graphs()
        self._apart.all_as_graphs()
        made = Latch(self, {**found, **at, **own, **cells}, keep)
        weakref.finalize(made, self._device.pending.release, id(self)).atexit = False
        return made

    @property
    def latched(self) -> int:
        assert self._engine.code is not None  # `latch` asked
        return self._engine.code.latch

    def bound(self) -> dict[str, int]:
        """The graphs that were recorded; nothing if Python has to start it."""
        pending = self._device.pending
        graphs = self._recorded()
        if graphs is None or self._engine.running.value or _timed or pending.others(self):
            return {}
        pending.keep(self, self._starts if self._may_fail else None)
        return graphs.cells()

    def timed(self, call: Callable[..., Any], args: Sequence[Any]) -> Clocked:
        with timing([]) as runs:  # of a call that is started from Python then
            begun = time.perf_counter()
            result = call(*args)
            return result, begun, time.perf_counter(), runs

    def ways(self) -> int:
        return self._recordings.captures + self._apart.captures

    def _recorded(self) -> Graphs | None:
        """What native code may start, that of the last run among it; None if that was no graph."""
        (base, states, *addresses), (started, *_) = self._recordings.last
        if not isinstance(started, Recorded | Around):
            return None
        if self._graphs is None or self._graphs.of != (base, states):
            self._graphs = Graphs(self._device, (base, states), len(addresses))
        self._graphs.add(addresses, started)
        return self._graphs

    def words(self) -> list[tuple[int, int]]:
        """Addresses and words that tell whether it would start as it did, and has not failed."""
        moves = self._engine.room.moves, self._device.pending.moves, entered, _looks, self._runs
        found = [(ctypes.addressof(x), x.value) for x in (self._engine.running, *moves)]
        return [*found, (self._words.ctypes.data, 0)] if self._may_fail else found

    def left(self) -> bool:
        return self._engine.running.value == LEFT

    def resume(self, raised: BaseException | None) -> None:
        """Start what native code could not: whatever is wrong is told so."""
        self._engine.running.value, self.done = 0, False
        if raised is not None:
            raise raised
        assert self._graphs is not None
        with self._engine.turn():
            self._finish(self._graphs.started.start)

    def settle(self) -> None:
        """Wait for the last run, if a check may have failed, and raise what it found."""
        if self._may_fail:
            self._device.wait()

    def _before(self) -> None:
        """Raise what is known to have failed; with state, wait for what may have."""
        pending = self._device.pending
        if self._counts["state"] and pending.others(self):
            self._device.wait()
        pending.glance()

    def _finish(self, start: Callable[[], None]) -> None:
        """Start the last part, in which is all that writes state."""
        try:
            start()
            self._started()
        except GraphcError:
            raise
        except BaseException:  # a signal's handler: what was started goes on to its end
            self._started()
            raise

    def _started(self) -> None:
        """The run counts, unless a check has failed."""
        if self._may_fail:
            self._starts.value += 1
            self._device.pending.add(self)
        self.done = True

    # ---- memory --------------------------------------------------------------------------------

    def _reserve(self) -> int:
        """The arena's address; scratch memory of kernels lies behind it."""
        return self._engine.room.reserve(id(self), self._arena_bytes(), self.program.slots)

    def _arena_bytes(self) -> int:
        return aligned(self.program.arena_bytes) + self._scratch

    def _discarded(self, i: int, base: int) -> tuple[tuple[int, int], ...]:
        """Addresses and bytes of what holds nothing behind launch i, where that is watched."""
        if self._dead is None:
            return ()
        spans = [(base + low, high - low) for low, high in self._dead[i]]
        scratch = base + aligned(self.program.arena_bytes), self._scratch
        return (*spans, scratch) if self._scratch else tuple(spans)

    def _most(self, need: Callable[[Image, int], int]) -> int:
        """The largest need of a launch, of an image and the programs of its grid."""
        pairs = zip(self.program.launches, self._images, strict=True)
        needs = [need(image, prod(self._grid(x, image))) for x, image in pairs if image is not None]
        return max(needs, default=0)

    def _send(self, scalars: Sequence[Scalar]) -> None:
        """Give the device the host's numbers, if some are given that are others than last time."""
        numbers = self._format.pack(*scalars[: self._scalars]) if scalars else self._numbers
        if numbers != self._numbers:
            self._engine.send(self._block.address + ALIGN, numbers)
            self._numbers = numbers

    def _address(self, name: str, places: dict[str, Sequence[int]]) -> int:
        slot = self._slots[name]
        if slot.space == "arena":
            return places["arena"][0] + slot.index
        if slot.space == "scalar":
            return self._block.address + ALIGN + CELL_BYTES * slot.index
        return places[slot.space][slot.index]

    # ---- launches ------------------------------------------------------------------------------

    def _launches(self, places: dict[str, Sequence[int]]) -> list[list[Startable]]:
        """For each part that is native, its launches on these addresses; then what they found."""
        native = [part for part in self._parts if isinstance(part, range)]
        found = [self._launches_of(part, places) for part in native]
        first = self._parts[0] is native[0]  # no routine has begun by then
        if self._dead is not None and first and (size := self._arena_bytes()):
            found[0].insert(0, Forgotten(places["arena"][0], size))
        if self._may_fail:
            found[-1].append(self._report())
        return found

    def _launches_of(self, part: range, places: dict[str, Sequence[int]]) -> list[Startable]:
        found: list[Ready] = []
        for i in part:
            if (ready := self._launch(i, places)) is not None:
                found.append(ready)
            elif i in self._absorbed and found:  # until here others may have used what it did
                dead = self._discarded(i, places["arena"][0])
                found[-1] = found[-1]._replace(dead=(*found[-1].dead, *dead))
        return [*found]

    def _launch(self, i: int, places: dict[str, Sequence[int]]) -> Ready | None:
        """Launch i; None if there is nothing to do."""
        if i in self._absorbed:
            return None
        if i in self._groups:
            return self._launch_group(self._groups[i], places)
        launch, image = self.program.launches[i], self._images[i]
        assert image is not None
        programs = self._grid(launch, image)
        if 0 in programs:
            return None
        buffers = [self._address(name, places) for name in launch.slots]
        scratch = places["arena"][0] + aligned(self.program.arena_bytes)
        given, compiled, _ = scratches(image, prod(programs))
        values = bound(
            image.source,
            buffers,
            launch.sizes,
            numbers_of(launch),
            self._block.address,
            scratch,
            self._block.address + self._counters,
        )
        of_compiler = scratch + given, scratch + given + compiled
        packed = pack(image.source, values, of_compiler)
        threads = WARP * image.source.num_warps
        dead = self._discarded(i, places["arena"][0])
        return Ready(self._functions[i], programs, threads, image.shared_bytes, packed, dead)

    def _launch_group(self, group: Group, places: dict[str, Sequence[int]]) -> Ready | None:
        """All launches of a group; those with nothing to do are left out."""
        members: list[Member] = []
        for i in group.members:
            launch = self.program.launches[i]
            sizes = dict(zip(launch.kernel.sizes, launch.sizes, strict=True))
            if not (programs := prod(grid(group.single, sizes))):
                continue
            buffers = [self._address(name, places) for name in launch.slots]
            values = bound(group.single, buffers, launch.sizes, numbers_of(launch))
            own = [v for p, v in zip(group.single.params, values) if p.bound != "error"]
            members.append(Member(own, programs))
        if not members:
            return None
        arrays = tables(group.single, members)
        held = [self._device.allocate(a.nbytes) for a in arrays]
        for memory, array in zip(held, arrays):
            self._device.upload(memory.address, array)
        source = group.image.source
        at = bound(source, [x.address for x in held], error=self._block.address)
        total, warps = sum(m.programs for m in members), WARP * source.num_warps
        dead = self._discarded(group.members[0], places["arena"][0])
        function, shared = self._device.function(group.image), group.image.shared_bytes
        packed = pack(source, at)
        return Ready(function, (total, 1, 1), warps, shared, packed, dead, tuple(held))

    @staticmethod
    def _grid(launch: Launch, image: Image) -> tuple[int, int, int]:
        return grid(image.source, dict(zip(launch.kernel.sizes, launch.sizes, strict=True)))

    # ---- what fails, and what the host does ----------------------------------------------------

    def _report(self) -> Report:
        """The copy of the words of failure to the host."""
        return Report(self._words.ctypes.data, self._block.address, self._words.nbytes)

    def failed(self) -> bool:
        return bool(self._words[0])

    def failure(self) -> GraphcError:
        """The error of the check that failed first; runs since have failed with it."""
        self.done = False
        self._driver.StreamSynchronize(self._device.stream)
        _, site, value, bound = self._words.tolist()
        self._device.set(self._block.address, b"\0", self._words.nbytes)
        self._words[...] = 0
        return failed_check(self.program.checks, site, value, bound)

    def _look(self) -> None:
        """Wait, and raise what a check before this point has found."""
        self._report().start(self._driver, self._device.stream)
        self._driver.StreamSynchronize(self._device.stream)
        if self.failed():
            raise self.failure()

    def _on_host(self, i: int, places: dict[str, Sequence[int]]) -> None:
        """Run a routine on copies, unless a check has failed before it."""
        if self._may_fail:
            self._look()
        launch = self.program.launches[i]
        held = {
            b.name: (self._address(name, places), b.dtype)
            for b, name in zip(launch.kernel.buffers, launch.slots, strict=True)
        }
        out = routines.call_of(launch).out
        results: list[Array] = []

        def array(o: Operand) -> Array:
            address, dtype = held[o.buffer]
            made = np.empty(routines.shape_of(launch, o), dtype.numpy)
            if o is out:
                results.append(made)
            else:
                self._device.download(made, address)
            return made

        routines.run(launch, array, self.program.checks)
        self._device.upload(held[out.buffer][0], results[0])
        for address, size_bytes in self._discarded(i, places["arena"][0]):
            self._driver.Discard(address, size_bytes, self._device.stream)
