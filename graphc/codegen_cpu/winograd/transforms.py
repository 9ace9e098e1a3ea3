"""The transforms of F(4x4, 3x3) as vector code.

A 4 by 4 tile of a convolution's outputs by 3x3 weights g is A' [(G g G') . (B' d B)] A of the 6 by
6 inputs d under it, a product at each of 36 points. Points along an axis are 0, 1, -1, 1/2, -2 and
infinity, whose errors are small for numbers that are cheap to multiply by.

Along one axis each is a few additions and multiply-adds that share what they have in common (B' has
27 terms, which take 14 instructions); a tile goes through one axis, then through the other.

    B' = 1 -3/2  -2  3/2   1   0        A' = 1  1  1   1   1  0
         0  -1  1/2  5/2   1   0             0  1 -1  1/2 -2  0
         0   1 -5/2  1/2   1   0             0  1  1  1/4  4  0
         0  -2  -1    2    1   0             0  1 -1  1/8 -8  1
         0  1/2 -1  -1/2   1   0
         0   1 -3/2  -2   3/2  1

    G = 1, 0, 0;  1/3, 1/3, 1/3;  -1/3, 1/3, -1/3;
        -16/15, -8/15, -4/15;  1/15, -2/15, 4/15;  0, 0, 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.codegen_cpu.contract.microkernel import fma
from graphc.codegen_cpu.emitter import Vec, literal
from graphc.codegen_cpu.frame import Frame


@dataclass(frozen=True, slots=True)
class Lanes:
    """Arithmetic on vectors."""

    frame: Frame
    t: Vec

    def add(self, x: str, y: str) -> str:
        return self.frame.e.value(f"fadd {self.t} {x}, {y}")

    def sub(self, x: str, y: str) -> str:
        return self.frame.e.value(f"fsub {self.t} {x}, {y}")

    def times(self, factor: float, x: str) -> str:
        return self.frame.e.value(f"fmul {self.t} {x}, {literal(factor, self.t)}")

    def more(self, factor: float, x: str, y: str) -> str:
        """factor * x + y"""
        return fma(self.frame, self.t, literal(factor, self.t), x, y)


def of_inputs(v: Lanes, d: Sequence[str]) -> list[str]:
    """B' d: six inputs at the six points."""
    p, q = v.sub(d[4], d[2]), v.sub(d[3], d[1])
    even, odd = v.more(1.5, d[3], p), v.more(1.5, d[2], q)
    return [
        v.more(1.5, q, v.add(v.sub(d[0], d[2]), p)),
        v.add(even, odd),
        v.sub(even, odd),
        v.more(2.0, q, p),
        v.more(-0.5, q, p),
        v.more(1.5, p, v.sub(v.sub(d[5], d[3]), q)),
    ]


def of_weights(v: Lanes, g: Sequence[str]) -> list[str]:
    """G g: three taps at the six points."""
    even = v.add(g[0], g[2])
    return [
        g[0],
        v.times(1 / 3, v.add(even, g[1])),
        v.times(-1 / 3, v.sub(even, g[1])),
        v.more(-4 / 15, g[2], v.more(-8 / 15, g[1], v.times(-16 / 15, g[0]))),
        v.more(4 / 15, g[2], v.more(-2 / 15, g[1], v.times(1 / 15, g[0]))),
        g[2],
    ]


def of_products(v: Lanes, m: Sequence[str]) -> list[str]:
    """A' m: four outputs of the products at six points."""
    even, odd = v.add(m[1], m[2]), v.sub(m[1], m[2])
    return [
        v.add(v.add(m[0], even), v.add(m[3], m[4])),
        v.more(-2.0, m[4], v.more(0.5, m[3], odd)),
        v.more(4.0, m[4], v.more(0.25, m[3], even)),
        v.add(v.more(-8.0, m[4], v.more(0.125, m[3], odd)), m[5]),
    ]


def of_cotangents(v: Lanes, y: Sequence[str]) -> list[str]:
    """A y: four cotangents of outputs at the six points."""
    even, odd = v.add(y[0], y[2]), v.add(y[1], y[3])
    half = v.more(0.25, v.more(0.5, y[3], y[2]), v.more(0.5, y[1], y[0]))
    twice = v.more(4.0, v.more(-2.0, y[3], y[2]), v.more(-2.0, y[1], y[0]))
    return [y[0], v.add(even, odd), v.sub(even, odd), half, twice, y[3]]


def of_sums(v: Lanes, m: Sequence[str]) -> list[str]:
    """G' m: the cotangents of three taps of sums at the six points."""
    even, odd = v.add(m[1], m[2]), v.sub(m[1], m[2])
    first = v.more(1 / 15, m[4], v.more(-16 / 15, m[3], v.more(1 / 3, odd, m[0])))
    middle = v.more(-2 / 15, m[4], v.more(-8 / 15, m[3], v.times(1 / 3, even)))
    last = v.more(4 / 15, m[4], v.more(-4 / 15, m[3], v.more(1 / 3, odd, m[5])))
    return [first, middle, last]
