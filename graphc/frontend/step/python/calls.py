"""What a call reads that runs no Python code: builtins, methods of containers, types and NumPy.

A function written in Python is watched while it runs; what C code does with its arguments is known
for a few (`getattr`, `dict.get`), and for the rest every container passed is read whole.
"""

from __future__ import annotations

import abc
import bisect
import collections
import contextvars
import functools
import heapq
import importlib
import operator
import random
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from types import BuiltinFunctionType, FrameType, FunctionType, MappingProxyType, MethodType
from typing import Any

from graphc.frontend.step.python import asked, writes
from graphc.frontend.step.python.code import LIBRARY, OWN, USERS, WATCHED, whose
from graphc.frontend.step.python.deep import deep, handed, shown
from graphc.frontend.step.python.found import contents, in_mapping, is_module, own, static
from graphc.frontend.step.python.guards import SIMPLE
from graphc.frontend.step.python.held import CONTAINERS, Place, advances
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.refused import (
    ASKED,
    GENERATORS,
    NOW,
    hashable,
    refuse_draw,
    refused,
    told,
)
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.step.python.stores import CHANGED

OF_TYPES = {*NOW, "__subclasses__"}  # methods of types whose answers change
SETTINGS = {
    "get_num_threads", "get_num_interop_threads", "are_deterministic_algorithms_enabled",
    "is_deterministic_algorithms_warn_only_enabled", "get_deterministic_debug_mode",
    "is_warn_always_enabled", "get_float32_matmul_precision",
}  # fmt: skip
LOOKS_AT_TYPES = {isinstance, issubclass, id, type, callable, print, super, object.__new__}
WRITES = {
    "append", "appendleft", "add", "clear", "extend", "extendleft", "update", "insert",
    "__setitem__", "__init__",
}  # fmt: skip
READS_AND_WRITES = {
    "setdefault", "pop", "popitem", "popleft", "remove", "discard", "sort", "reverse", "rotate",
    "__delitem__", "difference_update", "intersection_update", "symmetric_difference_update",
    "move_to_end", "fill", "__iadd__", "__ior__",
}  # fmt: skip
ITERATES = {
    "extend", "extendleft", "update", "__init__", "difference_update", "intersection_update",
    "symmetric_difference_update", "__iadd__", "__ior__",
}  # fmt: skip
CHANGES_FIRST = {
    heapq.heappush, heapq.heappop, heapq.heapify, heapq.heappushpop, heapq.heapreplace,
    bisect.insort, bisect.insort_left, vars(collections)["_count_elements"],
    operator.iadd, operator.imul, operator.ior, operator.iconcat,
}  # fmt: skip
ITEMS = {"get", "__getitem__"}
VIEWS = {"keys", "values", "items"}
OF_A_KEY = {"setdefault", "pop"}
TAKE_ITEMS = (list, tuple, dict, set, frozenset, enumerate, zip, reversed)  # as they are
WHOLE_OBJECT = {"__reduce_ex__", "__reduce__", "__getstate__", "__dir__"}
OF_OBJECT = {
    f.__name__: f
    for f in (object.__getattribute__, object.__setattr__, object.__delattr__)
}  # fmt: skip
BOUND = type(object().__setattr__)
TEXTS = {str, repr, format, ascii}
PARTIAL = functools.partial
LRU = type(functools.lru_cache(lambda: None))


class Calls:
    """Notes what calls read."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.keywords: tuple[str, ...] = ()  # of the call that is looked at: its last arguments

    def called(self, frame: FrameType, f: Any, args: Sequence[Any], depth: int = 0) -> None:
        """Before `f(*args)`; keyword arguments stand among the others."""
        if isinstance(f, MethodType):
            f, args = f.__func__, (f.__self__, *args)
        handed(self.reads, frame, args)
        for x in args:
            if type(x) is BuiltinFunctionType and not isinstance(f, FunctionType):  # it may call x
                refused(self.reads, frame, x, x.__name__, x.__self__)
            elif isinstance(x, contextvars.ContextVar):
                self.reads.context(frame, x)
        if isinstance(f, FunctionType):
            self._closure(f)
            if f is len:  # ours
                _len(self.reads, frame, args)
                return
            ours = whose(f.__code__.co_filename) == OWN
            if not args and (f in ASKED or (ours and f.__name__ in SETTINGS)):
                asked.fact(self.reads, frame, "what is told by", f, told)
            if f is importlib.import_module and args and isinstance(args[0], str):
                imported(self.reads, frame, args[0])
            elif f is print:  # ours
                for x in args:
                    shown(self.reads, frame, x)
            if ours:
                self._passed(frame, args, iterate=False)
                if f.__name__.startswith("get_") and args and not is_module(args[0]):
                    self._told(frame, args[0])
        elif isinstance(f, PARTIAL) and depth < 8:
            for name in ("func", "args", "keywords"):
                self.reads.attribute(frame, f, name)
            self.reads.whole(frame, f.keywords)
            self.called(frame, f.func, (*f.args, *args, *f.keywords.values()), depth + 1)
        elif isinstance(f, type):
            self._made(frame, f, args)
        elif isinstance(f, LRU):
            self.reads.know(f, getattr(f, "__name__", "a function"))
            asked.of_cache(self.reads, frame, f, self._key(f, args))
        elif isinstance(f, weakref.ref):
            asked.referent(self.reads, frame, f)
        elif isinstance(f, operator.attrgetter) and args:
            self._by_path(frame, args[0], f.__reduce__()[1])
        elif isinstance(f, operator.itemgetter) and args:
            for key in f.__reduce__()[1]:
                self.reads.item(frame, args[0], key)
        elif isinstance(f, operator.methodcaller) and args:
            name = f.__reduce__()[1][0]
            self.reads.attribute(frame, args[0], name)
            self.called(frame, getattr(args[0], name, None), (), depth + 1)
        elif is_module(f) or whose_type(type(f)) == OWN:
            self._passed(frame, args, iterate=False)
        elif not self.reads.is_users(type(f)):
            self._builtin(frame, f, args)

    def _told(self, frame: FrameType, x: Any) -> None:
        """What an object of ours may tell of itself: a schedule's rate, a generator's seed."""
        for name, value in own(x).items():
            if isinstance(value, SIMPLE + CONTAINERS):
                self.reads.attribute(frame, x, name)
                self.reads.whole(frame, value)

    def _closure(self, f: FunctionType) -> None:
        """What a library's function is closed over (a registry) is state of who made it."""
        pending = [f] if whose(f.__code__.co_filename) == LIBRARY else []
        while pending:
            for cell in pending.pop().__closure__ or ():
                x = contents(cell)
                if isinstance(x, FunctionType) and not self.reads.is_known(x):
                    pending.append(x)
                self.reads.know(x, getattr(x, "__name__", type(x).__name__))

    def _key(self, f: Any, args: Sequence[Any]) -> Any:
        """Under what a functools.lru_cache keeps the result; MISSING where names are not known."""
        split = len(args) - len(self.keywords)
        if not hashable(tuple(args)):
            return MISSING
        named = dict(zip(self.keywords, args[split:]))
        return functools._make_key((*args[:split],), named, f.cache_parameters()["typed"])

    def _made(self, frame: FrameType, kind: type, args: Sequence[Any]) -> None:
        """The call of a class."""
        if kind in TEXTS and args:
            shown(self.reads, frame, args[0])
        if kind is random.Random and not args:
            refuse_draw(self.reads, frame, "random.Random()", None)
        if kind in LOOKS_AT_TYPES:
            self._looked_at(frame, args)
            return
        if kind in TAKE_ITEMS:
            self._passed(frame, args, deep=False)
        elif whose_type(kind) == USERS:
            self._passed(frame, args, iterate=False)
        else:
            self._passed(frame, args)

    def _looked_at(self, frame: FrameType, args: Sequence[Any]) -> None:
        """`type(x)`, `isinstance(x, ...)`: an object may become one of another class."""
        if args:
            self.reads.attribute(frame, args[0], "__class__")
        for kind in _kinds(args[1]) if len(args) > 1 else ():
            users = self.reads.is_users(kind) or self.reads.is_users(type(args[0]))
            if users and isinstance(kind, abc.ABCMeta):
                asked.fact(self.reads, frame, "classes registered with", abc, _registered)

    def _by_path(self, frame: FrameType, x: Any, paths: Sequence[str]) -> None:
        for path in paths:
            at = x
            for name in path.split("."):
                self.reads.attribute(frame, at, name)
                at = static(at, name)

    def _builtin(self, frame: FrameType, f: Any, args: Sequence[Any]) -> None:
        name = getattr(f, "__name__", "")
        me = getattr(f, "__self__", MISSING)
        given = args
        if isinstance(me, type) or type(me).__name__ == "module":
            me = MISSING if not (isinstance(me, type) and name in OF_TYPES) else me
        method = hasattr(f, "__objclass__") or (args and isinstance(args[0], GENERATORS))
        if me is MISSING and method and args:
            me, args = args[0], args[1:]
        if hashable(f) in LOOKS_AT_TYPES:
            self._looked_at(frame, args)
            return
        if refused(self.reads, frame, f, name, me):
            return
        if type(f) is BOUND and name in OF_OBJECT:  # `super().__setattr__`
            f, given = OF_OBJECT[name], (f.__self__, *given)
        special = SPECIAL.get(hashable(f))
        if special is not None:
            special(self.reads, frame, given)
        elif hashable(f) in CHANGES_FIRST and args:
            self._method(frame, "__iadd__", args[0], args[1:], f)
        elif isinstance(me, type) and name == "__subclasses__":
            asked.fact(self.reads, frame, "subclasses of", me, _subclasses)
        elif isinstance(me, contextvars.ContextVar):
            self.reads.context(frame, me)
        elif isinstance(me, contextvars.Context):  # in which functions run
            asked.fact(self.reads, frame, "variables of", me, _variables)
        elif isinstance(me, CONTAINERS):
            self._method(frame, name, me, args)
        else:
            fields = isinstance(me, str) and name.startswith("format") and ("." in me or "[" in me)
            if fields or name in WHOLE_OBJECT or getattr(f, "__module__", "") == "_pickle":
                deep(self.reads, frame, me, *args)
            elif hashable(f) in TEXTS or fields or name.startswith("format"):
                for x in args:
                    shown(self.reads, frame, x)
            self._passed(frame, args if me is MISSING else (me, *args))

    def _method(
        self, frame: FrameType, name: str, me: Any, args: Sequence[Any], function: Any = None
    ) -> None:
        """A method of a container's, or a function that changes it."""
        if name in ITEMS and args:
            self.reads.item(frame, me, args[0])
            return
        if name in VIEWS and isinstance(me, dict | MappingProxyType):
            return  # what goes through it reads
        if name == "__contains__" and args:
            asked.has(self.reads, frame, me, args[0])
            return
        split = len(args) - len(self.keywords)
        given, named = args[:split], dict(zip(self.keywords, args[split:]))
        if name in WRITES and isinstance(me, CHANGED):
            if name in ("__setitem__", "update") and isinstance(me, dict):
                keys = given[:1] if name == "__setitem__" else (*_keys(given), *named)
                for key in keys:
                    self.reads.wrote("item", me, key)
            self.reads.changing(me)
        else:
            if name in OF_A_KEY and type(me) is dict and args:
                self.reads.item(frame, me, args[0])
            else:
                self.reads.whole(frame, me)
            if name in READS_AND_WRITES:
                self.reads.changing(me)
        if function is not None:
            self.reads.stores.function(function, me, args)
        elif name in WRITES or name in READS_AND_WRITES:
            self.reads.stores.method(me, name, given, named)
        self._passed(frame, args, iterate=name in ITERATES)

    def _passed(
        self, frame: FrameType, args: Sequence[Any], iterate: bool = True, deep: bool = True
    ) -> None:
        """Containers are read whole, iterators advanced."""
        for x in args:
            if isinstance(x, CONTAINERS):
                self.reads.whole(frame, x, deep)
            elif iterate and advances(x):
                self.reads.iterator(frame, x)


def _kinds(x: Any) -> Iterator[Any]:
    """The classes that isinstance() is given."""
    for kind in x if isinstance(x, tuple) else (x,):
        yield from _kinds(kind) if isinstance(kind, tuple) else (kind,)


def _variables(context: contextvars.Context) -> tuple[Any, ...]:
    return tuple(context.items())


def _registered(_: Any) -> Any:
    return abc.get_cache_token()


def _subclasses(kind: type) -> tuple[type, ...]:
    return (*kind.__subclasses__(),)


def _keys(args: Sequence[Any]) -> Iterator[Any]:
    for x in args:
        if isinstance(x, dict):
            yield from x


def whose_type(kind: type) -> str:
    if kind.__module__.partition(".")[0] == "graphc":
        return OWN
    init = getattr(kind, "__init__")  # noqa: B009  # of a class, not of an instance
    return USERS if isinstance(init, FunctionType) else LIBRARY


def imported(reads: Reads, frame: FrameType, name: str) -> None:
    """`import name` gives a user's module that is there already."""
    for part in {name, name.partition(".")[0]} - sys.stdlib_module_names:
        place: Place = ("item", id(sys.modules), part)
        file = getattr(sys.modules.get(part), "__file__", None) or ""
        if part in sys.modules and whose(file) in WATCHED and place not in reads.notes:
            row = in_mapping(sys.modules, part)
            reads.note(place, frame, f"module `{part}`", sys.modules, [row])


# ---- what a few builtins do ----------------------------------------------------------------------


def _getattr(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if len(args) > 1 and isinstance(args[1], str):
        reads.attribute(frame, args[0], args[1])


def _hasattr(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if len(args) > 1 and not asked.has_own(reads, frame, args[0], args[1]):
        _getattr(reads, frame, args)


def _setattr(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if len(args) > 1:
        writes.attribute(reads, frame, args[0], args[1], args[2] if len(args) > 2 else MISSING)


def _set_by_object(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if len(args) > 1:
        value = args[2] if len(args) > 2 else MISSING
        by_object = not isinstance(args[0], type)
        writes.attribute(reads, frame, args[0], args[1], value, by_object)


def _set_item(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if len(args) > 1:
        writes.item(reads, frame, args[0], args[1], args[2] if len(args) > 2 else MISSING)


def _vars(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if args:
        reads.table(frame, args[0])


def _len(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    for x in args:
        asked.length(reads, frame, x)


def _iter(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    for x in args[:1]:
        reads.whole(frame, x, deep=False)


def _dir(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if args:
        reads.table(frame, args[0])
        reads.whole(frame, own(args[0]))


def _next(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if args and advances(args[0]):
        reads.iterator(frame, args[0])


def _imported(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if args and isinstance(args[0], str):
        imported(reads, frame, args[0])


def _nothing(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    """It reads nothing that is not watched otherwise."""


SPECIAL: dict[Any, Callable[[Reads, FrameType, Sequence[Any]], None]] = {
    getattr: _getattr, hasattr: _hasattr, setattr: _setattr, delattr: _setattr,
    object.__getattribute__: _getattr, object.__setattr__: _set_by_object,
    object.__delattr__: _set_by_object, vars: _vars, dir: _dir,
    operator.setitem: _set_item, operator.delitem: _set_item,
    len: _len, iter: _iter, next: _next, globals: _nothing, locals: _nothing, __import__: _imported,
}  # fmt: skip
