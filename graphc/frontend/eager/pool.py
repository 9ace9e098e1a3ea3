"""Memory for large results of eager mode, used again once nobody has the array any more.

A training step frees what it made, and the C library gives most of that back to the system; the
next step would get it again page by page, each of them cleared first, which takes longer than the
arithmetic on it. So blocks of sizes that were asked for stay here, up to `KEPT_BYTES`. An array
over a block holds it as its base, as do all views of it: a block that only the pool refers to is
free.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

import numpy as np

from graphc.frontend.storage import ASKING
from graphc.ir.types import Array, Shape

LEAST_BYTES = 1 << 18  # smaller arrays the C library keeps by itself, and gives out while cached
KEPT_BYTES = 128 << 20  # blocks of the pool, in use or not; what is beyond is made and freed
LOOKS = 8  # blocks of a size that are looked at: where none of these is free, most are not


class Pool:
    """Blocks by size. A block under consideration is out of its line, so that no two threads, nor a
    handler within this one, find it free; the one used longest ago comes first."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._most = kept_bytes
        self._blocks: dict[int, deque[Array]] = {}  # sizes in the order in which they came up
        self.bytes = 0

    def empty(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """New row-major memory, its elements undefined."""
        size = dtype.itemsize
        for n in shape:
            size *= n
        if size < LEAST_BYTES:
            return np.empty(shape, dtype)
        block = self._free(size)
        if block is None:
            if size > self._most or not self._room(size):
                return np.empty(shape, dtype)
            block = np.empty(size, np.uint8)
            self.bytes += size
        array: Array = np.ndarray(shape, dtype, block)
        self._blocks.setdefault(size, deque()).append(block)
        return array

    def _free(self, size: int) -> Array | None:
        line = self._blocks.get(size)
        for _ in range(min(len(line), LOOKS) if line else 0):
            try:
                block = line.popleft()  # type: ignore[union-attr]  # it has some
            except IndexError:  # other threads look at them
                return None
            if sys.getrefcount(block) <= ASKING:
                return block
            line.append(block)  # type: ignore[union-attr]
        return None

    def _room(self, size: int) -> bool:
        """Whether there is room for a block, made by dropping free ones of other sizes."""
        for other in list(self._blocks):
            while self.bytes + size > self._most and self._free(other) is not None:
                self.bytes -= other
        return self.bytes + size <= self._most


POOL = Pool()
