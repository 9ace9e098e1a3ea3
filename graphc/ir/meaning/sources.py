"""What is made from nothing: indices, and random bits of a counter."""

from __future__ import annotations

from math import prod

import numpy as np

from graphc.ir.types import DTYPES, Array, Shape


def iota(*, shape: Shape, axis: int, dtype: str) -> Array:
    """The index along `axis`, in every element of `shape`."""
    line = np.arange(shape[axis]).astype(DTYPES[dtype].numpy)
    column = line.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return np.broadcast_to(column, shape)


PHILOX_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
PHILOX_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
MASK32 = np.uint64(0xFFFFFFFF)


def philox(counter: list[Array], key: tuple[int, int]) -> list[Array]:
    """Philox4x32-10 on uint64 arrays that hold 32-bit words (Salmon et al., SC'11)."""
    k0, k1 = key
    c0, c1, c2, c3 = counter
    for _ in range(10):
        p0, p1 = PHILOX_MULTIPLIERS[0] * c0, PHILOX_MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (
            (p1 >> np.uint64(32)) ^ c1 ^ np.uint64(k0),
            p1 & MASK32,
            (p0 >> np.uint64(32)) ^ c3 ^ np.uint64(k1),
            p0 & MASK32,
        )
        k0, k1 = (k0 + PHILOX_KEY_STEPS[0]) & 0xFFFFFFFF, (k1 + PHILOX_KEY_STEPS[1]) & 0xFFFFFFFF
    return [c0, c1, c2, c3]


def random_bits(seed: Array, draw: Array, *, shape: Shape) -> Array:
    """Word i % 4 of Philox(key=seed, counter=(i // 4, draw)) for row-major element i, as i32."""
    n = prod(shape)
    return words_from(0, -(-n // 4), seed, draw)[:n].reshape(shape)


def words_from(first: int, count: int, seed: Array, draw: Array) -> Array:
    """The words of so many counters from `first` on, four of each, as i32."""
    block = np.arange(first, first + count, dtype=np.uint64)
    d = int(draw) & 0xFFFFFFFFFFFFFFFF
    s = int(seed) & 0xFFFFFFFFFFFFFFFF
    high = [np.full_like(block, word) for word in (d & 0xFFFFFFFF, d >> 32)]
    words = philox([block & MASK32, block >> np.uint64(32), *high], (s & 0xFFFFFFFF, s >> 32))
    return np.stack(words, axis=1).ravel().astype(np.uint32).view(np.int32)
