"""Guards: the Python values a trace depended on, compared at each call.

A guard is a getter, what to apply it to, and the object that it gave. While nothing moved, each
gives the very same object, which one pass in C finds out. Where one does not, simple values compare
by type and value (`True` is not `1`), containers by their items, all else by identity. What belongs
to a module is compared only when the module epoch has moved, because every change of it moves that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import call, is_
from typing import Any, NamedTuple

from graphc.frontend import epoch
from graphc.frontend.step.python.stack import MISSING

SIMPLE = (int, float, bool, str, bytes, complex, type(None))
MAX_SETS = 8  # of values that lead to one plan


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


class Kept:
    """One set of guards that held when a plan was traced."""

    def __init__(self, always: Iterable[Guard], on_epoch: Iterable[Guard]) -> None:
        self.always = list(always)
        self.on_epoch = list(on_epoch)
        self._epoch = epoch.modules
        self._columns = columns(self.always)
        self._rare = columns(self.on_epoch)

    def hold(self) -> bool:
        """Whether every read would give the same answer now."""
        if not all_same(*self._columns):
            if any(guard.changed() for guard in self.always):
                return False
            self._columns = columns(self.always, fresh=True)
        if self._epoch != epoch.modules:
            if not all_same(*self._rare) and any(guard.changed() for guard in self.on_epoch):
                return False
            self._epoch = epoch.modules
        return True

    def changed(self) -> list[Guard]:
        return [g for g in (*self.always, *self.on_epoch) if g.changed()]


Columns = tuple[Sequence[Callable[[Any], Any]], Sequence[Any], Sequence[Any]]


def columns(guards: Sequence[Guard], fresh: bool = False) -> Columns:
    """Getters, subjects and answers, for one pass in C; `fresh` answers are equal, not the same."""
    answers = [g.now() if fresh else g.kept for g in guards]
    return [g.get for g in guards], [g.subject for g in guards], answers


def all_same(getters: Sequence[Any], subjects: Sequence[Any], answers: Sequence[Any]) -> bool:
    try:
        return all(map(is_, map(call, getters, subjects), answers))
    except Exception:  # as in Guard.now
        return False


class Guards:
    """The guards of one plan: several sets of values may lead to it."""

    def __init__(self, kept: Kept) -> None:
        self.sets = [kept]

    def also(self, other: Guards) -> None:
        """The plan is right for what `other` holds for, too; the set used longest ago goes."""
        self.sets[:0] = other.sets
        del self.sets[MAX_SETS:]

    def hold(self) -> bool:
        """Whether every read would give the same answers now as in one of the sets."""
        for k, kept in enumerate(self.sets):
            if kept.hold():
                if k:
                    self.sets.insert(0, self.sets.pop(k))
                return True
        return False

    def told(self) -> list[tuple[str, str, str, int]]:
        """What is compared at each call: what was read, its value, and the file and line."""
        kept = self.sets[0]
        rows = [
            (g.label, show(g.kept).replace("another ", "the same "), g.file, g.line)
            for g in (*kept.always, *kept.on_epoch)
        ]
        return list(dict.fromkeys(rows))

    def changed(self) -> list[Guard]:
        """Those of the set used last that hold no more."""
        return self.sets[0].changed()

    def changes(self) -> list[Change]:
        """What differs now, for `explain`."""
        return [
            Change(g.label, show(g.kept), show(g.now()), g.file, g.line) for g in self.changed()
        ]


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
