"""A guard: a Python value that a trace depended on, compared at each call (`sets.py`).

A guard is a getter, what to apply it to, and the object that it gave. Simple values compare by type
and value (`True` is not `1`), containers by their items, all else by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from graphc.frontend.step.python.stack import MISSING

SIMPLE = (int, float, bool, str, bytes, complex, type(None))


class Content(NamedTuple):
    """A container's items as they were, with their types."""

    kind: type
    items: tuple[Any, ...]


class Guard(NamedTuple):
    """A value that was read while tracing, and how to read it again."""

    label: str
    file: str
    line: int
    get: Callable[[Any], Any]
    subject: Any
    kept: Any

    def now(self) -> Any:
        try:
            return self.get(self.subject)
        except Exception:  # it is gone, or a user's own code refuses: in any case another answer
            return MISSING

    def changed(self) -> bool:
        return not same(self.now(), self.kept)


class Change(NamedTuple):
    """Why a plan does not fit: what was read, its value then and now, and where it is read."""

    what: str
    old: str
    new: str
    file: str = ""
    line: int = 0


class Same:
    """Something that compares by identity; holds it, so its id stays its own."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.item is self.item

    def __hash__(self) -> int:
        return id(self.item)


def unless_traced(value: Any) -> Any:
    """MISSING for a value of a step: what a step leaves outside itself, it makes anew each time."""
    return MISSING if getattr(type(value), "is_traced", None) and value.is_traced else value


def same(now: Any, kept: Any) -> bool:
    """Whether a value read now answers as the one that was kept."""
    if now is kept:
        return True
    if isinstance(kept, SIMPLE):
        if type(now) is not type(kept):
            return False
        return bool(now == kept) if not isinstance(now, float) else repr(now) == repr(kept)
    if type(kept) is frozenset:
        return type(now) is frozenset and typed(now) == typed(kept)
    if type(kept) is Content:
        return type(now) is type(kept) and bool(now == kept)
    if type(kept) is tuple:
        return type(now) is tuple and len(now) == len(kept) and all(map(same, now, kept))
    return kept is MISSING and unless_traced(now) is MISSING


def typed(items: Iterable[Any]) -> frozenset[Any]:
    """A set in which 1, 1.0 and True differ, and so do 0.0 and -0.0."""
    return frozenset((type(x), repr(x) if isinstance(x, float) else x) for x in items)


def show(value: Any) -> str:
    """A value in one short line."""
    if value is MISSING:
        return "missing"
    if isinstance(value, Content):
        inner = ", ".join(show(i[1]) if type(i) is tuple else show(i) for i in value.items)
        return f"{value.kind.__name__}({inner})"[:80]
    if isinstance(value, tuple | frozenset):
        return f"({', '.join(map(show, value))})"[:80]
    if isinstance(value, Same):
        return type(value.item).__name__
    return repr(value)[:80] if isinstance(value, SIMPLE) else f"another {type(value).__name__}"
