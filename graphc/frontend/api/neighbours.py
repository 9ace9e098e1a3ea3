"""Floats by their parts: mantissa and exponent, and the next one in a direction.

All of it is exact: powers of two come from a table, since a rounded one would be another number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from graphc import return_types
from graphc.errors import AutogradError, ShapeMismatch
from graphc.frontend import device_ops
from graphc.frontend import tensor as tensors
from graphc.frontend.api import elementwise as E
from graphc.frontend.api import logic
from graphc.frontend.modes import modes
from graphc.frontend.operands import broadcast_to, floating
from graphc.frontend.dims import broadcast_shapes
from graphc.frontend.promotion import result_type
from graphc.frontend.registry import pointwise, public
from graphc.ir import sugar as P
from graphc.ir.types import DType, TensorSpec, bf16, f16, f32, f64, i32, i64

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


def _powers(kind: DType, like: Tensor) -> Tensor:
    """2^k at place k + 1100, as far as `kind` (f32 or f64) has it; else 0 or infinity."""
    with np.errstate(over="ignore", under="ignore"):
        table = np.ldexp(np.ones(2200), np.arange(-1100, 1100)).astype(kind.numpy)
    return device_ops.like(tensors.wrapped(table), like)


def _power(exponent: Tensor, table: Tensor) -> Tensor:
    return table[P.cast(exponent, i64) + 1100]


def _split(x: Tensor, kind: DType, table: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of |x|, finite and not 0: whether that holds, the mantissa in 0.5 .. 1, and the exponent."""
    form = FORMATS[kind]
    size = x.abs()
    fine = logic.logical_and(size > 0, logic.isfinite(x))
    size = E.where(fine, size, 1.0)
    tiny = size < 2.0 ** (form.least - 1)
    size = E.where(tiny, size * 2.0**form.bits, size)
    # The logarithm is rounded: the exponent may be one off, which the mantissa then tells.
    guess = E.floor(E.log2(size)) + 1.0
    guess = logic_clamp(guess, form)
    half = P.cast(guess / 2.0, i32)  # towards 0: the whole power may overflow
    exponent = P.cast(guess, i32)
    mantissa = size * _power(-half, table) * _power(half - exponent, table)
    over, under = mantissa >= 1.0, mantissa < 0.5
    mantissa = E.where(over, mantissa * 0.5, E.where(under, mantissa * 2.0, mantissa))
    exponent = exponent + P.cast(over, i32) - P.cast(under, i32)
    exponent = exponent - E.where(tiny, form.bits, 0)
    return fine, mantissa, P.cast(exponent, i32)
