"""capture: launches recorded as one CUDA graph, which starts them all in one call.

Addresses are constants of a graph, so there is one for each set of addresses that recurs. Starting
a graph is one call of C, which no signal handler divides: a step is started whole or not at all. A
graph of one launch saves nothing but where native code starts it (`latch.py`).
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from graphc.errors import CudaError, GraphcError
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.driver import Driver
from graphc.runtime.cuda.pack import Packed

MOST_GRAPHS = 8  # of one program: two of each argument alternate where a loop rebinds its name
MOST_CAPTURES = (
    64  # after these, a program whose addresses never recur is launched kernel by kernel
)


class Ready(NamedTuple):
    """One launch with all that the driver is told, and the memory that then holds nothing."""

    function: int
    grid: tuple[int, int, int]
    threads: int
    shared_bytes: int
    packed: Packed
    dead: tuple[tuple[int, int], ...] = ()  # addresses and bytes
    held: tuple[object, ...] = ()  # memory that it reads besides

    def start(self, driver: Driver, stream: int) -> None:
        driver.LaunchKernel(
            self.function, self.grid, self.threads, self.shared_bytes, stream, self.packed.address
        )
        for address, size_bytes in self.dead:
            driver.Discard(address, size_bytes, stream)


class Report(NamedTuple):
    """A copy to pinned memory of the host."""

    host: int
    address: int
    size_bytes: int

    def start(self, driver: Driver, stream: int) -> None:
        driver.MemcpyDtoHAsync(self.host, self.address, self.size_bytes, stream)


class Forgotten(NamedTuple):
    """Memory that holds nothing from here on, as watched memory is told."""

    address: int
    size_bytes: int

    def start(self, driver: Driver, stream: int) -> None:
        driver.Discard(self.address, self.size_bytes, stream)


class Move(NamedTuple):
    """A copy within the device."""

    target: int
    source: int
    size_bytes: int

    def start(self, driver: Driver, stream: int) -> None:
        driver.MemcpyDtoDAsync(self.target, self.source, self.size_bytes, stream)


class Replay(NamedTuple):
    """Launches that were recorded, or are otherwise started as one."""

    started: Started

    def start(self, driver: Driver, stream: int) -> None:
        self.started.start()


Startable = Ready | Report | Forgotten | Move | Replay


class Recorded:
    """Launches as one graph, recorded in a stream of its own."""

    def __init__(self, device: Device, launches: Sequence[Startable]) -> None:
        driver, aside = device.driver, device.capture_stream
        self._driver, self._stream = driver, device.stream
        self._held = [x.held for x in launches if isinstance(x, Ready) and x.held]
        device.gone.give_back()
        driver.StreamBeginCapture(aside)
        try:
            for x in launches:
                x.start(driver, aside)
        except BaseException:
            with suppress(CudaError):  # what has failed may have ended it
                driver.GraphDestroy(driver.StreamEndCapture(aside))
            raise
        graph = driver.StreamEndCapture(aside)
        try:
            self.graph = driver.GraphInstantiate(graph)
        finally:
            driver.GraphDestroy(graph)
        gone = device.gone
        weakref.finalize(self, gone.note, driver.GraphExecDestroy, self.graph).atexit = False

    def start(self) -> None:
        self._driver.GraphLaunch(self.graph, self._stream)


class Direct:
    """Launches that are started one by one, each time; what a signal's handler raises meanwhile
    comes when all are started."""

    def __init__(self, device: Device, launches: Sequence[Startable]) -> None:
        self._driver, self._stream, self._launches = device.driver, device.stream, launches

    def start(self) -> None:
        raised: BaseException | None = None
        for x in self._launches:
            try:
                x.start(self._driver, self._stream)
            except GraphcError:
                raise
            except BaseException as e:
                raised = raised or e
        if raised is not None:
            raise raised


Started = Recorded | Direct
Key = tuple[Any, ...]


class Recordings:
    """What is started for each set of addresses; the sets used last are kept."""

    def __init__(self, device: Device) -> None:
        self.captures = 0
        self._least = 2  # launches that are worth a graph
        self.last: tuple[Key, list[Started]] = (), []  # what was asked for last
        self._device = device
        self._kept: OrderedDict[Key, list[Started]] = OrderedDict()

    def at(self, key: Key, make: Callable[[], list[list[Startable]]]) -> list[Started]:
        """What to start, in order, for the addresses `key`; `make` gives the launches of each."""
        found = self._kept.get(key)
        if found is None:
            found = self._made(key, make)
        else:
            self._kept.move_to_end(key)
        self.last = key, found
        return found

    @property
    def wanders(self) -> bool:
        """Whether addresses have been others so often that no more are recorded."""
        return self.captures >= MOST_CAPTURES

    def known(self, key: Key) -> bool:
        return key in self._kept

    def all_as_graphs(self) -> None:
        """From now on one launch is a graph, too, which native code can start."""
        self._least = 1
        for key in [k for k, (first, *_) in self._kept.items() if isinstance(first, Direct)]:
            del self._kept[key]

    def _made(self, key: Key, make: Callable[[], list[list[Startable]]]) -> list[Started]:
        parts = make()
        found: list[Started]
        if self.wanders or max(map(launches, parts)) < self._least:
            found = [Direct(self._device, part) for part in parts]
        else:
            found = [Recorded(self._device, part) for part in parts]
            self.captures += 1
        self._kept[key] = found
        if len(self._kept) > MOST_GRAPHS:
            self._kept.popitem(last=False)
        return found


def launches(part: Sequence[Startable]) -> int:
    return sum(isinstance(x, Ready) for x in part)
