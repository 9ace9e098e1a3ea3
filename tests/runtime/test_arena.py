"""What memory the system gives for an arena."""

from __future__ import annotations

import ctypes
import mmap
import sys
from pathlib import Path

import pytest

from graphc.runtime.cpu.arena import HUGE_PAGE, Arena


def resident(first: int, end: int) -> int:
    """Bytes of these addresses that are in memory."""
    found, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and not head.endswith(":"):
            low, high = (int(n, 16) for n in head.split("-"))
            inside = low < end and high > first
        elif inside and head == "Rss:":
            found += int(line.split()[1]) * 1024
    return found


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux tells what is resident")
@pytest.mark.parametrize("whole", [0, 1])
def test_no_huge_page_is_taken_for_what_does_not_fill_it(whole: int) -> None:
    arena, tail = Arena(), 3 * mmap.PAGESIZE
    size = whole * HUGE_PAGE + tail
    arena.reserve(0, size, [])
    before = resident(arena.base, arena.base + size)  # of a mapping that may be joined to another
    ctypes.memset(arena.base, 1, size)
    assert resident(arena.base, arena.base + size) - before == size
