"""The objects that a step has met while it was traced: their names, and whose their classes are."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from typing import Any

from graphc.frontend.step.python.code import INSTALLED, USERS, whose
from graphc.frontend.step.python.found import Row, Special
from graphc.frontend.step.python.guards import Guard
from graphc.frontend.step.python.held import FIXED


class Met:
    """Those of one trace."""

    def __init__(self) -> None:
        self.held: dict[int, Any] = {}  # all that was met, by id, so that ids stay their own
        self.names: dict[int, str] = {}
        self.weak: dict[int, Any] = {}  # the weak references that led to objects, by their ids
        self.users: dict[type, bool] = {}
        self.new: set[int] = set()  # of those that the collector does not look at
        self.unseen: set[int] = set()  # containers that the collector did not look at when met

    def know(self, x: Any, name: str, new: bool = False) -> None:
        """x was met under a name; `new`: the step just made it."""
        if id(x) not in self.held and not isinstance(x, FIXED):
            self.held[id(x)] = x
            self.names[id(x)] = name
            if isinstance(x, dict | tuple) and not gc.is_tracked(x):
                (self.new if new else self.unseen).add(id(x))

    def is_known(self, x: Any) -> bool:
        return id(x) in self.held

    def name(self, x: Any) -> str:
        return self.names.get(id(x)) or type(x).__name__

    def is_users(self, kind: type) -> bool:
        """Whether a type is the user's own, or of Python code of an installed package's."""
        known = self.users.get(kind)
        if known is None:
            file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
            whom = whose(file) if file or kind.__module__ == "__main__" else ""
            known = whom == USERS or (whom == INSTALLED and file.endswith(".py"))
            self.users[kind] = known
        return known

    def specials(self, made: Container[int]) -> list[Guard]:
        """That no class of the user's gets a special method which it did not have."""
        kinds = {x if isinstance(x, type) else type(x) for x in self.held.values()}
        kinds |= {type(k) for k in kinds}
        found = [k for k in kinds if id(k) not in made and self.is_users(k)]
        rows = ((k, Special(k)) for k in found)
        return [
            Guard(f"special methods of `{k.__name__}`", "", 0, get, k, get.kept) for k, get in rows
        ]

    def weakly(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows without a hold on what the step has found by weak references."""
        for get, subject, kept in rows:
            if id(kept) in self.weak:
                get, kept = partial(_leads_to, get, self.weak[id(kept)]), True
            if id(subject) in self.weak:
                get, subject = partial(_through, get), self.weak[id(subject)]
            yield get, subject, kept


def _leads_to(get: Callable[[Any], Any], ref: Callable[[], Any], subject: Any) -> bool:
    return get(subject) is ref()


def _through(get: Callable[[Any], Any], ref: Callable[[], Any]) -> Any:
    return get(ref())
