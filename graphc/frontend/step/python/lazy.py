"""What Python does with values that only a call knows, while a step is traced.

`replaced` says what is called in place of a function that would have to look at such a value: what
notes the call, so that it happens after each call of the step. `counted` does the same for
`x.n += value`: what was there is read anew each time.
"""

from __future__ import annotations

import builtins
import io
import logging
import math
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from types import BuiltinFunctionType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from graphc.errors import PACKAGE, Untraceable, user_frame
from graphc.frontend import trace as tracing
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.reading import Readable
from graphc.frontend.step.python import beforehand, deep, effects, stack
from graphc.frontend.step.python.code import INSTALLED, LIBRARY, whose
from graphc.frontend.step.python.effects import Itself
from graphc.frontend.step.python.found import kept_by, own, sets_by_code
from graphc.frontend.step.python.held import BYTES, CONTAINERS, FIXED, is_iterator
from graphc.frontend.step.python.printed import TEXT_METHODS, of_object, rows_after
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.stores import copied, set_item
from graphc.frontend.step.signature import rebuilt, refuse_foreign
from graphc.frontend.table import Table
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.ir.extent import is_unknown

Function = Callable[..., Any]
PURE = {float, int, str, repr, format, round, abs, min, max, sum, divmod, pow, sorted}
TEXTS = {str: str, repr: str, format: str}
KINDS: dict[Any, Any] = {float: float, int: int, sorted: list} | TEXTS
LEVELS = {
    "debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING,
    "warn": logging.WARNING, "error": logging.ERROR, "exception": logging.ERROR,
    "critical": logging.CRITICAL, "fatal": logging.CRITICAL, "log": None,
}  # fmt: skip
REMAINDERS = (6, 19)  # of BINARY_OP: % and %=
CALLED = (type, FunctionType, MethodType, BuiltinFunctionType, type(str.format))
ACTING = (os.mkdir.__module__, "os", "shutil", "pathlib")  # on files
FOLLOWED = (
    *FIXED, *CONTAINERS, ModuleType, type, Tensor, ContextVar, BaseException, HostValue,
    np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random,
    type(threading.Lock()), type(threading.RLock()),
)  # fmt: skip
UNCHANGED = (*FIXED, tuple, Tensor, HostValue, type, FunctionType, BuiltinFunctionType)
UTILITIES = PACKAGE + "utils/"  # what writes logs, not tensors


def replaced(frame: FrameType, f: Any, args: Sequence[Any], reads: Reads) -> Function | None:
    """What to call in place of `f`, or None for f itself."""
    trace = tracing.active()
    if type(f).__module__.partition(".")[0] == "torch":
        refuse_foreign(f, "what a compiled step calls")
    if trace is None or type(f) not in CALLED:
        return None
    stand_in = _replaced(trace, frame, f, args, reads)
    if stand_in is not None:
        return stand_in
    waiting = [x for x in (getattr(f, "__self__", None), *args) if id(x) in reads.changed_later]
    if not waiting or f is builtins.print:  # which waits, too
        return None
    inner = f.__func__ if isinstance(f, MethodType) else f
    if isinstance(inner, FunctionType) and _is_librarys(inner) and _is_dropped(frame):
        return partial(_later, trace, reads, f)  # behind what it was given
    check_untouched(reads, waiting[0])
    return None


def _replaced(
    trace: Trace, frame: FrameType, f: Any, args: Sequence[Any], reads: Reads
) -> Function | None:
    name, first = f.__name__, args[0] if args else None
    of_package = whose(frame.f_code.co_filename) == INSTALLED  # what it tells is its own affair
    if f is warnings.warn and reads.filters is warnings.filters and not of_package:
        return partial(_warn_later, trace, frame)
    if name == "join" and args and is_iterator(args[-1]):
        return partial(_of_items, trace, f)
    if _is_for_its_effect(f, args, reads) and _is_dropped(frame) and _is_old(f, args, reads):
        return partial(_later, trace, reads, f)
    if name in LEVELS and _is_logging(f) and not of_package:
        return partial(_log_later, trace, reads, f, name, LEVELS[name])
    if name in LEVELS and _is_installed_logger(f, args) and _is_dropped(frame):
        return partial(_later, trace, reads, f)
    if _hashed(f) and f in (float, int, str) and len(args) == 1 and _is_number(first):
        return partial(_converted, trace, f)
    if _hashed(f) and f in (repr, format) and isinstance(first, Tensor):
        return partial(_computed, trace, f)
    makes_text = (_hashed(f) and f in (str, repr, format)) or name in TEXT_METHODS
    part = frame.f_code.co_name in TEXT_METHODS  # of what that makes
    if makes_text and not part and args and reads.is_users(type(first)):
        deep.shown(reads, frame, first)
        return partial(of_object, trace, f)
    if (value := _number_read(frame, f, args, reads)) is not None:
        return lambda *_: value
    me = getattr(f, "__self__", first)
    if (_hashed(f) and f is dict) or (name == "copy" and type(me) is dict):
        return _copying(frame, f, (me, *args), reads)
    text = isinstance(me, str) or (hasattr(f, "__objclass__") and isinstance(first, str))
    if not any(_holds(x, text) for x in args):
        return None
    return _of_values(trace, frame, f, args, text, reads)


def _number_read(frame: FrameType, f: Any, args: Sequence[Any], reads: Reads) -> HostValue | None:
    """What stands for the number that `getattr` or `dict.get` finds."""
    if not reads.stands.any:
        return None
    if f is getattr and len(args) > 1 and isinstance(args[1], str):
        return reads.stands.taken(reads.attribute, frame, args[0], args[1])
    given = args if f is dict.get else (getattr(f, "__self__", None), *args)  # as it is looked up
    if f.__name__ == "get" and len(given) > 1 and type(given[0]) is dict:
        return reads.stands.taken(reads.item, frame, given[0], given[1])
    return None


def _copying(frame: FrameType, f: Any, read: Sequence[Any], reads: Reads) -> Function:
    """`f`, which makes a dict of these, of which the collector cannot tell its age."""

    def copied(*args: Any, **kwargs: Any) -> Any:
        out = f(*args, **kwargs)
        reads.know(out, "dict", new=True)
        return out

    for x in read:
        if isinstance(x, CONTAINERS):
            reads.whole(frame, x, deep=False)
        elif is_iterator(x):
            reads.iterator(frame, x)
    return copied


def _of_values(
    trace: Trace, frame: FrameType, f: Any, args: Sequence[Any], text: bool, reads: Reads
) -> Function | None:
    """The same of a function that is given what only a call knows."""
    if f is isinstance and isinstance(args[0], HostValue):
        return _is_instance
    if f is type and len(args) == 1:
        return _type
    method = text and (isinstance(f, BuiltinFunctionType) or hasattr(f, "__objclass__"))
    if method or getattr(f, "__module__", "") == "math" or (_hashed(f) and f in PURE):
        for x in args:
            if isinstance(x, CONTAINERS):
                reads.whole(frame, x)
        return partial(_computed, trace, f)
    inner = f.__func__ if isinstance(f, MethodType) else f
    deferred = isinstance(inner, FunctionType) and _is_librarys(inner) and _is_dropped(frame)
    if isinstance(f, FunctionType) and any(map(_has_tensors, args)):
        return None  # an optimizer's, which changes them: it is part of the step
    return partial(_later, trace, reads, f) if deferred and _is_old(f, args, reads) else None


class Sink:
    """Takes an item in place of what cannot hold a value that only a call knows."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def stored_later(c: Any, key: Any, value: Any, reads: Reads) -> bool:
    """Whether `c[key] = value` waits for the end of the call: of an old array of numbers."""
    trace = tracing.active()
    known = isinstance(c, (np.ndarray, *BYTES)) and _holds(value, tensors=True)
    if trace is None or not known or not _is_old(set_item, (c, key), reads):
        return False
    _later(trace, reads, partial(set_item, key=key), c, value)
    return True


def _is_dropped(frame: FrameType) -> bool:
    """Whether nobody takes the result of the call."""
    after = rows_after(frame)
    return bool(after) and after[0].opname == "POP_TOP"


def _is_for_its_effect(f: Any, args: Sequence[Any], reads: Reads) -> bool:
    """Whether a call whose result nobody takes acts on what nobody sees: the system, or an object
    of C code."""
    if getattr(f, "__module__", "") in ACTING:
        return True
    if isinstance(f, type | FunctionType | MethodType) or f.__name__ == "__exit__":
        return False
    me = getattr(f, "__self__", args[0] if args else None)
    if isinstance(me, io.IOBase):
        return True
    return not (isinstance(me, FOLLOWED) or is_iterator(me) or reads.is_users(type(me)))


def _is_old(f: Any, args: Sequence[Any], reads: Reads) -> bool:
    """Whether no object that the call may change is the step's own, which goes on to read it."""
    changed = _changeable(f, args)
    for x in changed:
        reads.know(x, type(x).__name__)
    made = reads.made()
    return not any(id(x) in made for x in changed)


def _changeable(f: Any, args: Sequence[Any]) -> list[Any]:
    me = getattr(f, "__self__", None)
    kept = UNCHANGED if isinstance(f, FunctionType | MethodType) else (*UNCHANGED, list, dict, set)
    given = [x for x in (me, *args) if not isinstance(x, kept)]
    return [x for x in given if not (isinstance(x, CONTAINERS) and _holds(x, tensors=True))]


def _later(trace: Trace, reads: Reads, f: Any, *args: Any, **kwargs: Any) -> None:
    """Call f after each call of the step: with copies of what holds its values, and else with what
    the arguments are then, which the step must not look at from here on."""
    reads.changed_later |= {id(x): x for x in _changeable(f, (*args, *kwargs.values()))}
    made = reads.made()

    def given(x: Any) -> Any:
        return x if copied(trace, x, made) else Itself(x)

    named = {k: given(x) for k, x in kwargs.items()}
    effects.record(trace, f, *map(given, args), **named)


def check_untouched(reads: Reads, x: Any) -> None:
    if id(x) in reads.changed_later:
        raise Untraceable(
            f"the step looks at `{reads.name(x)}` after it was given a value of this call",
            why="what it was given is known only after the call, and so is what it makes of it",
            fix="look at it outside the step, or compute with tensors",
        )


def touched(reads: Reads, x: Any, name: str) -> None:
    """`x.name` is read."""
    if id(x) in reads.changed_later and not callable(getattr(type(x), name, None)):
        check_untouched(reads, x)


def _is_librarys(f: FunctionType) -> bool:
    file = f.__code__.co_filename
    return whose(file) in (LIBRARY, INSTALLED) or file.startswith(UTILITIES)


def _hashed(f: Any) -> bool:
    return isinstance(f, type | BuiltinFunctionType)


def _is_number(x: Any) -> bool:
    return isinstance(x, Tensor | HostValue)


def _holds(x: Any, tensors: bool) -> bool:
    """Whether a value of calls is in it; of texts also a tensor, which they show."""
    found: list[Any] = []
    rebuilt(x, found.append, (HostValue, Tensor) if tensors else HostValue)
    return bool(found)


def _has_tensors(x: Any) -> bool:
    """Whether it is a tensor, or a list of some, also of a class derived from list."""
    items = x if isinstance(x, list | tuple) else (x,)
    return any(isinstance(item, Tensor) for item in items)


def _converted(trace: Trace, f: Any, x: Any) -> Any:
    """float(x), int(x) or str(x)."""
    if isinstance(x, Tensor) and f is not str:
        x = trace.read(x, Readable.item)
    out = trace.computed(f, x, kind=f)
    out.recipe = f, (x,)
    trace.foresee(out)
    return out


def _computed(trace: Trace, f: Any, *args: Any, **kwargs: Any) -> Any:
    kind = KINDS.get(f) if _hashed(f) else None
    if kind is None and f not in PURE and not isinstance(f, BuiltinFunctionType):
        kind = str  # a method of texts
    if getattr(f, "__module__", "") == "math" and f not in (math.floor, math.ceil, math.trunc):
        kind = bool if f.__name__.startswith("is") else float
    elif f in (abs, max, min):
        kinds = {a.kind if isinstance(a, HostValue) else type(a) for a in args}
        kind = kinds.pop() if len(kinds) == 1 and kinds < {bool, int, float} else None
    elif f in (math.floor, math.ceil, math.trunc) or (f is round and len(args) == 1):
        kind = int
    out = trace.computed(partial(_called, f), args, kwargs, kind=kind)
    plain = _hashed(f) and not kwargs  # what a tensor may be computed by as well
    out.recipe = (f, args) if plain else (partial(_called, f), (args, kwargs))
    known = [a.origin for a in args if isinstance(a, HostValue)]
    if known and hasattr(f, "__name__"):
        out.origin = f"{f.__name__} of {known[0]}"
    trace.foresee(out)
    return out


def _called(f: Any, args: Sequence[Any], kwargs: Any) -> Any:
    return f(*args, **kwargs)


def _is_instance(x: HostValue, kinds: Any) -> bool:
    return issubclass(x.kind or object, kinds)


def _type(x: HostValue) -> Any:
    return x.kind


def _of_items(trace: Trace, f: Any, *args: Any) -> Any:
    """`f(..., iterator)`, whose items may be values of the call."""
    items = [*args[:-1], list(args[-1])]
    return _computed(trace, f, *items) if _holds(items, tensors=True) else f(*items)


# ---- texts by % ----------------------------------------------------------------------------------


class Percent:
    """Stands for a text on the left of `%`."""

    def __init__(self, trace: Trace, text: str) -> None:
        self._trace, self._text = trace, text

    def __mod__(self, args: Any) -> Any:
        return self._trace.computed(str.__mod__, self._text, args, kind=str)


def percent(frame: FrameType, left: Any, right: Any) -> Percent | None:
    """What stands for the left operand of `left % right` where `right` has a tensor in it."""
    trace = tracing.active()
    if trace is None or not isinstance(left, str) or not _holds(right, tensors=True):
        return None
    if frame.f_code.co_code[frame.f_lasti + 1] not in REMAINDERS:
        return None
    return Percent(trace, left)


# ---- logging -------------------------------------------------------------------------------------


def _is_logging(f: Any) -> bool:
    inner = f.__func__ if isinstance(f, MethodType) else f
    return isinstance(inner, FunctionType) and inner.__module__ == "logging"


def _is_installed_logger(f: Any, args: Sequence[Any]) -> bool:
    """Whether it is a method of a logger of a package's own, as loguru has one."""
    inner = f.__func__ if isinstance(f, MethodType) else f
    me = getattr(f, "__self__", args[0] if args else None)
    installed = isinstance(inner, FunctionType) and whose(inner.__code__.co_filename) == INSTALLED
    return installed and "logger" in type(me).__name__.lower()


def _log_later(
    trace: Trace, reads: Reads, f: Any, name: str, level: int | None, *args: Any, **kwargs: Any
) -> None:
    """A method of a logger, or a function of `logging`, after each call, as from this line."""
    owner: Any = getattr(f, "__self__", None)
    if owner is None and args and isinstance(args[0], logging.Logger | logging.LoggerAdapter):
        owner, args = args[0], args[1:]
    if owner is None:
        owner = logging.getLogger()
    if level is None:
        level, args = args[0], args[1:]
    if name == "exception" or kwargs.get("exc_info"):
        kwargs["exc_info"] = sys.exc_info()
    frame = user_frame(1 + kwargs.pop("stacklevel", 1))
    code = frame.f_code if frame is not None else None
    at = (code.co_filename, frame.f_lineno, code.co_name) if frame and code else ("", 0, "")
    _later(trace, reads, partial(_log, owner, level, at), *args, **kwargs)


def _log(
    owner: Any, level: int, at: tuple[str, int, str], msg: Any, *args: Any, **kwargs: Any
) -> None:
    while isinstance(owner, logging.LoggerAdapter):
        msg, given = owner.process(msg, kwargs)
        kwargs = dict(given)
        owner = owner.logger
    if owner is logging.root and not owner.handlers:
        logging.basicConfig()
    if owner.isEnabledFor(level):
        rest = kwargs.get("exc_info"), at[2], kwargs.get("extra")
        record = owner.makeRecord(owner.name, level, *at[:2], msg, args, *rest)
        owner.handle(record)


# ---- warnings ------------------------------------------------------------------------------------


def _warn_later(
    trace: Trace,
    frame: FrameType,
    message: Any,
    category: Any = None,
    stacklevel: int = 1,
    source: Any = None,
) -> None:
    """`warnings.warn` after each call, as from this line."""
    at: FrameType = frame
    for _ in range(stacklevel - 1):
        at = at.f_back or at
    where = at.f_code.co_filename, at.f_lineno, at.f_globals
    effects.record(trace, partial(_warn, where), message, category)


def _warn(where: tuple[str, int, dict[str, Any]], message: Any, category: Any) -> None:
    file, line, space = where
    kind = type(message) if isinstance(message, Warning) else category or UserWarning
    name, registry = space.get("__name__"), space.setdefault("__warningregistry__", {})
    warnings.warn_explicit(message, kind, file, line, name, registry)


# ---- counting ------------------------------------------------------------------------------------


def counted(frame: FrameType, left: Any, right: Any, reads: Reads) -> HostValue | None:
    """What stands for the left of `x.n += right`, where each call has to read it anew."""
    trace = tracing.active()
    plain = type(right) in (int, float) or is_unknown(right)
    if trace is None or type(left) not in (int, float):
        return None
    if not (plain or isinstance(right, HostValue)):
        return None
    target = _target(frame)
    if target is None:
        return None
    what, owner, key, place = target
    if place in trace.settled or not _read_once(reads, place):
        return None
    if what == "attr" and sets_by_code(owner, key):
        return None
    table = own(owner) if what == "attr" else owner
    if what == "attr":
        known = kept_by(owner, key) is not stack.MISSING
    else:
        known = what == "cell" or (isinstance(table, dict | list) and _has(table, key))
    if not known:
        return None
    if id(owner) in reads.made() or id(table) in reads.made():
        return None
    del reads.notes[place]
    return beforehand.of_state(trace, place, owner, f"`{key}`", left)


def _read_once(reads: Reads, place: Any) -> bool:
    return reads.uses[place] == 1 and place in reads.notes and not reads.notes[place].of_module


def _has(table: Any, key: Any) -> bool:
    return key in table if isinstance(table, dict) else isinstance(key, int)


def _target(frame: FrameType) -> tuple[str, Any, Any, Any] | None:
    """Where the result of the operator goes: what kind of place, its owner, key and note."""
    after = rows_after(frame)[:3]
    names = [r.opname for r in after]
    if names[:1] == ["STORE_GLOBAL"]:
        table, key = frame.f_globals, after[0].argval
        return "item", table, key, ("item", id(table), key)
    if names[:1] == ["STORE_DEREF"]:
        cell = stack.local(frame, after[0].arg or 0)
        return "cell", cell, after[0].argval, ("cell", id(cell), after[0].argval)
    if names[:2] == ["SWAP", "STORE_ATTR"]:
        x, key = stack.top(frame, 3), after[1].argval
        return "attr", x, key, ("attr", id(x), key)
    if names == ["SWAP", "SWAP", "STORE_SUBSCR"]:
        c, key = stack.top(frame, 4), stack.top(frame, 3)
        kept = type(c) in (dict, list) or isinstance(c, Table)
        plain = kept and type(key) in (int, str)
        return ("item", c, key, ("item", id(c), key)) if plain else None
    return None
