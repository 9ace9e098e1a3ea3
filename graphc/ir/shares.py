"""Which lines a launch works for: the time of a fused kernel, divided among what it computes.

A statement counts by how often it runs: each computed value and each store once a point, a product
that is summed twice. Loads count for nobody, since their provenance is that of whoever stored the
value. It is a division of one measured time, not a measurement of its own, and its parts add up.
"""

from __future__ import annotations

from collections.abc import Mapping

from graphc.ir.kernel import Apply, Dot, Kernel, Reduce, Statement, Store
from graphc.ir.program import Launch
from graphc.ir.work import points


def shares_of(launch: Launch) -> dict[str, float]:
    """By provenance, as the kernel's text shows it: parts of 1, the largest first."""
    kernel = launch.kernel
    sizes = dict(zip(kernel.sizes, launch.sizes, strict=True))
    found = _weights(kernel, sizes) or dict.fromkeys(_stated(kernel), 1)
    total = sum(found.values())
    return {w: n / total for w, n in sorted(found.items(), key=lambda row: -row[1])}


def _weights(kernel: Kernel, sizes: Mapping[str, int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for phase in kernel.phases:
        times = points(kernel.axes, sizes) * points(phase.axes, sizes)
        for s in phase.body:
            if s.where and (weight := times * _weight(s)):
                found[s.where] = found.get(s.where, 0) + weight
    return found


def _weight(s: Statement) -> int:
    return 2 if isinstance(s, Dot) else int(isinstance(s, Apply | Reduce | Store))


def _stated(kernel: Kernel) -> list[str]:
    """Of a routine, and of loops over nothing."""
    if kernel.call is not None:
        return [kernel.call.where] if kernel.call.where else []
    return [s.where for s in kernel.statements() if s.where]
