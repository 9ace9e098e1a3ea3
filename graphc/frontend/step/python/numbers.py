"""Numbers that keep changing (a learning rate, a temperature) are read at each call.

A number is part of the signature at first. A float that has changed twice, or an integer of which
four values were seen (a flag or a mode has fewer; inside a container three), is traced as a value
of Python's that each call knows before it begins (`beforehand.of_call`); where the step decides by
all of it, it is part of the signature for good.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from graphc.frontend.step.python.guards import Guard
from graphc.frontend.step.python.standing import is_plain

CHANGES = 2
FLOATS = (float, np.float64)  # NumPy's is one of Python's, and computes with tensors as that does
VALUES = 4  # of an integer
INSIDE = 3  # of one in a container, as the count of steps in a state that is passed on
DEEPEST = 8  # containers in one another
WIDEST = 1 << 63  # of one that a program can be given
Place = int | str | tuple[Any, ...]  # of an argument: its position or keyword; keys in that
KeysOf = Callable[[Any, tuple[Any, ...]], Any]
Line = tuple[str, str, int]  # what is read, and the file and line that reads it


class Values(threading.local):
    """What each thread passed last, by place."""

    def __init__(self) -> None:
        self.now: dict[Place, float] = {}


class Decides(BaseException):
    """The step needs to know a number among its arguments: trace again, with that in the signature.

    No Exception: the step has made no error.
    """

    def __init__(self, number: HostNumber) -> None:
        number.decides = True


class HostNumber:
    """Stands for a number among the arguments whose value is no part of the signature."""

    def __init__(self, place: Place, kind: type, values: Values) -> None:
        self.place, self.kind = place, kind
        self.decides = False  # whether the step needs to know it
        self._values = values

    def value(self) -> float:
        """What this thread passed last."""
        return self._values.now[self.place]

    def takes(self, x: Any) -> bool:
        """Whether x may be passed for it; then it is what this thread passed last."""
        if type(x) is not self.kind and not (self.kind is float and type(x) in FLOATS):
            return False
        if self.kind is int and not -WIDEST <= x < WIDEST:
            return False
        self._values.now[self.place] = float(x) if self.kind is float else x
        return True


class ReadNumbers:
    """Which numbers of Python state, by the line that reads them, are read at each call."""

    def __init__(self) -> None:
        self.loose: set[Line] = set()
        self.moving: set[Line] = set()  # that have read one tensor, and another
        self.inside: dict[Line, set[tuple[Any, ...]]] = {}  # keys of such numbers in a container
        self._refused: set[Line] = set()
        self._changes: Counter[Line] = Counter()

    def note(self, changed: Iterable[Guard]) -> None:
        """Count what made a call miss; what has done so twice becomes loose."""
        for guard in changed:
            line = guard.label, guard.file, guard.line
            kept, now = guard.kept, guard.now()
            if (is_plain(kept) and is_plain(now)) or (
                _is_container(kept) and type(kept) is type(now)
            ):
                self.moving.add(line)
            self._note_inside(line, kept, now, getattr(guard.get, "keys_of", None))
            if type(guard.kept) in (int, float) and type(guard.now()) is type(guard.kept):
                self._changes[line] += 1
                index = getattr(guard.subject, "is_index", False)  # the state's place is loose
                if index or self._changes[line] >= CHANGES:
                    self.loosen(line)

    def _note_inside(self, line: Line, kept: Any, now: Any, keys_of: KeysOf | None) -> None:
        """Numbers that are others in the container which stands there now; `keys_of` says of keys
        in what a guard keeps of one where these are in the container, if they are."""
        if line in self._refused or type(kept) is not type(now):
            return
        old, new = (dict(_inside(x)) for x in (kept, now))
        moved = {p for p, x in old.items() if type(new.get(p)) is type(x) and new[p] != x}
        found = moved if keys_of is None else {keys_of(kept, p) for p in moved} - {None}
        if found:
            self.inside.setdefault(line, set()).update(found)

    def loosen(self, line: Line) -> None:
        """From now on read it at each call, unless the step decides by it."""
        if line not in self._refused:
            self.loose.add(line)

    def refuse(self, line: Line) -> None:
        """The step decides by this one."""
        self.loose.discard(line)
        self.inside.pop(line, None)
        self._refused.add(line)


def _is_container(x: Any) -> bool:
    return isinstance(x, list | tuple | dict | deque) or is_dataclass(x)


class Numbers:
    """Which numbers among the arguments of one function are read at each call."""

    def __init__(self) -> None:
        self.loose: dict[Place, HostNumber] = {}
        self._changes: Counter[Place] = Counter()
        self._last: dict[Place, float] = {}
        self._seen: dict[Place, set[int]] = {}
        self._values = Values()

    def loosened(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        """The arguments with HostNumbers for loose numbers, whose values are noted."""
        new_args, new_kwargs = list(args), dict(kwargs)
        for place, number in self.loose.items():
            first, *inside = place if isinstance(place, tuple) else (place,)
            table: Any = new_kwargs if isinstance(first, str) else new_args
            known = first in new_kwargs if isinstance(first, str) else first < len(new_args)
            if known and not number.decides and number.takes(at(table[first], inside)):
                table[first] = having(table[first], inside, number)
        return new_args, new_kwargs

    def note(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        """Count what has changed since the last miss; what has done so often becomes loose."""
        places: list[tuple[Place, Any]] = [*enumerate(args), *kwargs.items()]
        places += [((p, *path), x) for p, c in places for path, x in _inside(c)]
        floats = {p: x for p, x in places if type(x) in FLOATS}
        changed = {p for p, x in floats.items() if p in self._last and self._last[p] != x}
        self._changes.update(changed)
        self._last |= floats
        kinds: dict[Place, type] = {p: float for p in changed if self._changes[p] >= CHANGES}
        for place, x in places:
            if type(x) is int and place not in self.loose:
                self._seen.setdefault(place, set()).add(x)
                enough = INSIDE if isinstance(place, tuple) else VALUES
                if len(self._seen[place]) >= enough:
                    kinds[place] = int
        ripe = kinds.keys() - self.loose.keys()
        self.loose |= {p: HostNumber(p, kinds[p], self._values) for p in ripe}


# ---- numbers in containers -----------------------------------------------------------------------


def _parts(x: Any) -> dict[Any, Any]:
    """What a container among the arguments holds that has a signature by its items."""
    if type(x) in (dict, OrderedDict):
        return x  # type: ignore[no-any-return]  # a dict
    if type(x) is list or isinstance(x, tuple):
        return dict(enumerate(x))
    if is_dataclass(x) and not isinstance(x, type):
        return {f.name: getattr(x, f.name) for f in fields(x) if hasattr(x, f.name)}
    return {}


def _inside(x: Any, depth: int = 0) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The numbers in nested containers, each with its keys."""
    for key, item in _parts(x).items() if depth < DEEPEST else ():
        if type(item) is int or type(item) in FLOATS:
            yield (key,), item
        else:
            yield from (((key, *path), y) for path, y in _inside(item, depth + 1))


def at(x: Any, path: Sequence[Any]) -> Any:
    for key in path:
        x = _parts(x).get(key)
    return x


def having(x: Any, path: Sequence[Any], new: Any) -> Any:
    """A copy of nested containers with another item at a path."""
    if not path:
        return new
    item = having(_parts(x)[path[0]], path[1:], new)
    if isinstance(x, tuple):
        items = [*x[: path[0]], item, *x[path[0] + 1 :]]
        return type(x)(*items) if hasattr(x, "_fields") else type(x)(items)
    out = copy.copy(x)
    if isinstance(x, list | dict):
        out[path[0]] = item
    else:
        object.__setattr__(out, path[0], item)  # a frozen one, too
    return out
