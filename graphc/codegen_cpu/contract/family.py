"""Which sizes of a contraction its code takes as arguments, so that kernels of other sizes are the
same text: layers of a net that differ in their channels.

A plan is made of the literals, and what it decides shows in the text. Where two kernels come to one
text, it computes both, each from its own numbers; a number that the text needs as a literal (a
tile, a chunk) only makes two texts of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from graphc.codegen_cpu.contract.plan import Plan
from graphc.ir.kernel import Load, Size, Store

SMALL = 16  # up to here a size is a window's: its loops are written out
POINTERS = 6  # of a tile's rows, that registers hold beside what else the inner loop needs


def numbers(p: Plan) -> tuple[int, ...]:
    """Those sizes, in the order of the kernel.

    Strides by which the inner loop and the vectors of a tile step stay displacements, as do those
    of its rows where these are many, each of which would need a pointer of its own. So does a
    depthwise kernel whole: its rows and taps are displacements of one pointer.
    """
    if p.wide or p.contraction.guards or len(p.contraction.reduced) > 1:
        return ()
    inner, keep = p.contraction.reduced[-1].name, set[Size]()
    for s in _accesses(p):
        keep.add(s.at.stride(p.lane.name))
    if not p.packed:
        keep.update(load.at.stride(inner) for load in p.vector.loads)
    if p.row_count > POINTERS:
        keep.update(x.at.stride(r.axis.name) for x in p.scalar.loads for r in p.rows)
    return tuple(dict.fromkeys(n for n in _sizes(p) if n not in keep))


def _accesses(p: Plan) -> Iterator[Load | Store]:
    c = p.contraction
    yield from (*c.a.loads, *c.b.loads)
    yield from (s for s in c.epilogue if isinstance(s, Load | Store))


def _sizes(p: Plan) -> Iterator[int]:
    c = p.contraction
    sizes = [step for s in _accesses(p) for _, step in s.at.terms]
    sizes += [axis.extent for axis in (*c.axes, *c.reduced)]
    return (n for n in sizes if isinstance(n, int) and n > SMALL)
