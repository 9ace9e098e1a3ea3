"""The log of recompiles: a line for each, a warning at the third trace of one signature; and the
limit that a test sets."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Container, Hashable, Iterator, Sequence
from contextlib import contextmanager

from graphc.errors import TooManyCompiles
from graphc.frontend.step.inspect.explanation import INTEGER, READ, Recompile
from graphc.frontend.step.python.guards import Change

THIRD = 3
FOLDED = {"train mode of "}
log = logging.getLogger("graphc.recompiles")
_watchers: list[list[int]] = []  # of `assert_max_compiles`: compiles seen so far


@contextmanager
def assert_max_compiles(limit: int) -> Iterator[None]:
    """Raise TooManyCompiles if more than `limit` calls are traced inside; also a decorator."""
    seen = [0, limit]
    _watchers.append(seen)
    try:
        yield
    finally:
        _watchers.remove(seen)


def count_trace(name: str, why: Sequence[Change]) -> None:
    for seen in _watchers:
        seen[0] += 1
        if seen[0] > seen[1]:
            reason = "; ".join(f"{c.what}: {c.old} -> {c.new}" for c in why) or "first call"
            raise TooManyCompiles(f"`{name}` is compiled again ({reason}); allowed: {seen[1]}")


def folded(why: Sequence[Change]) -> list[Change]:
    """What changed alike in several places, such as the mode of all modules, as one row."""
    alike: dict[Hashable, list[Change]] = {}
    for change in why:
        kind = change.what.partition("`")[0]
        alike.setdefault((kind, *change[1:3]) if kind in FOLDED else change, []).append(change)
    return [
        first if not others else first._replace(what=f"{first.what} and {len(others)} more")
        for first, *others in alike.values()
    ]


class Recompiles:
    """Counts and tells the traces of one compiled function."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._traces: Counter[Hashable] = Counter()

    def note(
        self, key: Hashable, why: Sequence[Change], ms: float, read: Container[object] = ()
    ) -> list[Recompile]:
        """The rows for `explain` of a call that was traced, told in the log; `read`: what is read
        at each call from now on, by its label and the line that reads it."""
        changes = [
            c._replace(new=f"{c.new}, {READ}")
            if (c.what, c.file, c.line) in read and not INTEGER.fullmatch(c.new)  # may be a size
            else c
            for c in folded(why)
        ]
        rows = [Recompile(change, ms) for change in changes]
        self._traces[key] += not rows or not all(READ in c.new for c in changes)
        if rows:
            text = "; ".join(map(str, rows))
            log.info("`%s` is traced again: %s", self._name, text)
            if self._traces[key] == THIRD and not all(READ in c.new for c in changes):
                log.warning("`%s` is traced a third time for one signature: %s", self._name, text)
        return rows
