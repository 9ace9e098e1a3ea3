"""The errors of a program's checks, and of memory that does not suffice for its plan."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import CHECKED, GraphcError, IndexOutOfRange, OutOfMemory
from graphc.ir.program import CheckSite, Slot

KINDS = {"out": "results", "state": "state", "arg": "arguments"}


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
    new = (s for s in slots if s.space in ("arena", "out"))
    largest = sorted(new, key=lambda s: -s.size_bytes)[:5]
    sizes: dict[tuple[str, int], int] = {(s.space, s.index): s.size_bytes for s in slots}
    kinds = {k: sum(n for (kind, _), n in sizes.items() if kind == k) for k in KINDS}
    held = ", ".join(f"{KINDS[k]} {megabytes(n)}" for k, n in kinds.items() if n)
    names = "; ".join(f"{s.name}: {s.spec} {megabytes(s.size_bytes)} {s.where}" for s in largest)
    have = "" if free is None else f", {megabytes(free)} are free"
    return kind(
        f"the step needs {megabytes(size_bytes)} more{have}; the largest: {names}"
        f"{f'; besides {held}' if held else ''}"
    )


def megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
