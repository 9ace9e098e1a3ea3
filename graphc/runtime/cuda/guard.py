"""Which addresses kernels may touch: a set of live ranges, asked with whole arrays of addresses."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable

import numpy as np

from graphc.errors import OutOfBounds
from graphc.ir.types import Array

Touched = Callable[[Array, int, bool], None]


class Guard:
    """Live memory as disjoint ranges; what an access touched is also told to `touched`.

    Two ranges that lie side by side stay two: an access across their border is wrong.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}
        self._starts: list[int] = []
        self._arrays: tuple[Array, Array] | None = None
        self.touched: Touched | None = None

    def add(self, address: int, size_bytes: int) -> None:
        if size_bytes <= 0:
            return
        at = bisect_right(self._starts, address)
        before = self._starts[at - 1] if at else None
        overlaps = before is not None and before + self._sizes[before] > address
        if overlaps or (at < len(self._starts) and self._starts[at] < address + size_bytes):
            raise OutOfBounds(f"{size_bytes} bytes at {address:#x} overlap memory that is in use")
        insort(self._starts, address)
        self._sizes[address] = size_bytes
        self._arrays = None

    def remove(self, address: int) -> int:
        """Forget the range that starts here and give its size; 0 where there is none."""
        size = self._sizes.pop(address, 0)
        if size:
            self._starts.remove(address)
            self._arrays = None
        return size

    def starts(self) -> list[int]:
        return list(self._starts)

    def size_at(self, address: int) -> int:
        """Bytes from `address` to the end of the range that holds it; 0 outside every range."""
        at = bisect_right(self._starts, address)
        if not at:
            return 0
        start = self._starts[at - 1]
        return max(0, start + self._sizes[start] - address)

    def check_range(self, address: int, size_bytes: int, what: str) -> None:
        if size_bytes and self.size_at(address) < size_bytes:
            live = self.size_at(address)
            raise OutOfBounds(f"{what}: {size_bytes} bytes at {address:#x}, where {live} are live")

    def check(self, addresses: Array, mask: Array, itemsize: int, write: bool) -> None:
        """Raise unless every active lane lies in a live range; `addresses` u64 of any shape."""
        addresses, mask = np.broadcast_arrays(addresses, mask)
        active = addresses[mask]
        if not active.size:
            return
        starts, ends = self._bounds()
        at = np.searchsorted(starts, active, side="right") - 1
        bad = at < 0
        if len(ends):
            bad = bad | (active + np.uint64(itemsize) > ends[at])
        if bad.any():
            self._report(int(active[bad][0]), int(bad.sum()), itemsize, write)
        if self.touched is not None:
            self.touched(active, itemsize, write)

    def _bounds(self) -> tuple[Array, Array]:
        if self._arrays is None:
            starts = np.array(self._starts, np.uint64)
            sizes = np.array([self._sizes[s] for s in self._starts], np.uint64)
            self._arrays = starts, starts + sizes
        return self._arrays

    def _report(self, address: int, lanes: int, itemsize: int, write: bool) -> None:
        verb = "writes" if write else "reads"
        at = bisect_right(self._starts, address)
        near = "no memory is registered below it"
        if at:
            start = self._starts[at - 1]
            past = address - start
            near = f"it is {past} bytes into a range of {self._sizes[start]}"
        raise OutOfBounds(
            f"the kernel {verb} {itemsize} bytes at {address:#x}: {near} ({lanes} lanes in all)"
        )
