"""Latched: a prepared call (`ready.py`) that runs no Python code at all.

The program's builtin compares the arguments, words of memory that tell of everything else, runs,
and hands out a result of an earlier call that nobody has any more, tensor and all. Whatever
differs, `Ready` has its say, and then brings the words up to date. Where an interpreter keeps no
versions, or its objects are not as the trial expects, no call is latched.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import threading
import weakref
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from graphc.frontend import epoch
from graphc.frontend.modes import modes
from graphc.frontend.places import place_of
from graphc.frontend.step.inspect.inspection import device_of
from graphc.frontend.step.native import Latch
from graphc.frontend.step.python.words import BEFORE, WORD, layout, of_object, version, word
from graphc.frontend.step.ready import Ready
from graphc.frontend.step.recycled import RING
from graphc.frontend.storage import ASKING, Clock, Storage, running
from graphc.frontend.tensor import Tensor
from graphc.ir.cpu_abi import ARRAY, ARRAY_ALIGNED, LATCH, RESULT_SET, ROW, ROW_CELLS
from graphc.ir.types import Array

NAMES = {
    "spec": "_spec", "flag": "_requires_grad", "views": "views", "base": "_base",
    "array": "array", "storage": "storage", "dtype": "dtype", "shape": "shape",
}  # fmt: skip
INTERNED = {k: sys.intern(v) for k, v in NAMES.items()}
NO_TUPLE: tuple[int, ...] = ()
HEADER = 2 * WORD  # of an object: its count and its type
STORAGE_WORDS = (Storage.__basicsize__ - HEADER) // WORD
SET_CELLS = RESULT_SET["words"] + STORAGE_WORDS
ATTRIBUTES = ("spec", "flag", "views", "base", "array", "storage")
VALUES = -32  # before an object of 3.11: where its attributes are, in the order of its class
MOST_SHARED = 30  # attributes of a class that CPython keeps so
ENOUGH, LONGEST = 8, 64  # calls
NATIVES = 8  # words of a program's own, at most


def _slot(kind: type, name: str, made: Any) -> int:
    """Where in an object the value of a slot is."""
    mark = object()
    setattr(made, name, mark)
    spots = range(HEADER, kind.__basicsize__, WORD)
    (found,) = [k for k in spots if word(id(made) + k) == id(mark)]
    return found


@lru_cache(maxsize=1)
def places() -> dict[str, int] | None:
    """Where the words are that a latch compares; None where that is not as it has to be."""
    try:
        at = layout()
        if at is None or not _tried():
            return None
        shown = _slot(Storage, "strides", Storage(None, None))  # type: ignore[arg-type]
        whole, alone = (_slot(Clock, name, Clock()) for name in ("whole", "alone"))
        found = {"shown_at": shown, "whole": whole, "alone": alone, "version": at.version}
        return found | _values() | _lock()
    except (AttributeError, TypeError, ValueError):
        return None


def _tried() -> bool:
    """Whether counts, types, tensors and arrays are where native code looks for them."""
    x = np.zeros((3, 5), np.float32)
    array = all(map(_is_there, (x, x.T)))
    mine = [x, x]
    counted = all(word(id(y)) == sys.getrefcount(y) - ASKING + 1 for y in (x, mine))
    typed = word(id(x) + WORD) == id(np.ndarray)
    tensor = object.__new__(Tensor)
    tensor.array = x
    own = vars(tensor)
    free = word(id(tensor) + Tensor.__weakrefoffset__) == 0 == tensor_words(tensor, own)
    kept = [own, tensor]
    return array and counted and typed and free and len(kept) == 2


def _is_there(x: Array) -> bool:
    """Whether the fields of an array with two dimensions are where NumPy's struct has them."""
    at = {k: word(id(x) + v) for k, v in ARRAY.items()}
    dims, strides = (tuple((ctypes.c_int64 * 2).from_address(at[k])) for k in ("dims", "strides"))
    half = (1 << 32) - 1
    fields = at["data"], at["rank"] & half, dims, strides, at["descr"], at["flags"] & ARRAY_ALIGNED
    return fields == (x.ctypes.data, 2, x.shape, x.strides, id(x.dtype), ARRAY_ALIGNED)


def tensor_words(x: Tensor, own: dict[str, Any]) -> int:
    """0 if the words of x's attributes are known."""
    return 0 if of_object(x) and word(id(x) + BEFORE) == id(own) else 1


def _values() -> dict[str, int]:
    """Where a tensor's attributes are while it has no dict; {} where that is not as in 3.11."""
    probe, marks = object.__new__(Tensor), {k: object() for k in ATTRIBUTES}
    for name, mark in marks.items():
        setattr(probe, NAMES[name], mark)
    start = word(id(probe) + VALUES) if sys.version_info[:2] == (3, 11) else 0
    if not start or word(id(probe) + BEFORE):
        return {}
    found: dict[str, int] = {}
    by_id = {id(mark): f"place_{name}" for name, mark in marks.items()}
    for k in range(MOST_SHARED):
        if (at := word(start + k * WORD)) in by_id:
            found[by_id[at]] = k
        if len(found) == len(marks):
            return found | {"values_at": VALUES}
    return {}


def _lock() -> dict[str, int]:
    """Where a lock like that of the turn has its inner lock, its owner and their count."""
    lock, me = threading.RLock(), threading.get_ident()
    at = {"lock_at": HEADER, "owner_at": HEADER + WORD, "count_at": HEADER + 2 * WORD}
    states = []
    for enter in (None, lock.acquire, lock.acquire, lock.release, lock.release):
        if enter is not None:
            enter()
        states.append([word(id(lock) + at[k]) for k in ("owner_at", "count_at")])
    inner = word(id(lock) + HEADER)
    fits = states == [[0, 0], [me, 1], [me, 2], [me, 1], [0, 0]] and inner
    return at if fits and sys.version_info < (3, 13) else {}


def thread() -> int:
    """The running thread's number, which no other ever has."""
    state, identify = ctypes.pythonapi.PyThreadState_Get, ctypes.pythonapi.PyThreadState_GetID
    state.restype, identify.restype = ctypes.c_void_p, ctypes.c_uint64
    identify.argtypes = (ctypes.c_void_p,)
    return int(identify(state()))


LATCHED: weakref.WeakSet[Latched] = weakref.WeakSet()


def _owned() -> bool:
    """Whether this thread has the turn."""
    owned: bool = running.lock._is_owned()  # type: ignore[attr-defined]  # as Condition asks
    return owned


def reclaim() -> None:
    """End a job that a builtin of this thread left and nobody ended, as a second handler raised
    in between."""
    if not _owned():  # another thread is about to end it
        return
    for latched in list(LATCHED):
        if latched.open:
            with contextlib.suppress(BaseException):
                latched.ended(KeyboardInterrupt())


class Latched:
    """The builtin `run` of one `Ready`, and the results that it hands out."""

    __slots__ = (
        "__weakref__",
        "_at",
        "_count",
        "_counts",
        "_latch",
        "_left",
        "_lock",
        "_ring",
        "_served",
        "_sets",
        "_tensors",
        "_turn",
        "_wait",
        "_ways",
        "_words",
        "device", "ready", "run", "timed",
    )  # fmt: skip

    def __init__(self, ready: Ready) -> None:
        words, held = ready.entry.words.table, ready.entry.words.held
        standing, self._counts = ready.entry.words.standing, ready.entry.words.counts.tolist()
        at, count = places(), len(words)
        assert at is not None
        self.ready, self._at = ready, at
        rest = len(_process(ready, at)) + NATIVES + len(self._counts)
        self._words = np.zeros((count + rest, 2), np.int64)
        self._words[:count], self._count = words, count
        self.device = device_of(ready.entry.units)
        self._tensors: list[Tensor | None] = [None] * RING
        self._turn = 0
        self._wait = self._left = self._ways = 0
        self._served = ready.ticks
        plan, self._lock = ready.entry.plan, (lock := running.lock)
        self._ring = plan.results[0].ring
        rows, rests = _rows(ready)
        self._sets = np.zeros((RING, SET_CELLS), np.int64)
        keep: tuple[Any, ...] = held, standing, rows, rests, self._words, self._sets, self._tensors
        keep = *keep, plan, lock.acquire, lock.release
        cells = {
            **_constants(at), "array": id(plan.place.kind), "thread": -1,
            "count": len(rows), "rows": rows.ctypes.data,
            "acquire": id(keep[-2]), "release": id(keep[-1]), "lock": id(lock) * ("lock_at" in at),
            "storages": id(plan.storages),
            "words": self._words.ctypes.data,
            "clock": ctypes.addressof(plan.clock.cell), "sets": self._sets.ctypes.data,
        }  # fmt: skip
        if ready.acts:
            keep = *keep, (act := ready.act)
            cells["act"] = id(act)
        self._latch: Latch | None = plan.native.latch(cells, keep)
        self.run: Any = None if self._latch is None else self._latch.run
        self.timed: Any = None if self._latch is None else self._latch.timed
        LATCHED.add(self)

    def serves(self, ready: Ready) -> bool:
        """Whether it makes the calls of this one; a forked child has a lock of its own."""
        return self.ready is ready and self._lock is running.lock

    def give(self) -> None:
        """Before a call of `ready`'s, which makes a result: let it have the memory of one that
        nobody has, where it would take other memory, whose address is new to its program."""
        with running.lock:
            if running.programs:  # a handler calls in the middle of a job, whose result it may be
                return
            for k in range(RING):
                x = self._tensors[k]
                if x is not None and sys.getrefcount(x) <= ASKING + 1:  # this list, too
                    self._sets[k, RESULT_SET["tensor"]], self._turn = 0, k
                    self._tensors[k] = None
                    return

    def again(self, out: Any) -> Latched | None:
        """After a call of `ready`'s that gave `out`: itself if it may make the next one."""
        latch = self._latch
        ways = self._ways if latch is None else latch.ways
        if latch is None or (self._left > 0 and ways == self._ways):
            self._left -= 1
            return None
        served = self.ready.ticks - self._served > ENOUGH or ways != self._ways
        self._ways = ways
        self._wait = self._left = 0 if served else min(2 * self._wait + 1, LONGEST)
        self._served = self.ready.ticks
        latch.put("thread", -1)
        with running.lock:
            words = latch.words()
            rest = [*_process(self.ready, self._at), *(words or ()), *self._counts]
            if words is None:
                return None
            self._words[self._count : (end := self._count + len(rest))] = rest
            latch.put("words_count", end)
            if not self.ready.still():  # else a change from here on changes a word
                return None
            self._keep(out)
            latch.put("owner", threading.get_ident())
            latch.put("thread", thread())
        return self

    def _keep(self, out: Tensor) -> None:
        """Hand `out` out again once nobody has it."""
        array, storage, own = out.array, out.storage, vars(out)
        if array is None or tensor_words(out, own) or any(out is x for x in self._tensors):
            return
        place, on = next((p for a, p, _ in self._ring if a is array), 0), place_of(array)
        owner = on.base(array)
        k, self._turn = self._turn, (self._turn + 1) % RING
        row = self._sets[k]
        row[RESULT_SET["tensor"]] = 0
        self._tensors[k] = out
        row[RESULT_SET["dict"]] = id(own)
        row[RESULT_SET["version"]] = word(id(own) + self._at["version"])
        row[RESULT_SET["storage"]], row[RESULT_SET["array"]] = id(storage), id(array)
        row[RESULT_SET["holders"]] = held = 3 if place else 2  # ring, tensor and storage
        row[RESULT_SET["owner"]] = id(array if owner is None else owner)
        row[RESULT_SET["owner_holders"]] = held if owner is None else held - 1  # array and ring
        row[RESULT_SET["address"]] = place or on.address(array)
        start = id(storage) + HEADER
        row[RESULT_SET["words"] :] = (ctypes.c_int64 * STORAGE_WORDS).from_address(start)
        row[RESULT_SET["tensor"]] = id(out)

    @property
    def open(self) -> bool:
        """Whether the builtin has left a job open."""
        return self._latch is not None and self._latch.left >= 0

    def ended(self, raised: BaseException) -> Any:
        """What the call gives, if `raised` came while its job ran, which the builtin left open."""
        latch, native = self._latch, self.ready.entry.plan.native
        if latch is None or not (_owned() and self.open):
            raise raised
        out = self._tensors[latch.left]
        try:
            try:
                latch.resume(raised)
            finally:
                running.programs = 0
                if native.done:  # whatever was raised came after the commit: the step counts
                    self.ready.after()
        finally:
            running.lock.release()
        return out


def _constants(at: dict[str, int]) -> dict[str, int]:
    return {
        **{f"name_{k}": id(v) for k, v in INTERNED.items()},
        "tensor": id(Tensor), "none": id(None), "empty": id(NO_TUPLE),
        "false": id(False), **{k: v for k, v in at.items() if k in LATCH},
        "programs": ctypes.addressof(running.cell), "dict_before": BEFORE,
        "tensor_weak": Tensor.__weakrefoffset__, "storage_words": STORAGE_WORDS,
        "set_cells": SET_CELLS, "set_count": RING,
    }  # fmt: skip


def _process(ready: Ready, at: dict[str, int]) -> list[tuple[int, int]]:
    """Addresses and words that tell of modes, of counters and of who else writes the state."""
    words = [w for x in (modes, epoch, Tensor) for w in version(vars(x)) or ()]
    clock = ready.entry.plan.clock
    words.append((clock, at["whole"]))
    if ready.entry.plan.native.program.assumed:
        words.append((clock, at["alone"]))
    places = [id(x) + offset for x, offset in words] + [ctypes.addressof(running.cell)]
    return [(place, word(place)) for place in places]


def _rows(ready: Ready) -> tuple[Array, Sequence[object]]:
    """What is compared of each argument, and what it holds."""
    rows = np.zeros((len(ready.arguments), ROW_CELLS), np.int64)
    rests: list[object] = [ready.arguments]
    for row, argument in zip(rows, ready.arguments):
        spec, requires_grad, slot, value, shown, _, _, strides = argument
        if spec is None:
            row[ROW["object"]] = id(value)
            continue
        dims, steps = (np.array(x, np.int64) for x in (spec.shape, strides))
        parts = {
            "tensor": 1, "object": id(spec), "flag": id(requires_grad), "slot": slot,
            "descr": id(spec.dtype.numpy), "rank": len(dims), "dims": dims.ctypes.data,
            "dtype": id(spec.dtype), "shape": id(spec.shape), "shown": id(shown),
            "strides": id(strides), "steps": steps.ctypes.data, "plain": argument.plain,
        }  # fmt: skip
        for name, x in parts.items():
            row[ROW[name]] = x
        rests += [dims, steps, spec.dtype.numpy]
    return rows, rests
