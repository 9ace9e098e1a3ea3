"""Guards: the Python values a trace depended on, compared at each call.

Simple values compare by type and value (`True` is not `1`), small containers by their content, all
else by identity. What belongs to a module is compared only when the module epoch has moved, because
every such change moves it; the rest (globals, closures, plain objects, list items) at each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from graphc.frontend import epoch
from graphc.frontend.step.reads import MISSING, Read

SIMPLE = (int, float, bool, str, bytes, complex, type(None))
MAX_ITEMS = 64
MUTABLE = (list, dict, set)


class Content(NamedTuple):
    """A container's items as they were, with their types."""

    kind: type
    items: tuple[Any, ...]


class Guard(NamedTuple):
    """A value that was read while tracing, and how to read it again."""

    label: str
    file: str
    line: int
    get: Callable[[], Any]
    kept: Any

    def changed(self) -> bool:
        return not same(self.get(), self.kept)


class Change(NamedTuple):
    """Why a plan does not fit: what was read, its value then and now, and where it is read."""

    what: str
    old: str
    new: str
    file: str = ""
    line: int = 0


def snapshot(value: Any) -> Any:
    """What to keep of a value: the value if it cannot change, a small container's content."""
    content = value if type(value) is Content else _content(value, [MAX_ITEMS])
    return _unless_traced(value) if content is None else content


def _unless_traced(value: Any) -> Any:
    """MISSING for a value of a step: what a step leaves outside itself, it makes anew each time."""
    return MISSING if getattr(value, "is_traced", False) is True else value


def _content(value: Any, budget: list[int]) -> Content | None:
    """The content of a list, tuple, dict or set of simple items; None if it is none or too big."""
    if isinstance(value, dict):
        pairs = ((k, v) for k, v in value.items() if _unless_traced(v) is not MISSING)
        items: Iterable[Any] = [x for pair in pairs for x in pair]
    elif type(value) in (list, tuple):
        items = [x for x in value if _unless_traced(x) is not MISSING]
    elif type(value) in (set, frozenset):
        items = sorted(value, key=repr)
    else:
        return None
    kept: list[Any] = []
    for item in items:
        budget[0] -= 1
        if budget[0] < 0:
            return None
        inner = _content(item, budget)
        if isinstance(item, SIMPLE):
            kept.append((type(item), repr(item) if isinstance(item, float) else item))
        else:
            kept.append(Same(item) if inner is None else inner)
    return Content(type(value), tuple(kept))


class Same:
    """Something that compares by identity; holds it, so its id stays its own."""

    __slots__ = ("item",)

    def __init__(self, item: Any) -> None:
        self.item = item

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and other.item is self.item

    def __hash__(self) -> int:
        return id(self.item)


def same(now: Any, kept: Any) -> bool:
    """Whether a value read now answers as the one that was kept."""
    if now is kept:
        return True
    if type(kept) is Content:
        return bool(snapshot(now) == kept)
    if kept is MISSING:
        return _unless_traced(now) is MISSING
    if type(now) is not type(kept) or not isinstance(now, SIMPLE):
        return False
    return bool(now == kept) if not isinstance(now, float) else repr(now) == repr(kept)


class Guards:
    """The guards of one plan, and its check."""

    __slots__ = ("_epoch", "_seen", "always", "on_epoch")

    def __init__(self, found: Iterable[Read], owned: Callable[[object], bool]) -> None:
        """`owned(x)`: whether a change of an attribute of x moves the module epoch."""
        self.always: list[Guard] = []
        self.on_epoch: list[Guard] = []
        self._epoch = epoch.modules
        self._seen: set[tuple[str, int]] = set()
        self.extend(found, owned)

    def extend(self, found: Iterable[Read], owned: Callable[[object], bool]) -> None:
        """Guard more reads, with the values they give now."""
        for read in found:
            if (key := (read.label, id(read.owner))) not in self._seen:
                self._seen.add(key)
                kept = snapshot(read.get())
                mutable = type(kept) is Content and issubclass(kept.kind, MUTABLE)
                rare = owned(read.owner) and not mutable
                guards = self.on_epoch if rare else self.always
                guards.append(Guard(read.label, read.file, read.line, read.get, kept))

    def expect(self, answers: Iterable[tuple[Callable[[], Any], Any]]) -> None:
        """Guard what the tracer itself asked for, such as a structural option of an optimizer."""
        for get, value in answers:
            self.always.append(Guard("an option", "", 0, get, snapshot(value)))

    def hold(self) -> bool:
        """Whether every read would give the same answer now."""
        for guard in self.always:
            now = guard[3]()
            if now is not guard[4] and not same(now, guard[4]):
                return False
        if self._epoch != epoch.modules:
            if any(g.changed() for g in self.on_epoch):
                return False
            self._epoch = epoch.modules
        return True

    def changes(self) -> list[Change]:
        """What differs now, for `explain`."""
        return [
            Change(g.label, show(g.kept), show(snapshot(g.get())), g.file, g.line)
            for g in (*self.always, *self.on_epoch)
            if g.changed()
        ]


def show(value: Any) -> str:
    """A value in one short line."""
    if value is MISSING:
        return "missing"
    if isinstance(value, Content):
        inner = ", ".join(show(i[1]) if type(i) is tuple else show(i) for i in value.items)
        return f"{value.kind.__name__}({inner})"[:80]
    if isinstance(value, Same):
        return type(value.item).__name__
    return repr(value)[:80] if isinstance(value, SIMPLE) else f"another {type(value).__name__}"
