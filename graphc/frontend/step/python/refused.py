"""Calls that no later call of a step could repeat, so they are refused: a clock, a generator of
random numbers, a file, a thread, what the operating system is asked for.
"""

from __future__ import annotations

import datetime
import gc
import io
import linecache
import locale
import os
import random
import sys
import threading
import time
import tokenize
from collections.abc import Callable
from types import BuiltinFunctionType, FrameType
from typing import Any

import numpy as np

from graphc.errors import Unguarded
from graphc.frontend import trace as tracing
from graphc.frontend.step.python import asked
from graphc.frontend.step.python.affairs import is_dropped
from graphc.frontend.step.python.collector import as_before
from graphc.frontend.step.python.held import where
from graphc.frontend.step.python.reads import Reads

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
ASKED = {
    threading.get_ident, threading.get_native_id, sys.getrecursionlimit, sys.getswitchinterval,
    sys.get_int_max_str_digits, gc.isenabled, gc.get_threshold, os.getcwd, threading.active_count,
    np.geterr, np.geterrcall, np.getbufsize, np.get_printoptions, locale.localeconv,
}  # fmt: skip
OPENS = {open, os.open}
SYSTEM = os.mkdir.__module__  # whose functions ask or change the system
THREADS, STARTS = "_thread", ("start_", "_start_")
LASTING = {
    "fspath", "getpid", "cpu_count", "strerror", "_path_normpath", "_path_splitroot",
    "_path_splitroot_ex",
}  # fmt: skip
READING_FILES = (
    "<frozen importlib",
    "<frozen zipimport",
    linecache.__file__,
    tokenize.__file__,
)  # of code that runs or fails
GENERATORS = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, random.Random)
SHARED = (np.random.mtrand._rand, random._inst)  # watched by `draws.py`
MOVED_OUT = "draw it outside and pass it as an argument, or draw with graphc.rand() or randint()"


def refused(reads: Reads, frame: FrameType, f: Any, name: str, me: Any) -> bool:
    """Whether a call of `f`, a method of `me` perhaps, is refused."""
    if asks_system(reads, frame, f):
        return True
    clock = hashable(f) in CLOCKS or (name in NOW and isinstance(me, type) and _of_time(me))
    if clock and (f is time.sleep or not is_dropped(frame)):
        reads.refuse(
            frame, None, f"a clock, `{name}`, is read inside a compiled step",
            "read the clock outside, or pass the time as a tensor argument",
            "Python runs once, so each call would see the time of the first",
        )  # fmt: skip
        return True
    drawn = isinstance(me, GENERATORS) and not any(me is g for g in SHARED)
    if drawn and not name.startswith("_"):
        refuse_draw(reads, frame, reads.name(me), me)
    elif isinstance(me, io.IOBase) and name.startswith("read"):
        reads.refuse(
            frame, me, f"a file, `{getattr(me, 'name', '')}`, is read inside a compiled step",
            "read it outside and pass what it holds",
        )  # fmt: skip
    else:
        return False
    return True


def refuse_draw(reads: Reads, frame: FrameType, name: str, me: Any) -> None:
    reads.refuse(
        frame, me, f"`{name}`, a generator of random numbers, is drawn from inside a compiled "
        "step", MOVED_OUT, "Python runs once, so the number would be the same at each call",
    )  # fmt: skip


def asks_system(reads: Reads, frame: FrameType, f: Any) -> bool:
    """What the world outside of Python decides: refused, in a library's code, too."""
    if not isinstance(f, BuiltinFunctionType) or hashable(f) is None:
        return False
    name = f.__name__
    if f in ASKED:
        if f is gc.isenabled:
            as_before()
        asked.fact(reads, frame, "what is told by", f, told)
    elif f.__module__ == THREADS and name.startswith(STARTS):
        raise _refused_now(
            frame, "a thread is started inside a compiled step",
            "start it outside, or hand its work on with graphc.debug.callback(fn, tensor)",
            "what another thread reads is not seen, and Python runs once",
        )  # fmt: skip
    elif f in ENTROPY:
        reads.refuse(
            frame, None, f"`{name}` is called inside a compiled step", MOVED_OUT,
            "Python runs once, so the bytes would be the same at each call",
        )  # fmt: skip
    elif (f in OPENS or (f.__module__ == SYSTEM and name not in LASTING)) and not (
        frame.f_code.co_filename.startswith(READING_FILES)
    ):
        raise _refused_now(
            frame, f"`{name}` asks the operating system inside a compiled step",
            "do it outside, and pass what was found, or hand it on with "
            "graphc.debug.callback(fn, tensor)",
            "Python runs once, so each call would go by what the first has found",
        )  # fmt: skip
    return f in ENTROPY


def _of_time(kind: type) -> bool:
    return issubclass(kind, datetime.date)


def hashable(f: Any) -> Any:
    """f, or None for what no table could hold."""
    try:
        hash(f)
    except TypeError:
        return None
    return f


def told(f: Callable[[], Any]) -> Any:
    """What it answers, to be compared."""
    answer = f()
    return tuple(answer.items()) if isinstance(answer, dict) else answer


def _refused_now(frame: FrameType, what: str, fix: str, why: str) -> Exception:
    """An error to raise, since the step cannot go on."""
    error = Unguarded(what, why=why, fix=fix, where=where(frame))
    trace = tracing.active()
    return error if trace is None else trace.refuse(error)
