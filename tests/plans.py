"""What every plan of memory must satisfy, checked without the planner."""

from __future__ import annotations

from graphc.ir.program import Program


def assert_no_overlap(program: Program) -> None:
    """Quadratic and independent of the planner: buffers that are alive together are apart."""
    arena = [s for s in program.slots if s.space == "arena" and s.size_bytes]
    for k, a in enumerate(arena):
        assert a.index + a.size_bytes <= program.arena_bytes
        for b in arena[k + 1 :]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.index + a.size_bytes <= b.index or b.index + b.size_bytes <= a.index
            assert apart or not together, f"{a.name} and {b.name}"
