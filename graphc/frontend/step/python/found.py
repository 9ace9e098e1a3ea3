"""Where an attribute is found, without running any code of a user's: the lookups of `getattr`.

Each lookup is given as rows of a guard: a getter, what to apply it to, and its answer.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from operator import attrgetter
from types import CellType, FunctionType, GetSetDescriptorType, MemberDescriptorType
from typing import Any

from graphc.frontend.step.python.guards import SIMPLE
from graphc.frontend.step.python.ours import NAMES
from graphc.frontend.step.python.stack import MISSING

Row = tuple[Callable[[Any], Any], Any, Any]
HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by Python code, which may change it
LAZY = {"__annotations__", "__doc__", "__abstractmethods__", "__slotnames__"}  # no methods
STORED = (MemberDescriptorType, GetSetDescriptorType)


def in_mapping(table: Any, key: Any) -> Row:
    """The value under a key of a dict or a class's table."""
    value = table.get(key, MISSING)
    if value is MISSING:
        return table.__contains__, key, False
    return (partial(item, table), key, None) if value is None else (table.get, key, value)


def in_globals(table: dict[str, Any], builtins: dict[str, Any], name: str) -> list[Row]:
    """A global; or a builtin, which none stands before. While a step is traced some are ours."""
    if name in table:
        return [in_mapping(table, name)]
    first = in_mapping(table, name)
    return [first] if name in NAMES else [first, in_mapping(builtins, name)]


def item(table: Any, key: Any) -> Any:
    return table.get(key, MISSING)


def in_classes(classes: Iterable[type], name: str) -> Iterator[Row]:
    """A name in the first of the classes that has it: the others before it have not."""
    for k in classes:
        yield in_mapping(vars(k), name)
        if name in vars(k):
            return


def in_class(x: type, name: str) -> Iterator[Row]:
    """An attribute of a class: its own, inherited, of its metaclass, or what Python keeps."""
    meta: type = type(x)
    yield from in_classes(x.__mro__, name)
    kept = raw(meta.__mro__, name)
    if isinstance(kept, STORED):
        yield attrgetter(name), x, getattr(x, name)
    elif meta is not type:
        yield from in_classes(meta.__mro__, name)


def raw(classes: Iterable[type], name: str) -> Any:
    """What the first of the classes with the name holds under it."""
    return next((vars(k)[name] for k in classes if name in vars(k)), MISSING)


def own(x: Any) -> dict[str, Any]:
    """The dict of an object's own attributes; an empty one if it has none."""
    try:
        local = isinstance(x, threading.local)  # which gives each thread another
        table = x.__dict__ if local else object.__getattribute__(x, "__dict__")
    except AttributeError:
        return {}
    return table if isinstance(table, dict) else {}


def static(x: Any, name: str) -> Any:
    """What `getattr` would find before it calls any descriptor; MISSING for what it computes."""
    kept = raw(type(x).__mro__, name)
    if isinstance(kept, STORED):
        return stored(x, kept)
    if kept is not MISSING and inspect.isdatadescriptor(kept):
        return kept
    return own(x).get(name, kept)


def stored(x: Any, slot: Any) -> Any:
    """The value of a slot, or a plain one that C code keeps."""
    try:
        value = slot.__get__(x, type(x))
    except AttributeError:
        return MISSING
    keeps = isinstance(slot, MemberDescriptorType) or isinstance(value, SIMPLE)
    return value if keeps else MISSING


def in_object(x: Any, name: str) -> Iterator[Row]:
    """An attribute of an instance: its own, its class's, or one that is computed."""
    kept = raw(type(x).__mro__, name)
    mine = own(x).get(name, MISSING)
    plain = raw(type(x).__mro__, "__getattribute__") is object.__getattribute__
    if isinstance(kept, STORED):
        value = stored(x, kept)
        if value is not MISSING:
            yield attrgetter(name), x, value
        elif isinstance(kept, MemberDescriptorType):
            yield partial(by_static, name), x, MISSING
    elif kept is not MISSING and inspect.isdatadescriptor(kept):
        yield type, x, type(x)  # which may be another later
        yield from in_classes(type(x).__mro__, name)
    elif mine is not MISSING and kept is MISSING and not plain:  # whose class has code for it
        yield partial(object.__getattribute__, x), "__dict__", own(x)
        yield from in_classes(type(x).__mro__, name)
        yield in_mapping(own(x), name)
    elif mine is not MISSING or kept is MISSING:
        get = attrgetter(name) if plain and mine is not MISSING else partial(by_static, name)
        yield get, x, mine
    else:
        yield from _of_class(x, name, kept, plain)


def by_static(name: str, x: Any) -> Any:
    return static(x, name)


def _of_class(x: Any, name: str, kept: Any, plain: bool) -> Iterator[Row]:
    if isinstance(kept, staticmethod | classmethod | FunctionType) and plain:
        if isinstance(kept, staticmethod):
            yield attrgetter(name), x, kept.__func__
            return
        function = kept if isinstance(kept, FunctionType) else kept.__func__
        if isinstance(function, FunctionType):
            yield attrgetter(name + ".__func__"), x, function
            return
    if not hasattr(type(kept), "__get__") and plain:
        yield attrgetter(name), x, kept
        return
    yield type, x, type(x)
    yield from in_classes(type(x).__mro__, name)
    yield partial(shadowed, name), x, False


def shadowed(name: str, x: Any) -> bool:
    return name in own(x)


def is_module(x: object) -> bool:
    return hasattr(type(x), "named_parameters") and hasattr(type(x), "forward")


def classes_after(x: Any) -> tuple[type, tuple[type, ...]]:
    """Of a `super`: the class it is bound to, and those that it looks in."""
    mro = x.__self_class__.__mro__
    return x.__self_class__, mro[mro.index(x.__thisclass__) + 1 :]


def sets_by_code(x: Any, name: str) -> bool:
    """Whether Python code of the class's sets the attribute; it is watched itself."""
    classes = type(x).__mro__
    kept = raw(classes, name)
    if hasattr(kept, "__set__") and not isinstance(kept, MemberDescriptorType):
        return True
    return isinstance(raw(classes, "__setattr__"), FunctionType) and not is_module(x)


def kept_by(x: Any, name: str) -> Any:
    """What an object itself has under a name, in its dict or a slot; MISSING if nothing."""
    if isinstance(x, type):
        return vars(x).get(name, MISSING)
    slot = raw(type(x).__mro__, name)
    return stored(x, slot) if isinstance(slot, MemberDescriptorType) else own(x).get(name, MISSING)


class Special:
    """The special methods that each class has which Python code made, as Python looks for them: the
    very answer for a class as it was, which guards compare by identity first."""

    __slots__ = ("kept",)

    def __init__(self, kind: type) -> None:
        self.kept = _special(kind)

    def __call__(self, kind: type) -> tuple[frozenset[str], ...]:
        now = _special(kind)
        return self.kept if now == self.kept else now


def _special(kind: type) -> tuple[frozenset[str], ...]:
    return tuple(
        frozenset(n for n in vars(c) if n[:2] == "__" == n[-2:]) - LAZY
        for c in kind.__mro__
        if c.__flags__ & HEAP_TYPE
    )


def slots(kind: type) -> Iterator[str]:
    for k in kind.__mro__:
        names = vars(k).get("__slots__", ())
        yield from [names] if isinstance(names, str) else names


def contents(cell: CellType) -> Any:
    """What a closure's cell holds, MISSING while it is empty."""
    try:
        return cell.cell_contents
    except ValueError:  # it is empty
        return MISSING


def given(x: Any) -> Any:
    """An argument of a frame that begins: it stands in a cell where an inner function uses it."""
    return contents(x) if isinstance(x, CellType) else x
