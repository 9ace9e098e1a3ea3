"""Where temporaries live, and where threads must meet: arithmetic on lifetimes and byte ranges.

`plan_offsets` packs buffers with known lifetimes into one arena: the weightiest first, each into
the tightest gap between those it meets. No weight is best for all programs (each of `WEIGHTS` wins
on some, by up to 10 %), so they are tried in turn and the smallest plan is kept; then single large
buffers are placed earlier or later at random. The most bytes ever alive at once is a lower bound; a
plan near enough to it ends the search.
Source: Pisarchyk, Lee, arXiv:2001.03288.

`place_barriers` marks the launches that must wait for those before them.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from graphc.ir.program import Launch, Slot
from graphc.ir.types import Array
from graphc.passes.profile import Profile


class Request(NamedTuple):
    """A buffer: its size, and the first and last launch (inclusive) that touch it."""

    size_bytes: int
    first: int
    last: int


class Plan(NamedTuple):
    """An offset for each request, the bytes they need, the least any plan could need, and the order
    of placing: it serves requests of other sizes that live as long."""

    offsets: tuple[int, ...]
    total: int
    bound: int
    order: tuple[int, ...]


WEIGHTS: tuple[Callable[[Request], int], ...] = (
    lambda r: r.size_bytes**2 * (r.last - r.first + 1),
    lambda r: r.last - r.first,
    lambda r: r.size_bytes,
    lambda r: r.size_bytes * (r.last - r.first + 1),
    lambda r: r.size_bytes * (r.last - r.first + 1) ** 2,
)

LARGE = 128  # parts of the bound: smaller buffers fill gaps
PATIENCE = 60  # moves without a gain
SLOWER = 20  # times that `_place` takes what `_placed` does for a buffer


def plan_offsets(
    requests: Sequence[Request], profile: Profile, order: Sequence[int] | None = None
) -> Plan:
    """Offsets such that buffers alive at the same time do not overlap; all aligned.

    With an `order` that an earlier plan has found, nothing is searched.
    """
    unit = profile.align
    rounded = [Request(-(-r.size_bytes // unit) * unit, r.first, r.last) for r in requests]
    bound = lower_bound(rounded)
    if order is not None:
        placed = _place(rounded, order)
        return Plan(tuple(placed), _height(rounded, placed), bound, tuple(order))
    best: tuple[int, list[int], list[int]] | None = None  # total, offsets, order
    for tried in _orders(rounded, profile.trials):
        offsets = _place(rounded, tried)
        total = _height(rounded, offsets)
        if best is None or total < best[0]:
            best = total, offsets, tried
        if best[0] <= bound * profile.enough:
            break
    assert best is not None
    total, offsets, found = _improve(rounded, *best, bound, profile)
    return Plan(tuple(offsets), total, bound, tuple(found))


def _orders(requests: Sequence[Request], trials: int) -> Iterator[list[int]]:
    affordable = max(2, trials // (SLOWER * max(1, len(requests))))
    for weight in WEIGHTS[:affordable]:
        yield _by(weight, requests, range(len(requests)))


def _by(
    weight: Callable[[Request], int], requests: Sequence[Request], some: Iterable[int]
) -> list[int]:
    return sorted(some, key=lambda i: (-weight(requests[i]), i))


def _improve(
    requests: Sequence[Request],
    total: int,
    offsets: list[int],
    order: list[int],
    bound: int,
    profile: Profile,
) -> tuple[int, list[int], list[int]]:
    """Move some large buffer in the order, at random, and keep what is not worse; begin anew, from
    another order, where nothing has got better for long. Always the same random."""
    large = [i for i, r in enumerate(requests) if r.size_bytes * LARGE >= bound]
    if total <= bound * profile.enough or len(large) < 2:
        return total, offsets, order
    meeting, rng = _meeting(requests, large), random.Random(0)
    starts = [_by(weight, requests, large) for weight in WEIGHTS]
    heights = [_height(requests, _placed(requests, meeting, start)) for start in starts]
    least, best = min(zip(heights, starts))
    now, found, idle, turn = least, best, 0, 0
    for _ in range(profile.trials // len(large)):
        if least <= bound * profile.enough:
            break
        if idle == PATIENCE:
            turn, idle = (turn + 1) % len(starts), 0
            now, found = heights[turn], starts[turn]
        moved = found.copy()
        moved.insert(rng.randrange(len(moved)), moved.pop(rng.randrange(len(moved))))
        height = _height(requests, _placed(requests, meeting, moved))
        idle = 0 if height < now else idle + 1
        if height <= now:
            now, found = height, moved
        if height < least:
            least, best = height, moved
    small = sorted(set(range(len(requests))) - set(large))
    whole = [*best, *_by(WEIGHTS[0], requests, small)]
    placed = _place(requests, whole)
    height = _height(requests, placed)
    return (height, placed, whole) if height < total else (total, offsets, order)


def _meeting(requests: Sequence[Request], some: Sequence[int]) -> dict[int, list[int]]:
    """For each of some buffers, those of them that are alive when it is."""
    return {
        i: [
            j
            for j in some
            if j != i
            and requests[j].first <= requests[i].last
            and requests[j].last >= requests[i].first
        ]
        for i in some
    }


def _placed(
    requests: Sequence[Request], meeting: Mapping[int, Sequence[int]], order: Iterable[int]
) -> list[int]:
    """What `_place` gives for these alone, the others at 0; ten times as fast for a few."""
    offsets, known = [0] * len(requests), set[int]()
    for i in order:
        size, top, start, gap = requests[i].size_bytes, 0, -1, sys.maxsize
        met = ((offsets[j], offsets[j] + requests[j].size_bytes) for j in meeting[i] if j in known)
        for begin, end in sorted(met):
            if size <= begin - top < gap:
                start, gap = top, begin - top
            top = max(top, end)
        offsets[i] = top if start < 0 else start
        known.add(i)
    return offsets


def _height(requests: Sequence[Request], offsets: Sequence[int]) -> int:
    return max((o + r.size_bytes for o, r in zip(offsets, requests)), default=0)


def lower_bound(requests: Iterable[Request]) -> int:
    """The most bytes alive at once."""
    change: dict[int, int] = {}
    for size, first, last in requests:
        change[first] = change.get(first, 0) + size
        change[last + 1] = change.get(last + 1, 0) - size
    most = alive = 0
    for at in sorted(change):
        alive += change[at]
        most = max(most, alive)
    return most


def _place(requests: Sequence[Request], order: Sequence[int]) -> list[int]:
    """Offsets when placed in this order, each into the tightest gap among those it meets."""
    offsets = [0] * len(requests)
    placed = np.zeros((4, len(requests)), np.int64)  # rows offset, end, first, last; by offset
    for count, i in enumerate(order):
        size, first, last = requests[i]
        rows = placed[:, :count]
        starts, ends = rows[:2, (rows[2] <= last) & (rows[3] >= first)]
        at = offsets[i] = _tightest(starts, ends, size)
        k = int(rows[0].searchsorted(at))
        placed[:, k + 1 : count + 1] = placed[:, k:count].copy()
        placed[:, k] = at, at + size, first, last
    return offsets


def _tightest(starts: Array, ends: Array, size: int) -> int:
    """The start of the smallest gap of at least `size` between intervals sorted by start."""
    if not len(starts):
        return 0
    tops = np.maximum.accumulate(ends)
    gaps = starts.copy()
    gaps[1:] -= tops[:-1]
    fits = np.flatnonzero(gaps >= size)
    if not len(fits):
        return int(tops[-1])
    k = int(fits[gaps[fits].argmin()])
    return int(tops[k - 1]) if k else 0


# ---- barriers -----------------------------------------------------------------------------------

Span = tuple[str, int, int]  # a space, and from where to where in it


def place_barriers(
    launches: Sequence[Launch], slots: Mapping[str, Slot], commit: int
) -> tuple[Launch, ...]:
    """Set `barrier` where a launch touches what an earlier one wrote, or writes what it touched.

    Earlier means since the last barrier, or the commit point, where all meet. Threads split the
    points of each launch in their own way, so even a map of equal shape must wait for the one
    before it.
    """
    placed: list[Launch] = []
    spans = {name: _span(slot) for name, slot in slots.items()}
    touched, written = Intervals(), Intervals()
    for n, launch in enumerate(launches):
        reads, writes = _accesses(launch, spans)
        barrier = written.meet(reads) or touched.meet(writes)  # what is written is touched
        if barrier or n == commit:
            touched, written = Intervals(), Intervals()
        touched.add((*reads, *writes))
        written.add(writes)
        same = barrier == launch.barrier
        placed.append(launch if same else dataclasses.replace(launch, barrier=barrier))
    return tuple(placed)


class Intervals:
    """Memory as disjoint intervals in order, of each space."""

    def __init__(self) -> None:
        self._starts: dict[str, list[int]] = {}
        self._stops: dict[str, list[int]] = {}

    def meet(self, spans: Iterable[Span]) -> bool:
        for space, start, stop in spans:
            k = bisect_left(self._starts.get(space, ()), stop)
            if k and self._stops[space][k - 1] > start:
                return True
        return False

    def add(self, spans: Iterable[Span]) -> None:
        for space, start, stop in spans:
            starts = self._starts.setdefault(space, [])
            stops = self._stops.setdefault(space, [])
            i, j = bisect_left(stops, start), bisect_right(starts, stop)
            if i < j:
                start, stop = min(start, starts[i]), max(stop, stops[j - 1])
            starts[i:j], stops[i:j] = [start], [stop]


def _span(slot: Slot) -> Span | None:
    """The memory of a slot; None if it has no elements. In the arena an index is a byte; elsewhere
    it is a tensor, which overlaps only itself."""
    size = slot.size_bytes
    length = size if slot.space == "arena" else 1
    return (slot.space, slot.index, slot.index + length) if size else None


def _accesses(
    launch: Launch, spans: Mapping[str, Span | None]
) -> tuple[dict[Span, None], dict[Span, None]]:
    """What a launch reads and what it writes."""
    reads: dict[Span, None] = {}
    writes: dict[Span, None] = {}
    for name, buffer in zip(launch.slots, launch.kernel.buffers, strict=True):
        if (span := spans[name]) is None:
            continue
        if "r" in buffer.access:
            reads[span] = None
        if "w" in buffer.access:
            writes[span] = None
    return reads, writes
