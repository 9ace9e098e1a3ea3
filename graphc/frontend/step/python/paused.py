"""Tracing that is off while code of ours runs, and how it goes on behind it.

A function of ours that returns frees its frame, with what goes on then. One that an error leaves
does not: the error holds it, and the user's code may catch it, or pass a `finally`, before. So each
error of ours turns tracing on where it is made.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

from graphc.errors import on_error


class Watching(Protocol):
    """A watch of a step being traced."""

    running: bool
    missed: bool

    def entered(self, frame: FrameType, event: str, arg: Any) -> Any: ...


class Resume:
    """Goes with the frame that holds it; then the watch goes on, in the frame that called it.

    Where an error that is none of ours keeps the frame longer, the caller has gone on unseen.
    """

    def __init__(self, watch: Watching, caller: FrameType | None) -> None:
        self._watch, self._caller = watch, caller
        self._at = caller.f_lasti if caller is not None else -1

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Resume:
        """The frame that holds it is traced while an error leaves it: nothing to see."""
        return self

    def __del__(self) -> None:
        if not self._watch.running:
            self._watch.missed = True
            return
        if sys.gettrace() is not None:  # it left by an error
            return
        now = sys._getframe(1)
        if now is not self._caller or now.f_lasti != self._at:
            self._watch.missed = True
        sys.settrace(self._watch.entered)


@contextmanager
def resumed_by_errors(entered: Callable[..., Any]) -> Iterator[None]:
    """Inside, each error of ours that this thread makes turns tracing on."""
    thread = threading.get_ident()

    def resume() -> None:
        if threading.get_ident() == thread and sys.gettrace() is None:
            sys.settrace(entered)

    on_error.append(resume)
    try:
        yield
    finally:
        on_error.remove(resume)
