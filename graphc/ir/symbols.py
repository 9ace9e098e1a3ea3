"""symbols: sizes without a value, the conditions under which a plan serves them, and who asks.

`Extents` belongs to one trace. It holds the symbols of that trace's arguments and every condition
that an answer about them rests on; `extent.py` says when that is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from graphc.errors import TracerLeak, is_own, leaving, user_location
from graphc.ir import polynomial

if TYPE_CHECKING:
    from graphc.ir.extent import Extent

Role = Literal["batch", "sequence", "space", "other"]
Relation = Literal["==", "<"]
Place = tuple[str, int, str]  # file, line and function of the user's
Number = Any  # an int or a float, or an unknown one that poses as such
TYPICAL: Mapping[Role, int] = {"batch": 32, "sequence": 128, "space": 32, "other": 64}


class Fixed(BaseException):
    """The trace needs the values of these symbols; no Exception, so that no step catches it."""

    def __init__(
        self,
        symbols: Iterable[Symbol],
        why: str,
        *,
        alone: bool = False,
        where: Place | None = None,
    ) -> None:
        """`alone`: an answer that the value seen gives alone, so that others may do without."""
        super().__init__(why)
        self.symbols = tuple(symbols)
        self.why, self.alone = why, alone
        self.where = where or user_location()
        leaving()


@dataclass(frozen=True, eq=False, slots=True)
class Symbol:
    """A named size: its role, the value seen, and the least it can be."""

    name: str
    role: Role
    hint: int
    scope: Extents = field(repr=False)
    least: int = 1


Sizes = Callable[[Symbol], int]


def needed(gap: Extent) -> frozenset[Symbol]:
    """Whose values make zero of a gap that is so for the hints: of one symbol alone if that will
    do (a unit that is repeated `B` times is as long as a batch), else of all."""
    symbols = gap.symbols()
    alone = [s for s in symbols if not polynomial.at(gap.terms, s, s.hint)]
    return frozenset([min(alone, key=lambda s: (s.hint, s.name))]) if alone else symbols


class Condition(NamedTuple):
    """`left relation 0` is `holds`: a fact that a plan rests on, and the user's line that asked."""

    left: Extent
    relation: Relation
    holds: bool
    where: tuple[str, int, str]

    def met(self, of: Sizes) -> bool:
        value = self.left.value(of)
        return (value == 0 if self.relation == "==" else value < 0) is self.holds

    def __str__(self) -> str:
        above = {p: f for p, f in self.left.terms.items() if f > 0}
        below = {p: -f for p, f in self.left.terms.items() if f < 0}
        words = {"==": ("==", "!="), "<": ("<", ">=")}[self.relation]
        word = words[0] if self.holds else words[1]
        return f"{polynomial.show(above)} {word} {polynomial.show(below)}"


class Extents:
    """The symbols of one trace, and what was asked about them."""

    def __init__(self) -> None:
        self.symbols: list[Symbol] = []
        self.conditions: dict[tuple[Extent, Relation], Condition] = {}
        self.tracing = True
        self.compiling = False

    def symbol(self, name: str, role: Role, hint: int) -> Symbol:
        self.symbols.append(made := Symbol(name, role, hint, self))
        return made

    @contextmanager
    def passes(self) -> Iterator[None]:
        """Inside, passes work on the trace, which has ended."""
        self.tracing, before, self.compiling = False, self.compiling, True
        try:
            yield
        finally:
            self.compiling = before

    def note(self, left: Extent, relation: Relation) -> bool:
        """What holds for the hints, noted."""
        key = left, relation
        if key not in self.conditions:
            value = left.hint
            holds = value == 0 if relation == "==" else value < 0
            self.conditions[key] = Condition(left, relation, holds, user_location())
        return self.conditions[key].holds

    def met(self, of: Sizes) -> bool:
        """Whether a plan of this trace serves these sizes."""
        return all(c.met(of) for c in self.conditions.values())


class Unknown:
    """What extents and derived numbers share: an operator on them gives such a number again."""

    __slots__ = ()

    def value(self, of: Sizes) -> Number:
        """The number for given sizes."""
        raise NotImplementedError

    def symbols(self) -> frozenset[Symbol]:
        raise NotImplementedError

    def text(self) -> str:
        raise NotImplementedError

    def fix(self, why: str) -> Number:
        """The value, where nothing but the value will do."""
        symbols = self.symbols()
        scope = next(iter(symbols)).scope
        if not scope.tracing and not scope.compiling:
            raise leaked(self)
        raise Fixed(symbols, f"{why} of {self.text()} needs its value")

    def _shown(self, form: str) -> str:
        """For us the expression; for the user the number, which stays what it is."""
        return self.text() if asker_is_own(2) else format(self.fix("the text"), form)

    def __str__(self) -> str:
        return self._shown("")

    def __repr__(self) -> str:
        return self._shown("")

    def __format__(self, form: str) -> str:
        return self._shown(form)

    def __float__(self) -> float:
        return float(self.fix("float()"))

    def __int__(self) -> int:
        return int(self.fix("int()"))

    def __round__(self, digits: int | None = None) -> Number:
        return round(self.fix("round()"), digits)

    def __trunc__(self) -> int:
        return int(self.fix("trunc()"))

    def __reduce__(self) -> Number:
        return self.fix("a copy")


def leaked(n: Unknown) -> TracerLeak:
    return TracerLeak(
        f"a size of a compiled step, {n.text()}, is used after the step has been traced",
        why="it stands for the sizes of all calls, and was kept where the call cannot replace it",
        fix="return it from the step, or read it from the tensor outside",
    )


GENERATED = ("__hash__", "__eq__", "__repr__")  # methods of dataclasses, which stand in no file


def asker_is_own(depth: int) -> bool:
    """Whether graphc's own code asks; what dataclasses generate asks for whoever calls it."""
    frame = sys._getframe(depth + 1)
    while frame.f_code.co_name in GENERATED and frame.f_back is not None:
        frame = frame.f_back
    return is_own(frame.f_code.co_filename)
