"""Random words by pieces that stay in a cache: all at once they pass through 64-bit counters and
products, thirty times their memory."""

from __future__ import annotations

from math import prod

import numpy as np

from graphc.ir.meaning.sources import words_from
from graphc.ir.types import Array, Shape

PIECE = 1 << 15  # words


def random_bits(seed: Array, draw: Array, *, shape: Shape) -> Array:
    return words_between(0, prod(shape), seed, draw).reshape(shape)


def words_between(first: int, count: int, seed: Array, draw: Array) -> Array:
    """Words `first`, a multiple of 4, and on of a draw."""
    out = np.empty(count, np.int32)
    for at in range(0, count, PIECE):
        part = out[at : at + PIECE]
        part[:] = words_from((first + at) // 4, -(-part.size // 4), seed, draw)[: part.size]
    return out
