"""hazards: registers that a product still reads when they are written again, found in PTX.

A product of a group of warps (wgmma) may take its left operand from registers, and reads them until
a wait says that its group has ended. In a loop Triton lets some groups run on into the next trip;
where it cannot load each part of the operand just before its product, it fills all of them at the
trip's beginning, while the last trip's products may not have ended: in 3.6, not 3.9; seen on an
H200 as sums that are wrong now and then. Such code is not to be used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

LABEL = re.compile(r"^(\$L__BB\d+_\d+):")
BRANCH = re.compile(r"\bbra(?:\.uni)?\s+(\$L__BB\d+_\d+);")
PRODUCT = re.compile(r"\bwgmma\.mma_async\.\S+\s*\{[^}]*\},\s*(?:\{([^}]*)\})?")
COMMIT = "wgmma.commit_group"
WAIT = re.compile(r"\bwgmma\.wait_group\.sync\.aligned\s+(\d+)")
WRITTEN = re.compile(r"^\s*(?:@!?%p\d+\s+)?[a-z][\w.:]*\s+(\{[^}]*\}|%[a-z]+\d+)")


def overwrites(ptx: str) -> bool:
    """Whether some loop writes registers that a product of the trip before may still read."""
    return "wgmma.mma_async" in ptx and any(map(_early, _loops(ptx.splitlines())))


def _loops(lines: Sequence[str]) -> Iterator[Sequence[str]]:
    """The lines of each loop: from a label to a branch back to it."""
    labels: dict[str, int] = {}
    for k, line in enumerate(lines):
        if found := LABEL.match(line):
            labels[found[1]] = k
        elif (found := BRANCH.search(line)) and found[1] in labels:
            yield lines[labels[found[1]] : k]


def _early(loop: Sequence[str]) -> bool:
    """Whether an operand is written, in its product's trip or the next, before that has ended."""
    trips = [*loop, *loop]
    written = [_written(line) for line in loop] * 2
    for k, line in enumerate(loop):
        if (found := PRODUCT.search(line)) and found[1]:
            registers = {name.strip() for name in found[1].split(",")}
            if any(registers & x for x in written[k + 1 : _end(trips, k)]):
                return True
    return False


def _end(lines: Sequence[str], product: int) -> int:
    """The first line behind a product where a wait says that its group has ended."""
    groups = 0  # committed since, its own first
    for k in range(product + 1, len(lines)):
        groups += COMMIT in lines[k]
        if (found := WAIT.search(lines[k])) and groups > int(found[1]):
            return k
    return len(lines)


def _written(line: str) -> set[str]:
    """Registers that an instruction, other than a product, writes."""
    found = None if "wgmma" in line else WRITTEN.match(line)
    return {name.strip() for name in found[1].strip("{}").split(",")} if found else set()
