"""Index arithmetic: i64 values with their literal part kept apart, each computed once.

`Int` is `name + literal`, so unrolled copies of a loop body differ by constants that end up in the
addressing mode. `Scope.once` remembers pure instructions where they dominate: leaving a loop body
or a branch forgets what it computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.ir.kernel import Size


class Int(NamedTuple):
    """`%name + literal`; the name is empty for a plain number."""

    name: str
    literal: int

    @property
    def is_literal(self) -> bool:
        return not self.name


ZERO = Int("", 0)


class Scope:
    """Pure instructions and i64 sums known at this point of the function."""

    def __init__(self, e: Emitter, sizes: Mapping[str, str]) -> None:
        self.e = e
        self.sizes = sizes  # the SSA name of each size argument
        self._known: list[dict[str, str]] = [{}]

    @contextmanager
    def inner(self) -> Iterator[None]:
        """A region that does not dominate what follows it."""
        self._known.append({})
        yield
        self._known.pop()

    def once(self, text: str) -> str:
        """`%name = text`, or the name that already holds it."""
        for known in self._known:
            if text in known:
                return known[text]
        self._known[-1][text] = name = self.e.value(text)
        return name

    def splat(self, scalar: str, t: Vec) -> str:
        """The scalar in every lane of `t`."""
        if t.lanes == 1:
            return scalar
        one = self.once(f"insertelement {t} poison, {t.element} {scalar}, i64 0")
        zeros = f"<{t.lanes} x i32> zeroinitializer"
        return self.once(f"shufflevector {t} {one}, {t} poison, {zeros}")

    # ---- i64 arithmetic that folds literals ----------------------------------------------------

    def size(self, size: Size) -> Int:
        return Int("", size) if isinstance(size, int) else Int(self.sizes[size], 0)

    def text(self, x: Int) -> str:
        """`x` as an operand."""
        if x.is_literal or not x.literal:
            return x.name or str(x.literal)
        return self.once(f"add i64 {x.name}, {x.literal}")

    def add(self, x: Int, y: Int) -> Int:
        if x.is_literal or y.is_literal:
            return Int(x.name or y.name, x.literal + y.literal)
        return Int(self.once(f"add i64 {x.name}, {y.name}"), x.literal + y.literal)

    def sub(self, x: Int, y: Int) -> Int:
        if y.is_literal:
            return Int(x.name, x.literal - y.literal)
        if x.name == y.name:
            return Int("", x.literal - y.literal)
        return Int(self.once(f"sub i64 {x.name or 0}, {y.name}"), x.literal - y.literal)

    def mul(self, x: Int, y: Int) -> Int:
        if x.is_literal:
            x, y = y, x
        if x.is_literal:
            return Int("", x.literal * y.literal)
        if y.is_literal:
            if y.literal in (0, 1):
                return x if y.literal else ZERO
            return Int(self.once(f"mul i64 {x.name}, {y.literal}"), x.literal * y.literal)
        if x.literal and not y.literal:  # (a + k) * b = a * b + k * b
            return self.add(self.mul(Int(x.name, 0), y), self.mul(y, Int("", x.literal)))
        return Int(self.once(f"mul i64 {self.text(x)}, {self.text(y)}"), 0)

    def div(self, x: Int, y: Int) -> Int:
        """Of non-negative numbers."""
        if x.is_literal and y.is_literal:
            return Int("", x.literal // y.literal)
        if y == Int("", 1):
            return x
        return Int(self.once(f"udiv i64 {self.text(x)}, {self.text(y)}"), 0)

    def minimum(self, x: Int, y: Int) -> Int:
        if x.is_literal and y.is_literal:
            return min(x, y)
        less = self.once(f"icmp slt i64 {self.text(x)}, {self.text(y)}")
        return Int(self.once(f"select i1 {less}, i64 {self.text(x)}, i64 {self.text(y)}"), 0)

    def select(self, condition: str, x: Int, y: Int) -> Int:
        if x == y or condition == "true":
            return x
        return Int(self.once(f"select i1 {condition}, i64 {self.text(x)}, i64 {self.text(y)}"), 0)

    def less(self, x: Int, y: Int) -> str:
        """i1 or the literals `true`, `false`."""
        if x.is_literal and y.is_literal:
            return str(x.literal < y.literal).lower()
        return self.once(f"icmp slt i64 {self.text(x)}, {self.text(y)}")

    def both(self, x: str, y: str, t: Vec | None = None) -> str:
        """Conjunction of i1 operands or of masks; `true` is left out."""
        t = t or Vec("i1")
        true = literal(True, t)
        if x == true or y == true:
            return y if x == true else x
        return self.once(f"and {t} {x}, {y}")


def iota(t: Vec, step: int = 1) -> str:
    """The constant vector 0, step, 2 * step, ..."""
    return "<" + ", ".join(f"{t.element} {k * step}" for k in range(t.lanes)) + ">"


def first_lanes(count: int, lanes: int) -> str:
    """The constant mask of the first `count` lanes; "" when that is all of them."""
    if count >= lanes:
        return ""
    return "<" + ", ".join(f"i1 {str(k < count).lower()}" for k in range(lanes)) + ">"
