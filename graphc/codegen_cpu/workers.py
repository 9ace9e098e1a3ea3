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
    """Threads that compile modules while the caller writes the next ones.

    They live from the first module to the end of the `with`, in which the caller holds LLVM_LOCK,
    so a fork finds none of them at work. Of what waits the longest text is next, so that the last
    ones to be done are short.
    """

    def __init__(self, target: Target, count: int = 0) -> None:
        self._target, self._count = target, count or processors()
        self._threads: list[threading.Thread] = []
        self._waiting: PriorityQueue[tuple[int, int, Work | None]] = PriorityQueue()
        self._numbers = itertools.count()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Empty):
            while self._threads:
                self._waiting.get_nowait()
        for _thread in self._threads:
            self._waiting.put((1, next(self._numbers), None))
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def add(self, text: str) -> Work:
        """Begin with a module. Raises BackendError if LLVM refuses its text."""
        work = Work(Module(text, machine_of(self._target)))
        self._waiting.put((-len(text), next(self._numbers), work))
        if len(self._threads) < self._count:
            thread = threading.Thread(target=self._serve, name="graphc-compile", daemon=True)
            thread.start()
            self._threads.append(thread)
        return work

    def _serve(self) -> None:
        while (work := self._waiting.get()[2]) is not None:
            work.run()


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
