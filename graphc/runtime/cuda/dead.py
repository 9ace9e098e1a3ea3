"""Which bytes of the arena hold nothing any more behind each launch: what fake memory poisons."""

from __future__ import annotations

from collections.abc import Iterable

from graphc.ir.program import Program, Slot

Span = tuple[int, int]  # from, up to


def dead_behind(program: Program) -> list[list[Span]]:
    """For each launch, the bytes of buffers that it is the last to use, but for those that others
    which live on share with them."""
    arena = [s for s in program.slots if s.space == "arena" and s.size_bytes]
    found = []
    for i in range(len(program.launches)):
        ending = [_span(s) for s in arena if s.last == i]
        living = [_span(s) for s in arena if s.first <= i < s.last]
        found.append([span for one in ending for span in _without(one, living)])
    return found


def _span(slot: Slot) -> Span:
    return slot.index, slot.index + slot.size_bytes


def _without(span: Span, others: Iterable[Span]) -> list[Span]:
    """What is left of a span."""
    left = [span]
    for low, high in others:
        pieces = [piece for a, b in left for piece in ((a, min(b, low)), (max(a, high), b))]
        left = [(a, b) for a, b in pieces if a < b]
    return left
