"""Threads that compile kernels while the caller writes the text of the next ones.

LLVM shares nothing between two modules that each have a context and a TargetMachine of their own,
and while it works on one, Python's other threads run. So these threads cost no process, no pipe and
no second import, and what they make does not depend on how many they are.
"""

from __future__ import annotations

import itertools
import os
import threading
from contextlib import suppress
from queue import Empty, PriorityQueue

from graphc.codegen_cpu.jit import Module, machine_of
from graphc.codegen_cpu.target import Target


class Workers:
    """Modules that threads compile while the caller writes the next ones.

    The caller holds LLVM_LOCK in the `with`, whose end waits for what has begun, so a fork finds no
    thread at work. Of what waits the longest text is next, so that the last ones to be done are
    short.
    """

    def __init__(self, target: Target) -> None:
        self._target = target

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Empty):
            while True:
                _pool.waiting.get_nowait()
                _pool.waiting.task_done()
        _pool.waiting.join()

    def add(self, text: str) -> Work:
        """Begin with a module. Raises BackendError if LLVM refuses its text."""
        work = Work(Module(text, machine_of(self._target)))
        _pool.add(work, len(text))
        return work


class _Pool:
    """The process's threads, begun as there is work for them, one for each processor at most.

    They are kept, and sleep in between: a thread has a heap of malloc's, and those that come and
    go leave theirs in pieces (of ten dropped steps 10 to 16 MB, where threads stay 5 to 7).
    """

    def __init__(self) -> None:
        self.waiting: PriorityQueue[tuple[int, int, Work]] = PriorityQueue()
        self._numbers = itertools.count()
        self._threads = 0

    def add(self, work: Work, length: int) -> None:
        self.waiting.put((-length, next(self._numbers), work))
        if self._threads < processors():
            self._threads += 1
            threading.Thread(target=self._serve, name="graphc-compile", daemon=True).start()

    def _serve(self) -> None:
        while True:
            self._serve_one()

    def _serve_one(self) -> None:
        """In a function of its own, so that nothing of the work is held while none waits."""
        work = self.waiting.get()[2]
        try:
            work.run()
        finally:
            self.waiting.task_done()


_pool = _Pool()


def _in_child() -> None:
    """After a fork, which leaves the threads behind."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Work:
    """A module that a thread compiles."""

    def __init__(self, module: Module) -> None:
        self._module, self._done = module, threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._module.run()
        except BaseException as e:
            self._error = e
        finally:
            self._done.set()

    def code(self) -> bytes:
        """Its object code, once it is there. Raises BackendError if it needs a library."""
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._module.code()


def processors() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
