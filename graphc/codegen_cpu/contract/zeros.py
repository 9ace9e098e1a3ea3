"""Padding that is not stored: guards of a contraction's loads, as bounds of a reduction loop.

A guard says where a load reads an operand; elsewhere it gives zero, and a product with a padding's
zero adds nothing. If it steps along one reduction axis place by place, its places there are a run,
so the loop along that axis has bounds in each tile, and meets no zero. The terms of an output are
the same whatever its tile, batch or thread.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphc.codegen_cpu.frame import Frame
from graphc.codegen_cpu.integers import Int
from graphc.ir.kernel import Apply, Axis, Guard, Load
from graphc.ir.kernel_contraction import Contraction


def bounded_by(g: Guard, c: Contraction) -> str | None:
    """The reduction axis that a guard gives bounds."""
    steps = {a.name: s for a in c.reduced if (s := g.at.stride(a.name)) != 0}
    return next(iter(steps)) if list(steps.values()) == [1] else None


def are_bounds(c: Contraction) -> bool:
    """Whether all guards are: of operands that are 0 where their load is, for a start."""
    guarded = [o for o in (c.a, c.b) if any(load.guards for load in o.loads)]
    plain = all(
        isinstance(s, Load) or (isinstance(s, Apply) and s.op == "cast")
        for o in guarded
        for s in o.statements
    )
    return plain and all(bounded_by(g, c) is not None for g in c.guards)


def varies(c: Contraction, axis: Axis) -> bool:
    """Whether bounds differ along the axis: a tile has one place of it."""
    return any(g.at.stride(axis.name) != 0 for g in c.guards)


def inside(
    frame: Frame,
    c: Contraction,
    guards: Iterable[Guard],
    index: dict[str, Int],
    counts: dict[str, Int],
) -> tuple[dict[str, Int], dict[str, Int]]:
    """Where the axes that those guards bound begin for the tile, or panel, at `index`, and the
    trips along every axis."""
    low: dict[str, Int] = {}
    high = dict(counts)
    for g in guards:
        axis, at = bounded_by(g, c), frame.offset(g.at, index)
        assert axis is not None
        low[axis] = frame.most(low.get(axis, 0), frame.sub(frame.size(g.lo), at))
        high[axis] = frame.least(high[axis], frame.sub(frame.size(g.hi), at))
    return low, high | {a: frame.most(0, frame.sub(high[a], low[a])) for a in low}
