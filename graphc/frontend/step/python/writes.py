"""What an instruction that writes means for what a step reads, and for what each call repeats.

A value that stands there already is written by no call: it counts as read, so that another one,
should it come, is written over.
"""

from __future__ import annotations

from types import CellType, FrameType
from typing import Any

import numpy as np

from graphc.frontend.step.python import lazy, stack
from graphc.frontend.step.python.found import contents, kept_by
from graphc.frontend.step.python.held import CONTAINERS, mapping_of
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.stack import MISSING, top
from graphc.frontend.step.python.stores import is_there


def of_global(watch: Any, frame: FrameType, name: str) -> None:
    reads: Reads = watch.reads
    if frame.f_globals.get(name, MISSING) is top(frame):
        reads.variable(frame, name)
    reads.wrote("item", frame.f_globals, name)
    reads.stores.variable(frame.f_globals, name, top(frame))


def of_cell(watch: Any, frame: FrameType, at: tuple[int, str]) -> None:
    reads: Reads = watch.reads
    cell = stack.local(frame, at[0])
    if isinstance(cell, CellType) and contents(cell) is top(frame):
        reads.cell(frame, cell, at[1])
    reads.wrote("cell", cell, at[1])
    reads.stores.cell(cell, top(frame))


def of_attribute(watch: Any, frame: FrameType, name: str) -> None:
    """`x.name = value`, with x on top of the value."""
    attribute(watch.reads, frame, top(frame), name, top(frame, 2))


def of_no_attribute(watch: Any, frame: FrameType, name: str) -> None:
    """`del x.name`."""
    attribute(watch.reads, frame, top(frame), name, MISSING)


def attribute(
    reads: Reads, frame: FrameType, x: Any, name: str, value: Any, by_object: bool = False
) -> None:
    """`x.name = value`, or its removal for MISSING; `by_object`: past its class's code."""
    if value is not MISSING and kept_by(x, name) is value:
        reads.attribute(frame, x, name)
    reads.wrote("attr", x, name)
    reads.stores.attribute(x, name, value, by_object)


def of_item(watch: Any, frame: FrameType, _: Any) -> None:
    """`c[key] = value`, with key on top of c and that of the value."""
    _item(watch.reads, frame, 2, top(frame), top(frame, 3))


def of_no_item(watch: Any, frame: FrameType, _: Any) -> None:
    """`del c[key]`."""
    _item(watch.reads, frame, 2, top(frame), MISSING)


def of_slice(watch: Any, frame: FrameType, _: Any) -> None:
    """`c[start:stop] = value`, where that is an instruction."""
    _item(watch.reads, frame, 3, slice(top(frame, 2), top(frame)), top(frame, 4))


def _item(reads: Reads, frame: FrameType, depth: int, key: Any, value: Any) -> None:
    c = mapping_of(top(frame, depth))
    if value is not MISSING and lazy.stored_later(c, key, value, reads):
        stack.put(frame, depth, lazy.Sink())
    else:
        item(reads, frame, c, key, value)


def item(reads: Reads, frame: FrameType, c: Any, key: Any, value: Any) -> None:
    """`c[key] = value`, or its removal for MISSING."""
    if isinstance(c := mapping_of(c), CONTAINERS):
        if is_there(c, key, value):
            reads.item(frame, c, key)
        reads.wrote("item", c, key)
        if type(c) is not np.ndarray or _is_found(reads, c):
            reads.stores.item(c, key, value)


def _is_found(reads: Reads, c: Any) -> bool:
    """Whether a place led to c, whose age the collector does not tell."""
    return any(note.rows and note.rows[-1][2] is c for note in reads.notes.values())


def of_counted(watch: Any, frame: FrameType, name: str) -> None:
    """The end of `x.name += 1`."""
    if ("attr", id(top(frame)), name) not in watch.reads.counted:
        of_attribute(watch, frame, name)


def of_counted_item(watch: Any, frame: FrameType, _: Any) -> None:
    """The end of `c[key] += 1`."""
    c = top(frame, 2)
    if not isinstance(c, dict) or ("item", id(c), top(frame)) not in watch.reads.counted:
        of_item(watch, frame, None)
