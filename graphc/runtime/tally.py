"""The times of all runs of a process, put together by program while somebody looks."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from graphc.ir.program import Program
from graphc.ir.types import Array


class Timed(Protocol):
    """One run of a program: the seconds of each launch."""

    @property
    def program(self) -> Program: ...
    @property
    def seconds(self) -> tuple[float, ...]: ...


class Mean(NamedTuple):
    """What a run of a program took on average, launch by launch."""

    program: Program
    seconds: tuple[float, ...]
    calls: int = 1
    threads: tuple[()] = ()  # of the host's: of several runs, or of a GPU, they are at no one time


class _Sum:
    """Of one program. Its first run, which finds memory and caches cold, counts while it is the
    only one."""

    def __init__(self, run: Timed) -> None:
        self.program, self.first = run.program, np.array(run.seconds)
        self.total: Array = np.zeros(len(run.seconds))
        self.calls = 0

    def mean(self) -> Mean:
        seconds = self.total / self.calls if self.calls else self.first
        return Mean(self.program, tuple(seconds.tolist()), self.calls or 1)


class Tally:
    """What an engine notes runs in, in place of a list that would grow with each."""

    def __init__(self) -> None:
        self._sums: dict[int, _Sum] = {}  # by the identity of a program, which a sum keeps alive

    def append(self, run: Timed) -> None:
        known = self._sums.get(id(run.program))
        if known is None:
            self._sums[id(run.program)] = _Sum(run)
        else:
            known.total += run.seconds
            known.calls += 1

    def means(self) -> list[Mean]:
        """Of each program that ran, in order of first runs."""
        return [s.mean() for s in self._sums.values()]
