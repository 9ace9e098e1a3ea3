"""Lines of Triton text, in nested scopes: equal expressions get one name, in the scope they need.

Level 0 is the function; a loop or branch opens the next. A value is written at the level of what it
depends on, so what a loop does not change stands before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

INDENT = "    "


@dataclass(slots=True)
class Scope:
    """The lines of one block so far, and the names of expressions that they define."""

    lines: list[str] = field(default_factory=list)
    known: dict[str, str] = field(default_factory=dict)


class Writer:
    """The body of one function."""

    def __init__(self) -> None:
        self.scopes = [Scope()]
        self.count = 0

    @property
    def level(self) -> int:
        """Of the innermost open block."""
        return len(self.scopes) - 1

    def fresh(self, prefix: str = "v") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    def let(self, expression: str, level: int) -> str:
        """A name for a pure expression of values that are known at `level`."""
        if expression.isidentifier() or expression.isdecimal():
            return expression
        for scope in self.scopes[: level + 1]:
            if expression in scope.known:
                return scope.known[expression]
        name = self.assign(expression, level)
        self.scopes[level].known[expression] = name
        return name

    def assign(self, expression: str, level: int) -> str:
        """A new name for an expression that may not be what it was before."""
        name = self.fresh()
        self.do(f"{name} = {expression}", level)
        return name

    def do(self, line: str, level: int | None = None) -> None:
        self.scopes[self.level if level is None else level].lines.append(line)

    @contextmanager
    def block(self, head: str) -> Iterator[int]:
        """A loop or branch; its level."""
        self.scopes.append(Scope())
        yield self.level
        inner = self.scopes.pop()
        self.do(head)
        for line in inner.lines or ["pass"]:
            self.do(INDENT + line)

    def text(self) -> str:
        assert self.level == 0, "a block is open"
        return "\n".join(INDENT + line for line in self.scopes[0].lines or ["pass"])
