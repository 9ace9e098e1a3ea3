"""Values between registers and memory: side by side or spread, under a condition or a mask.

Where a mask or condition does not hold, loads give zero and stores do nothing.
"""

from __future__ import annotations

from functools import partial

from graphc.codegen_cpu.emitter import FENCE, Emitter, Vec, literal
from graphc.codegen_cpu.integers import Int, Integers
from graphc.codegen_cpu.masked import gather, masked_load, masked_store, scatter
from graphc.codegen_cpu.scalar import apply, from_memory, in_memory, to_memory
from graphc.codegen_cpu.target import LINE_BYTES
from graphc.ir.types import DType

NEAR = 4  # lanes by one pointer: their distances from it stay in registers
ZEROS = 128  # bytes that a load outside its guards reads: the widest vector there is


def load(
    f: Integers, pointer: str, dtype: DType, lanes: int,
    offsets: str = "", mask: str = "", live: str = "", step: Int = 1,
) -> str:  # fmt: skip
    """Register values of `lanes` elements `step` apart, or of those at `offsets` (i64 lanes).

    `mask` is of lanes, "" for all; `live` an i1 for all of them: then no branch is needed, as the
    address becomes that of zeros. (A mask of no lane does not do: where the page is not there,
    processors take hundreds of cycles to find that no lane minds.)
    """
    e, t = f.e, in_memory(dtype, lanes)
    if step != 1 and not offsets and (not mask or mask.startswith("<")):
        return from_memory(e, dtype, lanes, _by_lanes(f, t, pointer, step, mask, live))
    if step != 1 and not offsets:
        offsets = f.steps(step, lanes)
    if live and (offsets or mask):
        m = t.of("i1")
        mask = f.both(mask or literal(True, m), f.splat(live, m), m)
    if live and not offsets:
        pointer = e.value(f"select i1 {live}, ptr {pointer}, ptr %zeros")
    if offsets:
        raw = gather(e, t, _pointers(e, t, pointer, offsets), mask)
    elif mask:
        raw = masked_load(e, t, pointer, mask)
    else:
        raw = _plain(e, t, pointer, dtype)
    return from_memory(e, dtype, lanes, raw)


def _by_lanes(f: Integers, t: Vec, pointer: str, step: Int, mask: str, live: str) -> str:
    """Elements `step` apart, of lanes that are known to be live: a load for each. Processors gather
    them one by one as well, some in several times the time and of few lanes no faster than of all.
    """
    e, element = f.e, t.element
    if live:
        pointer = e.value(f"select i1 {live}, ptr {pointer}, ptr %zeros")
        step = f.select(live, step, 0)

    def moved(base: str, by: Int) -> str:
        return e.once(f"getelementptr {element}, ptr {base}, i64 {f.text(by)}")

    x = "zeroinitializer"
    for lane, word in enumerate(mask.split(",") if mask else ["true"] * t.lanes):
        if "true" in word:
            near = moved(pointer, f.mul(step, lane // NEAR * NEAR))
            at = moved(near, f.mul(step, lane % NEAR))
            one = e.value(f"load {element}, ptr {at}, align {t.bits // 8}")
            x = e.value(f"insertelement {t} {x}, {element} {one}, i64 {lane}")
    return x


def store(
    f: Integers, pointer: str, dtype: DType, lanes: int, x: str,
    offsets: str = "", mask: str = "", add: bool = False, past: str = "false",
) -> None:  # fmt: skip
    """Store register values of `dtype`, or `add` them to what is there; where the i1 `past` holds,
    a vector that is a whole line goes past the caches, if its mask, too, has all lanes."""
    e, t = f.e, in_memory(dtype, lanes)
    pointers = _pointers(e, t, pointer, offsets) if offsets else ""
    if add:
        old = (
            gather(e, t, pointers, mask) if offsets
            else masked_load(e, t, pointer, mask) if mask
            else _plain(e, t, pointer, dtype)
        )  # fmt: skip
        old = from_memory(e, dtype, lanes, old)
        x = apply(e, lanes, "add", dtype, [dtype, dtype], [old, x])
    raw = to_memory(e, dtype, lanes, x)
    if offsets:
        scatter(e, t, pointers, raw, mask)
    elif past == "false" or lanes * dtype.itemsize != LINE_BYTES:
        _store_near(e, t, pointer, raw, mask)
    else:
        far = f"store {t} {raw}, ptr {pointer}, align {LINE_BYTES}, !nontemporal !0"
        near, whole = partial(_store_near, e, t, pointer, raw, mask), partial(e.do, far)

        def of_all_lanes() -> None:
            e.either(e.all_lanes(mask, lanes), whole=whole, rest=near)

        e.either(past, past=of_all_lanes if mask else whole, near=near)
        e.declarations |= {"!0 = !{i32 1}", f"declare void @{FENCE}()"}


def _store_near(e: Emitter, t: Vec, pointer: str, raw: str, mask: str) -> None:
    if mask:
        masked_store(e, t, pointer, raw, mask)
    else:
        e.do(f"store {t} {raw}, ptr {pointer}, align {t.bits // 8}")


def _plain(e: Emitter, t: Vec, pointer: str, dtype: DType) -> str:
    return e.value(f"load {t}, ptr {pointer}, align {dtype.itemsize}")


def _pointers(e: Emitter, t: Vec, pointer: str, offsets: str) -> str:
    return e.once(f"getelementptr {t.element}, ptr {pointer}, <{t.lanes} x i64> {offsets}")


def fetch(f: Integers, pointer: str, near: bool, writes: bool = False) -> None:
    """Bring a line that will be read, or written as well, to the nearest cache or the next one."""
    f.e.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
    how = f"i32 {int(writes)}, i32 {3 if near else 2}, i32 1"
    f.e.do(f"call void @llvm.prefetch.p0(ptr {pointer}, {how})")
