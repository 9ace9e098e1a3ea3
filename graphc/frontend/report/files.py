"""The user's files that a step was traced from, as a report shows them."""

from __future__ import annotations

import linecache
import sysconfig
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from graphc.ir.graph import Stack

MOST_LINES = 20_000  # of one file
PACKAGE = f"{Path(__file__).parents[2]}/"
OUTSIDE = ("stdlib", "platstdlib", "purelib", "platlib")


class Files:
    """Numbers for paths, and for the calls that led to a place; frames of libraries are left out
    where they only call."""

    def __init__(self) -> None:
        self.paths: dict[str, int] = {}
        self.stacks: dict[tuple[tuple[int, int, str], ...], int] = {}

    def stack(self, frames: Stack) -> int:
        """The number of a chain of calls, innermost first."""
        kept = [f for k, f in enumerate(frames) if k == 0 or is_users(f[0])]
        row = tuple((self.path(path), line, function) for path, line, function in kept)
        return self.stacks.setdefault(row, len(self.stacks))

    def path(self, path: str) -> int:
        return self.paths.setdefault(path, len(self.paths))

    def rows(self) -> list[dict[str, object]]:
        """Each file: its name and text. What cannot be read has no lines, and says so."""
        names = shortest(self.paths)
        return [{"path": names[path], "lines": text_of(path)} for path in self.paths]


def text_of(path: str) -> list[str]:
    """The lines of a file, or of a notebook's cell."""
    linecache.checkcache(path)
    return [line.rstrip("\n") for line in linecache.getlines(path)[:MOST_LINES]]


def shortest(paths: Iterable[str]) -> Mapping[str, str]:
    """For each path as many of its last parts as tell it from the others: no home folder of
    anybody's stands in a report."""
    found: dict[str, str] = {}
    paths = list(paths)
    for path in paths:
        parts = Path(path).parts
        for count in range(1, len(parts) + 1):
            name = "/".join(parts[-count:])
            if sum(other.endswith(("/" + name, name)) for other in paths) == 1:
                break
        found[path] = name
    return found


@lru_cache(maxsize=1024)
def is_users(path: str) -> bool:
    """Whether a file is neither Python's nor an installed package's nor the compiler's own."""
    return not path.startswith(("<frozen", PACKAGE, *_installed()))


@lru_cache(maxsize=1)
def _installed() -> tuple[str, ...]:
    return tuple({sysconfig.get_paths()[name] for name in OUTSIDE})
