"""Freed memory stays with the process from one eager step to the next.

A step frees its arrays when its derivative is done. glibc then gives what lies free at the top of
the heap to the system, and the next step gets it back a page at a time, each page cleared first:
of a step of tinybert 14000 pages. So it is told to keep some. Where a user has
tuned it, and in other C libraries, all stays as it is.
"""

from __future__ import annotations

import ctypes
import os
from functools import lru_cache

KEPT_BYTES = 256 << 20  # free at the top of the heap
IN_HEAP_BYTES = 32 << 20  # of an array; as far as glibc goes by itself when such arrays are freed
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of <malloc.h>
TUNED = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_")


@lru_cache(maxsize=1)
def keep_freed() -> bool:
    """Whether malloc keeps what is freed, from the first call on."""
    if any(name in os.environ for name in TUNED):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc; on Windows None names no library
        return False
    # Setting one fixes the other where it happens to be, so both are set.
    return bool(mallopt(MMAP_THRESHOLD, IN_HEAP_BYTES) and mallopt(TRIM_THRESHOLD, KEPT_BYTES))
