"""Answers of Python state that need no asking while nothing told of a change.

An answer is told of by the counters of `epoch`, by the modes of the running thread, which are
compared with each call, and by changes of the dicts, lists and objects that it names. A compiled
step that can watch all of these (`step/python/words.py`) asks no more; one that cannot asks at each
call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

PLAIN = (int, float, bool, str, complex, bytes, type(None))


class Told:
    """A getter, what its answer is made of besides what `epoch` counts, and its name in reasons.

    `reads`: the keys of dicts `of` whose values it computes with; these have to be plain ones,
    because of any other a part may change (a learning rate that is a tensor).
    """

    __slots__ = ("get", "label", "of", "reads")

    def __init__(
        self,
        get: Callable[[], Any],
        *of: Any,
        label: str = "an option",
        reads: Iterable[str] = (),
    ) -> None:
        self.get, self.of, self.label = get, of, label
        self.reads = tuple(reads)

    def __call__(self) -> Any:
        return self.get()

    def plain(self) -> bool:
        """Whether what it computes with cannot change but by being replaced."""
        if not self.reads:
            return True
        tables = [x if isinstance(x, Mapping) else vars(x) for x in self.of]
        return all(_plain(t[name]) for t in tables for name in self.reads if name in t)


def _plain(value: Any) -> bool:
    if type(value) is tuple:
        return all(map(_plain, value))
    return type(value) in PLAIN
