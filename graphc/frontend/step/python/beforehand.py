"""Numbers of Python's that follow from the state which a call begins with: a counter of the step's
own (`self.t += 1`), a rate that somebody sets between calls, and what Python computes of them
(`1 - beta**self.t`, a warm-up, a cosine).

Such is a number, too, that each call passes and that keeps changing. Each call computes them with
Python's own arithmetic before its program runs, to which they are numbers like a learning rate. A
question that Python decides by (a branch, a length) is answered while the step is traced, and the
answer is a guard.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from copy import copy
from functools import partial
from typing import Any

from graphc.errors import user_frame
from graphc.frontend.hostforms import COMPARED
from graphc.frontend.hostvalue import UNKNOWN, HostValue, Settled
from graphc.frontend.step.python.numbers import WIDEST, Decides, HostNumber
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.ir.sizes import Evaluation, unknowns
from graphc.ir.types import bool_, f64, i64

Row = tuple[Callable[..., Any], tuple[Any, ...], bool]
NUMBERS = (bool, int, float)
DTYPES = {bool: bool_, int: i64, float: f64}
KNOWN = (*NUMBERS, str)
# What gives one kind of number whatever it is of, and never raises.
SURE = COMPARED | {operator.add, operator.sub, operator.mul, operator.neg, operator.pos, float}


class Part:
    """Stands in a recipe for what an earlier row of it gives."""

    __slots__ = ("row",)

    def __init__(self, row: int) -> None:
        self.row = row


class Beforehand:
    """Computes a value of the state that a call begins with, and what is asked of it."""

    __slots__ = ("_rows", "_what", "label", "where")

    def __init__(self, x: HostValue, what: Callable[[Any], Any] | None = None) -> None:
        needed = _needed(x)
        at = {h.number: k for k, h in enumerate(needed)}
        self._rows = tuple(_row(h, at) for h in needed)
        self._what = what
        self.label = f"{x.origin} as {'an index' if what is operator.index else 'Python asks it'}"
        frame = user_frame(1)
        self.where = (frame.f_code.co_filename, frame.f_lineno) if frame else ("", 0)

    def __call__(self) -> Any:
        found: list[Any] = []
        for action, args, nested in self._rows:
            if nested:
                given = rebuilt(args, lambda part: found[part.row], Part)
            else:
                given = [found[a.row] if type(a) is Part else a for a in args]
            found.append(action(*given))
        return found[-1] if self._what is None else self._what(found[-1])

    def at(self, sizes: Evaluation) -> Beforehand:
        """The same where its numbers are computed of sizes, too, for these."""
        if not any(unknowns(args) for _, args, _ in self._rows):
            return self
        made = copy(self)
        made._rows = tuple((action, sizes(args), nested) for action, args, nested in self._rows)
        return made

    @property
    def is_index(self) -> bool:
        """Whether it is asked for the place of an element, which needs no program of its own."""
        return self._what is operator.index

    def token(self) -> tuple[Any, ...]:
        """What tells it from others."""
        return self._what, *[(action, args) for action, args, _ in self._rows]


def _needed(x: HostValue) -> list[HostValue]:
    """All that x is computed of, and itself, in the order in which they were."""
    found: dict[int, HostValue] = {}
    pending = [x]
    while pending:
        h = pending.pop()
        if h.number not in found:
            found[h.number] = h
            assert h.recipe is not None
            rebuilt(h.recipe[1], pending.append, HostValue)
    return [found[k] for k in sorted(found)]


def _row(h: HostValue, at: dict[int, int]) -> Row:
    assert h.recipe is not None
    action, args = h.recipe
    given = rebuilt(args, lambda x: Part(at[x.number]), HostValue)
    return action, given, any(isinstance(a, tuple | list | dict) for a in given)


def of_state(trace: Trace, place: Any, owner: Any, name: str, now: float) -> HostValue:
    """The number that stands at a place of Python's state when a call begins."""
    return of_getter(trace, place, partial(current, place[0], owner, place[2]), name, now)


def of_getter(trace: Trace, place: Any, get: Callable[[], Any], name: str, now: float) -> HostValue:
    """The number that `get` finds when a call begins, at a place or in what is there."""
    out = trace.computed(get, kind=type(now))
    out.origin, out.place, out.now = name, place, now
    out.recipe = get, ()
    trace.foreseen[out.number] = place
    return out


def of_call(trace: Trace, number: HostNumber) -> HostValue:
    """A number that each call passes."""
    place, now = ("argument", number.place), number.value()
    if place in trace.settled:
        raise Decides(number)
    out = trace.computed(number.value, kind=number.kind)
    first, *keys = number.place if isinstance(number.place, tuple) else (number.place,)
    out.origin = f"`arg{first}{''.join(f'[{k!r}]' for k in keys)}`"
    out.place, out.now = place, now
    out.recipe = number.value, ()
    trace.foreseen[out.number] = place
    return out


def foresee(trace: Trace, x: HostValue) -> None:
    """Note what x is now, if all that it was computed of is known before each call."""
    action, args = x.recipe or (None, ())
    parts: list[Any] = []
    rebuilt(args, parts.append, (HostValue, Tensor))
    if action is None or not parts or not all(map(_is_known, parts)):
        return
    x.place = parts[0].place
    try:
        now = action(*rebuilt(args, lambda h: h.now, HostValue))
    except Exception:
        raise Settled(x.place) from None  # traced again with the number itself it raises the same
    if isinstance(now, tuple | list):
        return
    if not isinstance(now, KNOWN):
        raise Settled(x.place)
    kind = next(k for k in KNOWN if isinstance(now, k))
    x.now = now
    trace.foreseen[x.number] = x.place
    if action not in SURE or x.kind is not kind:
        x.kind = kind
        _guard(trace, x, _kind)


def _is_known(x: Any) -> bool:
    return isinstance(x, HostValue) and x.now is not UNKNOWN


def asked(trace: Trace, x: HostValue, what: Callable[[Any], Any]) -> Any:
    """`what(x)`, a guard from here on."""
    _guard(trace, x, what)
    return what(x.now)


def varies(trace: Trace, x: HostValue) -> bool:
    """Whether a line has indexed by several values of such a number."""
    asked = Beforehand(x, operator.index)
    return (asked.label, *asked.where) in trace.loose


def _guard(trace: Trace, x: HostValue, what: Callable[[Any], Any]) -> None:
    trace.guards.append((Beforehand(x, what), what(x.now)))


def number(trace: Trace, x: HostValue) -> Tensor:
    """x as a number of each call."""
    kind = next(k for k in KNOWN if isinstance(x.now, k))
    if kind is str or _kind(x.now) == "wide":
        raise Settled(x.place)
    return trace.host_scalar(Beforehand(x), DTYPES[kind], x.origin.strip("`"), ("before", x.number))


def _kind(x: Any) -> str:
    """The type of a number, and whether a program can be given it."""
    wide = isinstance(x, int) and not -WIDEST <= x < WIDEST
    return "wide" if wide else type(x).__name__.replace("Extent", "int")


def kind_at(what: str, key: Any, owner: Any) -> Any:
    """The type of what stands at a place: the getter of its guard."""
    return type(current(what, owner, key))


def current(what: str, owner: Any, key: Any) -> Any:
    """What stands at a place of Python's state."""
    if what == "cell":
        return owner.cell_contents
    return getattr(owner, key) if what in ("attr", "class") else owner[key]
