"""Who has waited for whom: work in streams by vector clocks, and races over memory found by them.

A clock maps a stream to how many of its operations lie before; one operation is before another if
the other's clock counts it. Work is queued and runs when the host waits for it, no earlier: what
reads a result too soon, or overwrites what a copy has yet to read, sees it in the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from graphc.errors import InternalError
from graphc.ir.types import Array

Clock = dict[int, int]
Work = Callable[[], None]


class Race(InternalError):
    """Two operations touch the same bytes, one writes, and neither waits for the other."""

    why = "streams run at the same time unless an event orders them"
    fix = "record an event behind the first and let the second's stream wait for it"


def join(clock: Clock, other: Clock) -> None:
    for stream, count in other.items():
        clock[stream] = max(clock.get(stream, 0), count)


def idle() -> None:
    """No work."""


@dataclass(eq=False, slots=True)
class Operation:
    """Work in a stream, the `count`-th there; `clock` counts itself and all that lies before."""

    label: str
    stream: int
    count: int
    clock: Clock
    work: Work = field(repr=False)

    def follows(self, other: Operation) -> bool:
        return self.clock.get(other.stream, 0) >= other.count


class Shadow:
    """For each byte of an allocation: the last writer, and each stream's last reader.

    Numbers are indices in `Timeline.log`; 0 is nobody. An element counts by its first byte.
    """

    def __init__(self, address: int, size_bytes: int) -> None:
        self.address, self.size_bytes = address, size_bytes
        self.writers = np.zeros(size_bytes, np.uint32)
        self.readers: dict[int, Array] = {}

    def touch(self, at: Array | slice, number: int, stream: int, write: bool) -> list[int]:
        """Note an access; gives the earlier ones that it must follow."""
        before = [distinct(self.writers[at])]
        if write:
            before += [distinct(readers[at]) for readers in self.readers.values()]
            self.writers[at] = number
        else:
            if stream not in self.readers:
                self.readers[stream] = np.zeros(self.size_bytes, np.uint32)
            self.readers[stream][at] = number
        return [n for row in before for n in row if n]


def distinct(row: Array) -> list[int]:
    """Its values; sorting is left out for the usual case of one."""
    if not row.size:
        return []
    first = row[0]
    return [int(first)] if (row == first).all() else [int(n) for n in np.unique(row)]


class Timeline:
    """The queue of work, what ran, and what of it touched which byte."""

    def __init__(self) -> None:
        self.host: Clock = {}
        self.streams: dict[int, Clock] = {}
        self.queue: list[Operation] = []
        self.log: list[Operation | None] = [None]
        self.shadows: dict[int, Shadow] = {}
        self.running: Operation | None = None

    def issue(self, stream: int, label: str, work: Work) -> Operation:
        """Queue work behind all that the stream has, and behind all that the host has seen end."""
        clock = self.streams[stream]
        join(clock, self.host)
        clock[stream] = clock.get(stream, 0) + 1
        operation = Operation(label, stream, clock[stream], dict(clock), work)
        self.queue.append(operation)
        return operation

    def replay(self, stream: int, nodes: Iterable[Operation]) -> None:
        """Queue a graph's nodes, in streams of their own, as one operation of `stream`."""
        start = self.issue(stream, "graph", idle)
        made: dict[int, int] = {}  # a node's stream -> what it had counted before
        for node in nodes:
            for s in node.clock:
                made.setdefault(s, self.streams.setdefault(s, {}).get(s, 0))
            clock = dict(start.clock)
            join(clock, {s: made[s] + n for s, n in node.clock.items()})
            count = made[node.stream] + node.count
            join(self.streams[node.stream], {node.stream: count})
            join(self.streams[stream], clock)
            self.queue.append(Operation(node.label, node.stream, count, clock, node.work))

    def wait(self, clock: Clock) -> bool:
        """The host waits for everything before `clock`; whether anything was still to run."""
        ready = [o for o in self.queue if clock.get(o.stream, 0) >= o.count]
        self.queue = [o for o in self.queue if clock.get(o.stream, 0) < o.count]
        for operation in ready:  # issued before that on which it waits: the queue's order is one
            self._run(operation)
        join(self.host, clock)
        return bool(ready)

    def pending(self, clock: Clock) -> bool:
        return any(clock.get(o.stream, 0) >= o.count for o in self.queue)

    def wait_for_all(self) -> None:
        everything: Clock = {}
        for clock in self.streams.values():
            join(everything, clock)
        self.wait(everything)

    def _run(self, operation: Operation) -> None:
        self.running = operation
        self.log.append(operation)
        try:
            operation.work()
        except Exception as e:
            e.add_note(f"on the device: {operation.label}")
            raise
        finally:
            self.running, operation.work = None, idle  # the log need not hold on to its memory

    # ---- memory

    def watch(self, address: int, size_bytes: int) -> None:
        self.shadows[address] = Shadow(address, size_bytes)

    def forget(self, address: int) -> None:
        self.shadows.pop(address, None)

    def touched(self, addresses: Array, itemsize: int, write: bool) -> None:
        """Of elements, one address each; all within one allocation, as a kernel's access is."""
        first = int(addresses.flat[0])
        shadow = self._shadow(first)
        if shadow is not None:
            inside = addresses.astype(np.int64) - shadow.address
            if (inside < 0).any() or (inside >= shadow.size_bytes).any():
                for address in addresses.flat:
                    self.touched_range(int(address), itemsize, write)
                return
            self._note(shadow, inside, write)

    def touched_range(self, address: int, size_bytes: int, write: bool) -> None:
        shadow = self._shadow(address)
        if shadow is not None:
            start = address - shadow.address
            self._note(shadow, slice(start, start + size_bytes), write)

    def _shadow(self, address: int) -> Shadow | None:
        found = self.shadows.values()
        return next((s for s in found if s.address <= address < s.address + s.size_bytes), None)

    def _note(self, shadow: Shadow, at: Array | slice, write: bool) -> None:
        now = self.running
        if now is None:
            return
        for number in shadow.touch(at, len(self.log) - 1, now.stream, write):
            before = self.log[number]
            if before is not None and before is not now and not now.follows(before):
                verb = "writes" if write else "reads"
                raise Race(f"{now.label} {verb} what {before.label} uses, and did not wait for it")
