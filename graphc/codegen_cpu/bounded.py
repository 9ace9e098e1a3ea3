"""Bounds of stored floats: each vector joins a register of largest magnitudes, looked at once.

The bits of a float without its sign grow with its magnitude, infinities and then NaNs last, so one
`and` and one unsigned maximum per vector keep the worst of all; LLVM keeps it in a register through
the loops. Before the function returns, what is above the limit is reported.
"""

from __future__ import annotations

import numpy as np

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.codegen_cpu.math.division import report
from graphc.ir.cpu_abi import NOTED
from graphc.ir.kernel_bound import Bound


def keep(e: Emitter, t: Vec, x: str, mask: str, bound: Bound, site: str) -> None:
    """Note registers that are about to be stored where `mask` ("": everywhere) holds."""
    bits = Vec(f"i{t.bits}", t.lanes)
    key = f"{bits} {bound}"
    if key not in e.kept:
        e.kept[key] = worst = f"%worst{len(e.kept)}"
        e.first += [f"{worst} = alloca {bits}", f"store {bits} {literal(0, bits)}, ptr {worst}"]
        e.last.append(lambda: _look(e, bits, worst, bound, site))
    worst = e.kept[key]
    magnitude = _and(e, bits, e.value(f"bitcast {t} {x} to {bits}"))
    if mask:
        none = literal(0, bits)
        magnitude = e.value(
            f"select {bits.of('i1')} {mask}, {bits} {magnitude}, {bits} "
            f"{'zeroinitializer' if bits.lanes > 1 else none}"
        )
    before = e.value(f"load {bits}, ptr {worst}")
    after = e.call(f"llvm.umax.{bits.suffix}", bits, (bits, before), (bits, magnitude))
    e.do(f"store {bits} {after}, ptr {worst}")


def _and(e: Emitter, bits: Vec, x: str) -> str:
    """Without the sign."""
    return e.value(f"and {bits} {x}, {literal((1 << (bits.bits - 1)) - 1, bits)}")


def _look(e: Emitter, bits: Vec, worst: str, bound: Bound, site: str) -> None:
    """Report what is above the limit, rounded down to the type."""
    most = _bits_of(bound.limit, bits.bits)
    found = e.value(f"load {bits}, ptr {worst}")
    bad = e.value(f"icmp ugt {bits} {found}, {literal(most, bits)}")
    wide = bits.of("i64")
    none = literal(0, wide)
    mark = NOTED if bound.late else 1
    report(e, bits.lanes, bad, e.splat(site, wide), none, none, mark)


def _bits_of(limit: float, width: int) -> int:
    kind, whole = (np.float32, np.uint32) if width == 32 else (np.float64, np.uint64)
    return int(np.array(limit, kind).view(whole))
