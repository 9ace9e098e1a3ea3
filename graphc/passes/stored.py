"""Schedules that outlive the process: what compiling a graph gave, as bytes, and back.

The key is what the passes' answer depends on: the graph, the profile, and the sources of whatever
takes part. Passes may note conditions on extents, so those are part of the answer.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from graphc.errors import FileFormatError, InternalError
from graphc.ir.fingerprint import fingerprint, symbols_of
from graphc.ir.graph import Graph
from graphc.ir.records import read, written
from graphc.ir.symbols import Condition, Extents
from graphc.passes.profile import Profile
from graphc.passes.repeat import Operand, Repeat
from graphc.passes.schedule import Schedule

SOURCES = ("ir", "passes")  # folders of this package
PLAIN = tuple(f.name for f in fields(Schedule) if f.name not in ("profile", "repeats"))
REPEAT = tuple(f.name for f in fields(Repeat) if f.name not in ("body", "operands"))


@lru_cache(maxsize=1)
def sources_hash() -> str:
    """A changed pass finds none of the old one's schedules."""
    state = hashlib.blake2b(digest_size=16)
    package = Path(__file__).parent.parent
    for file in sorted(f for folder in SOURCES for f in (package / folder).rglob("*.py")):
        state.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes() + b"\0")
    return state.hexdigest()


def key_of(graph: Graph, profile: Profile) -> str:
    return f"schedule\n{fingerprint(graph, sources_hash(), repr(profile))}"


def _extents(graph: Graph) -> Extents | None:
    """What a graph's sizes belong to; None where all are numbers."""
    return next((s.scope for s in symbols_of(graph)), None)


def stored(schedule: Schedule, graph: Graph) -> bytes | None:
    """The schedule of a graph as bytes; None where something in it cannot be written."""
    extents = _extents(graph)
    conditions = tuple(extents.conditions.values()) if extents is not None else ()
    try:
        noted = tuple((c.left, c.relation, c.holds, c.where) for c in conditions)
        data = written((_parts(schedule), noted))
    except TypeError:
        return None
    return zlib.compress(data, 1)


def restored(data: bytes, graph: Graph, profile: Profile) -> Schedule:
    """What `stored` was given, for an equal graph, whose extents get the conditions noted then.

    Raises FileFormatError where the bytes are not what it wrote."""
    extents = _extents(graph)
    symbols = {s.name: s for s in extents.symbols} if extents is not None else {}
    with graph.in_passes():
        try:
            parts, conditions = read(_inflated(data), symbols)
            schedule = _schedule(parts, profile)
        except (TypeError, ValueError) as e:
            raise FileFormatError(f"no schedule: {e}") from None
        for left, relation, holds, where in conditions:
            if extents is not None:
                condition = Condition(left, relation, holds, where)
                extents.conditions.setdefault((left, relation), condition)
    return schedule


def _parts(schedule: Schedule) -> tuple[Any, ...]:
    """What it is made of but the profile; the bodies of its loops taken apart, too."""
    plain = tuple(getattr(schedule, name) for name in PLAIN)
    repeats = (
        (n, _parts(r.body), tuple(map(tuple, r.operands)), *(getattr(r, name) for name in REPEAT))
        for n, r in schedule.repeats.items()
    )
    return (*plain, tuple(repeats))


def _schedule(parts: tuple[Any, ...], profile: Profile) -> Schedule:
    *plain, repeats = parts
    loops = {
        n: Repeat(
            body=_schedule(body, profile),
            operands=tuple(Operand(*o) for o in operands),
            **dict(zip(REPEAT, rest, strict=True)),
        )
        for n, body, operands, *rest in repeats
    }
    return Schedule(**dict(zip(PLAIN, plain, strict=True)), profile=profile, repeats=loops)


def check_stored(data: bytes | None, schedule: Schedule, graph: Graph) -> None:
    """Raise InternalError unless what is read back is written as the same bytes again."""
    if data is None or stored(restored(data, graph, schedule.profile), graph) != data:
        raise InternalError(f"the schedule of {schedule.name} is not what is stored of it")


def _inflated(data: bytes) -> bytes:
    try:
        return zlib.decompress(data)
    except zlib.error as e:
        raise FileFormatError(f"no schedule: {e}") from None
