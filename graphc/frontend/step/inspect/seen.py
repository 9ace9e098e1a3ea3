"""Who looks at all compiled steps of a process: the command line, for reports and profiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graphc.frontend.step.inspect.measured import Measured

_watchers: list[list[Measured]] = []


@contextmanager
def seeing() -> Iterator[list[Measured]]:
    """Inside, each step that is made is added to the list, which keeps it alive."""
    found: list[Measured] = []
    _watchers.append(found)
    try:
        yield found
    finally:
        _watchers.remove(found)


def made(step: Measured) -> None:
    for found in _watchers:
        found.append(step)
