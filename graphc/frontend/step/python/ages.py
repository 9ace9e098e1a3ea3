"""Which objects a step made itself: they are the youngest, unless something older holds them."""

from __future__ import annotations

import gc
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphc.frontend.step.python.held import Note, Place


def youngest(met: Container[int]) -> set[int]:
    """Of what was met, what was made since the collector looked last; by id. A step makes a hundred
    thousand objects: no table of them is made."""
    return set(filter(met.__contains__, map(id, gc.get_objects(generation=0))))


def held_by(roots: Iterable[Any]) -> set[int]:
    """Of the youngest, those that lead from what a cache or table keeps beyond the step."""
    young = set(map(id, gc.get_objects(generation=0)))
    pending = [x for root in roots for x in (root, *gc.get_referents(root))]
    found = {id(x) for x in pending}
    while pending:
        for x in gc.get_referents(pending.pop()):
            if id(x) in young and id(x) not in found:
                found.add(id(x))
                pending.append(x)
    return found


def flat(x: Any) -> Iterator[Any]:
    """x, and what is in it where it is a tuple."""
    yield x
    if type(x) is tuple:
        for item in x:
            yield from flat(item)


def reached(
    parts: Mapping[int, int], notes: Mapping[Place, Note], young: Container[int]
) -> set[int]:
    """The dicts of older objects (`parts`: whose each is) and what was read from these, by id."""
    return {table for table, x in parts.items() if x not in young} | {
        id(x)
        for (_, of, _), note in notes.items()
        if parts.get(of, of) not in young
        for _, _, kept in note.rows
        for x in flat(kept)
    }
