"""Random tensors from Philox4x32-10: each op takes its generator's next draw number.

An element depends on the seed, the draw number and its row-major index alone, so eager and
compiled programs, on any number of threads, give the same bits. In a trace, seed and draw number
are scalars of the call; the host advances the generator by `Trace.draws` after each call.
"""

from __future__ import annotations

import math
import os
from typing import Any

import numpy as np

from graphc.errors import InvalidArgument, Untraceable
from graphc.frontend import tensor as tensors
from graphc.frontend.inplace import write
from graphc.frontend.modes import check_device, get_default_dtype, modes, no_grad
from graphc.frontend.operands import broadcast_shapes, broadcast_to
from graphc.frontend.promotion import wrap
from graphc.frontend.shapes import sizes
from graphc.ir import sugar as P
from graphc.ir.ops import OPS
from graphc.ir.types import DType, Shape, f32, f64, i64

__all__ = [
    "Generator",
    "bernoulli",
    "default_generator",
    "get_rng_state",
    "initial_seed",
    "manual_seed",
    "normal",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
]

Tensor = Any  # `tensor.py` binds the functions below, so its class does not exist yet here
BITS = OPS["random_bits"]
EXACT_BITS = {"f16": 11, "bf16": 8, "f32": 24, "f64": 53, "bool": 1, "u8": 8}


class Generator:
    """A seed and the number of the next draw: the whole state."""

    def __init__(self, device: Any = "cpu") -> None:
        check_device(device)
        self.seed_value = 0
        self.draw = 0

    def manual_seed(self, seed: int) -> Generator:
        """Start again from draw 0 of `seed`."""
        self.seed_value = int(seed) & 0xFFFFFFFFFFFFFFFF
        self.draw = 0
        return self

    def seed(self) -> int:
        """Start again from a seed of the operating system's."""
        self.manual_seed(int.from_bytes(os.urandom(8), "little") >> 1)
        return self.seed_value

    def initial_seed(self) -> int:
        return self.seed_value

    def signed_seed(self) -> int:
        """The seed as an i64 holds it."""
        return int(wrap(self.seed_value, i64))

    def next_number(self) -> int:
        return self.draw

    def advance(self, draws: int) -> None:
        self.draw += draws

    def get_state(self) -> Tensor:
        return tensors.Tensor(np.array([self.signed_seed(), self.draw], np.int64))

    def set_state(self, state: Tensor) -> None:
        seed, draw = state.tolist()
        self.manual_seed(seed)
        self.draw = draw


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    return default_generator.manual_seed(seed)


def seed() -> int:
    return default_generator.seed()


def initial_seed() -> int:
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    return default_generator.get_state()


def set_rng_state(state: Tensor) -> None:
    default_generator.set_state(state)


# ---- from bits to numbers ----------------------------------------------------------------------


def random_bits(shape: Shape, generator: Generator | None) -> Tensor:
    """i32 words of the next draw."""
    g = generator or default_generator
    if modes.trace is not None:
        seed, draw = modes.trace.next_draw(g)
    else:
        seed, draw = tensors.scalar(g.signed_seed(), i64), tensors.scalar(g.draw, i64)
        g.advance(1)
    return seed.emit(BITS, seed, draw, shape=shape)


def _high_bits(words: Tensor, count: int) -> Tensor:
    """The top bits of each word as a number from 0."""
    shifted = words.emit(OPS["shr"], words, 32 - count)
    return words.emit(OPS["and"], shifted, (1 << count) - 1)


def _column(x: Tensor, k: int) -> Tensor:
    """x[..., k]."""
    *lead, _ = x.type.shape
    part = P.slice(x, (*(0 for _ in lead), k), (*lead, k + 1))
    return P.reshape(part, tuple(lead))


def _unit(shape: Shape, dtype: DType, generator: Generator | None) -> Tensor:
    """Uniform in [0, 1): 24 bits, or 53 for float64."""
    if dtype is f64:
        words = random_bits((*shape, 2), generator)
        high = P.cast(_high_bits(_column(words, 0), 27), f64)
        low = P.cast(_high_bits(_column(words, 1), 26), f64)
        return (high * 2.0**26 + low) * 2.0**-53
    bits = EXACT_BITS[dtype.name]  # so that a half type never rounds up to 1
    whole = _high_bits(random_bits(shape, generator), bits)
    return P.cast(P.cast(whole, f32) * 2.0**-bits, dtype)


def _normal(shape: Shape, dtype: DType, generator: Generator | None) -> Tensor:
    """Standard normal by Box and Muller, 1958, from two words an element."""
    wide = f64 if dtype is f64 else f32
    words = random_bits((*shape, 2), generator)
    u = (P.cast(_high_bits(_column(words, 0), 24), wide) + 1.0) * 2.0**-24  # in (0, 1]
    angle = P.cast(_high_bits(_column(words, 1), 24), wide) * (2 * math.pi * 2.0**-24)
    radius = P.apply("sqrt", P.apply("log", u) * -2.0)
    return P.cast(radius * P.apply("cos", angle), dtype)


# ---- factories ---------------------------------------------------------------------------------


def _floating(dtype: DType | None) -> DType:
    kind = dtype or get_default_dtype()
    if not kind.is_floating_point:
        raise InvalidArgument(f"random numbers of dtype {kind!r}", fix="use randint")
    return kind


def rand(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Uniform in [0, 1)."""
    check_device(device)
    return _unit(sizes(size), _floating(dtype), generator).requires_grad_(requires_grad)


def randn(
    *size: Any,
    generator: Generator | None = None,
    dtype: DType | None = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Standard normal."""
    check_device(device)
    return _normal(sizes(size), _floating(dtype), generator).requires_grad_(requires_grad)


def rand_like(x: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    return rand(x.type.shape, dtype=dtype or x.dtype, **options)


def randn_like(x: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    return randn(x.type.shape, dtype=dtype or x.dtype, **options)


def randint(
    low: int,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DType = i64,
    device: Any = None,
) -> Tensor:
    """Integers in [low, high): randint(high, size) or randint(low, high, size)."""
    check_device(device)
    if size is None:
        low, high, size = 0, low, high
    return _integers(low, high, sizes((size,)), dtype, generator)


def _integers(low: int, high: int, shape: Shape, dtype: DType, g: Generator | None) -> Tensor:
    span = high - low
    if span <= 0:
        raise InvalidArgument(f"randint: nothing lies in [{low}, {high})")
    if span <= 1 << 31:  # the product of word and span fits 63 bits
        words = P.cast(random_bits(shape, g), i64)
        unsigned = words.emit(OPS["and"], words, 0xFFFFFFFF)
        scaled = unsigned * span
        number = scaled.emit(OPS["shr"], scaled, 32)
    else:
        pair = P.cast(random_bits((*shape, 2), g), i64)
        upper, lower = _column(pair, 0), _column(pair, 1)
        upper = upper.emit(OPS["shl"], upper.emit(OPS["and"], upper, 0x3FFFFFFF), 32)
        number = (upper + lower.emit(OPS["and"], lower, 0xFFFFFFFF)) % span
    return P.cast(number + low, dtype)


def randint_like(x: Tensor, low: int, high: Any = None, **options: Any) -> Tensor:
    if high is None:
        low, high = 0, low
    return randint(low, high, x.type.shape, dtype=options.pop("dtype", x.dtype), **options)


def randperm(
    n: int, *, generator: Generator | None = None, dtype: DType = i64, device: Any = None
) -> Tensor:
    """The numbers 0 .. n - 1 in random order."""
    check_device(device)
    if modes.trace is not None:
        raise Untraceable("randperm() sorts on the host", fix="make the permutation outside")
    words = random_bits((n, 2), generator).host().astype(np.int64)
    keys = (words[:, 0] << 32) ^ (words[:, 1] & 0xFFFFFFFF)
    order = np.argsort(keys, kind="stable").astype(dtype.numpy)
    return tensors.Tensor(order)


def bernoulli(p: Tensor, *, generator: Generator | None = None) -> Tensor:
    """1 with probability p, else 0, in p's dtype."""
    draw = _unit(p.type.shape, p.dtype if p.dtype is f64 else f32, generator)
    return P.cast(draw < p.detach(), p.dtype)


def normal(
    mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None
) -> Tensor:
    """Normal with the given means and standard deviations (tensors or numbers)."""
    shapes = [v.type.shape for v in (mean, std) if isinstance(v, P.Sugar)]
    shape = broadcast_shapes(*shapes) if shapes else sizes((size,))
    return _normal(shape, get_default_dtype(), generator) * std + mean


# ---- in place ----------------------------------------------------------------------------------


def _write(x: Tensor, value: Tensor) -> Tensor:
    with no_grad():
        value = P.cast(value, x.dtype)
    return write(x, broadcast_to(value, x.type.shape))


def uniform_(
    x: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    return _write(x, _unit(x.type.shape, _wide(x), generator) * (b - a) + a)


def normal_(
    x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    if std < 0:
        raise InvalidArgument(f"normal_: std {std} is negative")
    return _write(x, _normal(x.type.shape, _wide(x), generator) * std + mean)


def _wide(x: Tensor) -> DType:
    return f64 if x.dtype is f64 else f32


def bernoulli_(x: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    return _write(x, _unit(x.type.shape, f32, generator) < p)


def random_(
    x: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Integers in [low, high); by default from 0 up to what the dtype holds exactly."""
    if high is None:
        high = 1 << EXACT_BITS.get(x.dtype.name, 8 * x.dtype.itemsize - 1)
    return _write(x, _integers(low, high, x.type.shape, i64, generator))


def exponential_(x: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Exponential with rate `lambd`."""
    u = _unit(x.type.shape, _wide(x), generator)
    return _write(x, P.apply("log", 1.0 - u) * (-1.0 / lambd))
