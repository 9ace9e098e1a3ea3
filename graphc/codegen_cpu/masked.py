"""Memory under a mask of lanes: loads that give zero and stores that do nothing where it is false.

The one place that spells these intrinsics, so that all functions of a module declare them alike.
Elements lie as `in_memory` says; `pointers` is a vector of addresses.
"""

from __future__ import annotations

from graphc.codegen_cpu.emitter import Emitter, Vec, literal
from graphc.codegen_cpu.integers import known_first


def masked_load(e: Emitter, t: Vec, pointer: str, mask: str) -> str:
    name, m = f"@llvm.masked.load.{t.suffix}.p0", t.of("i1")
    e.declarations.add(f"declare {t} {name}(ptr, {m}, {t})")
    place = f"ptr align {t.bits // 8} {pointer}"
    return e.value(f"call {t} {name}({place}, {m} {mask}, {t} zeroinitializer)")


def gather(e: Emitter, t: Vec, pointers: str, mask: str) -> str:
    """`mask` may be empty: all lanes."""
    name, p, m = f"@llvm.masked.gather.{t.suffix}.v{t.lanes}p0", f"<{t.lanes} x ptr>", t.of("i1")
    e.declarations.add(f"declare {t} {name}({p}, {m}, {t})")
    place = f"{p} align {t.bits // 8} {pointers}"
    return e.value(f"call {t} {name}({place}, {m} {mask or literal(True, m)}, {t} zeroinitializer)")


def masked_store(e: Emitter, t: Vec, pointer: str, x: str, mask: str) -> None:
    first = known_first(mask)
    if first is not None:
        _store_first(e, t, pointer, x, first)
        return
    name, m = f"@llvm.masked.store.{t.suffix}.p0", t.of("i1")
    e.declarations.add(f"declare void {name}({t}, ptr, {m})")
    if t.bits < 32:
        mask = _opaque(e, m, mask)
    e.do(f"call void {name}({t} {x}, ptr align {t.bits // 8} {pointer}, {m} {mask})")


def _store_first(e: Emitter, t: Vec, pointer: str, x: str, count: int) -> None:
    """The first lanes, in one or two vectors of as many lanes as a power of two has: where another
    core has read the line, a store under a mask waits for it two and a half times as long."""
    part = Vec(t.element, 1 << (count.bit_length() - 1)) if count else t
    for start in sorted({0, count - part.lanes}) if count else ():
        picks = ", ".join(f"i32 {start + k}" for k in range(part.lanes))
        one = e.value(f"shufflevector {t} {x}, {t} poison, <{part.lanes} x i32> <{picks}>")
        at = e.once(f"getelementptr {t.element}, ptr {pointer}, i64 {start}")
        e.do(f"store <{part.lanes} x {t.element}> {one}, ptr {at}, align {t.bits // 8}")


def scatter(e: Emitter, t: Vec, pointers: str, x: str, mask: str) -> None:
    """`mask` may be empty: all lanes. Two lanes with one address store in lane order."""
    name, p, m = f"@llvm.masked.scatter.{t.suffix}.v{t.lanes}p0", f"<{t.lanes} x ptr>", t.of("i1")
    e.declarations.add(f"declare void {name}({t}, {p}, {m})")
    place = f"{p} align {t.bits // 8} {pointers}"
    e.do(f"call void {name}({t} {x}, {place}, {m} {mask or literal(True, m)})")


def _opaque(e: Emitter, m: Vec, mask: str) -> str:
    """The mask, in a form that LLVM cannot evaluate: `%tid` is never negative, as it cannot know.

    LLVM 22.1 stores a whole 32-bit word for a truncated vector under a constant mask of one lane
    (llvm #179489), over the bytes beside it.
    """
    always = e.splat(e.value("icmp sge i64 %tid, 0"), m)
    return e.value(f"and {m} {mask}, {always}")
