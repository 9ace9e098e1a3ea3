"""Calls of compiled functions that run as they are written, eagerly: those under `disable()`, and
one that builds what later calls find, such as a layer made when it is first needed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from graphc.frontend.modes import modes
from graphc.frontend.step.python.stores import Registers

ON_END = 3  # calls without a compiled one between that may build something


@contextmanager
def disable() -> Iterator[None]:
    """Inside, compiled functions and modules run plainly, eagerly."""
    before, modes.disabled = modes.disabled, True
    try:
        yield
    finally:
        modes.disabled = before


class Building:
    """How many calls of one step on end have registered something in a module."""

    def __init__(self, name: str, on_limit: str) -> None:
        self._name, self._calls = name, 0
        self._most = 0 if on_limit == "raise" else ON_END

    def tell(self, why: Registers) -> None:
        """Say that this call runs plainly, or raise `why` where each call does so."""
        self._calls += 1
        if self._calls > self._most:
            raise why
        file, line, _ = why.where
        text = f"`{self._name}` ran this call without being compiled: {why.what} ({file}:{line})"
        warnings.warn(text, RuntimeWarning, stacklevel=4)

    def compiled(self) -> None:
        """A call that could be compiled."""
        self._calls = 0
