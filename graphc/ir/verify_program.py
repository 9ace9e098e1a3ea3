"""The invariants of a Program, checked after planning; it shares no code with the planner.

Each check is a generator of complaints; `verify_program` raises the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from graphc.errors import InternalError
from graphc.ir.program import Launch, Program, Slot

FILLED = ("arg", "state", "scalar")  # spaces that hold something before the first launch
WRITABLE = ("arena", "out", "state")


def verify_program(program: Program) -> None:
    """Raise InternalError unless `program` is well formed."""
    slots = {s.name: s for s in program.slots}
    for complaint in _signatures(program, slots):
        raise InternalError(f"ill-formed program {program.name}: {complaint}")
    checks = (
        _arena(program),
        _within(program, slots),
        _accesses(program, slots),
        _commit(program, slots),
    )
    for complaint in (c for check in (*checks, _barriers(program, slots)) for c in check):
        raise InternalError(f"ill-formed program {program.name}: {complaint}")


def _signatures(program: Program, slots: Mapping[str, Slot]) -> Iterator[str]:
    """Slots have names of their own, and launches fit the signatures of their kernels."""
    names = Counter(s.name for s in program.slots)
    yield from (f"slot {n} is declared {k} times" for n, k in names.items() if k > 1)
    yield from (f"{n} is returned and no slot" for n in program.outs if n not in slots)
    if not 0 <= program.commit <= len(program.launches):
        yield f"commit {program.commit} is beyond the launches"
    for n, launch in enumerate(program.launches):
        kernel = launch.kernel
        given = len(launch.slots), len(launch.sizes), len(launch.scalars)
        wanted = len(kernel.buffers), len(kernel.sizes), len(kernel.scalars)
        if given != wanted:
            yield f"launch {n} of {kernel.name} gives {given} arguments, not {wanted}"
        for name, buffer in zip(launch.slots, kernel.buffers):
            if name not in slots:
                yield f"launch {n} of {kernel.name} names {name}, which is no slot"
            elif slots[name].spec.dtype is not buffer.dtype:
                yield f"launch {n} of {kernel.name}: {name} does not hold {buffer.dtype.name}"


def _arena(program: Program) -> Iterator[str]:
    """Buffers are aligned and in the arena; those that live together are apart."""
    arena = [s for s in program.slots if s.space == "arena" and s.size_bytes and not s.within]
    rows = [(s.index, s.index + s.size_bytes, s.first, s.last) for s in arena]
    start, stop, first, last = np.array(rows, np.int64).reshape(-1, 4).T
    for k, s in enumerate(arena):
        if s.index < 0 or s.index % program.align or stop[k] > program.arena_bytes:
            yield f"{s.name} is at {s.index}: no place of {program.arena_bytes} bytes"
        together = (first[k] <= last) & (first <= last[k]) & (start[k] < stop) & (start < stop[k])
        together[k] = False
        if together.any():
            yield f"{s.name} and {arena[int(together.argmax())].name} overlap while both live"


def _within(program: Program, slots: Mapping[str, Slot]) -> Iterator[str]:
    """A part of a buffer lies in it, and lives no longer."""
    for s in program.slots:
        if s.within:
            whole = slots.get(s.within)
            if whole is None or whole.within or whole.space != "arena" or s.space != "arena":
                yield f"{s.name} is a part of {s.within}, which is no buffer of the arena"
                continue
            end = whole.index + whole.size_bytes
            if not whole.index <= s.index <= s.index + s.size_bytes <= end:
                yield f"{s.name} lies outside {s.within}"
            if not whole.first <= s.first <= s.last <= whole.last:
                yield f"{s.name} lives longer than {s.within}"


def _accesses(program: Program, slots: Mapping[str, Slot]) -> Iterator[str]:
    """A buffer is touched while it lives; it is written before it is read, where it may be."""
    written = {s.name for s in program.slots if s.space in FILLED or not s.size_bytes}
    for n, launch in enumerate(program.launches):
        for name, buffer in zip(launch.slots, launch.kernel.buffers):
            s = slots[name]
            if not s.first <= n <= s.last:
                yield f"launch {n} touches {name}, which lives {s.first}..{s.last}"
            if buffer.access == "r" and name not in written and s.within not in written:
                yield f"launch {n} reads {name} before it is written"
            if buffer.access != "r" and s.space not in WRITABLE:
                yield f"launch {n} writes {name}, which is of {s.space}"
        written.update(launch.slots)
        written.update(slots[name].within for name in launch.slots)
    yield from (f"{n} is returned unwritten" for n in program.outs if n not in written)


def _commit(program: Program, slots: Mapping[str, Slot]) -> Iterator[str]:
    """State is written behind the commit point, and nothing fails there."""
    for n, launch in enumerate(program.launches):
        if n >= program.commit:
            if launch.kernel.may_fail():
                yield f"launch {n} may fail behind the commit point"
            continue
        for name, buffer in zip(launch.slots, launch.kernel.buffers):
            if buffer.access != "r" and slots[name].space == "state" and slots[name].size_bytes:
                yield f"launch {n} writes the state {name} before the commit point"


# ---- barriers ----------------------------------------------------------------------------------


class _Touch(NamedTuple):
    """Bytes that a launch touches, or a whole slot of another space."""

    space: str
    start: int
    stop: int
    writes: bool


def _touches(launch: Launch, slots: Mapping[str, Slot]) -> list[_Touch]:
    found = []
    for name, buffer in zip(launch.slots, launch.kernel.buffers):
        s = slots[name]
        if s.size_bytes:
            stop = s.index + (s.size_bytes if s.space == "arena" else 1)
            found.append(_Touch(s.space, s.index, stop, buffer.access != "r"))
    return found


def _barriers(program: Program, slots: Mapping[str, Slot]) -> Iterator[str]:
    """Launches without a barrier between them, or the commit point, touch nothing in common that
    one of them writes."""
    since: list[_Touch] = []
    for n, launch in enumerate(program.launches):
        touches = _touches(launch, slots)
        if launch.barrier or n == program.commit:
            since = []
        for a in since:
            for b in touches:
                near = a.space == b.space and a.start < b.stop and b.start < a.stop
                if near and (a.writes or b.writes):
                    yield f"launch {n} of {launch.kernel.name} does not wait at a barrier"
                    break
        since += touches
