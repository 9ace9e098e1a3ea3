"""Notes of what was read, and containers as they were when it was."""

from __future__ import annotations

import ctypes
import gc
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from types import FrameType, FunctionType, MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import Unguarded
from graphc.frontend.step.python.code import ASKED, USERS, whose_code
from graphc.frontend.step.python.found import Row, in_mapping, kept_by, own
from graphc.frontend.step.python.guards import SIMPLE, same, typed, unless_traced
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.tensor import Tensor

SEQUENCES = (list, tuple, deque)
SETS = (set, frozenset)
UNSIZED: Any = ctypes._SimpleCData.__mro__[1]  # what all data of ctypes derives from
BYTES = (bytearray, array, memoryview, UNSIZED)
VIEWS: tuple[type, ...] = tuple(
    type(view(kind()))
    for kind in (dict, OrderedDict)
    for view in (kind.keys, kind.values, kind.items)
)
CONTAINERS: Any = (*SEQUENCES, *SETS, dict, MappingProxyType, np.ndarray, *BYTES, *VIEWS)
FIXED = (*SIMPLE, range, slice, type(...), type(NotImplemented))
Place = tuple[str, int, Any]


class Note(NamedTuple):
    """Rows of guards for one thing read, what it belongs to, and whether a module owns that."""

    label: str
    file: str
    line: int
    owner: Any
    rows: tuple[Row, ...]
    of_module: bool


class Count(NamedTuple):
    """A number that the step adds to: what was there, and each addition."""

    note: Note
    what: str
    x: Any
    key: Any
    before: float
    steps: list[partial[None]]  # as each call repeats them

    def put(self, value: float) -> None:
        put(self.what, self.x, self.key, value)


class Whole:
    """The items of a container, compared one by one: the getter of its guard."""

    __slots__ = ("kept", "without")

    def __init__(self, container: Any, without: frozenset[Any]) -> None:
        self.without = without  # keys that the step sets before it reads
        self.kept = self.items(container)

    def items(self, c: Any) -> Any:
        if isinstance(c, np.ndarray):
            return c.shape, c.dtype.str, c.tobytes()
        if isinstance(c, SETS):
            return typed(c)
        if isinstance(c, dict | MappingProxyType):
            kind: Any = OrderedDict if isinstance(c, OrderedDict) else dict
            kind = kind if isinstance(c, dict) else type(c)
            if not self.without:
                return *kind.keys(c), *kind.values(c)
            pairs = [(k, v) for k, v in kind.items(c) if k not in self.without]
            return *(k for k, _ in pairs), *(v for _, v in pairs)
        return bytes(c) if isinstance(c, BYTES) else tuple(c)

    def item(self, key: Any) -> Any:
        """What a dict had under a key; MISSING if nothing, or if that is not known."""
        half = len(self.kept) // 2
        at = next((k for k in range(half) if self.kept[k] == key), -1)
        return MISSING if at < 0 else self.kept[half + at]

    def __call__(self, container: Any) -> Any:
        now = self.items(container)
        if now == self.kept if isinstance(now, bytes | frozenset) else self._same(now):
            return self.kept
        return now

    def _same(self, now: Any) -> bool:
        if same(now, self.kept):
            return True
        return _outside(now) == _outside(self.kept)


class _Is:
    """A value by the equality of guards."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: Any) -> bool:
        return same(other.value, self.value)

    __hash__ = None  # type: ignore[assignment]  # compared only


def _outside(items: tuple[Any, ...]) -> list[_Is]:
    return [_Is(x) for x in items if unless_traced(x) is not MISSING]


def mapping_of(c: Any) -> Any:
    """What a view of a dict shows; else the container itself."""
    if isinstance(c, VIEWS):
        c = c.mapping  # type: ignore[attr-defined]  # all views have it
    if isinstance(c, MappingProxyType):
        inner = gc.get_referents(c)
        return inner[0] if inner and isinstance(inner[0], dict) else c
    return c


def is_iterator(x: Any) -> bool:
    kind = type(x)
    return hasattr(kind, "__next__") and hasattr(kind, "__iter__") and not isinstance(x, Tensor)


def advances(x: Any) -> bool:
    """Whether x is an iterator of C code's: what one of Python's does is watched."""
    return is_iterator(x) and not isinstance(type(x).__next__, FunctionType)


class Asked:
    """What a step asks of a number that is an object's attribute, after what it counted itself."""

    __slots__ = ("how", "name")

    def __init__(self, name: str, how: tuple[tuple[str, float], ...]) -> None:
        self.name, self.how = name, how

    def __call__(self, x: Any) -> Any:
        value = kept_by(x, self.name)
        return self.of(value) if type(value) in (int, float) else MISSING

    def of(self, value: Any) -> Any:
        """The answer for a number."""
        for what, number in self.how:
            value = ASKED[what](value, number)
        return value


class Item:
    """Gets an item, MISSING where there is none, without making one."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __call__(self, c: Any) -> Any:
        if isinstance(c, dict):
            return dict.get(c, self.key, MISSING)
        return c[self.key] if -len(c) <= self.key < len(c) else MISSING


def has(key: Any, c: Any) -> bool:
    """`key in c`: the getter of its guard."""
    return key in c


def put(what: str, x: Any, key: Any, value: float) -> None:
    if what == "attr":
        setattr(x, key, value)
    else:
        x[key] = value


def add(what: str, x: Any, key: Any, by: float) -> None:
    put(what, x, key, (getattr(x, key) if what == "attr" else x[key]) + by)


def context(variable: Any) -> Any:
    return variable.get(MISSING)


def evicted(fn: Any) -> Any:
    """How many results a functools.lru_cache has forgotten since it was empty."""
    info = fn.cache_info()
    return info.misses - info.currsize if info.maxsize else 0


def _cache(fn: Any) -> dict[Any, Any]:
    return next((x for x in gc.get_referents(fn) if type(x) is dict and x is not own(fn)), {})


def results_of(fn: Any) -> set[int]:
    """What a functools.lru_cache holds, by id; not numbers and texts, which all are alike."""
    held = (*gc.get_referents(fn), *_cache(fn).values())
    return {id(x) for x in held if not (type(x) is tuple and all(isinstance(v, FIXED) for v in x))}


def forget(fn: Any, holds: Callable[[Any], bool]) -> None:
    """Have a functools.lru_cache forget results of this kind; a bounded one, then, all."""
    table = _cache(fn)
    if fn.cache_info().maxsize is None:
        for key in [k for k, x in table.items() if holds(x)]:
            del table[key]
    elif any(map(holds, gc.get_referents(fn))):
        fn.cache_clear()


def cached(fn: Any, key: Any) -> list[Row]:
    """What a functools.lru_cache holds under a key; all of it for MISSING, or where that is as much
    as it may hold, for then the order of calls tells which one goes."""
    table, info = _cache(fn), fn.cache_info()
    if key is not MISSING and info.maxsize is None:
        return [in_mapping(table, key)]
    if key is not MISSING and info.currsize < info.maxsize:
        return [(evicted, fn, evicted(fn)), in_mapping(table, key)]
    held = Whole(table, frozenset())
    return [(held, table, held.kept), (evicted, fn, evicted(fn))]


def where(frame: FrameType) -> tuple[str, int, str]:
    """The user's line that runs, or led there."""
    at: FrameType | None = frame
    while at is not None and whose_code(at.f_code, at.f_globals) != USERS:
        at = at.f_back
    at = at or frame
    return at.f_code.co_filename, at.f_lineno, at.f_code.co_name


def advanced(it: Any, name: str, at: tuple[str, int, str]) -> Unguarded:
    return Unguarded(
        f"the step takes items from `{name}`, a {type(it).__name__} made outside it",
        why="Python runs once, so each call would see the items of the first",
        fix="take them outside and pass them, or iterate over a list",
        where=at,
    )
