"""The chunks of a reduction: what all tiles of a group go through before the next.

    for each point of the axes outside of the chunked one
      for each part of that axis: one chunk, whole along the axes inside of it

Along rows of samples, whose number a plan does not know, a chunk is as many whole rows as make it
long, or a part of one row: sums that are cut at each of many short rows cost more than they add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from graphc.codegen_cpu.contract.microkernel import Span
from graphc.codegen_cpu.contract.plan import Plan
from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int, value_of

Body = Callable[[dict[str, Int], list[Span]], None]  # gets a chunk's first point and its extents


def each_chunk(f: Frame, plan: Plan, extent: Mapping[str, Int], body: Body) -> None:
    """Loops over the chunks of `plan`, whose reduction axes have those extents."""
    if plan.of_rows:
        _rows(f, plan, extent, {}, body)
    else:
        _parts(f, plan, extent, 0, {}, body)


def _parts(
    f: Frame, plan: Plan, extent: Mapping[str, Int], depth: int, origin: dict[str, Int], body: Body
) -> None:
    """From axis `depth` in."""
    reduced, size = plan.contraction.reduced, plan.chunk_size
    name = reduced[depth].name
    if depth != plan.chunk:
        with f.e.loop("0", f.text(extent[name]), 1, "chunk") as i:
            _parts(f, plan, extent, depth + 1, origin | {name: i}, body)
        return
    with f.e.loop("0", f.text(extent[name]), size, "chunk") as i:
        count: Int = size
        if (n := value_of(extent[name])) is None or n % size:
            count = f.least(size, f.sub(extent[name], i))
        inner = [Span(a.name, extent[a.name]) for a in reduced[depth + 1 :]]
        body(origin | {name: i}, [Span(name, count), *inner])


def _rows(
    f: Frame, plan: Plan, extent: Mapping[str, Int], origin: dict[str, Int], body: Body
) -> None:
    """Whole rows of the last axis, along the one outside of it, or parts of a longer row."""
    *outer, along, last = (a.name for a in plan.contraction.reduced)
    depth, size = len(origin), plan.chunk_size
    if depth < len(outer):
        with f.e.loop("0", f.text(extent[outer[depth]]), 1, "chunk") as i:
            _rows(f, plan, extent, origin | {outer[depth]: i}, body)
        return
    with f.e.loop("0", f.text(extent[last]), size, "chunk") as i:
        count = f.least(size, f.sub(extent[last], i))
        together = f.most(1, f.div(size, count))
        with f.e.loop("0", f.text(extent[along]), f.text(together), "rows") as k:
            rows = Span(along, f.least(together, f.sub(extent[along], k)))
            body({**origin, along: k, last: i}, [rows, Span(last, count)])
