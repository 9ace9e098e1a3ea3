"""Floats by their parts: mantissa and exponent, and the next one in a direction.

All of it is exact: powers of two come from a table, since a rounded one would be another number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from graphc import return_types
from graphc.errors import ShapeMismatch
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic, ternary
from graphc.frontend.modes import modes
from graphc.frontend.operands import check_tensors, floating, prepare
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import pointwise, public
from graphc.frontend.tape import record_rule
from graphc.ir import sugar as P
from graphc.ir.types import DType, bf16, f16, f32, f64, i32, i64

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

__all__ = ["frexp", "nextafter"]


class Format(NamedTuple):
    """Bits of the mantissa, the hidden one counted, and the exponents (of mantissas in 0.5 .. 1)
    of the largest number and of the least normal one."""

    bits: int
    top: int
    least: int


FORMATS: dict[DType, Format] = {
    f16: Format(11, 16, -13),
    bf16: Format(8, 128, -125),
    f32: Format(24, 128, -125),
    f64: Format(53, 1024, -1021),
}


def _powers(like: Tensor) -> Tensor:
    """2^k at place k + 1100, as far as like's dtype (f32 or f64) has it; else 0 or infinity."""
    with np.errstate(over="ignore", under="ignore"):
        table = np.ldexp(np.ones(2200), np.arange(-1100, 1100)).astype(like.dtype.numpy)
    return device_ops.like(tensors.wrapped(table), like)


def _power(exponent: Tensor, table: Tensor) -> Tensor:
    found: Tensor = table[P.cast(exponent, i64) + 1100]
    return found


def _split(x: Tensor, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of |x|, finite and not 0: whether that holds, the mantissa in 0.5 .. 1, and the exponent."""
    form = FORMATS[x.dtype]
    size = E.abs(x)
    fine = logic.logical_and(size > 0, logic.isfinite(x))
    size = E.where(fine, size, 1.0)
    tiny = size < 2.0 ** (form.least - 1)
    size = E.where(tiny, size * 2.0**form.bits, size)
    # The logarithm is rounded: the exponent may be one off, which the mantissa then tells.
    exponent = P.cast(E.floor(E.log2(size)), i32) + 1
    half = P.cast(P.cast(exponent, x.dtype) / 2, i32)  # the whole power may be out of range
    mantissa = size * _power(-half, table) * _power(half - exponent, table)
    over, under = mantissa >= 1.0, mantissa < 0.5
    mantissa = E.where(over, mantissa * 0.5, E.where(under, mantissa * 2.0, mantissa))
    exponent = exponent + P.cast(over, i32) - P.cast(under, i32)
    return fine, mantissa, P.cast(exponent - E.where(tiny, form.bits, 0), i32)


@public(method=True, out=True)
def frexp(input: Tensor) -> return_types.frexp:
    """input = mantissa * 2^exponent with 0.5 <= |mantissa| < 1; zeros, infinities and NaN with 0.

    -> of input's dtype and int32. Raises ShapeMismatch for integers.
    """
    if not input.dtype.is_floating_point:
        raise ShapeMismatch("torch.frexp() only supports floating-point dtypes")
    kind = input.dtype
    x = P.cast(input, f32) if kind.is_half else input
    table = _powers(x)
    fine, _, exponent = _split(x.detach(), table)
    exponent = P.cast(E.where(fine, exponent, 0), i32)
    half = P.cast(P.cast(exponent, x.dtype) / 2, i32)
    mantissa = x * _power(-half, table) * _power(half - exponent, table)
    return return_types.frexp(P.cast(mantissa, kind), exponent)


@pointwise
def nextafter(input: Tensor, other: Tensor) -> Tensor:
    """The next number after input in the direction of other; other where they are equal.

    NaN where one is NaN. The gradient is input's alone, and 0 where they are equal.
    """
    check_tensors("nextafter", input, other)
    kind = result_type(input, other)
    x, y = prepare((floating(input, "nextafter"), floating(other, "nextafter")), kind)
    wide = f32 if kind.is_half else kind
    out = _next(P.cast(x.detach(), wide), P.cast(y.detach(), wide), FORMATS[kind])
    out = P.cast(out, kind)
    if modes.grad and x.requires_grad:
        moves = logic.ne(x, y)
        record_rule("nextafter", (out,), (x,), lambda gs: (E.where(moves, gs[0], 0.0),))
    return out


def _next(x: Tensor, y: Tensor, form: Format) -> Tensor:
    table = _powers(x)
    fine, mantissa, exponent = _split(x, table)
    up, smallest = y > x, form.least - form.bits
    # Towards 0 the numbers below a power of two are twice as dense.
    denser = logic.logical_and(mantissa == 0.5, logic.ne(up, x > 0))
    power = exponent - form.bits - P.cast(denser, i32)
    gap = _power(ternary.clamp(power, smallest), table)
    moved = x + E.where(up, gap, -gap)
    moved = E.where(moved == 0, x * 0.0, moved)
    largest = (2.0 - 2.0 ** (1 - form.bits)) * 2.0 ** (form.top - 1)
    first = x * 0.0 + 2.0**smallest  # of x's dtype
    special = E.where(x == 0, E.where(up, first, -first), E.sign(x) * largest)
    found = E.where(fine, moved, special)
    found = E.where(logic.eq(x, y), y, found)
    return E.where(logic.logical_or(logic.isnan(x), logic.isnan(y)), float("nan"), found)
