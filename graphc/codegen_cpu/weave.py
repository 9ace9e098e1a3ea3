"""Stores of a short axis that lies innermost in memory, while another one runs across lanes.

    lanes w, axis c of 3:  c0 c0 c0 ..  c1 c1 c1 ..  c2 c2 c2 ..  =>  c0 c1 c2 c0 c1 c2 ..

An image of few channels is read pixel by pixel of a channel and stored channel by channel of a
pixel. One scatter for each channel takes as long as all of its elements one by one; the vectors of
all channels, woven in registers, are stored as they lie in memory. Whether they lie so, the step
from lane to lane says, which may be a symbol.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphc.codegen_cpu.emitter import Emitter, Vec
from graphc.ir.kernel import Kernel, Load, Size, Statement, Store
from graphc.ir.kernel_uses import Uses

MOST = 8  # vectors to weave: each result takes a shuffle for all of them but one


def axis_beside(s: Statement, lane: str, extents: dict[str, Size]) -> str:
    """The short axis that a store's elements lie side by side along, not those of `lane`; or ""."""
    if not isinstance(s, Store) or s.guards or s.indirect or s.add or s.bound is not None:
        return ""
    step = s.at.stride(lane)
    for axis, stride in s.at.terms:
        count = extents[axis]
        if stride == 1 and isinstance(count, int) and 1 < count <= MOST:
            return axis if not isinstance(step, int) or step == count else ""
    return ""


def woven_axis(kernel: Kernel, lane: str, u: Uses) -> str:
    """The one that all stores of an elementwise kernel have beside the lanes, or ""."""
    if len(kernel.phases) != 1 or kernel.phases[0].axes:
        return ""
    body = kernel.phases[0].body
    stores = [s for s in body if isinstance(s, Store)]
    axes = {axis_beside(s, lane, u.extents) for s in stores}
    stored = [u.memory[s.buffer] for s in stores]
    read = {u.memory[s.buffer] for s in body if isinstance(s, Load)}
    apart = len(set(stored)) == len(stored) and read.isdisjoint(stored)
    return axes.pop() if len(axes) == 1 and apart else ""


def weave(e: Emitter, t: Vec, rows: Sequence[str]) -> Iterable[str]:
    """The elements of vectors in turn, one of each, as as many vectors."""
    count = len(rows)
    for first in range(0, count * t.lanes, t.lanes):
        places = [divmod(first + k, count) for k in range(t.lanes)]  # lane and row of each
        x = rows[0]
        for row in range(1, count):
            picks = [_pick(k, place, row, t.lanes) for k, place in enumerate(places)]
            chosen = ", ".join(f"i32 {k}" for k in picks)
            x = e.value(f"shufflevector {t} {x}, {t} {rows[row]}, <{t.lanes} x i32> <{chosen}>")
        yield x


def _pick(k: int, place: tuple[int, int], row: int, lanes: int) -> int:
    """Where element k comes from when rows up to `row` have joined: first both of the first two."""
    lane, of = place
    if of == row:
        return lanes + lane
    return lane if row == 1 else k
