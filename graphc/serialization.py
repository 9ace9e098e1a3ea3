"""torch.serialization's names: saving and loading, and the classes that a file may name.

`load` never runs what a file says: only the classes of its own table are made. More cannot be
allowed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from typing import IO, Any

from graphc.errors import Unsupported
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

FileLike = FILE_LIKE = str | PathLike[str] | IO[bytes]
MAP_LOCATION = Any


class SourceChangeWarning(Warning):
    """Never given: no file holds source code."""


def add_safe_globals(safe_globals: Sequence[Any]) -> None:
    """Accepts nothing but an empty list."""
    if safe_globals:
        raise Unsupported(
            f"add_safe_globals({safe_globals!r:.100})",
            why="load makes tensors and plain data, and calls nothing that a file names",
            fix="save a state_dict instead of objects",
        )


def get_safe_globals() -> list[Any]:
    """An empty list: no classes are ever loaded."""
    return []


def clear_safe_globals() -> None:
    """There are none."""


@contextmanager
def safe_globals(safe_globals: Sequence[Any]) -> Iterator[None]:
    """`add_safe_globals` inside `with`."""
    add_safe_globals(safe_globals)
    yield
