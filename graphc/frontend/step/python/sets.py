"""The guards of a plan, compared at each call.

While nothing moved, each gives the very same object, which one pass in C finds out; and where words
of memory tell of each change (`words.py`), one look at all of those does. What belongs to a module
is compared only when the module epoch has moved, because every change of it moves that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from operator import call, is_
from typing import Any

from graphc.frontend import epoch
from graphc.frontend.step.python.guards import Change, Guard, show
from graphc.frontend.step.python.words import Words

MAX_SETS = 8  # of values that lead to one plan
FIRST, LONGEST = 4, 256  # calls before words are noted, and again where others than these moved


class Kept:
    """One set of guards that held when a plan was traced."""

    def __init__(self, always: Iterable[Guard], on_epoch: Iterable[Guard]) -> None:
        self.always = list(always)
        self.on_epoch = list(on_epoch)
        self._epoch = epoch.modules
        self._columns = columns(self.always)
        self._rare = columns(self.on_epoch)
        self._words = Words()
        self._asked: Columns | None = None  # where words tell of the others
        self._wait = self._left = FIRST

    def hold(self) -> bool:
        """Whether every read would give the same answer now."""
        if not (self._asked is not None and self._words.same() and all_same(*self._asked)):
            if not self._hold_one_by_one():
                return False
            self._left -= 1
            if self._left <= 0:
                self._left = self._wait = min(2 * self._wait, LONGEST)
                self._watch()
        if self._epoch != epoch.modules:
            if not all_same(*self._rare) and any(guard.changed() for guard in self.on_epoch):
                return False
            self._epoch = epoch.modules
        return True

    def _hold_one_by_one(self) -> bool:
        if not all_same(*self._columns):
            if any(guard.changed() for guard in self.always):
                return False
            self._columns = columns(self.always, fresh=True)
        return True

    def _watch(self) -> None:
        """Note the words, which tell from here on of what holds now."""
        self._words.take(self.always, (), {})
        asked = columns(self._words.asked, fresh=True)
        worth = len(self._words.asked) < len(self.always)
        self._asked = asked if worth and self._hold_one_by_one() else None

    def changed(self) -> list[Guard]:
        return [g for g in (*self.always, *self.on_epoch) if g.changed()]


Columns = tuple[Sequence[Callable[[Any], Any]], Sequence[Any], Sequence[Any]]


def columns(guards: Sequence[Guard], fresh: bool = False) -> Columns:
    """Getters, subjects and answers, for one pass in C; `fresh` answers are equal, not the same."""
    answers = [g.now() if fresh else g.kept for g in guards]
    return [g.get for g in guards], [g.subject for g in guards], answers


def all_same(getters: Sequence[Any], subjects: Sequence[Any], answers: Sequence[Any]) -> bool:
    try:
        return all(map(is_, map(call, getters, subjects), answers))
    except Exception:  # as in Guard.now
        return False


class Guards:
    """The guards of one plan: several sets of values may lead to it."""

    def __init__(self, kept: Kept) -> None:
        self.sets = [kept]

    def also(self, other: Guards) -> None:
        """The plan is right for what `other` holds for, too; the set used longest ago goes."""
        self.sets[:0] = other.sets
        del self.sets[MAX_SETS:]

    def hold(self) -> bool:
        """Whether every read would give the same answers now as in one of the sets."""
        for k, kept in enumerate(self.sets):
            if kept.hold():
                if k:
                    self.sets.insert(0, self.sets.pop(k))
                return True
        return False

    def told(self) -> list[tuple[str, str, str, int]]:
        """What is compared at each call: what was read, its value, and the file and line."""
        kept = self.sets[0]
        rows = [
            (g.label, show(g.kept).replace("another ", "the same "), g.file, g.line)
            for g in (*kept.always, *kept.on_epoch)
        ]
        return list(dict.fromkeys(rows))

    def changed(self) -> list[Guard]:
        """Those of the set used last that hold no more."""
        return self.sets[0].changed()

    def changes(self) -> list[Change]:
        """What differs now, for `explain`."""
        return [
            Change(g.label, show(g.kept), show(g.now()), g.file, g.line) for g in self.changed()
        ]
