"""A whole call of a step that is like the last one, as a builtin function of our own.

Where native code has swept the caches, each line of memory and each page that the interpreter
touches for a call costs more than what it does there. So a call that is just like the last one runs
no Python code: the builtin compares the arguments, takes the turn, compares words of memory that
tell of all else (`graphc_run` would do the same), runs the job, counts the call and hands out a
result that nobody has any more. It is made for one thread and one list of words. What is another
thing on each device is text of its executor's: which memory a program can use, and how it starts.

    latch(*args)    the result; None where anything differs, and nothing ran

Where the job did not run to a good end (a handler raised, a check failed) it raises what was
raised, else `Open`, with the turn still taken and `busy` LEFT: the caller ends the job.

What it reads of Python's objects are their reference counts and types, NumPy's public struct of an
array, and words at places that its maker has tried out; all else it asks the C API. It holds none
of a result's parts, or nobody else could be seen to have one: each is read only once what holds it
is known to be as it was.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from graphc.ir.cpu_abi import (
    ARRAY,
    ARRAY_ALIGNED,
    CELL_BYTES,
    FINISHED,
    JOB,
    LATCH,
    LEFT,
    MOVED,
    OPEN,
    RAN,
    RESULT_SET,
    ROW,
    ROW_CELLS,
)
from graphc.runtime import latch_arguments
from graphc.runtime.builtin import OF_BYTES, builtin

FUNCTIONS = {
    "state": "PyThreadState_Get", "identify": "PyThreadState_GetID",
    "ask": "PyObject_CallNoArgs", "attribute": "PyObject_GetAttr", "drop": "Py_DecRef",
    "take": "Py_IncRef", "clear": "PyErr_Clear", "contains": "PySet_Contains",
    "equal": "PyObject_RichCompareBool", "occurred": "PyErr_Occurred", "raise": "PyErr_SetObject",
    "try": "PyThread_acquire_lock", "free": "PyThread_release_lock",
    "number": "PyLong_AsVoidPtr", "save": "PyEval_SaveThread", "restore": "PyEval_RestoreThread",
}  # fmt: skip


NONE = -1  # of results
ALIGNED = 16  # bytes that each access of a GPU's thread may be as wide as


# What a call gave, when it began and ended by the performance counter, and its runs by launch.
Clocked: TypeAlias = tuple[Any, float, float, Sequence[Any]]


class Open(Exception):
    """A job is left open, and nothing was raised."""


class Prepared(Protocol):
    """The program of a latch, on a CPU or a GPU."""

    @property
    def latched(self) -> int:
        """The address of `graphc_latch`, which it keeps mapped."""
        ...

    def words(self) -> list[tuple[int, int]]: ...
    def bound(self) -> Mapping[str, int]:
        """The cells that say how it was run last; none if it has to be put in order."""
        ...

    def ways(self) -> int:
        """Moves when a call was none of those that can run without Python, and now is."""
        ...

    def timed(self, call: Callable[..., Any], args: Sequence[Any]) -> Clocked:
        """Make a call, whose runs are timed by launch."""
        ...

    def left(self) -> bool: ...
    def resume(self, raised: BaseException | None) -> None: ...


def functions() -> dict[str, int] | None:
    """The addresses of what it calls of the interpreter; None if one is not there."""
    try:
        found = {k: ctypes.cast(getattr(ctypes.pythonapi, v), ctypes.c_void_p).value
                 for k, v in FUNCTIONS.items()}  # fmt: skip
    except AttributeError:
        return None
    return {k: v for k, v in found.items() if v} if all(found.values()) else None


class Latch:
    """The builtin `run` of a program, and its cells; what `keep` holds lives as long as it does."""

    def __init__(self, prepared: Prepared, cells: Mapping[str, int], keep: object) -> None:
        self._prepared = prepared
        block = bytes(CELL_BYTES * len(LATCH))
        self._cells = (ctypes.c_int64 * len(LATCH)).from_address(id(block) + OF_BYTES)
        for name, value in cells.items():
            self.put(name, value)
        self.put("chosen", NONE)
        self.put("open", id(Open))
        self.timed: Callable[[Callable[..., Any], Sequence[Any]], Clocked] = prepared.timed
        self.run: Any = builtin(b"latch", prepared.latched, block, prepared, keep)

    def put(self, name: str, value: int) -> None:
        """Write a cell."""
        self._cells[LATCH[name]] = value

    def words(self) -> list[tuple[int, int]] | None:
        """Have it run as the program was run last; what tells that this is still right, as
        addresses and words. None if it cannot be now."""
        cells = self._prepared.bound()
        for name, value in cells.items():
            self.put(name, value)
        return self._prepared.words() if cells else None

    @property
    def ways(self) -> int:
        """Moves when a call that has missed would not miss again."""
        return self._prepared.ways()

    @property
    def left(self) -> int:
        """The result of the job that it has left, or NONE."""
        return int(self._cells[LATCH["chosen"]]) if self._prepared.left() else NONE

    def resume(self, raised: BaseException) -> None:
        """End the job that it has left, as `Executable.run` would."""
        self.put("chosen", NONE)
        self._prepared.resume(None if type(raised) is Open else raised)


def text(own: str) -> str:
    """The function's LLVM text. `own` is its executor's, and defines

    latch_memory(cells, row, array)   where an argument's elements are; 0 if it has to be copied
    latch_start(cells, pointers)      RAN; OPEN if the job is left in the middle; MOVED if none ran
    """
    numbers = {f"job.{k}": v for k, v in JOB.items()} | {f"row.{k}": v for k, v in ROW.items()}
    numbers |= {f"set.{k}": v for k, v in RESULT_SET.items()} | {"CELLS": OF_BYTES}
    numbers |= {"ROW_CELLS": ROW_CELLS, "MOVED": MOVED, "FINISHED": FINISHED, "LEFT": LEFT}
    numbers |= {"RAN": RAN, "OPEN": OPEN, "CRUMBS": ALIGNED - 1}
    numbers |= {"ARRAY_ALIGNED": ARRAY_ALIGNED}
    whole = latch_arguments.TEXT + own + TEXT
    filled = re.sub(r"%(\S+) = own (\w+)(?: or (\w+))?", _own, whole)
    filled = re.sub(r"%(\S+) = word (\w+) of (\S+)", _word, filled)
    filled = re.sub(rf"%(\S+) = ({'|'.join(STRUCTS)}) (\w+) (\w+)", _load, filled)
    for name in sorted(numbers, key=len, reverse=True):
        filled = filled.replace("$" + name, str(numbers[name]))
    return filled


def _own(found: re.Match[str]) -> str:
    """An attribute of %x."""
    name, attribute, default = found.groups()
    cells = [("ptr", "name", f"name_{attribute}"), ("i64", "place", f"place_{attribute}")]
    cells += [("ptr", "default", default)] if default else []
    loads = [f"%{what}.{attribute} = cell {kind} {cell}" for kind, what, cell in cells]
    unset = f"%default.{attribute}" if default else "null"
    found_at = f"ptr %name.{attribute}, i64 %place.{attribute}, ptr {unset}"
    return "\n  ".join([*loads, f"%{name} = call ptr @latch_own(ptr %c, ptr %x, {found_at})"])


def _word(found: re.Match[str]) -> str:
    """A word of an object, at the place that a cell tells."""
    name, cell, base = found.groups()
    at = f"%{name}.place = cell i64 {cell}"
    return f"{at}\n  %{name} = call i64 @latch_word(ptr %{base}, i64 %{name}.place)"


def _load(found: re.Match[str]) -> str:
    """A field of a struct, of a type."""
    name, struct, kind, field = found.groups()
    base, places, step = STRUCTS[struct]
    place = f"%{name}.{struct} = getelementptr {step}, ptr %{base}, i64 {places[field]}"
    return f"{place}\n  %{name} = load {kind}, ptr %{name}.{struct}"


# Where `%x = cell i64 field` and the like find a struct, its fields, and what they count.
STRUCTS: dict[str, tuple[str, Mapping[str, int], str]] = {
    "cell": ("c", LATCH, "i64"), "row": ("row", ROW, "i64"), "set": ("set", RESULT_SET, "i64"),
    "job": ("job", JOB, "i64"), "array": ("array", ARRAY, "i8"),
}  # fmt: skip

TEXT = """
define internal i1 @same_words(ptr %words, i64 %count) nounwind {
entry:
  br label %next
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %one ]
  %left = icmp slt i64 %i, %count
  br i1 %left, label %one, label %yes
one:
  %pair = getelementptr [2 x i64], ptr %words, i64 %i
  %place = load ptr, ptr %pair
  %then.at = getelementptr i64, ptr %pair, i64 1
  %then = load i64, ptr %then.at
  %now = load i64, ptr %place
  %i.next = add i64 %i, 1
  %same = icmp eq i64 %now, %then
  br i1 %same, label %next, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @latch_free(ptr %c, ptr %set) nounwind {
entry:
  %tensor = load ptr, ptr %set
  %there = icmp ne ptr %tensor, null
  br i1 %there, label %look, label %no
look:
  %tensor.held = load i64, ptr %tensor
  %one = icmp eq i64 %tensor.held, 1
  br i1 %one, label %inside, label %no
inside:
  %dict.now = word dict_before of tensor
  %dict.then = set i64 dict
  %own = icmp eq i64 %dict.now, %dict.then
  %weak = word tensor_weak of tensor
  %unseen = icmp eq i64 %weak, 0
  %both = and i1 %own, %unseen
  br i1 %both, label %names, label %no
names:
  %dict = inttoptr i64 %dict.now to ptr
  %dict.held = load i64, ptr %dict
  %dict.one = icmp eq i64 %dict.held, 1
  %version = word version of dict
  %then = set i64 version
  %still = icmp eq i64 %version, %then
  %same.names = and i1 %dict.one, %still
  br i1 %same.names, label %stored, label %no
stored:
  %storage = set ptr storage
  %storage.held = load i64, ptr %storage
  %storage.one = icmp eq i64 %storage.held, 1
  br i1 %storage.one, label %slots, label %no
slots:
  %words = cell i64 storage_words
  br label %next
next:
  %k = phi i64 [ 0, %slots ], [ %k.next, %word ]
  %left = icmp slt i64 %k, %words
  br i1 %left, label %word, label %arrayed
word:
  %k.now = add i64 %k, 2
  %now.at = getelementptr i64, ptr %storage, i64 %k.now
  %now = load i64, ptr %now.at
  %k.then = add i64 %k, $set.words
  %was.at = getelementptr i64, ptr %set, i64 %k.then
  %was = load i64, ptr %was.at
  %k.next = add i64 %k, 1
  %same = icmp eq i64 %now, %was
  br i1 %same, label %next, label %no
arrayed:
  %array = set ptr array
  %array.held = load i64, ptr %array
  %holders = set i64 holders
  %array.own = icmp eq i64 %array.held, %holders
  %owner = set ptr owner
  %owner.held = load i64, ptr %owner
  %lone = set i64 owner_holders
  %unshared = icmp eq i64 %owner.held, %lone
  %memory = and i1 %array.own, %unshared
  br i1 %memory, label %yes, label %no
yes:
  ret i1 true
no:
  ret i1 false
}

define internal ptr @latch_result(ptr %c) nounwind {
entry:
  %sets = cell ptr sets
  %size = cell i64 set_cells
  %count = cell i64 set_count
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k.next, %one ]
  %left = icmp slt i64 %k, %count
  br i1 %left, label %one, label %none
one:
  %first = mul i64 %k, %size
  %set = getelementptr i64, ptr %sets, i64 %first
  %free = call i1 @latch_free(ptr %c, ptr %set)
  %k.next = add i64 %k, 1
  br i1 %free, label %found, label %next
found:
  %chosen.at = cell i64 chosen
  store i64 %k, ptr %chosen.at.cell
  ret ptr %set
none:
  ret ptr null
}

define internal i64 @latch_run(ptr %c, ptr %pointers, ptr %set) nounwind {
entry:
  %address = set i64 address
  store i64 %address, ptr %pointers
  %busy = cell ptr busy
  %programs = cell ptr programs
  store i64 1, ptr %busy
  store i64 1, ptr %programs
  %result = call i64 @latch_start(ptr %c, ptr %pointers)
  switch i64 %result, label %open [ i64 $RAN, label %done
                                    i64 $MOVED, label %rest ]
done:
  %clock = cell ptr clock
  %ticks = load i64, ptr %clock
  %ticks.next = add i64 %ticks, 1
  store i64 %ticks.next, ptr %clock
  br label %rest
rest:
  store i64 0, ptr %programs
  store i64 0, ptr %busy
  %chosen = cell i64 chosen
  store i64 -1, ptr %chosen.cell
  ret i64 %result
open:
  store i64 $LEFT, ptr %busy
  ret i64 %result
}

define ptr @graphc_latch(ptr %self, ptr %args, i64 %count) nounwind {
entry:
  %c = getelementptr i8, ptr %self, i64 $CELLS
  %take = cell ptr take
  %drop = cell ptr drop
  %ask = cell ptr ask
  %state = cell ptr state
  %thread.state = call ptr %state()
  %identify = cell ptr identify
  %thread.now = call i64 %identify(ptr %thread.state)
  %thread.then = cell i64 thread
  %same.thread = icmp eq i64 %thread.now, %thread.then
  %count.then = cell i64 count
  %same.count = icmp eq i64 %count, %count.then
  %alike = and i1 %same.thread, %same.count
  br i1 %alike, label %turn, label %missed
turn:
  %taken = call i64 @latch_enter(ptr %c)
  switch i64 %taken, label %look [ i64 0, label %missed
                                   i64 -1, label %raise ]
look:
  %thread.held = cell i64 thread
  %still.thread = icmp eq i64 %thread.now, %thread.held
  br i1 %still.thread, label %compare, label %leave
compare:
  %pointers.at = cell ptr pointers
  %pointers = load ptr, ptr %pointers.at
  %fits = call i1 @latch_arguments(ptr %c, ptr %args, i64 %count, ptr %pointers)
  br i1 %fits, label %words, label %leave
words:
  %watched = cell ptr words
  %watched.count = cell i64 words_count
  %same = call i1 @same_words(ptr %watched, i64 %watched.count)
  br i1 %same, label %choose, label %leave
choose:
  %set = call ptr @latch_result(ptr %c)
  %none = icmp eq ptr %set, null
  br i1 %none, label %leave, label %run
run:
  %result = call i64 @latch_run(ptr %c, ptr %pointers, ptr %set)
  switch i64 %result, label %open [ i64 $RAN, label %done
                                    i64 $MOVED, label %leave ]
done:
  %tensor = load ptr, ptr %set
  call void %take(ptr %tensor)
  %act = cell ptr act
  %acts = icmp ne ptr %act, null
  br i1 %acts, label %action, label %finish
action:
  %acted = call ptr %ask(ptr %act)
  %act.failed = icmp eq ptr %acted, null
  br i1 %act.failed, label %give.up, label %finish.acted
finish.acted:
  call void %drop(ptr %acted)
  br label %finish
finish:
  %released = call i1 @latch_leave(ptr %c)
  br i1 %released, label %give, label %lost
give:
  ret ptr %tensor
lost:
  call void %drop(ptr %tensor)
  ret ptr null
give.up:
  call void %drop(ptr %tensor)
  %left = call i1 @latch_leave(ptr %c)
  ret ptr null
open:
  %occurred = cell ptr occurred
  %raised = call ptr %occurred()
  %quiet = icmp eq ptr %raised, null
  br i1 %quiet, label %tell, label %raise
tell:
  %raising = cell ptr raise
  %kind = cell ptr open
  %nothing = cell ptr none
  call void %raising(ptr %kind, ptr %nothing)
  br label %raise
raise:
  ret ptr null
leave:
  %gone = call i1 @latch_leave(ptr %c)
  br i1 %gone, label %missed, label %raise
missed:
  %answer = cell ptr none
  call void %take(ptr %answer)
  ret ptr %answer
}

define internal i64 @latch_enter(ptr %c) nounwind {
entry:
  %lock = cell ptr lock
  %known = icmp ne ptr %lock, null
  br i1 %known, label %own, label %slow
own:
  %count.at = cell i64 count_at
  %count.cell.at = getelementptr i8, ptr %lock, i64 %count.at
  %owner.at = cell i64 owner_at
  %owner.cell.at = getelementptr i8, ptr %lock, i64 %owner.at
  %me = cell i64 owner
  %owner.now = load i64, ptr %owner.cell.at
  %again = icmp eq i64 %owner.now, %me
  br i1 %again, label %refuse, label %try
try:
  %inner.number = word lock_at of lock
  %inner = inttoptr i64 %inner.number to ptr
  %trying = cell ptr try
  %got = call i32 %trying(ptr %inner, i32 0)
  %mine = icmp eq i32 %got, 1
  br i1 %mine, label %write, label %slow
write:
  store i64 %me, ptr %owner.cell.at
  store i64 1, ptr %count.cell.at
  ret i64 1
slow:
  %ask = cell ptr ask
  %acquire = cell ptr acquire
  %taken = call ptr %ask(ptr %acquire)
  %refused = icmp eq ptr %taken, null
  br i1 %refused, label %raise, label %taking
taking:
  %drop = cell ptr drop
  call void %drop(ptr %taken)
  ret i64 1
refuse:
  ret i64 0
raise:
  ret i64 -1
}

define internal i1 @latch_leave(ptr %c) nounwind {
entry:
  %lock = cell ptr lock
  %known = icmp ne ptr %lock, null
  br i1 %known, label %own, label %slow
own:
  %count.at = cell i64 count_at
  %count.cell.at = getelementptr i8, ptr %lock, i64 %count.at
  %owner.at = cell i64 owner_at
  %owner.cell.at = getelementptr i8, ptr %lock, i64 %owner.at
  store i64 0, ptr %count.cell.at
  store i64 0, ptr %owner.cell.at
  %inner.number = word lock_at of lock
  %inner = inttoptr i64 %inner.number to ptr
  %free = cell ptr free
  call void %free(ptr %inner)
  ret i1 true
slow:
  %ask = cell ptr ask
  %release = cell ptr release
  %left = call ptr %ask(ptr %release)
  %failed = icmp eq ptr %left, null
  br i1 %failed, label %no, label %yes
yes:
  %drop = cell ptr drop
  call void %drop(ptr %left)
  ret i1 true
no:
  ret i1 false
}
"""
