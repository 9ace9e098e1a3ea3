"""Graphs over memory of a program's own, for arguments and results that lie elsewhere each time.

A graph is for one set of addresses. Where none recurs, as of the slices of a data set or of results
that somebody keeps, recording each would take longer than it saves, and so does starting launches
one by one. So what is small is copied to one place and from it, and one graph serves all calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from graphc.ir.program import Program
from graphc.runtime.cuda.capture import (
    Direct,
    Key,
    Move,
    Recorded,
    Recordings,
    Replay,
    Startable,
    Started,
)
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.launches import aligned
from graphc.runtime.cuda.memory import Allocation

LEAST = 2  # launches that are worth the copies, as they are worth a graph
EACH_BYTES = 1 << 20  # that may be copied for each launch: some microseconds, as it takes the host
Places = dict[str, Sequence[int]]
Make = Callable[[Places], list[list[Startable]]]


class Part(NamedTuple):
    """An argument or result: its number in its space, its size, and where its own memory is."""

    space: str
    number: int
    size_bytes: int
    offset: int


class Place(NamedTuple):
    """Where a graph has a result or an argument, and the bytes that are copied from or to there;
    0: it has to be given at that very address."""

    own: int
    size_bytes: int
    result: bool

    def move(self, given: int) -> Move:
        ends = (given, self.own) if self.result else (self.own, given)
        return Move(*ends, self.size_bytes)


class Around(Direct):
    """A graph between copies to memory of its own and from there: results' places come first."""

    def __init__(
        self,
        device: Device,
        graph: Recorded,
        places: Sequence[Place],
        given: Sequence[int],
        launched: bool = False,
    ) -> None:
        """`launched`: only results are left to be copied."""
        self.graph, self.places = graph, places
        pairs = [(p, at) for p, at in zip(places, given, strict=True) if p.size_bytes]
        before = [p.move(at) for p, at in pairs if not p.result]
        after = [p.move(at) for p, at in pairs if p.result]
        super().__init__(device, after if launched else [*before, Replay(graph), *after])


class Apart:
    """The memory that a program's arguments and results are copied to and from."""

    def __init__(self, program: Program | None, device: Device) -> None:
        """None: a program whose launches are not one graph."""
        self._device = device
        self._parts = parts_of(program) if program else []
        self._memory: Allocation | None = None
        self._recordings = Recordings(device)

    def at(self, recordings: Recordings, key: Key, given: Places, make: Make) -> list[Started]:
        """What to start on the `given` addresses, which are `key`: what is recorded for them, or
        where they are always others, what is recorded for other addresses, and the copies."""
        if not self._parts or not recordings.wanders or recordings.known(key):
            return recordings.at(key, lambda: make(given))
        own = self._own(given)
        theirs = tuple(own.values())
        if self._recordings.wanders and not self._recordings.known(theirs):
            return recordings.at(key, lambda: make(given))  # what is too large is elsewhere, too
        (graph,) = self._recordings.at(theirs, lambda: make(own))
        if not isinstance(graph, Recorded):
            return recordings.at(key, lambda: make(given))
        places = self._places(own)
        addresses = (*given["out"], *given["arg"])
        recordings.last = key, [Around(self._device, graph, places, addresses)]
        return recordings.last[1]

    def all_as_graphs(self) -> None:
        self._recordings.all_as_graphs()

    @property
    def captures(self) -> int:
        return self._recordings.captures

    def _own(self, places: Places) -> Places:
        """The same with this memory in place of what is copied."""
        if self._memory is None:
            last = self._parts[-1]
            self._memory = self._device.allocate(last.offset + last.size_bytes)
        found = {space: [*addresses] for space, addresses in places.items()}
        for p in self._parts:
            found[p.space][p.number] = self._memory.address + p.offset
        return {space: tuple(addresses) for space, addresses in found.items()}

    def _places(self, own: Places) -> list[Place]:
        """Of results, then of arguments."""
        sizes = {(p.space, p.number): p.size_bytes for p in self._parts}
        return [
            Place(at, sizes.get((space, k), 0), space == "out")
            for space in ("out", "arg")
            for k, at in enumerate(own[space])
        ]


def parts_of(program: Program) -> list[Part]:
    """What may be copied: arguments that are only read, and results; nothing of a short program."""
    written = {
        name
        for x in program.launches
        for b, name in zip(x.kernel.buffers, x.slots, strict=True)
        if b.access != "r"
    }
    sizes: dict[tuple[str, int], int] = {}
    kept = set[tuple[str, int]]()
    for s in program.slots:
        if s.space in ("arg", "out") and s.size_bytes:
            key = s.space, s.index
            sizes[key] = max(sizes.get(key, 0), s.size_bytes)
            if s.space == "arg" and s.name in written:
                kept.add(key)
    room = len(program.launches) * EACH_BYTES if len(program.launches) >= LEAST else 0
    found, offset = list[Part](), 0
    for (space, index), size in sorted(sizes.items(), key=lambda x: x[1]):
        if (space, index) not in kept and size <= room:
            found.append(Part(space, index, size, offset))
            offset, room = offset + aligned(size), room - size
    return found
