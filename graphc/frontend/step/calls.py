"""What a call reads that runs no Python code: builtins, methods of containers, types and NumPy.

A function written in Python is watched while it runs; what C code does with its arguments is known
for a few (`getattr`, `dict.get`), and for the rest every container passed is read whole.
"""

from __future__ import annotations

import contextvars
import datetime
import functools
import io
import operator
import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType, FunctionType, MethodType
from typing import Any

import numpy as np

from graphc.frontend.step.code import LIBRARY, OWN, USERS, whose
from graphc.frontend.step.found import is_module, own, static
from graphc.frontend.step.held import CONTAINERS
from graphc.frontend.step.reads import Reads
from graphc.frontend.step.stack import MISSING
from graphc.frontend.tensor import Tensor

CLOCKS = {
    getattr(time, name)
    for name in (
        "time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns",
        "process_time", "process_time_ns", "thread_time", "thread_time_ns", "localtime", "gmtime",
        "ctime", "asctime", "strftime", "sleep",
    ) if hasattr(time, name)
}  # fmt: skip
NOW = {"now", "utcnow", "today"}
ENTROPY = {os.urandom, os.getrandom} if hasattr(os, "getrandom") else {os.urandom}
GENERATORS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
SHARED = (np.random.mtrand._rand, random._inst)  # watched by `draws.py`
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
ITEMS = {"get", "__getitem__"}
WHOLE_OBJECT = {"__reduce_ex__", "__reduce__", "__getstate__", "format", "format_map", "__dir__"}
PARTIAL = functools.partial
LRU = type(functools.lru_cache(lambda: None))
MOVED_OUT = "draw it outside and pass it as an argument, or draw with graphc.rand() or randint()"


class Calls:
    """Notes what calls read."""

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.keywords: tuple[str, ...] = ()  # of the call that is looked at: its last arguments

    def called(self, frame: FrameType, f: Any, args: Sequence[Any], depth: int = 0) -> None:
        """Before `f(*args)`; keyword arguments stand among the others."""
        if isinstance(f, MethodType):
            f, args = f.__func__, (f.__self__, *args)
        if isinstance(f, FunctionType):
            if whose(f.__code__.co_filename) == OWN:
                self._passed(frame, args, iterate=False)
                if f.__name__.startswith("get_") and args and not is_module(args[0]):
                    self.reads.told(frame, args[0])
        elif isinstance(f, PARTIAL) and depth < 8:
            for name in ("func", "args", "keywords"):
                self.reads.attribute(frame, f, name)
            self.called(frame, f.func, (*f.args, *args, *f.keywords.values()), depth + 1)
        elif isinstance(f, type):
            self._made(frame, f, args)
        elif isinstance(f, LRU):
            self.reads.know(f, getattr(f, "__name__", "a function"))
            self.reads.cached(frame, f)
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

    def _made(self, frame: FrameType, kind: type, args: Sequence[Any]) -> None:
        """The call of a class."""
        if kind in LOOKS_AT_TYPES:
            self._looked_at(frame, args)
            return
        if whose_type(kind) == USERS or kind in (list, tuple, dict, set, frozenset, enumerate, zip):
            self._passed(frame, args, iterate=kind.__module__ == "builtins")
        else:
            self._passed(frame, args)

    def _looked_at(self, frame: FrameType, args: Sequence[Any]) -> None:
        """`type(x)`, `isinstance(x, ...)`: an object may become one of another class."""
        if args:
            self.reads.attribute(frame, args[0], "__class__")

    def _by_path(self, frame: FrameType, x: Any, paths: Sequence[str]) -> None:
        for path in paths:
            at = x
            for name in path.split("."):
                self.reads.attribute(frame, at, name)
                at = static(at, name)

    def _builtin(self, frame: FrameType, f: Any, args: Sequence[Any]) -> None:
        name = getattr(f, "__name__", "")
        me = getattr(f, "__self__", MISSING)
        if isinstance(me, type) or type(me).__name__ == "module":
            me = MISSING if not (isinstance(me, type) and name in NOW) else me
        method = hasattr(f, "__objclass__") or (args and isinstance(args[0], GENERATORS))
        if me is MISSING and method and args:
            me, args = args[0], args[1:]
        if _hashable(f) in LOOKS_AT_TYPES:
            self._looked_at(frame, args)
            return
        if self._refused(frame, f, name, me):
            return
        special = SPECIAL.get(_hashable(f))
        if special is not None:
            special(self.reads, frame, args)
        elif isinstance(me, contextvars.ContextVar):
            self.reads.context(frame, me)
        elif isinstance(me, CONTAINERS):
            self._method(frame, name, me, args)
        else:
            if name in WHOLE_OBJECT:
                for x in (me, *args):
                    self.reads.every(frame, x)
            self._passed(frame, args if me is MISSING else (me, *args))

    def _method(self, frame: FrameType, name: str, me: Any, args: Sequence[Any]) -> None:
        if name in ITEMS and args:
            self.reads.item(frame, me, args[0])
            return
        split = len(args) - len(self.keywords)
        given, named = args[:split], dict(zip(self.keywords, args[split:]))
        if name in WRITES:
            if name in ("__setitem__", "update") and isinstance(me, dict):
                keys = given[:1] if name == "__setitem__" else (*_keys(given), *named)
                for key in keys:
                    self.reads.wrote("item", me, key)
            self.reads.changing(me)
        else:
            self.reads.whole(frame, me)
            if name in READS_AND_WRITES:
                self.reads.changing(me)
        if name in WRITES or name in READS_AND_WRITES:
            self.reads.stores.method(me, name, given, named)
        self._passed(frame, args)

    def _passed(self, frame: FrameType, args: Sequence[Any], iterate: bool = True) -> None:
        """Containers are read whole, iterators advanced."""
        for x in args:
            if isinstance(x, CONTAINERS):
                self.reads.whole(frame, x)
            elif iterate and is_iterator(x):
                self.reads.iterator(frame, x)

    def _refused(self, frame: FrameType, f: Any, name: str, me: Any) -> bool:
        if _hashable(f) in CLOCKS or (name in NOW and isinstance(me, type) and _of_time(me)):
            self.reads.refuse(
                frame, None, f"a clock, `{name}`, is read inside a compiled step",
                "read the clock outside, or pass the time as a tensor argument",
                "Python runs once, so each call would see the time of the first",
            )  # fmt: skip
            return True
        drawn = isinstance(me, GENERATORS) and not any(me is g for g in SHARED)
        if drawn and not name.startswith("_"):
            self.reads.refuse(
                frame, me, f"`{self.reads.name(me)}`, a generator of random numbers, is drawn from "
                "inside a compiled step", MOVED_OUT,
                "Python runs once, so the number would be the same at each call",
            )  # fmt: skip
        elif _hashable(f) in ENTROPY:
            self.reads.refuse(
                frame, None, f"`{name}` is called inside a compiled step", MOVED_OUT,
                "Python runs once, so the bytes would be the same at each call",
            )  # fmt: skip
        elif isinstance(me, io.IOBase) and name.startswith("read"):
            self.reads.refuse(
                frame, me, f"a file, `{getattr(me, 'name', '')}`, is read inside a compiled step",
                "read it outside and pass what it holds",
            )  # fmt: skip
        else:
            return False
        return True


def _of_time(kind: type) -> bool:
    return issubclass(kind, datetime.date)


def _hashable(f: Any) -> Any:
    try:
        hash(f)
    except TypeError:
        return None
    return f


def _keys(args: Sequence[Any]) -> Iterator[Any]:
    for x in args:
        if isinstance(x, dict):
            yield from x


def is_iterator(x: Any) -> bool:
    kind = type(x)
    return hasattr(kind, "__next__") and hasattr(kind, "__iter__") and not isinstance(x, Tensor)


def whose_type(kind: type) -> str:
    if kind.__module__.partition(".")[0] == "graphc":
        return OWN
    init = getattr(kind, "__init__")  # noqa: B009  # of a class, not of an instance
    return USERS if isinstance(init, FunctionType) else LIBRARY


# ---- what a few builtins do ----------------------------------------------------------------------


def _getattr(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if len(args) > 1 and isinstance(args[1], str):
        reads.attribute(frame, args[0], args[1])


def _setattr(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if len(args) > 1:
        reads.wrote("attr", args[0], args[1])
        reads.stores.attribute(args[0], args[1], args[2] if len(args) > 2 else MISSING)


def _vars(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if args:
        reads.table(args[0])


def _dir(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if args:
        reads.table(args[0])
        reads.whole(frame, own(args[0]))


def _next(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    if args and not isinstance(getattr(type(args[0]), "__next__", None), FunctionType):
        reads.iterator(frame, args[0])


def _nothing(reads: Reads, frame: FrameType, args: Sequence[Any]) -> None:
    """It reads nothing that is not watched otherwise."""


SPECIAL: dict[Any, Callable[[Reads, FrameType, Sequence[Any]], None]] = {
    getattr: _getattr, hasattr: _getattr, setattr: _setattr, delattr: _setattr,
    object.__getattribute__: _getattr, object.__setattr__: _setattr, vars: _vars, dir: _dir,
    next: _next, globals: _nothing, locals: _nothing, __import__: _nothing,
}  # fmt: skip
