"""Pairs of bfloat16: two steps of the reduction in one lane, which one instruction multiplies.

A pair is a 32-bit word, the earlier step in its lower half. Pairs begin at even steps of the
innermost reduction axis, wherever a tile, a panel or a chunk begins; behind an odd number of steps
the last pair has a zero. So the bits of a sum depend on nothing but its own terms.

`vdpbf16ps` multiplies exactly and adds in float32, rounded to nearest even; it takes denormals for
zeros and gives none.
"""

from __future__ import annotations

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.codegen_cpu.frame import Frame

HALF = 16  # bits


def word(lanes: int) -> Vec:
    """The type of pairs."""
    return Vec("i32", lanes)


def joined(e: Emitter, low: str, high: str, lanes: int) -> str:
    """Pairs of two values of each lane, as registers hold them; without a second one, of zero."""
    t, w = Vec("float", lanes), word(lanes)
    first = e.value(f"bitcast {t} {low} to {w}")
    first = e.value(f"lshr {w} {first}, {literal(HALF, w)}")
    if not high:
        return first
    second = e.value(f"bitcast {t} {high} to {w}")
    return e.value(f"or {w} {first}, {second}")


def neighbours(e: Emitter, x: str, lanes: int) -> str:
    """Pairs of the values of neighbouring lanes, of twice as many."""
    t = Vec("float", 2 * lanes)
    bits = e.value(f"bitcast {t} {x} to {t.of('i32')}")
    bits = e.value(f"lshr {t.of('i32')} {bits}, {literal(HALF, t.of('i32'))}")
    bits = e.value(f"trunc {t.of('i32')} {bits} to {t.of('i16')}")
    return e.value(f"bitcast {t.of('i16')} {bits} to {word(lanes)}")


def multiply_add(frame: Frame, t: Vec, x: str, y: str, total: str) -> str:
    """total + both products of each lane's pairs."""
    half = Vec("bfloat", 2 * t.lanes)
    x, y = (frame.e.once(f"bitcast {word(t.lanes)} {p} to {half}") for p in (x, y))
    name = f"llvm.x86.avx512bf16.dpbf16ps.{t.lanes * t.bits}"
    return frame.e.call(name, t, (t, total), (half, x), (half, y))
