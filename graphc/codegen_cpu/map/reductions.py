"""Reductions: what `Reduce` and `Dot` carry around a loop, how it grows and how two merge.

Float sums start at -0.0 where a second chain begins, because LLVM may drop `-0.0 + x` and nothing
else; the first chain starts at 0.0, which is what an empty sum gives.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.codegen_cpu.scalar import SCALAR, register
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Scalar, i64


def extreme(dtype: DType, highest: bool) -> Scalar:
    """The largest or smallest value of a dtype."""
    if dtype.is_floating_point:
        return float("inf") if highest else float("-inf")
    bits = 1 if dtype.name == "bool" else 8 * dtype.itemsize
    if dtype.name in ("bool", "u8"):
        return (1 << bits) - 1 if highest else 0
    return (1 << (bits - 1)) - 1 if highest else -(1 << (bits - 1))


@dataclass(frozen=True, slots=True)
class Reduction:
    """One reduction: `op` is a Reduce's, or "dot"; `dtype` is that of the carried value.

    `signless`: the largest of floats without a sign, whose bits are in the same order, NaN last.
    """

    op: str
    dtype: DType
    signless: bool = False

    @property
    def is_arg(self) -> bool:
        return OPS[self.op].position

    @property
    def is_float_sum(self) -> bool:
        return OPS[self.op].combine == "add" and self.dtype.is_floating_point

    def types(self, lanes: int) -> list[Vec]:
        """The carried registers."""
        held = register(self.dtype, lanes)
        return [held, held.of("i64")] if self.is_arg else [held]

    def identity(self, lanes: int, first: bool = True) -> list[str]:
        types = self.types(lanes)
        if self.is_arg:
            return [literal(self._worst(), types[0]), literal(0, types[1])]
        if OPS[self.op].best:
            return [literal(self._worst(), types[0])]
        if self.op == "prod":
            return [literal(1, types[0])]
        return [literal(0 if first or not self.dtype.is_floating_point else -0.0, types[0])]

    def _worst(self) -> Scalar:
        return extreme(self.dtype, highest=OPS[self.op].best == "smallest")

    def step(self, e: Emitter, lanes: int, state: list[str], values: list[str]) -> list[str]:
        """`state` with one more element: [x], [a, b] of a dot, or [x, position]."""
        t = self.types(lanes)[0]
        if self.op == "dot" and t.is_float:
            operands = [(t, x) for x in (*values, *state)]
            return [e.call(f"llvm.fma.{t.suffix}", t, *operands)]
        if self.op == "dot":
            values = [SCALAR["mul"](e, t, self.dtype, values)]
        if not self.is_arg:
            return self.merge(e, lanes, state, values)
        return self._select(e, lanes, self._beats(e, t, values[0], state[0]), values, state)

    def merge(self, e: Emitter, lanes: int, a: list[str], b: list[str]) -> list[str]:
        """The reduction of two parts; of equal extremes the lower position wins."""
        t = self.types(lanes)[0]
        if self.signless:
            return [_larger(e, t, a[0], b[0])]
        if not self.is_arg:
            return [SCALAR[OPS[self.op].combine](e, t, self.dtype, [a[0], b[0]])]
        mask = t.of("i1")
        better = self._beats(e, t, b[0], a[0])
        worse = self._beats(e, t, a[0], b[0])
        sooner = e.value(f"icmp slt {t.of('i64')} {b[1]}, {a[1]}")
        tie = e.value(f"xor {mask} {worse}, {literal(True, mask)}")
        tie = e.value(f"and {mask} {tie}, {sooner}")
        better = e.value(f"or {mask} {better}, {tie}")
        if self.op == "argmax_last_nan":  # both beat the other where both are NaN
            both = e.value(f"and {mask} {worse}, {sooner}")
            both = e.value(f"xor {mask} {both}, {literal(True, mask)}")
            better = e.value(f"and {mask} {better}, {both}")
        return self._select(e, lanes, better, b, a)

    def masked(
        self, e: Emitter, lanes: int, mask: str, new: list[str], old: list[str]
    ) -> list[str]:
        """`new` where the mask holds."""
        return self._select(e, lanes, mask, new, old)

    def across(self, e: Emitter, lanes: int, state: list[str]) -> list[str]:
        """All lanes merged, by halves: a fixed tree."""
        while lanes > 1:
            half = lanes // 2
            low, high = (
                [_half(e, t, x, start) for t, x in zip(self.types(lanes), state, strict=True)]
                for start in (0, half)
            )
            state, lanes = self.merge(e, half, low, high), half
        return state

    def _select(self, e: Emitter, lanes: int, mask: str, x: list[str], y: list[str]) -> list[str]:
        m = Vec("i1", lanes)
        return [
            e.value(f"select {m} {mask}, {t} {a}, {t} {b}")
            for t, a, b in zip(self.types(lanes), x, y, strict=True)
        ]

    def _beats(self, e: Emitter, t: Vec, x: str, best: str) -> str:
        """Whether x replaces an earlier `best`: beyond it, or the first NaN, or the last one."""
        up = OPS[self.op].best == "largest"
        if not t.is_float:
            unsigned = self.dtype.name in ("bool", "u8")
            order = ("u" if unsigned else "s") + ("gt" if up else "lt")
            return e.value(f"icmp {order} {t} {x}, {best}")
        if self.op == "argmax_last_nan":
            beyond = e.value(f"fcmp ogt {t} {x}, {best}")
            missing = e.value(f"fcmp uno {t} {x}, {x}")
            return e.value(f"or {t.of('i1')} {beyond}, {missing}")
        beyond = e.value(f"fcmp {'ugt' if up else 'ult'} {t} {x}, {best}")
        defined = e.value(f"fcmp ord {t} {best}, {best}")
        return e.value(f"and {t.of('i1')} {beyond}, {defined}")

    @property
    def result(self) -> DType:
        return i64 if self.is_arg else self.dtype


def _larger(e: Emitter, t: Vec, x: str, y: str) -> str:
    """Of floats without a sign, or -inf, whose bits are those of a negative integer: one
    instruction where comparing floats takes four, NaN being what it is."""
    bits = t.of(f"i{t.bits}")
    a, b = (e.value(f"bitcast {t} {v} to {bits}") for v in (x, y))
    larger = e.call(f"llvm.smax.{bits.suffix}", bits, (bits, a), (bits, b))
    return e.value(f"bitcast {bits} {larger} to {t}")


def _half(e: Emitter, t: Vec, x: str, start: int) -> str:
    half = t.lanes // 2
    if half == 1:
        return e.value(f"extractelement {t} {x}, i64 {start}")
    picks = ", ".join(f"i32 {start + k}" for k in range(half))
    return e.value(f"shufflevector {t} {x}, {t} poison, <{half} x i32> <{picks}>")
