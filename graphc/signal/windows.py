"""Windows under torch.signal.windows' names: symmetric unless `sym=False`, of M elements."""

from __future__ import annotations

import math
from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.api import elementwise as E
from graphc.frontend.api.windows import bartlett, done, general_cosine, kaiser, places

Tensor = Any

__all__ = [
    "bartlett",
    "blackman",
    "cosine",
    "exponential",
    "gaussian",
    "general_cosine",
    "general_hamming",
    "hamming",
    "hann",
    "kaiser",
    "nuttall",
]


def cosine(M: int, *, sym: bool = True, dtype: Any = None, requires_grad: bool = False,
           **options: Any) -> Tensor:  # fmt: skip
    """A half wave of the sine, at the middles of M (or M + 1) equal parts. -> [M]."""
    n, period = places(M, sym)
    parts = period + 1
    return done(E.sin((n + 0.5) * (math.pi / parts)), dtype, requires_grad, **options)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
    requires_grad: bool = False, **options: Any,
) -> Tensor:  # fmt: skip
    """exp(-|n - center| / tau). -> [M]."""
    if tau <= 0:
        raise InvalidArgument(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise InvalidArgument("Center must be None for symmetric windows")
    n, period = places(M, sym)
    middle = period / 2 if center is None else center
    return done(E.exp(E.abs(n - middle) * (-1 / tau)), dtype, requires_grad, **options)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None,
             requires_grad: bool = False, **options: Any) -> Tensor:  # fmt: skip
    """exp(-((n - center) / std)^2 / 2). -> [M]."""
    if std <= 0:
        raise InvalidArgument(f"Standard deviation must be positive, got: {std} instead.")
    n, period = places(M, sym)
    z = (n - period / 2) * (1 / std)
    return done(E.exp(z * z * -0.5), dtype, requires_grad, **options)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, **options: Any) -> Tensor:
    """alpha - (1 - alpha) cos(2 pi n / period). -> [M]."""
    return general_cosine(M, a=[alpha, 1 - alpha], sym=sym, **options)


def hamming(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.54 - 0.46 cos(2 pi k / N), M points; N is M - 1 if `sym`, else M. -> [M]."""
    return general_hamming(M, sym=sym, **options)


def hann(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.5 - 0.5 cos(2 pi k / N), M points; N is M - 1 if `sym`, else M. -> [M]."""
    return general_hamming(M, alpha=0.5, sym=sym, **options)


def blackman(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """0.42 - 0.5 cos + 0.08 cos of twice the angle, M points. -> [M]."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, **options)


def nuttall(M: int, *, sym: bool = True, **options: Any) -> Tensor:
    """A sum of four cosines with small side lobes (Nuttall 1981), M points. -> [M]."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, **options)
