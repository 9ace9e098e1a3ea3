"""A Source run on NumPy arrays, by the way that a launch takes: packed, read back, interpreted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np

from graphc.ir.cuda_abi import ERROR_WORDS, Source
from graphc.ir.types import Array
from graphc.runtime.cuda import pack
from graphc.runtime.cuda.guard import Guard


def run(
    source: Source,
    buffers: Sequence[Array],
    sizes: Mapping[str, int],
    scalars: Sequence[float] = (),
    *,
    reverse: bool = False,
    error: Array | None = None,
) -> Array:
    """Launch over `buffers` (written in place); `sizes` in the kernel's order. Gives error words.

    An array must be aligned as its parameter says: `aligned` makes such copies.
    """
    from graphc.runtime.cuda import interp

    error = np.zeros(ERROR_WORDS, np.int64) if error is None else error
    guard = Guard()
    programs = prod(pack.grid(source, sizes))
    scratch = aligned(np.full(programs * source.scratch_bytes, 255, np.uint8))  # all NaN
    counters = aligned(np.zeros(programs, np.int32))
    held = (*buffers, error, scratch, counters)
    for array in {a.ctypes.data: a for a in held}.values():
        guard.add(array.ctypes.data, array.nbytes)
    (*own, error_at, scratch_at, counters_at) = [a.ctypes.data for a in held]
    values = pack.bound(source, own, [*sizes.values()], scalars, error_at, scratch_at, counters_at)
    packed = pack.pack(source, values)
    values, _ = pack.read(source, packed.address)
    interp.launch(source, values, pack.grid(source, sizes), guard, reverse=reverse)
    assert not counters.any(), "counters are zero again"
    return error


def aligned(array: Array, boundary: int = 256) -> Array:
    """A contiguous copy at a multiple of `boundary`."""
    array = np.asarray(array)
    room = np.empty(array.nbytes + boundary, np.uint8)
    start = -room.ctypes.data % boundary
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
