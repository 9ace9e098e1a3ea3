"""Stores that no call has to repeat: a later one of the step's is over them, or they leave what was
there before the step, as a flag does that is set while a forward runs.

Between a store and the one over it nobody may look: no function of a user's runs there. What is
left as it was counts as read, so that another value, should one come, is written over.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import chain
from operator import attrgetter
from types import CellType
from typing import Any

import numpy as np

from graphc.frontend import trace as tracing
from graphc.frontend.step.python.found import Row, in_mapping, in_object, is_module, kept_by, own
from graphc.frontend.step.python.guards import SIMPLE, same
from graphc.frontend.step.python.held import Note, Place, Whole, add
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.refilled import items_of
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.step.python.stores import Store


def drop(reads: Reads) -> None:
    """When the step has run, and its stores are known that are to be repeated."""
    trace = tracing.active()
    if trace is None:
        return
    made, runs = reads.made(), _runs(trace.after_commit, reads)
    left = [s for run in runs for s in {s.place: s for s in run if _is_place(s)}.values()]
    kept = {id(s.effect) for s in left if not _leaves_what_was(reads, s, left, made)}
    whole = {s.place for run in runs for s in run if not _is_place(s)}
    moved = {c for c in whole if not _is_as_before(reads, c, runs, made)}
    kept |= {id(s.effect) for s in reads.stores.all if s.place in moved}
    ours = {id(s.effect) for s in reads.stores.all}
    trace.after_commit[:] = [a for a in trace.after_commit if id(a) not in ours or id(a) in kept]


def _is_place(store: Store) -> bool:
    """Whether it sets an attribute, a variable or a cell; others change a container."""
    return isinstance(store.place, tuple)


def _runs(actions: list[Any], reads: Reads) -> list[list[Store]]:
    """The stores in their order, apart where somebody may look between them."""
    of = {id(s.effect): s for s in reads.stores.all}
    found: list[list[Store]] = [[]]
    for action in actions:
        if (store := of.get(id(action))) is not None:
            found[-1].append(store)
        elif not _is_count(action):
            found.append([])
    return found


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


def _is_as_before(reads: Reads, place: int, runs: list[list[Store]], made: set[int]) -> bool:
    """Whether a container that was read whole has got back what it had, as a stack on which the
    step pushes and from which it pops."""
    groups = [found for run in runs if (found := [s for s in run if s.place == place])]
    c, note = groups[0][0].owner, reads.notes.get(("whole", place, None))
    if len(groups) > 1 or id(c) in made or isinstance(c, set | np.ndarray):
        return False
    if note is None or not note.rows:
        return False
    whole = note.rows[-1][0]
    if not isinstance(whole, Whole) or whole.without:
        return False
    then, now = reads.stores.before(place), items_of(c)
    if isinstance(c, dict):
        then, now = chain(*then), chain(*now)  # pairs
    return [*map(id, then)] == [*map(id, now)]


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
