"""Device memory for tensors, kept and handed out again in stream order; pinned memory for copies.

Segments come from the driver; blocks are cut from them, best fit first, and grow together again
when freed. A block belongs to a stream: who gets it next in that stream comes behind whoever had it
before, so nothing waits. One that other streams used, too, waits for them by events where it is
handed out again, no earlier, and what was freed last is not handed out at once: so of batches that
a stream of copies brings, one is on its way while the one before is used.

Invariants: the blocks of a segment tile it; two free blocks of a segment never touch; every address
is a multiple of 256.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from graphc.errors import CudaError, DeviceOutOfMemory
from graphc.runtime.cuda.driver import Code, Driver

ALIGNMENT = 256
SMALL = 1 << 20  # up to here, requests share segments of 2 MiB
SMALL_SEGMENT = 2 << 20
LARGE_STEP = 2 << 20  # larger segments are multiples of this
KEEP = 1 << 20  # a large block is cut only if as much remains: crumbs would pin whole segments


def rounded(size_bytes: int) -> int:
    return max(1, -(-size_bytes // ALIGNMENT)) * ALIGNMENT


class Left(NamedTuple):
    """Memory that was freed where other streams may use it still: until their events."""

    address: int
    size_bytes: int
    events: tuple[int, ...]


@dataclass(eq=False, slots=True)
class Block:
    """Part of a segment, between its neighbours; `requested` bytes are in use, 0 if it is free."""

    segment: Segment
    address: int
    size: int
    requested: int = 0
    before: Block | None = None
    after: Block | None = None
    left: list[Left] = field(default_factory=list)  # of one that is free
    freed: int = 0  # the turn in which the last of them was


@dataclass(eq=False, slots=True)
class Segment:
    address: int
    size: int
    stream: int
    small: bool


class Allocation:
    """Memory on the device until this object goes."""

    __slots__ = ("_block", "_freed", "address", "size_bytes", "stream", "users")

    def __init__(self, block: Block, size_bytes: int, freed: deque[tuple[Block, set[int]]]) -> None:
        self.address, self.size_bytes = block.address, size_bytes
        self.stream = block.segment.stream
        self.users: set[int] = set()
        self._block, self._freed = block, freed

    def used_by(self, stream: int) -> None:
        """Work of another stream reads or writes it: it is not handed out before that has run."""
        if stream != self.stream:
            self.users.add(stream)

    def __del__(self) -> None:
        # No driver call here: this may run anywhere, in a capture or inside the allocator.
        self._freed.append((self._block, self.users))


@dataclass(slots=True)
class Stats:
    """Bytes now and at most, as asked for (rounded) and as held in segments."""

    allocated: int = 0
    max_allocated: int = 0
    reserved: int = 0
    max_reserved: int = 0
    segments: int = 0
    allocations: int = 0

    def add(self, allocated: int = 0, reserved: int = 0) -> None:
        self.allocated += allocated
        self.reserved += reserved
        self.max_allocated = max(self.max_allocated, self.allocated)
        self.max_reserved = max(self.max_reserved, self.reserved)

    def reset_peaks(self) -> None:
        self.max_allocated, self.max_reserved = self.allocated, self.reserved


@dataclass(slots=True)
class Pool:
    """Free blocks of one stream and size class."""

    free: list[Block] = field(default_factory=list)

    def best(self, size: int, turn: int) -> Block | None:
        """The smallest that is large enough, of those that nobody waits for from this turn on."""
        fits = (b for b in self.free if b.size >= size and not (b.left and b.freed >= turn))
        return min(fits, key=lambda b: (b.size, b.address), default=None)


class Allocator:
    """Memory of one device, by stream."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self.stats = Stats()
        self._pools: dict[tuple[int, bool], Pool] = {}
        self._segments: dict[int, tuple[Segment, Block]] = {}
        self._freed: deque[tuple[Block, set[int]]] = deque()
        self._turn = 0  # moves where some are freed that other streams used
        self._lock = threading.RLock()  # threads share a device

    def allocate(self, size_bytes: int, stream: int) -> Allocation:
        """At least `size_bytes` for work of `stream`; DeviceOutOfMemory tells the figures."""
        with self._lock:
            return self._allocate(size_bytes, stream)

    def _allocate(self, size_bytes: int, stream: int) -> Allocation:
        self.collect()
        size = rounded(size_bytes)
        pool = self._pools.setdefault((stream, size <= SMALL), Pool())
        block = pool.best(size, self._turn) or self._grow(size, size_bytes, stream)
        pool.free.remove(block)
        self._await(block)
        self._cut(block, size, pool)
        block.requested = size
        self.stats.allocations += 1
        self.stats.add(allocated=size)
        self.driver.Lend(block.address, size, stream)
        return Allocation(block, size_bytes, self._freed)

    def collect(self) -> None:
        """Take back what has been dropped since."""
        with self._lock:
            self._turn += any(users for _, users in list(self._freed))
            while self._freed:
                block, users = self._freed.popleft()
                self._free(block, users)

    def empty_cache(self) -> None:
        """Give the driver every segment of which nothing is in use."""
        with self._lock:
            self.collect()
            self._release()

    def _release(self) -> None:
        for segment, first in list(self._segments.values()):
            if not first.requested and first.size == segment.size:
                self._await(first)
                self._pools[segment.stream, segment.small].free.remove(first)
                del self._segments[segment.address]
                self.stats.add(reserved=-segment.size)
                self.stats.segments -= 1
                self.driver.MemFree(segment.address)

    def blocks(self) -> Iterator[tuple[Segment, list[Block]]]:
        """Each segment with its blocks in order of address."""
        for segment, first in self._segments.values():
            found: list[Block] = []
            block: Block | None = first
            while block is not None:
                found.append(block)
                block = block.after
            yield segment, found

    def _grow(self, size: int, size_bytes: int, stream: int) -> Block:
        small = size <= SMALL
        wanted = SMALL_SEGMENT if small else -(-size // LARGE_STEP) * LARGE_STEP
        address = self._from_driver(wanted, size_bytes)
        segment = Segment(address, wanted, stream, small)
        block = Block(segment, address, wanted)
        self._segments[address] = segment, block
        self.stats.segments += 1
        self.stats.add(reserved=wanted)
        self._pools[stream, small].free.append(block)
        return block

    def _from_driver(self, size: int, size_bytes: int) -> int:
        for last in (False, True):
            try:
                return self.driver.MemAlloc(size)
            except CudaError as e:
                if e.number != Code.OUT_OF_MEMORY:
                    raise
                if last:
                    raise self._exhausted(size_bytes) from None
                self.driver.CtxSynchronize()
                self.empty_cache()
        raise AssertionError

    def _exhausted(self, size_bytes: int) -> DeviceOutOfMemory:
        free, total = self.driver.MemGetInfo()
        held = self.stats.reserved - self.stats.allocated
        figures = (
            f"{size_bytes / 1e6:.1f} MB were asked for; {free / 1e6:.1f} MB of {total / 1e6:.1f} MB"
            f" are free, {self.stats.allocated / 1e6:.1f} MB in tensors, {held / 1e6:.1f} MB cached"
        )
        return DeviceOutOfMemory(f"CUDA out of memory: {figures}")

    def _cut(self, block: Block, size: int, pool: Pool) -> None:
        rest = block.size - size
        if rest < (ALIGNMENT if block.segment.small else KEEP):
            return
        tail = Block(block.segment, block.address + size, rest, 0, block, block.after)
        if block.after is not None:
            block.after.before = tail
        block.size, block.after = size, tail
        pool.free.append(tail)

    def _free(self, block: Block, users: set[int]) -> None:
        segment = block.segment
        if users:
            events = tuple(recorded(self.driver, stream) for stream in users)
            block.left.append(Left(block.address, block.requested, events))
            block.freed = self._turn
        else:
            self.driver.Reclaim(block.address, block.requested, segment.stream)
        self.stats.add(allocated=-block.requested)
        self.stats.allocations -= 1
        block.requested = 0
        pool = self._pools[segment.stream, segment.small]
        if (after := block.after) is not None and not after.requested:
            pool.free.remove(after)
            merge(block, after)
        if (before := block.before) is not None and not before.requested:
            merge(before, block)
        else:
            pool.free.append(block)

    def _await(self, block: Block) -> None:
        """Have the block's stream come behind whoever used a part of it."""
        stream = block.segment.stream
        for x in block.left:
            for event in x.events:
                self.driver.StreamWaitEvent(stream, event)
                self.driver.EventDestroy(event)
            self.driver.Reclaim(x.address, x.size_bytes, stream)
        block.left = []


def recorded(driver: Driver, stream: int) -> int:
    """An event behind all that the stream has."""
    event = driver.EventCreate()
    driver.EventRecord(event, stream)
    return event


def merge(first: Block, second: Block) -> None:
    """`first` takes the place of both."""
    first.left += second.left
    first.freed = max(first.freed, second.freed)
    first.size += second.size
    first.after = second.after
    if second.after is not None:
        second.after.before = first


class HostRing:
    """Pinned host memory in slots, each used again only when the copy from or to it has ended."""

    def __init__(self, driver: Driver, slot_bytes: int, slots: int = 4) -> None:
        self.driver = driver
        self.slot_bytes = rounded(slot_bytes)
        self._base = driver.MemHostAlloc(self.slot_bytes * slots)
        self._events = [driver.EventCreate() for _ in range(slots)]
        self._next = 0

    def take(self) -> int:
        """The address of the next slot, which the host may fill; waits until it may."""
        self._next = (self._next + 1) % len(self._events)
        self.driver.EventSynchronize(self._events[self._next])
        return self._base + self._next * self.slot_bytes

    def sent(self, stream: int) -> None:
        """The slot taken last is in use by what `stream` has got up to here."""
        self.driver.EventRecord(self._events[self._next], stream)

    def close(self) -> None:
        for event in self._events:
            self.driver.EventSynchronize(event)
            self.driver.EventDestroy(event)
        self._events = []
        self.driver.MemFreeHost(self._base)
