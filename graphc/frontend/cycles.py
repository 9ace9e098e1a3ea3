"""Containers that contain themselves, which no walk of nested containers comes to the end of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from graphc.errors import RefusedArgument


def refuse_cycles(x: Any, children: Callable[[Any], Iterable[Any]]) -> None:
    """Raise RefusedArgument if x, of these children, is or holds something that contains itself."""
    way: set[int] = set()  # of those whose children are being looked at
    done: set[int] = set()
    work = [(x, False)]
    while work:
        item, left = work.pop()
        if left:
            way.discard(id(item))
            done.add(id(item))
        elif id(item) in way:
            raise RefusedArgument(
                f"a {type(item).__name__} that contains itself",
                why="nested containers are walked down to what they hold, which never ends here",
                fix="take the container out of itself, or pass what it holds",
            )
        elif id(item) not in done and (parts := list(children(item))):
            way.add(id(item))
            work.append((item, True))
            work += [(part, False) for part in parts]
