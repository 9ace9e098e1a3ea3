"""pending: programs whose checks nobody has looked at yet, and when they are looked at.

A program with checks ends with a copy of its words of failure to pinned memory, so that a call
needs not wait for it: what failed is told by the first call behind it that finds these words set,
or by whatever waits for the device. Until then nothing can go wrong: the words stay set on the
device, where no launch behind a commit point stores anything while they are, so further runs of the
same program leave its state as it was. Another program with state waits before it starts, since it
may build on what the failed one did not do. Native code that starts a program again (`latch.py`)
has compared that no other is pending and that its own words are unset.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from graphc.errors import GraphcError
from graphc.ir.cuda_abi import ERROR_WORDS
from graphc.ir.types import Array

CELLS = 128  # words of failure in one piece of pinned memory


class Checked(Protocol):
    """A program that may fail."""

    def failed(self) -> bool:
        """Whether a run that has ended has failed."""
        ...

    def failure(self) -> GraphcError:
        """Its error, which is then forgotten."""
        ...


@dataclass
class _Kept:
    """A program that native code starts, how often so far, and how often when somebody waited."""

    program: weakref.ref[Checked]
    starts: ctypes.c_int64
    seen: int = -1

    def idle(self) -> bool:
        return self.starts.value == self.seen


class Pending:
    """The programs of one device that were started and not looked at since, in that order."""

    def __init__(self) -> None:
        self._programs: dict[int, Checked] = {}
        self._kept: dict[int, _Kept] = {}
        self.moves = ctypes.c_int64(0)  # moves with which programs these are
        self._lock = threading.RLock()  # a signal's handler may look while it is held

    def __len__(self) -> int:
        return len(self._programs)

    def add(self, program: Checked) -> None:
        key = id(program)  # no call may come between finding the dict and storing in it
        with self._lock:  # or `through` would take it for one that has ended
            self.moves.value += key not in self._programs
            self._programs[key] = program

    def others(self, program: Checked | None = None) -> bool:
        """Whether any but this one may have been started since somebody waited."""
        if not self._programs:
            return False
        kept = self._kept
        return any(
            k != id(program) and not (k in kept and kept[k].idle()) for k in list(self._programs)
        )

    def keep(self, program: Checked, starts: ctypes.c_int64 | None) -> None:
        """Native code starts it from now on, where there are no `others`: which adds nothing until
        `release`, or until `moves` moves, but counts `starts`, of one that may fail. It compares
        with no other's, so what it started before is added again."""
        with self._lock:
            for k in [k for k in self._kept if k != id(program)]:
                del self._kept[k]
                self._programs.pop(k, None)
                self.moves.value += 1
        if starts is not None:
            self.add(program)
            with self._lock:
                self._kept[id(program)] = _Kept(weakref.ref(program), starts)

    def release(self, key: int) -> None:
        """The program with this id is started by Python alone, which adds it each time."""
        with self._lock:
            self.moves.value += self._kept.pop(key, None) is not None

    def glance(self) -> None:
        """Raise what has failed by now."""
        if self._programs and any(x.failed() for x in list(self._programs.values())):
            with self._lock:
                failed = [x for x in self._programs.values() if x.failed()]
                for x in failed:
                    self._programs.pop(id(x), None)
                self.moves.value += len(failed)
            _raise(failed)

    def through(self, wait: Callable[[], object]) -> None:
        """Wait by `wait`, for all that was started until now, and raise what has failed of it."""
        with self._lock:
            ended, kept = self._programs, list(self._kept.values())
            for k in kept:
                k.seen = k.starts.value
            self._programs = {id(x): x for x in (k.program() for k in kept) if x is not None}
            self.moves.value += len(ended) != len(self._programs)
        try:
            wait()
        except BaseException:  # by a signal's handler, as likely: nobody has looked yet
            with self._lock:
                self._programs = ended | self._programs
                for k in self._kept.values():
                    k.seen = -1
            raise
        _raise([x for x in ended.values() if x.failed()])


def _raise(failed: list[Checked]) -> None:
    """The first one's error; those of the others are forgotten, having come of it as likely."""
    errors = [x.failure() for x in failed]
    if errors:
        raise errors[0]


class Cells:
    """Pinned memory for words of failure, each cell one program's at a time; it is kept."""

    def __init__(self, pinned: Callable[[tuple[int, ...]], Array]) -> None:
        """`pinned` makes an i64 array of a shape in such memory."""
        self._pinned = pinned
        self._free: list[Array] = []

    def take(self) -> Array:
        while True:  # other threads take some as well
            try:
                cell = self._free.pop()
            except IndexError:
                self._free.extend(self._pinned((CELLS, ERROR_WORDS)))
            else:
                cell[...] = 0
                return cell

    def give_back(self, cell: Array) -> None:
        """Wherever the garbage collector runs: no call of the driver is made."""
        self._free.append(cell)
