"""Stores that no call has to repeat: a later one of the step's is over them, or they leave what was
there before the step, as a flag does that is set while a forward runs.

Between a store and the one over it nobody may look: no function of a user's runs there. What is
left as it was counts as read, so that another value, should one come, is written over.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from operator import attrgetter
from types import CellType
from typing import Any

from graphc.frontend import trace as tracing
from graphc.frontend.step.python.found import Row, in_mapping, in_object, is_module, kept_by, own
from graphc.frontend.step.python.guards import SIMPLE, same
from graphc.frontend.step.python.held import Note, Place, add
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.step.python.stores import Store


def drop(reads: Reads) -> None:
    """When the step has run, and its stores are known that are to be repeated."""
    trace = tracing.active()
    if trace is None:
        return
    left = _last(trace.after_commit, reads)
    made = reads.made()
    kept = {id(s.effect) for s in left if not _leaves_what_was(reads, s, left, made)}
    ours = {id(s.effect) for s in reads.stores.of_places()}
    trace.after_commit[:] = [a for a in trace.after_commit if id(a) not in ours or id(a) in kept]


def _last(actions: list[Any], reads: Reads) -> list[Store]:
    """The stores that no other is over before somebody may look."""
    of = {id(s.effect): s for s in reads.stores.of_places()}
    quiet = {id(s.effect) for s in reads.stores.all}
    found: list[Store] = []
    run: dict[Any, Store] = {}
    for action in actions:
        if (store := of.get(id(action))) is not None:
            run[store.place] = store
        elif not (id(action) in quiet or _is_count(action)):
            found += run.values()
            run.clear()
    return [*found, *run.values()]


def _is_count(action: Any) -> bool:
    return isinstance(action, partial) and action.func is add


def _leaves_what_was(reads: Reads, store: Store, left: list[Store], made: set[int]) -> bool:
    """Whether it is the only one of its place, and what it stores stood there before the step."""
    place, owner, (value,) = store.place, store.owner, store.given
    name, before = place[-1], reads.stores.before(place)
    stays = value is before or (isinstance(value, SIMPLE) and same(value, before))
    if not stays or value is MISSING or sum(s.place == place for s in left) > 1:
        return False
    if name == "training" and is_module(owner):  # which others set as often
        return False
    if place in reads.counted or id(owner) in made or place in reads.stands:
        return False
    if (note := reads.notes.get(place)) is not None:
        return bool(note.rows) and same(note.rows[-1][2], before)
    rows = tuple(_rows(place, owner))
    if not rows or not same(rows[-1][2], value):
        return False
    reads.notes[place] = Note(f"`{reads.name(owner)}.{place[2]}`", "", 0, owner, rows, False)
    return True


def _rows(place: Place, owner: Any) -> Iterator[Row]:
    """What is there now."""
    what, _, name = place
    if what == "item" and isinstance(owner, dict):
        yield in_mapping(owner, name)
    elif what == "cell" and isinstance(owner, CellType):
        yield attrgetter("cell_contents"), owner, owner.cell_contents
    elif what == "attr" and is_module(owner):
        yield own(owner).get, name, own(owner).get(name)
    elif what == "attr" and kept_by(owner, name) is not MISSING and not isinstance(owner, type):
        yield from in_object(owner, name)
