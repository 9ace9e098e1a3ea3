"""torch.serialization's names: saving and loading, and the classes that a file may name.

`load` never runs what a file says: only the classes of its own table are made. More may be named,
and is not made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any

from graphc.frontend.files.serialization import load, save

__all__ = [
    "MAP_LOCATION",
    "FileLike",
    "SourceChangeWarning",
    "add_safe_globals",
    "clear_safe_globals",
    "get_safe_globals",
    "load",
    "safe_globals",
    "save",
]

DEFAULT_PROTOCOL = 2  # of the pickles in files that PyTorch writes
FileLike = FILE_LIKE = str | PathLike[str] | IO[bytes]
MAP_LOCATION = Any


class SourceChangeWarning(Warning):
    """Never given: no file holds source code."""


_safe: list[Any] = []


def add_safe_globals(safe_globals: Sequence[Any]) -> None:
    """Remembers them, as libraries name their classes when they are imported; `load` makes none
    of them, and refuses a file that names one."""
    _safe.extend(x for x in safe_globals if x not in _safe)


def get_safe_globals() -> list[Any]:
    """What `add_safe_globals` was given."""
    return list(_safe)


def clear_safe_globals() -> None:
    """Forget what `add_safe_globals` was given."""
    _safe.clear()


@contextmanager
def safe_globals(safe_globals: Sequence[Any]) -> Iterator[None]:
    """`add_safe_globals` inside `with`."""
    before = list(_safe)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _safe[:] = before
