"""Index arithmetic: i64 values, what is known of them folded.

An `Int` is a Python int where it is known, the name of an i64 value where it is not, or a `Sum` of
both: unrolled copies of a loop body differ by literals that end up in the addressing mode. Each
instruction is computed once where it dominates (`Emitter.once`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.ir.kernel import Size


class Known(str):
    """The name of an i64 value that is known while code is made, and an argument of it."""

    __slots__ = ("value",)
    value: int

    def __new__(cls, name: str, value: int) -> Known:
        made = super().__new__(cls, name)
        made.value = value
        return made


class Sum(NamedTuple):
    """`%name + literal`, neither of them nothing; made by `joined` alone."""

    name: str
    literal: int


Int = int | str | Sum


def parts(x: Int) -> tuple[str, int]:
    """Name and literal; the name of a known number is empty."""
    if isinstance(x, Sum):
        return x
    return ("", x) if isinstance(x, int) else (x, 0)


def value_of(x: Int) -> int | None:
    """What a decision may count on."""
    name, number = parts(x)
    if not name:
        return number
    return name.value + number if isinstance(name, Known) else None


def joined(name: str, number: int) -> Int:
    return Sum(name, number) if name and number else name or number


class Integers:
    """i64 arithmetic in a function."""

    def __init__(self, e: Emitter, sizes: Mapping[str, str]) -> None:
        self.e = e
        self.sizes = sizes  # the SSA name of each size argument
        self.named: dict[int, Known] = {}  # literals that are arguments

    def size(self, size: Size) -> Int:
        return self.named.get(size, size) if isinstance(size, int) else self.sizes[size]

    def _computed(self, text: str, value: int | None) -> str:
        """An instruction's result; its value, where that is known."""
        name = self.e.once(text)
        return name if value is None else Known(name, value)

    def text(self, x: Int) -> str:
        """`x` as an operand."""
        name, number = parts(x)
        if not name or not number:
            return name or str(number)
        return self.e.once(f"add i64 {name}, {number}")

    # ---- sums and products ---------------------------------------------------------------------

    def add(self, x: Int, y: Int) -> Int:
        (name, number), (other, more) = parts(x), parts(y)
        if name and other:
            value = _both(name, other, int.__add__)
            name, other = self._computed(f"add i64 {name}, {other}", value), ""
        return joined(name or other, number + more)

    def sub(self, x: Int, y: Int) -> Int:
        (name, number), (other, less) = parts(x), parts(y)
        if not other:
            return joined(name, number - less)
        if name == other:
            return number - less
        value = _both(name or 0, other, int.__sub__)
        return joined(self._computed(f"sub i64 {name or 0}, {other}", value), number - less)

    def mul(self, x: Int, y: Int) -> Int:
        if isinstance(x, int):
            x, y = y, x
        name, number = parts(x)
        if isinstance(y, int):
            if not name or y in (0, 1):
                return x if y == 1 else number * y if not name else 0
            value = _both(name, y, int.__mul__)
            return joined(self._computed(f"mul i64 {name}, {y}", value), number * y)
        if number and not parts(y)[1]:  # (a + k) * b = a * b + k * b
            return self.add(self.mul(name, y), self.mul(y, number))
        value = _both(x, y, int.__mul__)
        return self._computed(f"mul i64 {self.text(x)}, {self.text(y)}", value)

    def product(self, factors: Iterable[Int]) -> Int:
        result: Int = 1
        for factor in factors:
            result = self.mul(result, factor)
        return result

    def div(self, x: Int, y: Int) -> Int:
        """x // y of non-negative x and positive y."""
        if isinstance(x, int) and isinstance(y, int):
            return x // y
        value = _both(x, y, int.__floordiv__)
        if y == 1 or value in (0, 1):
            return x if y == 1 else value or 0
        return self._computed(f"udiv i64 {self.text(x)}, {self.text(y)}", value)

    def rem(self, x: Int, y: Int) -> Int:
        if isinstance(x, int) and isinstance(y, int):
            return x % y
        value = _both(x, y, int.__mod__)
        if y == 1 or value == 0:
            return 0
        return self._computed(f"urem i64 {self.text(x)}, {self.text(y)}", value)

    def ceil_div(self, x: Int, y: int) -> Int:
        return self.div(self.add(x, y - 1), y)

    # ---- comparing -----------------------------------------------------------------------------

    def least(self, x: Int, y: Int) -> Int:
        if (first := _both(x, y, int.__le__)) is not None:
            return x if first else y
        return self.select(self.less(x, y), x, y)

    def most(self, x: Int, y: Int) -> Int:
        if (first := _both(x, y, int.__ge__)) is not None:
            return x if first else y
        return self.select(self.less(x, y), y, x)

    def select(self, condition: str, x: Int, y: Int) -> Int:
        if x == y or condition == "true":
            return x
        return self.e.once(f"select i1 {condition}, i64 {self.text(x)}, i64 {self.text(y)}")

    def less(self, x: Int, y: Int) -> str:
        """i1 or the literals `true`, `false`."""
        if (holds := _both(x, y, int.__lt__)) is not None:
            return str(bool(holds)).lower()
        return self.e.once(f"icmp slt i64 {self.text(x)}, {self.text(y)}")

    def equal(self, x: Int, y: Int) -> str:
        if (holds := _both(x, y, int.__eq__)) is not None:
            return str(bool(holds)).lower()
        return self.e.once(f"icmp eq i64 {self.text(x)}, {self.text(y)}")

    def both(self, x: str, y: str, t: Vec | None = None) -> str:
        """Conjunction of i1 operands or of masks; `true` is left out."""
        t = t or Vec("i1")
        true = literal(True, t)
        if x == true or y == true:
            return y if x == true else x
        return self.e.once(f"and {t} {x}, {y}")

    # ---- lanes ---------------------------------------------------------------------------------

    def splat(self, scalar: str, t: Vec) -> str:
        """The scalar in every lane of `t`."""
        if t.lanes == 1:
            return scalar
        one = self.e.once(f"insertelement {t} poison, {t.element} {scalar}, i64 0")
        zeros = f"<{t.lanes} x i32> zeroinitializer"
        return self.e.once(f"shufflevector {t} {one}, {t} poison, {zeros}")

    def spread(self, x: Int, lanes: int) -> str:
        """An integer in every lane of an i64 vector."""
        t = Vec("i64", lanes)
        return literal(x, t) if isinstance(x, int) else self.splat(self.text(x), t)

    def steps(self, stride: Int, lanes: int) -> str:
        """0, stride, 2 * stride, ... in i64 lanes."""
        t = Vec("i64", lanes)
        if isinstance(stride, int):
            return iota(t, stride)
        return self.e.once(f"mul {t} {iota(t)}, {self.splat(self.text(stride), t)}")

    def below(self, count: Int, lanes: int) -> str:
        """The mask of the lanes below `count`."""
        if isinstance(count, int):
            return first_lanes(count, lanes) or literal(True, Vec("i1", lanes))
        t = Vec("i64", lanes)
        return self.e.once(f"icmp slt {t} {iota(t)}, {self.spread(count, lanes)}")


def _both(x: Int, y: Int, of: Callable[[int, int], int]) -> int | None:
    """A function of two values that are known."""
    a, b = value_of(x), value_of(y)
    return None if a is None or b is None else of(a, b)


def iota(t: Vec, step: int = 1) -> str:
    """The constant vector 0, step, 2 * step, ..."""
    if t.lanes == 1:
        return "0"
    return "<" + ", ".join(f"{t.element} {k * step}" for k in range(t.lanes)) + ">"


def first_lanes(count: int, lanes: int) -> str:
    """The constant mask of the first `count` lanes; "" when that is all of them."""
    if count >= lanes:
        return ""
    return "<" + ", ".join(f"i1 {str(k < count).lower()}" for k in range(lanes)) + ">"


def known_first(mask: str) -> int | None:
    """How many lanes a mask of `first_lanes` has; None if it is another."""
    return mask.count("true") if mask.startswith("<") else None
