"""Memory for the results of a plan: that of an earlier call's, once nobody has it any more."""

from __future__ import annotations

import sys

from graphc.frontend.places import Place
from graphc.ir.types import Array, TensorSpec

RECYCLED_BYTES = 1 << 20  # larger results are made anew each call, so that dropping one frees it
RING = 2  # a loop that rebinds one name holds the last result while the next is made


class Kept:
    """How many bytes a plan's results of earlier calls are, which it may use again."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Result:
    """Memory for one result: of an earlier call if nobody holds that any more, else new.

    What is saved for a backward pass is always recycled: touching new pages costs more than the
    stores themselves.
    """

    __slots__ = ("_dtype", "_kept", "_recycled", "_shape", "_size_bytes", "place", "ring")

    def __init__(self, spec: TensorSpec, returned: bool, place: Place, kept: Kept) -> None:
        self.place, self._kept, self._size_bytes = place, kept, spec.size_bytes
        self._shape, self._dtype = spec.shape, spec.dtype.numpy
        self._recycled = not returned or spec.size_bytes <= RECYCLED_BYTES
        self.ring: list[tuple[Array, int, object]] = []  # and what owns the memory

    def make(self) -> tuple[Array, int]:
        """An array and its address."""
        for array, place, owner in self.ring:
            if free(array, owner):
                return array, place
        array = self.place.empty(self._shape, self._dtype)
        made = array, self.place.address(array)
        if self._recycled and len(self.ring) < RING:
            self.ring.append((*made, self.place.base(array)))
            self._kept.bytes += self._size_bytes
        return made


def free(array: Array, owner: object) -> bool:
    """Whether nobody but its ring has an array of one, nor what owns its memory, if that is another
    object: the ring, a name there, one here and the call have both, the array its owner."""
    return sys.getrefcount(array) <= 4 and (owner is None or sys.getrefcount(owner) <= 5)
