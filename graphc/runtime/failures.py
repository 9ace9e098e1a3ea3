"""The errors of a program's checks, and of memory that does not suffice for its plan."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import CHECKED, GraphcError, IndexOutOfRange, OutOfMemory
from graphc.ir.program import CheckSite, Slot


def failed_check(sites: Sequence[CheckSite], site: int, value: int, bound: int) -> GraphcError:
    """What the words that a failed check has written say."""
    check = sites[site] if 0 <= site < len(sites) else CheckSite("check", ("", 0, ""))
    if check.error:
        return CHECKED[check.error](check.what, fix=check.fix, where=check.where)
    text = f"{check.what}: index {value} is out of range [0, {bound})"
    return IndexOutOfRange(text, where=check.where)


def out_of_memory(
    size_bytes: int,
    free: int | None,
    slots: Sequence[Slot],
    kind: type[OutOfMemory] = OutOfMemory,
) -> OutOfMemory:
    """`free`: None where nobody knows."""
    largest = sorted((s for s in slots if s.space == "arena"), key=lambda s: -s.size_bytes)[:5]
    names = "; ".join(f"{s.name}: {s.spec} {megabytes(s.size_bytes)} {s.where}" for s in largest)
    have = "" if free is None else f", {megabytes(free)} are free"
    return kind(f"the step needs {megabytes(size_bytes)}{have}; the largest: {names}")


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
