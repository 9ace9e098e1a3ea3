"""torch.cuda.nvtx's names: ranges, which graphc's own profile shows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graphc.frontend.step.inspect.profiler import record_function

__all__ = ["mark", "range", "range_end", "range_pop", "range_push", "range_start"]

_open: list[record_function] = []
_started: dict[int, record_function] = {}


def range_push(msg: str) -> int:
    """Begin a range inside the others; its depth."""
    _open.append(record_function(msg).__enter__())
    return len(_open) - 1


def range_pop() -> int:
    """End the innermost range; its depth, -1 where none is open."""
    if not _open:
        return -1
    _open.pop().__exit__(None, None, None)
    return len(_open)


def range_start(msg: str) -> int:
    """Begin a range that may overlap others; a number for `range_end`."""
    number = max(_started, default=0) + 1
    _started[number] = record_function(msg).__enter__()
    return number


def range_end(range_id: int) -> None:
    """End the range of this number."""
    found = _started.pop(range_id, None)
    if found is not None:
        found.__exit__(None, None, None)


def mark(msg: str) -> None:
    """A range of no length."""
    with record_function(msg):
        pass


@contextmanager
def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
    """Gives what runs inside a name, formatted with the arguments; a decorator, too."""
    with record_function(msg.format(*args, **kwargs)):
        yield
