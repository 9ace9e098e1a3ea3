"""Dicts of state that tell a trace of their changes, as the tables of optimizers do."""

from __future__ import annotations

from functools import partial
from types import CodeType
from typing import Any, NamedTuple

from graphc.errors import user_location
from graphc.frontend import trace as tracing

FOLLOWED: set[CodeType] = set()  # code of libraries that is watched as a user's is


class Table(dict[Any, Any]):
    """What a compiled step changes here each call changes again: nobody else has to see to it."""


class Changed(NamedTuple):
    """A table that a step changes, and what it held before."""

    table: dict[Any, Any]
    before: dict[Any, Any]


def changing(table: dict[Any, Any], before: dict[Any, Any] | None = None) -> None:
    """Before a table is changed; `before`: what it held when the trace began, if that is known."""
    trace = tracing.active()
    if trace is None:
        return
    before = dict(table) if before is None else before
    if trace.first(("slots", id(table)), partial(fill, table, before)):
        trace.slots.append(Changed(table, before))


def registering(table: dict[Any, Any]) -> None:
    """Before what a module has registered is changed, by other than another tensor for a buffer."""
    trace = tracing.active()
    if trace is None or trace.wrote is None:
        return
    before = dict(table)
    if trace.first(("registered", id(table)), partial(fill, table, before)):
        trace.wrote("registry", table, None)
        trace.registries.append((Changed(table, before), user_location()))


def told(table: Table, key: Any) -> None:
    """Before an item is set or removed: whoever watches the step's code may not see it."""
    trace = tracing.active()
    if trace is not None and trace.wrote is not None:
        trace.wrote("item", table, key)


def is_followed(table: Any) -> bool:
    """Whether what a step changes in it is repeated by itself."""
    trace = tracing.active()
    known = trace is not None and trace.has_changed(("slots", id(table)))
    return known or isinstance(table, Table)


def fill(table: dict[Any, Any], items: dict[Any, Any]) -> None:
    """Let a table hold these, and tell nobody."""
    dict.clear(table)
    dict.update(table, items)
