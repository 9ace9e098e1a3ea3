"""Words of memory that change with the Python state that a step has read.

CPython marks changes inside its objects: each change of a dict (the names of a module or a class,
an object's attributes) gives it another version (PEP 509), a cell and a function hold pointers to
what they contain and run. Native code compares such words before a step runs, which costs a
nanosecond each and, with cold caches, hardly more, because no read waits for another; to look the
values up takes some ten reads each that do.

Where the words stand is found by trying, once. Where an interpreter fails the trial, is newer than
any that keeps versions, or is no CPython, nothing is watched and all is compared as it is.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from types import CellType, FunctionType, MappingProxyType, MemberDescriptorType
from typing import Any, NamedTuple

import numpy as np

from graphc.frontend.step.python.found import (
    HEAP_TYPE,
    STORED,
    Special,
    by_static,
    item,
    own,
    raw,
    shadowed,
    stored,
)
from graphc.frontend.step.python.guards import Guard
from graphc.frontend.step.python.held import Asked, Whole, has
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.step.python.standing import Like, Seen, Standing
from graphc.frontend.table import Table
from graphc.frontend.told import Told
from graphc.ir.types import Array

WORD = 8
LOWEST, WORDS = 4096, 1 << 44  # of addresses: of user processes on 64 bits
KEEPS_VERSIONS = ((3, 11), (3, 12))
MANAGED_DICT = 1 << 4  # Py_TPFLAGS_MANAGED_DICT: the dict's pointer stands before the object
TYPE_BYTES: int = vars(type)["__basicsize__"].__get__(type)
BEFORE = -24
RESTLESS = 2  # a word that moved so often without a change that mattered is watched no more
BY_OBJECT = object.__getattribute__
KEYS, VALUES = 32, 40  # where a dict's table of entries is, and the values of a shared one
Word = tuple[Any, int]  # an object, and where in it the word is
Slot = tuple[Any, int, Any]  # a dict, where a slot of its table is from there, what is in it


class Layout(NamedTuple):
    """Where in an object each word is, in bytes."""

    version: int
    size: int
    contents: int
    code: int
    defaults: int
    kwdefaults: int


def word(address: int) -> int:
    """The signed word there now."""
    return ctypes.c_int64.from_address(address).value


def _offset(x: Any, value: int) -> int:
    """Where in x a word of this value is."""
    size = TYPE_BYTES if isinstance(x, type) else x.__sizeof__()
    spots = [k for k in range(2 * WORD, size, WORD) if word(id(x) + k) == value]
    return spots[0]


@lru_cache(maxsize=1)
def memory() -> Array:
    """All memory of the process, to be indexed by words from `LOWEST` on; nothing else is read."""
    return np.ctypeslib.as_array((ctypes.c_int64 * WORDS).from_address(LOWEST))


@lru_cache(maxsize=1)
def layout() -> Layout | None:
    """None where words cannot be watched."""
    free = not getattr(sys, "_is_gil_enabled", lambda: True)()
    if sys.implementation.name != "cpython" or sys.version_info[:2] not in KEEPS_VERSIONS or free:
        return None
    try:
        found = _found()
        return found if _tried(found) else None
    except (IndexError, TypeError, ValueError):
        return None


def _found() -> Layout:
    def probe(a: Any = (), *, b: Any = ()) -> Any:
        return a, b, cell

    cell = object()
    table, empty = {"key": 1}, [object()] * 5
    spots = range(2 * WORD, 6 * WORD, WORD)
    before = [word(id(table) + k) for k in spots]
    table["key"] = 2
    changed = [k for k, was in zip(spots, before) if word(id(table) + k) != was]
    (version,) = changed
    assert probe.__closure__ is not None
    return Layout(
        version,
        _offset(empty, 5),
        _offset(probe.__closure__[0], id(cell)),
        _offset(probe, id(probe.__code__)),
        _offset(probe, id(probe.__defaults__)),
        _offset(probe, id(probe.__kwdefaults__)),
    )


def _tried(found: Layout) -> bool:
    """Whether versions move with every way to change a dict, and with nothing else."""

    class Probe:
        name = 0

    x = Probe()
    table: dict[Any, Any] = {}
    own, names = vars(x), gc.get_referents(vars(Probe))[0]
    seen: list[int] = []

    def look(d: Any) -> None:
        seen.append(word(id(d) + found.version))

    changes: list[Callable[[], Any]] = [
        lambda: table.update(a=1, b=2), lambda: table.pop("a"), lambda: table.popitem(),
        lambda: table.setdefault("c", 1), table.clear, lambda: table.__ior__({"d": 1}),
        lambda: table.__setitem__("d", 2), lambda: table.__delitem__("d"),
    ]  # fmt: skip
    look(table)
    for change in changes:
        change()
        look(table)
    table.get("a"), len(table), list(table), "a" in table
    still = word(id(table) + found.version) == seen[-1]
    for k in range(64):  # so often that the interpreter writes in its quick ways
        x.name = k
        look(own)
        Probe.name = k
        look(names)
    return still and len(set(seen)) == len(seen)


def version(table: Any) -> list[Word] | None:
    """The word of a dict, or of what a class shows of its own."""
    at = layout()
    if type(table) is MappingProxyType:
        inner = gc.get_referents(table)
        table = inner[0] if len(inner) == 1 else None
    return [(table, at.version)] if at is not None and isinstance(table, dict) else None


def of_object(x: Any) -> list[Word] | None:
    """The words of a dict, of a list while it is empty, else of an object's attributes."""
    at = layout()
    if at is None or isinstance(x, dict | MappingProxyType):
        return version(x)
    if isinstance(x, list):
        return None if x else [(x, at.size)]
    own = getattr(x, "__dict__", None)
    managed = type(x).__flags__ & MANAGED_DICT
    if type(own) is not dict or not managed or word(id(x) + BEFORE) != id(own):
        return None
    return [(x, BEFORE), (own, at.version)]


def of_told(x: Told) -> list[Word] | None:
    """The words of all that an answer is made of."""
    found = [of_object(part) for part in x.of]
    return None if None in found or not x.plain() else [w for ws in found if ws for w in ws]


def of_attribute(x: Any, path: str) -> list[Word] | None:
    """The words of an attribute that an object has, or its class: a plain one, or a method, of a
    class that looks up as usual."""
    kind, (name, _, rest) = type(x), path.partition(".")
    words, tables, kept = of_object(x), of_classes(kind), raw(kind.__mro__, name)
    if vars(object)["__getattribute__"] is not kind.__getattribute__ or tables is None:
        return None
    if isinstance(kept, MemberDescriptorType) and not rest:
        return _of_slot(x, stored(x, kept), tables)
    if words is None or type(own(x)) is not dict:
        return None
    found = (name in own(x)) is (kept is MISSING)
    plain = not hasattr(type(kept), "__get__") and not rest
    method = rest == "__func__" and isinstance(kept, FunctionType | classmethod)
    return [*words, (x, WORD), *tables] if found and (plain or method) else None


def _of_slot(x: Any, value: Any, tables: list[Word]) -> list[Word] | None:
    """Of what Python keeps in the object itself; None if it has that more than once."""
    spots = [k for k in range(2 * WORD, x.__sizeof__(), WORD) if word(id(x) + k) == id(value)]
    return [(x, spots[0]), (x, WORD), *tables] if len(spots) == 1 else None


def of_classes(kind: type) -> list[Word] | None:
    """The words of what a class and those it inherits from have, and of their order."""
    made = [c for c in kind.__mro__ if c.__flags__ & HEAP_TYPE]
    found = [version(vars(c)) for c in made]
    if None in found:
        return None
    order = [(c, _offset(c, id(c.__mro__))) for c in made]
    return [*order, *(w for ws in found if ws for w in ws)]


def of_guard(guard: Guard) -> list[Word] | None:
    """The words that tell of each change of what a guard reads; None if there are none."""
    get, subject = guard.get, guard.subject
    if isinstance(subject, Told):
        return of_told(subject)
    at = layout()
    if at is None:
        return None
    if get is type:
        return [(subject, WORD)]
    if isinstance(get, Special):
        return of_classes(subject)
    if get is own:
        return (of_object(subject) or [])[:1] or None
    if isinstance(get, attrgetter):
        fixed = {
            (FunctionType, "__code__"): at.code,
            (FunctionType, "__defaults__"): at.defaults,
            (FunctionType, "__kwdefaults__"): at.kwdefaults,
            (CellType, "cell_contents"): at.contents,
        }
        names = get.__reduce__()[1]  # of class and arguments
        if (offset := fixed.get((type(subject), *names))) is not None:
            return [(subject, offset)]
        return of_attribute(subject, names[0]) if len(names) == 1 else None
    if isinstance(get, Asked):
        mine = not isinstance(subject, type) and get.name in own(subject)
        return [*(of_object(subject) or ())] or None if mine else None
    if isinstance(get, Whole):
        return version(subject) if type(subject) is dict else None
    if isinstance(get, partial):
        return of_partial(get, subject)
    if get in (bool, len):
        return of_object(subject) if type(subject) in (dict, list) else None
    if getattr(get, "__name__", "") in ("get", "__contains__"):
        table = getattr(get, "__self__", None)
        known = type(table) in (dict, MappingProxyType) or isinstance(table, Table)
        return version(table) if known else None
    return None


def of_partial(get: partial[Any], subject: Any) -> list[Word] | None:
    """The words of a look-up that is more than one of Python's own."""
    name: Any = get.args[0] if get.args else None
    if get.func is BY_OBJECT:
        return (of_object(name) or [])[:1] or None
    if get.func is item:
        return version(name)
    if get.func is has:
        return version(subject) if type(subject) is dict else None
    if get.func in (by_static, shadowed):
        own, tables = of_object(subject), of_classes(type(subject))
        slot = isinstance(raw(type(subject).__mro__, name), STORED)
        return None if own is None or tables is None or slot else [*own, (subject, WORD), *tables]
    return None


def of_entry(guard: Guard) -> list[Word | Slot] | None:
    """The words of one entry of a dict, in which others change for reasons of their own: that its
    table is still the same, then where in that the key and the value are."""
    table, key = getattr(guard.get, "__self__", None), guard.subject
    if getattr(guard.get, "__name__", "") != "get" or type(table) is not dict or layout() is None:
        return None
    mine = [(k, v) for k, v in table.items() if k == key] if type(key) is str else []
    if len(mine) != 1 or word(id(table) + VALUES):
        return None
    key, value = mine[0]
    start = word(id(table) + KEYS)
    spots = range(start, start + table.__sizeof__() - dict.__basicsize__ - WORD, WORD)
    for at in spots:
        if word(at) == id(key) and word(at + WORD) == id(value):
            near = at - id(table)
            return [(table, KEYS), (table, near, key), (table, near + WORD, value)]
    return None


class Words:
    """What of some guards and numbers is watched, and what is left to be asked."""

    def __init__(self) -> None:
        self.asked: list[Guard] = []
        self.numbers = False  # whether numbers are read at each call
        self.table: Array = np.zeros((0, 2), np.int64)  # addresses, and what was there
        self.held: dict[int, Word | Slot] = {}  # the objects that they are in, by address
        self.counts: Array = self.table  # of references, as `table`; of what `standing` holds
        self.standing: Sequence[Seen] = ()
        self._at, self._were = self.table[:, 0], b""
        self._moves: Counter[int] = Counter()

    def take(
        self,
        guards: Iterable[Guard],
        numbers: Iterable[Any],
        standing: Mapping[Standing, Seen],
    ) -> None:
        """Watch what can be, as it is now; `standing`: tensors that stay in their places."""
        before = dict(self.table.tolist())
        held: dict[int, Word | Slot] = {}
        self.asked, self.numbers = [], False
        getters = [at.row[0] for at in standing]
        for at, known in standing.items():
            if at.memory:
                continue  # `epoch` tells of another
            place = Guard(at.label, "", 0, *at.row, known.tensor)
            if not self._watch(of_guard(place), held):
                self.asked.append(Guard(at.label, "", 0, known.stands_in, at, True))
        for guard in guards:
            if type(guard.get) is Like and guard.get.get in getters:
                continue  # that the very tensor is still there has been seen to
            words: Sequence[Word | Slot] | None = of_guard(guard)
            if any(self._moves[id(x[0]) + x[1]] for x in words or ()):
                words = of_entry(guard) or words
            if not self._watch(words, held):
                self.asked.append(guard)
        for get in numbers:
            told = of_told(get) if isinstance(get, Told) and get.of else None
            self.numbers |= not self._watch(told, held)
        rows = [(at, id(x[2]) if len(x) > 2 else word(at)) for at, x in held.items()]
        self._moves.update(at for at, now in rows if before.get(at, now) != now)
        self.table, self.held = np.array(rows, np.int64).reshape(-1, 2), held
        self._at = (self.table[:, 0] - LOWEST) // WORD
        self._were = self.table[:, 1].tobytes()
        written = [(at, known) for at, known in standing.items() if at.put is not None]
        counts = [row for at, known in written for row in known.counts(at.memory)]
        self.counts = np.array(counts, np.int64).reshape(-1, 2)
        self.standing = [*standing.values()]

    def all(self) -> Array:
        """Of a program that compares once memory is known to be where it was: counts, too."""
        return np.concatenate([self.table, self.counts])

    def same(self) -> bool:
        """Whether all words are what they were; for who has no native code to compare them."""
        return bool(memory()[self._at].tobytes() == self._were)

    def _watch(self, words: Sequence[Word | Slot] | None, held: dict[int, Word | Slot]) -> bool:
        """Hold the objects of these words; not of restless ones, which others change for reasons
        of their own."""
        found = {id(x[0]) + x[1]: x for x in words or ()}
        if words is None or any(self._moves[at] >= RESTLESS for at in found):
            return False
        held.update(found)
        return True
