"""Whose turn it is to run programs."""

from __future__ import annotations

import threading
from typing import Any, Protocol


class Turn(Protocol):
    """Whose turn it is: who holds the lock runs a program. A front end's covers what it does for
    the program before and after, too."""

    @property
    def lock(self) -> Any: ...
    def forget(self) -> None:
        """In a forked child, where whoever held the lock is gone."""
        ...


class OwnTurn:
    """Of an engine that no front end uses."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.lock = threading.RLock()
