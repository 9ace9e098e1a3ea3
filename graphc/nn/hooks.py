"""Hook tables of a module and the handle that removes an entry."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

from graphc.errors import InvalidState
from graphc.frontend.modes import modes
from graphc.frontend.step.python.effects import told

_numbers = itertools.count()


class Hook(NamedTuple):
    """A user's callable; whether it takes keyword arguments too, and runs after errors."""

    fn: Callable[..., Any]
    with_kwargs: bool = False
    always: bool = False

    def before(
        self, module: object, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments after a forward pre-hook."""
        if not self.with_kwargs:
            new = told(self.fn, module, args)
            if new is None:
                return args, kwargs
            return (new if isinstance(new, tuple) else (new,)), kwargs
        both = told(self.fn, module, args, kwargs)
        if both is None:
            return args, kwargs
        if not (isinstance(both, tuple) and len(both) == 2):
            raise InvalidState(
                f"forward pre-hook must return None or (new_args, new_kwargs), got {both!r:.200}"
            )
        return both

    def after(self, module: object, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
        """The output after a forward hook."""
        given = (args, kwargs, out) if self.with_kwargs else (args, out)
        new = told(self.fn, module, *given)
        return out if new is None else new


class RemovableHandle:
    """Removes one hook; usable as a context manager, as in PyTorch.

    `table` may be anyone's: what the hook is entered in under the handle's `id`. `changed` is told
    of the removal; `extra_dict`, one table or several, lose what they have under that id, too.
    """

    def __init__(
        self, table: Any, changed: Callable[[], None] | None = None, *, extra_dict: Any = None
    ) -> None:
        self.id = next(_numbers)
        self._table = table
        self._changed = changed
        extra = extra_dict if isinstance(extra_dict, list) else [extra_dict]
        self._extra = [t for t in extra if t is not None]

    def remove(self) -> None:
        for table in (self._table, *self._extra):
            if self.id in table:
                _keep(table)
                del table[self.id]
        if self._changed is not None:
            self._changed()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def _keep(table: dict[int, Hook]) -> None:
    if modes.trace is not None:
        modes.trace.keep(table)


def register(
    table: dict[int, Hook], hook: Hook, changed: Callable[[], None], prepend: bool
) -> RemovableHandle:
    """Enter `hook`, last or first; `changed` is told now and at removal."""
    _keep(table)
    handle = RemovableHandle(table, changed)
    rest = dict(table) if prepend else {}
    if prepend:
        table.clear()
    table[handle.id] = hook
    table.update(rest)
    changed()
    return handle
