"""Windows for signals, and PyTorch's older names of some of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from graphc.errors import InvalidArgument, RefusedArgument
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.bessel import i0
from graphc.frontend.api.creation import arange, zeros
from graphc.frontend.modes import get_default_dtype
from graphc.frontend.options import as_dtype
from graphc.ir.types import DType, f64

__all__ = ["bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window"]

Tensor = Any


def kind_of(dtype: Any) -> DType:
    """The floating dtype of a window."""
    kind = as_dtype(dtype) or get_default_dtype()
    if not kind.is_floating_point:
        raise InvalidArgument(f"Only floating point dtypes are allowed in windows, got: {kind!r}")
    return kind


def places(M: int, sym: bool) -> tuple[Tensor, int]:
    """0 .. M - 1 in float64, and the length of the period: M - 1 of a symmetric window."""
    if M < 0:
        raise InvalidArgument(f"Requires non-negative window length, got M={M}")
    return arange(M).to(f64), max(M - 1 if sym else M, 1)


def done(
    window: Tensor, dtype: Any, requires_grad: bool = False, *, device: Any = None, **options: Any
) -> Tensor:
    """In the dtype and on the device wanted; a window of one element is one."""
    out = (window * 0 + 1 if window.shape[0] == 1 else window).to(kind_of(dtype))
    out = out if device is None else out.to(device)
    return out.requires_grad_(True) if requires_grad else out


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: Any = None, requires_grad: bool = False,
    **options: Any,
) -> Tensor:  # fmt: skip
    """The sum of (-1)^k a_k cos(2 pi k n / period). -> [M]."""
    weights = list(a) if isinstance(a, Iterable) else a
    if not isinstance(weights, Sequence):
        raise RefusedArgument("Coefficients must be a list/tuple")
    if not weights:
        raise InvalidArgument("Coefficients cannot be empty")
    n, period = places(M, sym)
    total = n * 0
    for k, weight in enumerate(weights):
        total = total + E.cos(n * (2 * math.pi * k / period)) * (weight * (-1) ** k)
    return done(total, dtype, requires_grad, **options)


def bartlett(M: int, *, sym: bool = True, dtype: Any = None, requires_grad: bool = False,
             **options: Any) -> Tensor:  # fmt: skip
    """A triangle, zero at its ends. -> [M]."""
    n, period = places(M, sym)
    return done(1 - E.abs(n * (2 / period) - 1), dtype, requires_grad, **options)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None,
           requires_grad: bool = False, **options: Any) -> Tensor:  # fmt: skip
    """I0(beta sqrt(1 - x^2)) / I0(beta), with x from -1 to 1. -> [M]."""
    if beta < 0:
        raise InvalidArgument(f"beta must be non-negative, got: {beta} instead.")
    n, period = places(M, sym)
    x = n * (2 / period) - 1
    top = i0(E.sqrt((1 - x * x).clamp(min=0)) * beta)
    return done(top / i0(zeros(1, dtype=f64) + beta), dtype, requires_grad, **options)


# ---- by older names ----------------------------------------------------------------------------


def hann_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """0.5 - 0.5 cos(2 pi k / N) for k < window_length = N; with N - 1 unless periodic.

    -> [window_length].
    """
    return general_cosine(window_length, a=[0.5, 0.5], sym=not periodic, **options)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    **options: Any,
) -> Tensor:
    """alpha - beta cos(2 pi n / period). -> [window_length]."""
    return general_cosine(window_length, a=[alpha, beta], sym=not periodic, **options)


def blackman_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """0.42 - 0.5 cos(2 pi k / N) + 0.08 cos(4 pi k / N); with N - 1 unless periodic.

    -> [window_length].
    """
    return general_cosine(window_length, a=[0.42, 0.5, 0.08], sym=not periodic, **options)


def bartlett_window(window_length: int, periodic: bool = True, **options: Any) -> Tensor:
    """The triangular window, 0 at its ends. -> [window_length]."""
    return bartlett(window_length, sym=not periodic, **options)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, **options: Any
) -> Tensor:
    """Kaiser's window of shape `beta`, by Bessel functions."""
    return kaiser(window_length, beta=beta, sym=not periodic, **options)
