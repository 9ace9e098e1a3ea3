"""What a latch does of a GPU's own: which memory a program can use, and how it is started.

A latched call starts the CUDA graph that was recorded for its addresses, by the driver's function
itself, and waits for nothing; Python's lock is given up meanwhile, for a driver whose queue is full
waits. Where addresses are always others, it copies arguments to where a graph has them, and results
from there (`apart.py`). Addresses for which there is neither are Python's to record.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from graphc.runtime import latch
from graphc.runtime.cuda.apart import Around, Place
from graphc.runtime.cuda.array import DeviceArray
from graphc.runtime.cuda.capture import MOST_GRAPHS, Recorded, Started
from graphc.runtime.cuda.device import Device

WORD = 8
AROUND = MOST_GRAPHS  # as the number of a graph: that between copies; and behind it, the last ones
SYMBOLS = ("graphc_latch", "graphc_same")
SLOTS = ("address", "dtype", "shape", "strides", "index")  # of an array
Native = Callable[[str, Sequence[str]], Sequence[int]]  # LLVM text, symbols -> functions


@dataclass(frozen=True, slots=True)
class Code:
    """Functions of the host: `latch` is a builtin's, `same` compares words (address, number)."""

    latch: int
    same: Callable[[int, int], int]
    mapped: object  # what keeps them so


def code(native: Native) -> Code:
    """Compiled by `native`, whose result keeps them mapped."""
    own = TEXT.replace("$AROUND", str(AROUND)).replace("$COPIED", str(AROUND + 1))
    functions = native(latch.text(own.replace("$PLACE", str(len(Place._fields)))), SYMBOLS)
    same = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(functions[1])
    return Code(functions[0], same, functions)


def _spot(x: object, value: object) -> int:
    """Where in an object a slot with this value is."""
    spots = range(2 * WORD, type(x).__basicsize__, WORD)
    (found,) = [k for k in spots if ctypes.c_int64.from_address(id(x) + k).value == id(value)]
    return found


@lru_cache(maxsize=1)
def spots() -> dict[str, int] | None:
    """Where the words of an array are that are compared; None where that is not as expected."""
    x = DeviceArray(1 << 40, np.dtype(np.float32), (3, 5), object(), 1 << 20)
    try:
        return {f"{k}_at": _spot(x, getattr(x, k)) for k in SLOTS}
    except ValueError:
        return None


class Graphs:
    """What native code starts, by addresses: a row for each of the graphs recorded last."""

    def __init__(self, device: Device, of: object, width: int) -> None:
        """`of`: the addresses that all have; `width`: how many others tell them apart."""
        self._device, self.of = device, of
        self._table = np.zeros((MOST_GRAPHS, 1 + width), np.int64)
        self._held: list[Recorded] = []
        self._pointers = np.zeros(max(1, width), np.int64)
        self._list = ctypes.c_int64(self._pointers.ctypes.data)
        self._started = ctypes.c_int64(0)
        self._next = 0
        self._around: Around | None = None
        self._places = np.zeros((max(1, width), len(Place._fields)), np.int64)

    def add(self, addresses: Sequence[int], graph: Recorded | Around) -> None:
        """A graph for these addresses, or for those that have none of their own."""
        if isinstance(graph, Around):
            self._around = graph
            self._places[: len(graph.places)] = graph.places
            return
        if any(graph is x for x in self._held):
            return
        k, self._next = self._next, (self._next + 1) % MOST_GRAPHS
        self._table[k] = graph.graph, *addresses
        self._held[k : k + 1] = [graph]

    @property
    def started(self) -> Started:
        """What native code tried to start last, or what is left of it."""
        k, x = self._started.value, self._around
        if k < AROUND:
            return self._held[k]
        assert x is not None, "native code has gone around it"
        width = len(x.places)
        return Around(self._device, x.graph, x.places, self._pointers[:width].tolist(), k > AROUND)

    def cells(self) -> dict[str, int]:
        return {
            "graphs": self._table.ctypes.data, "graph_count": len(self._held),
            "graph": ctypes.addressof(self._started), "width": self._table.shape[1] - 1,
            "pointers": ctypes.addressof(self._list),
            "around": 0 if self._around is None else self._around.graph.graph,
            "places": self._places.ctypes.data,
        }  # fmt: skip


TEXT = """
define i64 @graphc_same(ptr %words, i64 %count) nounwind {
  %same = call i1 @same_words(ptr %words, i64 %count)
  %answer = zext i1 %same to i64
  ret i64 %answer
}

define internal i64 @latch_memory(ptr %c, ptr %row, ptr %array) nounwind {
entry:
  %dtype = word dtype_at of array
  %descr = row i64 descr
  %typed = icmp eq i64 %dtype, %descr
  %index.now = word index_at of array
  %index = cell i64 index
  %here = icmp eq i64 %index.now, %index
  %good = and i1 %typed, %here
  br i1 %good, label %sizes, label %no
sizes:
  %shape.number = word shape_at of array
  %shape = inttoptr i64 %shape.number to ptr
  %shape.then = row ptr shape
  %shaped = call i1 @latch_equal(ptr %c, ptr %shape, ptr %shape.then)
  br i1 %shaped, label %order, label %no
order:
  %strides.number = word strides_at of array
  %strides = inttoptr i64 %strides.number to ptr
  %strides.then = row ptr strides
  %lies = call i1 @latch_equal(ptr %c, ptr %strides, ptr %strides.then)
  br i1 %lies, label %look, label %no
look:
  %object.number = word address_at of array
  %object = inttoptr i64 %object.number to ptr
  %number = cell ptr number
  %address = call i64 %number(ptr %object)
  %crumbs = and i64 %address, $CRUMBS
  %aligned = icmp eq i64 %crumbs, 0
  %usable = select i1 %aligned, i64 %address, i64 0
  ret i64 %usable
no:
  ret i64 0
}

define internal i64 @latch_start(ptr %c, ptr %pointers) nounwind {
entry:
  %graphs = cell ptr graphs
  %count = cell i64 graph_count
  %width = cell i64 width
  %step = add i64 %width, 1
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k.next, %other ]
  %left = icmp slt i64 %k, %count
  br i1 %left, label %one, label %moved
one:
  %first = mul i64 %k, %step
  %row = getelementptr i64, ptr %graphs, i64 %first
  br label %word
word:
  %j = phi i64 [ 0, %one ], [ %j.next, %compare ]
  %more = icmp slt i64 %j, %width
  br i1 %more, label %compare, label %found
compare:
  %now.at = getelementptr i64, ptr %pointers, i64 %j
  %now = load i64, ptr %now.at
  %j.next = add i64 %j, 1
  %then.at = getelementptr i64, ptr %row, i64 %j.next
  %then = load i64, ptr %then.at
  %same = icmp eq i64 %now, %then
  br i1 %same, label %word, label %other
other:
  %k.next = add i64 %k, 1
  br label %next
found:
  %started = cell ptr graph
  store i64 %k, ptr %started
  %starts = cell ptr starts
  %before = load i64, ptr %starts
  %after = add i64 %before, 1
  store i64 %after, ptr %starts
  %graph = load ptr, ptr %row
  %stream = cell ptr stream
  %launch = cell ptr launch
  %save = cell ptr save
  %restore = cell ptr restore
  %state = call ptr %save()
  %status = call i32 %launch(ptr %graph, ptr %stream)
  call void %restore(ptr %state)
  %good = icmp eq i32 %status, 0
  %answer = select i1 %good, i64 $RAN, i64 $OPEN
  ret i64 %answer
moved:
  %fits = call i1 @latch_fits(ptr %c, ptr %pointers)
  br i1 %fits, label %around, label %none
around:
  %gone = call i64 @latch_around(ptr %c, ptr %pointers)
  ret i64 %gone
none:
  ret i64 $MOVED
}

define internal i1 @latch_fits(ptr %c, ptr %pointers) nounwind {
entry:
  %graph = cell ptr around
  %places = cell ptr places
  %width = cell i64 width
  %some = icmp ne ptr %graph, null
  br i1 %some, label %next, label %no
next:
  %k = phi i64 [ 0, %entry ], [ %k.next, %good ]
  %left = icmp slt i64 %k, %width
  br i1 %left, label %one, label %yes
one:
  %first = mul i64 %k, $PLACE
  %place = getelementptr i64, ptr %places, i64 %first
  %there = load i64, ptr %place
  %bytes.at = getelementptr i64, ptr %place, i64 1
  %bytes = load i64, ptr %bytes.at
  %given.at = getelementptr i64, ptr %pointers, i64 %k
  %given = load i64, ptr %given.at
  %same = icmp eq i64 %there, %given
  %copied = icmp ne i64 %bytes, 0
  %fits = or i1 %same, %copied
  br i1 %fits, label %good, label %no
good:
  %k.next = add i64 %k, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i1 @latch_copies(ptr %c, ptr %pointers, i64 %results) nounwind {
entry:
  %places = cell ptr places
  %width = cell i64 width
  %copy = cell ptr copy
  %stream = cell ptr stream
  %leaves = icmp ne i64 %results, 0
  br label %next
next:
  %k = phi i64 [ 0, %entry ], [ %k.next, %skip ]
  %left = icmp slt i64 %k, %width
  br i1 %left, label %one, label %yes
one:
  %first = mul i64 %k, $PLACE
  %place = getelementptr i64, ptr %places, i64 %first
  %there = load i64, ptr %place
  %bytes.at = getelementptr i64, ptr %place, i64 1
  %bytes = load i64, ptr %bytes.at
  %side.at = getelementptr i64, ptr %place, i64 2
  %side = load i64, ptr %side.at
  %copied = icmp ne i64 %bytes, 0
  %meant = icmp eq i64 %side, %results
  %both = and i1 %copied, %meant
  br i1 %both, label %move, label %skip
move:
  %given.at = getelementptr i64, ptr %pointers, i64 %k
  %given = load i64, ptr %given.at
  %target = select i1 %leaves, i64 %given, i64 %there
  %source = select i1 %leaves, i64 %there, i64 %given
  %status = call i32 %copy(i64 %target, i64 %source, i64 %bytes, ptr %stream)
  %good = icmp eq i32 %status, 0
  br i1 %good, label %skip, label %no
skip:
  %k.next = add i64 %k, 1
  br label %next
yes:
  ret i1 true
no:
  ret i1 false
}

define internal i64 @latch_around(ptr %c, ptr %pointers) nounwind {
entry:
  %started = cell ptr graph
  store i64 $AROUND, ptr %started
  %starts = cell ptr starts
  %before = load i64, ptr %starts
  %after = add i64 %before, 1
  store i64 %after, ptr %starts
  %graph = cell ptr around
  %stream = cell ptr stream
  %launch = cell ptr launch
  %save = cell ptr save
  %restore = cell ptr restore
  %state = call ptr %save()
  %in = call i1 @latch_copies(ptr %c, ptr %pointers, i64 0)
  br i1 %in, label %run, label %failed
run:
  %status = call i32 %launch(ptr %graph, ptr %stream)
  %ran = icmp eq i32 %status, 0
  br i1 %ran, label %leave, label %failed
leave:
  store i64 $COPIED, ptr %started
  %out = call i1 @latch_copies(ptr %c, ptr %pointers, i64 1)
  br i1 %out, label %done, label %failed
done:
  call void %restore(ptr %state)
  ret i64 $RAN
failed:
  call void %restore(ptr %state)
  ret i64 $OPEN
}
"""
