"""torch.fft's names: what has a real result is given, what has a complex one is refused.

graphc has no complex tensors. Frequencies and shifts are real, and so are `irfft` and `hfft` of a
real half spectrum, a symmetric signal's cosine sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from graphc.errors import InvalidArgument, RefusedArgument, Unsupported
from graphc.frontend.api.creation import arange, tensor
from graphc.frontend.api.elementwise import cos, where
from graphc.frontend.api.shapes import cat, narrow, roll
from graphc.frontend.modes import get_default_dtype
from graphc.frontend.operands import as_float
from graphc.frontend.tensor import Tensor
from graphc.ir.types import f64

NAMES = (
    "fft fft2 fftn ifft ifft2 ifftn ihfft ihfft2 ihfftn irfft2 irfftn hfft2 hfftn rfft rfft2 rfftn"
)
__all__ = [*NAMES.split(), "fftfreq", "fftshift", "hfft", "ifftshift", "irfft", "rfftfreq"]


def _refused(name: str) -> Callable[..., NoReturn]:
    def function(input: Tensor, *args: Any, **kwargs: Any) -> NoReturn:
        raise Unsupported(
            f"fft.{name} of {input.spec}",
            why="its result is complex, and graphc has no complex dtype",
            fix="multiply with cosines and sines for real and imaginary part, or use numpy.fft",
        )

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "Refused: the result is complex."
    return function


globals().update({name: _refused(name) for name in NAMES.split()})


def _sampled(places: Tensor, n: int, d: float, dtype: Any) -> Tensor:
    kind = dtype or get_default_dtype()
    return (places.to(f64) * (1.0 / (n * d))).to(kind)


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, **options: Any) -> Tensor:
    """The frequencies of a transform of n samples, d apart: zero, positive, then negative ones.

    -> [n].
    """
    half = (n - 1) // 2 + 1
    return _sampled(cat([arange(half), arange(-(n // 2), 0)]), n, d, dtype)


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, **options: Any) -> Tensor:
    """The frequencies from zero up that a real signal's transform has. -> [n // 2 + 1]."""
    return _sampled(arange(n // 2 + 1), n, d, dtype)


def _axes(x: Tensor, dim: Any) -> Sequence[int]:
    if dim is None:
        return range(x.dim())
    return (dim,) if isinstance(dim, int) else tuple(dim)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Frequency zero moved to the middle. The shape stays."""
    axes = _axes(input, dim)
    return roll(input, [input.shape[k] // 2 for k in axes], list(axes))


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Undoes `fftshift`. The shape stays."""
    axes = _axes(input, dim)
    return roll(input, [(input.shape[k] + 1) // 2 for k in axes], list(axes))


SCALES: dict[str | None, tuple[float, float]] = {
    None: (-1.0, 0.0),
    "backward": (-1.0, 0.0),
    "ortho": (-0.5, -0.5),
    "forward": (0.0, -1.0),
}  # fmt: skip  powers of n: of the inverse, of hfft


def _cosines(name: str, input: Tensor, n: int | None, dim: int, power: float) -> Tensor:
    """The symmetric signal of n samples whose half spectrum is `input`, times n^power."""
    x = as_float(input).movedim(dim, -1)
    n = 2 * (x.shape[-1] - 1) if n is None else n
    if n < 1:
        raise RefusedArgument(f"{name}: Invalid number of data points ({n}) specified")
    half = n // 2 + 1
    if x.shape[-1] < half:
        x = cat([x, x.new_zeros((*x.shape[:-1], half - x.shape[-1]))], -1)
    x = narrow(x, -1, 0, half)
    k = arange(half)
    once = (k == 0) | (k * 2 == n)
    angle = ((k.unsqueeze(1) * arange(n)) % n).to(f64) * (2 * math.pi / n)
    table = cos(angle) * where(once, tensor(1.0, dtype=f64), 2.0).unsqueeze(1) * float(n) ** power
    out: Tensor = x @ table.to(x.dtype)
    return out.movedim(-1, dim)


def _scale(norm: str | None) -> tuple[float, float]:
    if norm not in SCALES:
        raise InvalidArgument(f"Invalid normalization mode: {norm!r}")
    return SCALES[norm]


def irfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real signal of a real half spectrum, by its sum of cosines: O(n^2).

    [..., M, ...] -> [..., n, ...], n = 2 * (M - 1) if not given.
    """
    return _cosines("irfft", input, n, dim, _scale(norm)[0])


def hfft(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Tensor:
    """The real spectrum of a symmetric real signal, of which a half is given: O(n^2).

    [..., M, ...] -> [..., n, ...], n = 2 * (M - 1) if not given.
    """
    return _cosines("hfft", input, n, dim, _scale(norm)[1])
