"""What a kernel that reached outside a buffer is reported as: which one, where, on whose behalf."""

from __future__ import annotations

import re

from graphc.errors import OutOfBounds
from graphc.ir.kernel import Kernel, Load, Store
from graphc.ir.program import Program

LINE = re.compile(r"(?P<file>\S+):(?P<line>\d+)(?: (?P<scope>.*))?$")


def outside(program: Program, launch: int, number: int, offset: int, size: int) -> OutOfBounds:
    """The error of launch `launch`, whose buffer `number` ends after `size` bytes."""
    work = program.launches[launch]
    kernel, buffers = work.kernel, work.kernel.buffers
    if number < len(buffers):
        place = f"buffer {buffers[number].name}, slot {work.slots[number]}"
        line = _line(kernel, buffers[number].name)
    else:
        place, line = "its scratch", _line(kernel, "")
    what = f"kernel {kernel.name} (launch {launch} of {program.name}) is at byte {offset} of {size}"
    found = LINE.search(line)
    at = (found["file"], int(found["line"]), found["scope"] or "") if found else ("", 0, "")
    return OutOfBounds(f"{what} of {place}", where=at)


def _line(kernel: Kernel, buffer: str) -> str:
    """The user's line that touches a buffer; "": any buffer."""
    touching = (s for s in kernel.statements() if isinstance(s, Load | Store))
    return next((s.where for s in touching if s.where and buffer in ("", s.buffer)), "")
