"""What the plans of one compiled step keep in memory, and which of it goes when it is too much.

A plan for one more set of sizes costs tables, and results of earlier calls that it may use again.
Of what was used longest ago the results go first, which cost a call some page faults, then whole
plans, which cost their next call the tables anew: no trace, no pass, no compilation.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import count
from typing import Any, TypeVar

from graphc import config
from graphc.frontend.step.family import Entry, Family
from graphc.frontend.step.signature import Key

T = TypeVar("T")


class Budget:
    """Bounds the bytes of the plans in a table, which it shares with its owner."""

    def __init__(self, entries: dict[Key, list[Entry]]) -> None:
        self.entries = entries
        self.dropped = 0  # plans, so far
        self._calls = count(1)

    def note(self, entry: Entry) -> bool:
        """It has run; whether it keeps more than when that was asked last."""
        entry.used = next(self._calls)
        before, entry.kept_bytes = entry.kept_bytes, entry.plan.kept.bytes
        return entry.kept_bytes > before

    def held(self) -> tuple[int, int]:
        """Plans, and about how many bytes they keep."""
        entries = [*self._all()]
        return len(entries), sum(e.table_bytes + e.plan.kept.bytes for e in entries)

    def fit(self, last: Entry) -> None:
        """Let go of the longest unused, never of `last`, until the rest fits."""
        over = self.held()[1] - config.plan_bytes()
        if over <= 0:
            return
        unused = sorted((e for e in self._all() if e is not last), key=lambda e: e.used)
        for e in unused:
            if over <= 0:
                return
            over -= e.plan.let_go()
        gone: set[Entry] = set()
        for e in unused:
            if over <= 0:
                break
            over -= e.table_bytes
            gone.add(e)
        self.dropped += len(gone)
        self._remove(gone)

    def drop(self, family: Family) -> None:
        """All plans of a family, which is gone."""
        self._remove({e for e in self._all() if e.family is family})

    def _remove(self, gone: set[Entry]) -> None:
        for key, entries in list(self.entries.items()):
            left = [e for e in entries if e not in gone]
            if not left:
                del self.entries[key]
            elif len(left) < len(entries):
                self.entries[key] = left

    def _all(self) -> Iterator[Entry]:
        for entries in list(self.entries.values()):
            yield from entries


def drop_oldest(table: OrderedDict[Any, list[T]]) -> T:
    """Remove the first item under the first key."""
    oldest = next(iter(table))
    dropped = table[oldest].pop(0)
    if not table[oldest]:
        del table[oldest]
    return dropped
