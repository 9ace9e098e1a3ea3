"""Random tensors from Philox4x32-10: each op takes its generator's next draw number.

An element depends on the seed, the draw number and its row-major index alone, so eager and
compiled programs, on any number of threads, give the same bits: what NumPy would round otherwise,
such as a logarithm, eager draws have compiled code compute (`modes.drawing`). In a trace, seed and
draw number are scalars of the call; the host advances the generator by `Trace.draws` after each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from graphc.errors import DTypeMismatch, DTypeNotImplemented, InvalidState, InvalidType
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api import formats
from graphc.frontend.api.bits import (
    EXACT_BITS,
    Made,
    column,
    normal_numbers,
    of_words,
    random_bits,
    same,
    unit_numbers,
)
from graphc.frontend.api.generator import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from graphc.frontend.api.shapes import cat
from graphc.frontend.checked import checked, ordered, required
from graphc.frontend.devices import resolve
from graphc.frontend.dims import broadcast_shapes, sizes
from graphc.frontend.factory import factory
from graphc.frontend.hostvalue import of_numbers
from graphc.frontend.inplace import write
from graphc.frontend.modes import drawing, get_default_dtype, no_grad
from graphc.frontend.operands import broadcast_to, floating
from graphc.frontend.options import as_dtype
from graphc.frontend.promotion import LARGEST as LARGEST_OF
from graphc.frontend.registry import public
from graphc.frontend.tensor import Tensor
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
    "multinomial",
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

# ---- factories ---------------------------------------------------------------------------------


def _floating(dtype: DType | None) -> DType:
    kind = dtype or get_default_dtype()
    if not kind.is_floating_point:
        raise DTypeNotImplemented(f"random numbers of dtype {kind!r}", fix="use randint")
    return kind


@public(out=True)
@factory
def rand(
    *sizes_: Any, size: Any = None, generator: Generator | None = None, dtype: DType | None = None
) -> Tensor:
    """Uniform in [0, 1). -> the shape given."""
    shape = sizes(sizes_, size)
    return unit_numbers(shape, _floating(dtype), generator)


@public(out=True)
@factory
def randn(
    *sizes_: Any, size: Any = None, generator: Generator | None = None, dtype: DType | None = None
) -> Tensor:
    """Standard normal. -> the shape given."""
    shape = sizes(sizes_, size)
    return normal_numbers(shape, _floating(dtype), generator)


def rand_like(input: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """Uniform on [0, 1), of input's shape, dtype and device."""
    return _like(rand, input, input.spec.shape, dtype=dtype or input.dtype, **options)


def randn_like(input: Tensor, *, dtype: DType | None = None, **options: Any) -> Tensor:
    """Normal of mean 0 and deviation 1, of input's shape, dtype and device."""
    return _like(randn, input, input.spec.shape, dtype=dtype or input.dtype, **options)


def _like(make: Callable[..., Tensor], input: Tensor, *args: Any, **options: Any) -> Tensor:
    """A new tensor that lies as `input` does, unless another format is asked for."""
    memory_format = options.pop("memory_format", None)
    options["device"] = options.get("device") or input.device
    return formats.like(make(*args, **options), input, memory_format)


@public(out=True)
@factory
def randint(
    low: int = 0,
    high: Any = None,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: DType | None = None,
) -> Tensor:
    """Integers in [low, high): randint(high, size) or randint(low, high, size).

    -> the shape given.
    """
    if size is None:
        low, high, size = 0, low, high
    elif high is None:
        low, high = 0, low
    if not isinstance(size, tuple | list):
        raise InvalidType(f"randint: the size must be a tuple of integers, got {size!r:.100}")
    return _integers(int(low), int(high), sizes((size,)), dtype or i64, generator)


def _integers(low: int, high: int, shape: Shape, dtype: DType, g: Generator | None) -> Tensor:
    span = high - low
    if span <= 0:
        raise InvalidState(f"randint: nothing lies in [{low}, {high})")

    def near(drawn: Tensor) -> Tensor:
        words = P.cast(drawn, i64)
        scaled = words.emit(OPS["and"], words, 0xFFFFFFFF) * span
        return P.cast(scaled.emit(OPS["shr"], scaled, 32) + low, dtype)

    def far(drawn: Tensor) -> Tensor:
        pair = P.cast(drawn, i64)
        upper, lower = column(pair, 0), column(pair, 1)
        upper = upper.emit(OPS["shl"], upper.emit(OPS["and"], upper, 0x3FFFFFFF), 32)
        number = (upper + lower.emit(OPS["and"], lower, 0xFFFFFFFF)) % span
        return P.cast(number + low, dtype)

    if span <= 1 << 31:  # the product of word and span fits 63 bits
        return of_words(shape, 1, dtype, g, near)
    return of_words(shape, 2, dtype, g, far)


def randint_like(input: Tensor, low: int, high: Any = None, **options: Any) -> Tensor:
    """Integers of [low, high), or [0, low), of input's shape, dtype and device."""
    if high is None:
        low, high = 0, low
    options.setdefault("dtype", input.dtype)
    return _like(randint, input, low, high, input.spec.shape, **options)


@public(out=True)
@factory
@device_ops.by_host
def randperm(n: int, *, generator: Generator | None = None, dtype: DType | None = None) -> Tensor:
    """The numbers 0 .. n - 1 in random order. -> [n]."""
    (n,) = sizes((n,))
    if n < 0:
        raise InvalidState(f"randperm: n must not be negative, got {n}")
    words = P.cast(random_bits((n, 2), generator), i64)
    keys = (words[:, 0] << 32) ^ (words[:, 1] & 0xFFFFFFFF)
    return P.cast(keys.emit(OPS["argsort"], keys, axis=0, descending=False), dtype or i64)


def _unit_as(
    x: Tensor, shape: Shape, dtype: DType, generator: Generator | None, then: Made = same
) -> Tensor:
    """`unit_numbers` where x is."""
    made: Tensor = _unit_on(shape, generator, then, dtype=dtype, device=x.device)
    return made


@factory
def _unit_on(shape: Shape, generator: Generator | None, then: Made, *, dtype: DType) -> Tensor:
    return unit_numbers(shape, dtype, generator, then)


@public(method=True, out=True)
def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """1 with probability `input` (or p everywhere, if given), else 0, of its shape and dtype."""
    x = input.detach()
    if p is None and not x.dtype.is_floating_point:
        raise DTypeNotImplemented(f"bernoulli needs floating probabilities, got {x.spec}")
    chance = _in_range(x if p is None else p, 0.0, 1.0, "bernoulli: a probability")
    draw = _unit_as(x, x.spec.shape, _wide(x, "bernoulli"), generator)
    out: Tensor = draw < chance
    return P.cast(out, x.dtype)


def _in_range(x: Any, low: float, high: float, what: str) -> Any:
    """x, a number or a tensor, which may hold nothing outside [low, high]."""
    text = f"{what} is outside [{low}, {high}]"
    return required(x, lambda x: (x >= low) & (x <= high), text, InvalidState)


@public(out=True)
def normal(
    mean: Any = 0.0,
    std: Any = 1.0,
    size: Any = None,
    *,
    generator: Generator | None = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Normal with the given means and standard deviations (tensors or numbers).

    Shape `size`, or that to which mean and std broadcast.
    """
    std = _in_range(std, 0.0, math.inf, "normal: std")
    given = [v for v in (mean, std) if isinstance(v, tensors.Tensor)]
    if not given and size is None:
        raise InvalidType("normal() of two numbers needs a size", fix="pass size=(..)")
    shape = broadcast_shapes(*(v.spec.shape for v in given)) if given else sizes((size,))
    kind = as_dtype(dtype) or (given[0].dtype if given else get_default_dtype())
    with no_grad():
        made = normal_numbers(shape, _floating(kind), generator)
        made = device_ops.like(made, given[0]) if given else made.to(resolve(device))
        out: Tensor = P.cast(made * std + mean, kind)
    return out.requires_grad_(requires_grad)


@public(method=True, out=True)
def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Indices [.., num_samples] drawn by weights [.., n], which need not sum to 1.

    With replacement by the inverse of the cumulative distribution; without, the largest of weight
    over exponential (Efraimidis and Spirakis 2006). Raises RuntimeError for weights below zero, not
    finite or all zero, and for more samples than weights.

    [..., N] -> [..., num_samples].
    """
    x = input.detach()
    rank = len(x.spec.shape)
    if not x.dtype.is_floating_point or rank not in (1, 2):
        raise DTypeMismatch(f"multinomial needs floating weights [n] or [m, n], got {x.spec}")
    n = x.spec.shape[-1]
    if num_samples <= 0 or (not replacement and num_samples > n):
        how = "with" if replacement else "without"
        raise InvalidState(f"multinomial: {num_samples} samples of {n} {how} replacement")
    x = _in_range(P.cast(x, f64), 0.0, LARGEST, "multinomial: a weight")
    some = (x > 0).any(-1, keepdim=True)
    x = checked(x, some, "multinomial: the sum of the weights is zero", InvalidState)
    draw = _from_cumulative if replacement else _from_keys
    return draw(x, num_samples, generator)


LARGEST = float(np.finfo(np.float64).max)


@drawing
def _from_cumulative(x: Tensor, count: int, generator: Generator | None) -> Tensor:
    """How many cumulative weights do not exceed a uniform share of their sum."""
    shape = (*x.spec.shape[:-1], count)
    steps = x.cumsum(-1)
    share = _unit_as(x, shape, f64, generator) * steps[..., -1:]
    index = (steps.unsqueeze(-2) <= share.unsqueeze(-1)).sum(-1)
    return index.clamp(max=x.spec.shape[-1] - 1)


@drawing
def _from_keys(x: Tensor, count: int, generator: Generator | None) -> Tensor:
    """The places of the `count` largest keys."""
    exponential = P.apply("log", 1.0 - _unit_as(x, x.spec.shape, f64, generator)) * -1.0
    keys = (x / exponential).where(x > 0, -1.0)
    picked = []
    for _ in range(count):
        best = keys.argmax(-1, keepdim=True)
        picked.append(best)
        keys = keys.where(P.one_hot(best, len(x.spec.shape) - 1, x.spec.shape).logical_not(), -2.0)
    return cat(picked, -1)


# ---- in place ----------------------------------------------------------------------------------


def _write(x: Tensor, value: Tensor) -> Tensor:
    with no_grad():
        value = device_ops.like(P.cast(value, x.dtype), x)
    return write(x, broadcast_to(value, x.spec.shape))


@public(method=True)
def uniform_(
    x: Tensor, a: float = 0.0, b: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill x with numbers uniform on [a, b)."""
    a, b = ordered(a, b, f"uniform_: nothing lies in [{a}, {b})", InvalidState)
    kind, most = _wide(x, "uniform_"), float(LARGEST_OF[x.dtype] or 0)
    text = f"uniform_: [{a}, {b}) is out of bounds for {x.dtype}"
    width = required(b - a, lambda w: w <= most, text, InvalidState)
    return _write(x, _unit_as(x, x.spec.shape, kind, generator, _between(a, width)))


def _between(a: float, width: float) -> Made:
    return lambda unit: unit * width + a


@public(method=True)
def normal_(
    x: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Fill x with normal numbers of this mean and standard deviation."""
    std = required(std, lambda s: s >= 0, f"normal_: std {std} is negative", InvalidState)
    kind = _wide(x, "normal_")
    return _write(x, normal_numbers(x.spec.shape, kind, generator, lambda n: n * std + mean))


def _wide(x: Tensor, name: str) -> DType:
    return f64 if floating(x, name).dtype is f64 else f32


@public(method=True)
def bernoulli_(x: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill x with ones at probability p (a number, or a tensor that broadcasts) and zeros."""
    chance = _in_range(p, 0.0, 1.0, "bernoulli_: a probability")
    return _write(x, _unit_as(x, x.spec.shape, f32, generator) < chance)


@public(method=True)
def random_(
    x: Tensor, low: int | None = None, to: int | None = None, *, generator: Generator | None = None
) -> Tensor:
    """Integers in [low, to); random_(to) and random_() begin at 0, and the last goes up to what the
    dtype holds exactly."""
    low, high = (0, low) if to is None else (low or 0, to)
    if high is None:
        high = 1 << EXACT_BITS.get(x.dtype.name, 8 * x.dtype.itemsize - 1)
    return _write(x, _integers(low, high, x.spec.shape, i64, generator))


@public(method=True)
@drawing
def exponential_(x: Tensor, lambd: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Exponential with rate `lambd`."""
    text = f"exponential_: lambda {lambd} must be positive"
    lambd = required(lambd, lambda v: v > 0, text, InvalidState)
    u = unit_numbers(x.spec.shape, _wide(x, "exponential_"), generator)
    return _write(x, P.apply("log", 1.0 - u) * (-1.0 / lambd))


@public(method=True)
@drawing
def geometric_(x: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Tries up to and including the first success of probability p: 1, 2, .."""
    text = f"geometric_: p {p} is outside (0, 1)"
    p = required(p, lambda p: (p > 0) & (p < 1), text, InvalidState)
    u = unit_numbers(x.spec.shape, f64 if x.dtype is f64 else f32, generator)
    rate = 1 / of_numbers(math.log1p, -p)
    return _write(x, P.apply("ceil", P.apply("log", 1.0 - u) * rate).clamp(min=1))


@public(method=True)
@drawing
def log_normal_(
    x: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """exp of a normal number."""
    text = f"log_normal_: std {std} must be positive"
    std = required(std, lambda s: s > 0, text, InvalidState)
    drawn = normal_numbers(x.spec.shape, _wide(x, "log_normal_"), generator)
    return _write(x, P.apply("exp", drawn * std + mean))


@public(method=True)
@drawing
def cauchy_(
    x: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Cauchy with the given median and half width at half height."""
    text = f"cauchy_: sigma {sigma} must be positive"
    sigma = required(sigma, lambda s: s > 0, text, InvalidState)
    angle = (unit_numbers(x.spec.shape, _wide(x, "cauchy_"), generator) - 0.5) * math.pi
    return _write(x, P.apply("sin", angle) / P.apply("cos", angle) * sigma + median)
