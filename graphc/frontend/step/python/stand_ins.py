"""What stands for numbers of Python state that each call reads, where the step reads them.

An instruction that reads such a number leaves it on the frame's stack, where the stand-in takes its
place before the next one runs. Who reads it in another way (`getattr`, a look at all of an object)
gets the number: then it is traced again as one that its value decides.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, NamedTuple

from graphc.frontend import trace as tracing
from graphc.frontend.hostvalue import HostValue, Settled
from graphc.frontend.step.python import beforehand, stack
from graphc.frontend.step.python.forms import LikeTree, found_at, parts
from graphc.frontend.step.python.found import Row, own
from graphc.frontend.step.python.held import Place
from graphc.frontend.step.python.numbers import Line, ReadNumbers, at, having
from graphc.frontend.trace import Trace

Read = Callable[..., None]  # of Reads: of a frame and what it reads


class Apart(NamedTuple):
    """A container, how it was found, the copy that stands for it, and the keys of its numbers."""

    get: Callable[[Any], Any]
    it: Any
    copied: Any
    numbers: frozenset[tuple[Any, ...]]


class StandIns:
    """Those of one trace."""

    def __init__(self, numbers: ReadNumbers | None) -> None:
        trace = tracing.active()
        if trace is not None and numbers is not None:
            trace.loose = numbers.loose
        self._numbers = numbers = numbers or ReadNumbers()
        self.any = bool(numbers.loose or numbers.inside or (trace is not None and trace.carried))
        self._of: dict[Place, tuple[Any, Any]] = {}
        self.apart: dict[Place, Apart] = {}  # containers that stand there, and their copies
        self._takes = False  # whether who reads puts them in place of the number
        self._read: tuple[Any, Any] | None = None
        self._waiting: tuple[FrameType, Any, Any] | None = None

    def __contains__(self, place: Place) -> bool:
        return place in self._of

    def moves(self, line: Line) -> bool:
        """Whether a line has read one tensor in a call, and another in the next."""
        return line in self._numbers.moving

    def will_change(self, line: Line) -> None:
        """The number that a line reads is another in the next call."""
        self._numbers.loosen(line)

    def loosened(
        self, place: Place, owner: Any, line: Line, rows: tuple[Row, ...], made: Callable[[], Any]
    ) -> tuple[Row, ...]:
        """The rows of a read; of a number that each call reads, its type is enough."""
        trace = tracing.active()
        number: Any = rows[-1][2] if rows else None
        if trace is not None and self._takes and line in self._numbers.inside:
            return self._container(trace, place, owner, line, rows, made)
        if trace is None or not self._takes or type(number) not in (int, float):
            return rows
        if line not in self._numbers.loose and place not in trace.carried:
            return rows
        if place in trace.settled:
            self._numbers.refuse(line)
        if place in trace.settled or id(owner) in made():
            return rows
        value = beforehand.of_state(trace, place, owner, line[0], number)
        self._read = self._of[place] = number, value
        return *rows[:-1], (partial(beforehand.kind_at, place[0], place[2]), owner, type(number))

    def _container(
        self, trace: Trace, place: Place, owner: Any, line: Line, rows: tuple[Row, ...],
        made: Callable[[], Any],
    ) -> tuple[Row, ...]:  # fmt: skip
        """The rows of a container, for which a copy stands that has numbers read at each call."""
        if place in trace.settled:
            self._numbers.refuse(line)
        get, subject, x = rows[-1]
        known = {p: at(x, p) for p in self._numbers.inside.get(line, ())}
        keys = frozenset(p for p, number in known.items() if type(number) in (int, float))
        if not keys or parts(x) is None or id(owner) in made():
            return rows
        copied = x
        for p in sorted(keys, key=repr):
            name = f"{line[0][:-1]}{''.join(f'[{k!r}]' for k in p)}`"
            find = partial(found_at, get, subject, p)
            value = beforehand.of_getter(trace, place, find, name, known[p])
            copied = having(copied, p, value)
        self._read = self._of[place] = x, copied
        self.apart[place] = Apart(get, x, copied, keys)
        form = LikeTree(get, x, frozenset(), keys)
        return *rows[:-1], (form, subject, form.kept)

    def met(self, place: Place) -> None:
        """A place that is known is read again."""
        if (known := self._of.get(place)) is not None:
            if not self._takes:
                raise Settled(place)
            self._read = known

    def forget(self, place: Place, parts: dict[int, int], x: Any) -> None:
        """The step sets a place of x's, which is what it says from here on, by any name."""
        what, of, key = place
        names = [place, ("item", id(own(x)), key)]
        if what == "item" and of in parts:
            names.append(("attr", parts[of], key))
        for name in names if self._of else ():
            self._of.pop(name, None)

    def taken(self, read: Read, frame: FrameType, *what: Any) -> HostValue | None:
        """What stands for the number that a read finds, if anything does."""
        self._takes, self._read = True, None
        try:
            read(frame, *what)
        finally:
            self._takes = False
        return None if self._read is None else self._read[1]

    def taking(self, read: Read, frame: FrameType, *what: Any) -> None:
        """A read whose value is on top of the stack next."""
        self.taken(read, frame, *what)
        self._waiting = None if self._read is None else (frame, *self._read)

    def put(self, frame: FrameType) -> None:
        """After a read: what stands for the number takes its place."""
        if self._waiting is not None and self._waiting[0] is frame:
            _, number, value = self._waiting
            self._waiting = None
            if stack.top(frame) is number:  # else the step has put another there
                stack.put(frame, 1, value)
