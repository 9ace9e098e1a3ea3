"""`Lane`: a vector value that Python's operators compute with, so formulas read as mathematics.

Each operator emits one LLVM instruction without fast-math flags: `x * y + z` rounds twice,
`fma(x, y, z)` once, and LLVM may not turn one into the other. Bits therefore do not depend on the
number of lanes. Comparisons are ordered: false if an operand is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen_cpu.emitter import Emitter, Vec, literal


@dataclass(frozen=True, slots=True)
class Lane:
    """The value `name` of type `t` in the function that `e` builds; numbers mix in as splats."""

    e: Emitter
    name: str
    t: Vec

    def constant(self, value: float) -> Lane:
        """`value` in every lane, of this type."""
        return Lane(self.e, literal(value, self.t), self.t)

    def _operand(self, other: Lane | float) -> str:
        return other.name if isinstance(other, Lane) else literal(other, self.t)

    def _binary(self, op: str, left: str, right: str) -> Lane:
        return Lane(self.e, self.e.value(f"{op} {self.t} {left}, {right}"), self.t)

    def _arithmetic(self, op: str, left: str, right: str) -> Lane:
        return self._binary("f" + op if self.t.is_float else op, left, right)

    def __add__(self, other: Lane | float) -> Lane:
        return self._arithmetic("add", self.name, self._operand(other))

    def __radd__(self, other: float) -> Lane:
        return self._arithmetic("add", self._operand(other), self.name)

    def __sub__(self, other: Lane | float) -> Lane:
        return self._arithmetic("sub", self.name, self._operand(other))

    def __rsub__(self, other: float) -> Lane:
        return self._arithmetic("sub", self._operand(other), self.name)

    def __mul__(self, other: Lane | float) -> Lane:
        return self._arithmetic("mul", self.name, self._operand(other))

    def __rmul__(self, other: float) -> Lane:
        return self._arithmetic("mul", self._operand(other), self.name)

    def __truediv__(self, other: Lane | float) -> Lane:
        return self._arithmetic("div", self.name, self._operand(other))

    def __rtruediv__(self, other: float) -> Lane:
        return self._arithmetic("div", self._operand(other), self.name)

    def __neg__(self) -> Lane:
        if self.t.is_float:
            return Lane(self.e, self.e.value(f"fneg {self.t} {self.name}"), self.t)
        return 0 - self

    def __abs__(self) -> Lane:
        return intrinsic("fabs", self)

    def __and__(self, other: Lane | int) -> Lane:
        return self._binary("and", self.name, self._operand(other))

    def __or__(self, other: Lane | int) -> Lane:
        return self._binary("or", self.name, self._operand(other))

    def __xor__(self, other: Lane | int) -> Lane:
        return self._binary("xor", self.name, self._operand(other))

    def __lshift__(self, other: Lane | int) -> Lane:
        return self._binary("shl", self.name, self._operand(other))

    def __rshift__(self, other: Lane | int) -> Lane:
        """Fills with the sign; `logical_shift` fills with zeros."""
        return self._binary("ashr", self.name, self._operand(other))

    def logical_shift(self, other: Lane | int) -> Lane:
        return self._binary("lshr", self.name, self._operand(other))

    def _compare(self, floating: str, integer: str, other: Lane | float) -> Lane:
        code = f"fcmp {floating}" if self.t.is_float else f"icmp {integer}"
        truth = self.e.value(f"{code} {self.t} {self.name}, {self._operand(other)}")
        return Lane(self.e, truth, self.t.of("i1"))

    def __lt__(self, other: Lane | float) -> Lane:
        return self._compare("olt", "slt", other)

    def __gt__(self, other: Lane | float) -> Lane:
        return self._compare("ogt", "sgt", other)

    def equals(self, other: Lane | float) -> Lane:
        return self._compare("oeq", "eq", other)

    def is_not(self, other: Lane | float) -> Lane:
        """Unequal, or either is NaN."""
        return self._compare("une", "ne", other)

    def is_unordered(self, other: Lane) -> Lane:
        """Either is NaN."""
        return self._compare("uno", "", other)

    def _cast(self, op: str, element: str) -> Lane:
        t = self.t.of(element)
        return Lane(self.e, self.e.value(f"{op} {self.t} {self.name} to {t}"), t)

    def bits(self) -> Lane:
        """The encoding, as integers of the same width."""
        return self._cast("bitcast", f"i{self.t.bits}")

    def as_float(self) -> Lane:
        """The number that these integers encode."""
        return self._cast("bitcast", {32: "float", 64: "double"}[self.t.bits])

    def to_float(self) -> Lane:
        """The nearest number to these signed integers."""
        return self._cast("sitofp", {32: "float", 64: "double"}[self.t.bits])

    def to_double(self) -> Lane:
        return self if self.t.element == "double" else self._cast("fpext", "double")

    def rounded_to(self, t: Vec) -> Lane:
        return self if self.t == t else self._cast("fptrunc", t.element)


def intrinsic(name: str, *args: Lane) -> Lane:
    """`llvm.name` of arguments of one type."""
    x = args[0]
    called = x.e.call(f"llvm.{name}.{x.t.suffix}", x.t, *((a.t, a.name) for a in args))
    return Lane(x.e, called, x.t)


def fma(x: Lane, y: Lane | float, z: Lane | float) -> Lane:
    """x * y + z, rounded once."""
    other, addend = (v if isinstance(v, Lane) else x.constant(v) for v in (y, z))
    return intrinsic("fma", x, other, addend)


def select(condition: Lane, then: Lane, otherwise: Lane | float) -> Lane:
    other = otherwise.name if isinstance(otherwise, Lane) else literal(otherwise, then.t)
    text = f"select {condition.t} {condition.name}, {then.t} {then.name}, {then.t} {other}"
    return Lane(then.e, then.e.value(text), then.t)


def at_most(x: Lane, bound: float) -> Lane:
    """min(x, bound), NaN kept: this order of operands is one `vminps`."""
    return select(x > bound, x.constant(bound), x)


def at_least(x: Lane, bound: float) -> Lane:
    return select(x < bound, x.constant(bound), x)


def horner(x: Lane, coefficients: Sequence[float]) -> Lane:
    """c0 + c1*x + c2*x^2 + ..., one fma a term, from the highest."""
    *lower, highest = coefficients
    total = x.constant(highest)
    for c in reversed(lower):
        total = fma(total, x, c)
    return total


def fast_two_sum(x: Lane | float, y: Lane) -> tuple[Lane, Lane]:
    """x + y exactly, as rounded sum and error, if |x| >= |y| or x is 0 (Dekker 1971)."""
    total = x + y
    return total, y - (total - x)


def two_product(x: Lane, y: Lane) -> tuple[Lane, Lane]:
    """x * y exactly, as rounded product and error."""
    product = x * y
    return product, fma(x, y, -product)
