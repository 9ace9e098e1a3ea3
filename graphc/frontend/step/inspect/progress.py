"""A line on the terminal while a step takes long to compile: kernels done of all, and seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

PATIENCE = 1.0  # seconds before anything is shown
CLEAR = "\r\x1b[K"


class Progress:
    """Shows how far the program being compiled is; nothing where standard error is no terminal."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._name, self._start, self._shown = "", 0.0, False

    @property
    def _out(self) -> TextIO:
        return self._stream or sys.stderr

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Inside, a program is compiled; its line is gone at the end."""
        self._name, self._start, self._shown = name, time.perf_counter(), False
        try:
            yield
        finally:
            if self._shown:
                self._out.write(CLEAR)
                self._out.flush()

    def tell(self, done: int, count: int) -> None:
        """`done` of `count` kernels are compiled."""
        seconds = time.perf_counter() - self._start
        if seconds < PATIENCE or not self._out.isatty():
            return
        self._out.write(f"{CLEAR}compiling {self._name}: {done}/{count} kernels, {seconds:.0f} s")
        self._out.flush()
        self._shown = True
