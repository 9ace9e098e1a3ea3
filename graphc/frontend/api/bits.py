"""From the words of a draw to numbers. What is eager and large is made by pieces: memory holds the
result alone, and what is on the way to it stays in a cache."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api.generator import Generator, default_generator
from graphc.frontend.eager.words import words_between
from graphc.frontend.modes import drawing, modes
from graphc.frontend.tensor import Tensor
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Shape, TensorSpec, f32, f64, i32, i64

BITS = OPS["random_bits"]
EXACT_BITS = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53, "bool": 1, "u8": 8}
PIECE = 1 << 16  # elements of a large draw that are made at once


def random_bits(shape: Shape, generator: Generator | None) -> Tensor:
    """i32 words of the next draw."""
    g = generator or default_generator
    if modes.trace is not None:
        seed, draw = modes.trace.next_draw(g)
    else:
        seed, draw = tensors.scalar(g.signed_seed(), i64), tensors.scalar(g.draw, i64)
        g.advance(1)
        if modes.place is not None:
            return device_ops.bits(modes.place, seed, draw, shape)
    return seed.emit(BITS, seed, draw, shape=shape)


def of_words(
    shape: Shape,
    each: int,
    dtype: DType,
    generator: Generator | None,
    of: Callable[[Tensor], Tensor],
) -> Tensor:
    """What `of` makes of the words of the next draw, `each` for an element, in one more dimension
    if they are several. Eager draws that are large are made by pieces: what a step fuses passes
    through a cache, and memory holds the result alone."""
    inner = (each,) if each > 1 else ()
    if modes.trace is not None or modes.place is not None or math.prod(shape) <= PIECE:
        return of(random_bits((*shape, *inner), generator))
    g = generator or default_generator
    seed, draw = (np.array(n, np.int64) for n in (g.signed_seed(), g.draw))
    g.advance(1)
    out = np.empty(math.prod(shape), dtype.numpy)
    for first in range(0, out.size, PIECE):
        part = out[first : first + PIECE]
        words = words_between(first * each, part.size * each, seed, draw)
        spec = TensorSpec(i32, (part.size, *inner))
        part[:] = of(tensors.fresh(words.reshape(spec.shape), spec)).array
    return tensors.fresh(out.reshape(shape), TensorSpec(dtype, shape))


def _high_bits(words: Tensor, count: int) -> Tensor:
    """The top bits of each word as a number from 0."""
    shifted = words.emit(OPS["shr"], words, 32 - count)
    return words.emit(OPS["and"], shifted, (1 << count) - 1)


def column(x: Tensor, k: int) -> Tensor:
    """x[..., k]."""
    *lead, _ = x.spec.shape
    part = P.slice(x, (*(0 for _ in lead), k), (*lead, k + 1))
    return P.reshape(part, tuple(lead))


def same(x: Tensor) -> Tensor:
    return x


Made = Callable[[Tensor], Tensor]  # what is made of the numbers of a draw, element by element


def unit_numbers(
    shape: Shape, dtype: DType, generator: Generator | None, then: Made = same
) -> Tensor:
    """Uniform in [0, 1): 24 bits, or 53 for float64."""

    def wide(words: Tensor) -> Tensor:
        high = P.cast(_high_bits(column(words, 0), 27), f64)
        low = P.cast(_high_bits(column(words, 1), 26), f64)
        return then((high * 2.0**26 + low) * 2.0**-53)

    def narrow(words: Tensor) -> Tensor:
        bits = EXACT_BITS[dtype.name]  # so that a half type never rounds up to 1
        return then(P.cast(P.cast(_high_bits(words, bits), f32) * 2.0**-bits, dtype))

    if dtype is f64:
        return of_words(shape, 2, dtype, generator, wide)
    return of_words(shape, 1, dtype, generator, narrow)


@drawing
@device_ops.by_host
def normal_numbers(
    shape: Shape, dtype: DType, generator: Generator | None, then: Made = same
) -> Tensor:
    """Standard normal by Box and Muller, 1958, from two words an element.

    For a GPU, too, by the host: log and cos differ in their last bits from machine to machine.
    """
    wide = f64 if dtype is f64 else f32

    def of(words: Tensor) -> Tensor:
        u = (P.cast(_high_bits(column(words, 0), 24), wide) + 1.0) * 2.0**-24  # in (0, 1]
        angle = P.cast(_high_bits(column(words, 1), 24), wide) * (2 * math.pi * 2.0**-24)
        radius = P.apply("sqrt", P.apply("log", u) * -2.0)
        return then(P.cast(radius * P.apply("cos", angle), dtype))

    return of_words(shape, 2, dtype, generator, of)
