"""Dropout: multiplication by a random mask, so that a dropped inf is NaN, as in PyTorch."""

from __future__ import annotations

from typing import Any

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.random import rand
from graphc.frontend.checked import required
from graphc.frontend.hostvalue import is_undecided
from graphc.frontend.operands import floating
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Shape
from graphc.nn.functional.arguments import written

__all__ = [
    "alpha_dropout",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
]

Number = float | Tensor


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability p and scale the rest by 1 / (1 - p).

    Takes one draw of the generator in training, also for p = 0, so that the numbers other
    operations draw do not depend on p.

    The shape stays.
    """
    p = check_probability(p)
    return masked(input, p, keep_scale(p), training, inplace, input.spec.shape)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """dropout of whole channels of [B,C,L] or [C,L].

    The shape stays. Raises InvalidArgument where p is not in [0, 1].
    """
    p = check_probability(p)
    return masked(input, p, keep_scale(p), training, inplace, channels_of(input, 2))


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """dropout of whole channels of [B,C,...].

    The shape stays. Raises InvalidArgument where p is not in [0, 1].
    """
    p = check_probability(p)
    shape = (*input.shape[:2], *(1,) * (input.dim() - 2))
    return masked(input, p, keep_scale(p), training, inplace, shape)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """dropout of whole channels of [B,C,D,H,W] or [C,D,H,W].

    The shape stays. Raises InvalidArgument where p is not in [0, 1].
    """
    p = check_probability(p)
    return masked(input, p, keep_scale(p), training, inplace, channels_of(input, 4))


def channels_of(input: Tensor, unbatched: int) -> Shape:
    """A mask's shape: one draw per channel; an input of rank `unbatched` has no batch."""
    if unbatched == 2 and input.dim() not in (2, 3):
        raise ShapeMismatch(f"dropout1d: Expected 2D or 3D input, but got {input.spec}")
    lead = 1 if input.dim() == unbatched else 2
    return (*input.spec.shape[:lead], *(1,) * (input.dim() - lead))


SATURATION = -1.7580993408473766  # what selu gives at minus infinity: -scale * alpha


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout to selu's saturation that keeps mean and variance. Klambauer et al. 2017.

    The shape stays. Raises InvalidArgument where p is not in [0, 1].
    """
    return _alpha(input, p, training, inplace, input.spec.shape)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """alpha_dropout of whole channels of [B,C,...].

    The shape stays. Raises InvalidArgument where p is not in [0, 1].
    """
    shape = (*input.spec.shape[:2], *(1,) * (input.dim() - 2))
    return _alpha(input, p, training, inplace, shape)


def _alpha(input: Tensor, p: Any, training: bool, inplace: bool, shape: Shape) -> Tensor:
    p = check_probability(p)
    if not training:
        return input
    floating(input, "dropout")
    kept = (rand(shape, device=input.device) >= p).to(input.dtype)
    if is_undecided(p):
        part = p.as_tensor()
        out = where(part == 1.0, input * 0.0, _moved(input, kept, part))
        return written(input, out.to(input.dtype), inplace)
    if p == 1.0:
        return written(input, input * 0.0, inplace)
    return written(input, _moved(input, kept, p), inplace)


def _moved(input: Tensor, kept: Tensor, p: Number) -> Tensor:
    """What is kept, and the saturation elsewhere, of the mean and variance of input."""
    scale = ((1 - p) * (1 + p * SATURATION**2)) ** -0.5
    shift = (1 - kept) * (SATURATION * scale) - SATURATION * scale * p
    return input * kept * scale + shift


def check_probability(p: Any) -> Any:
    """p, to be read in place of what was given."""
    text = f"dropout probability has to be between 0 and 1, but got {p}"
    return required(p, lambda p: (p >= 0.0) & (p <= 1.0), text, InvalidArgument)


def keep_scale(p: Any) -> Any:
    """What a kept element is multiplied by; p = 1 keeps none, and 0 * x is then the answer."""
    if is_undecided(p):
        part = p.as_tensor()
        return where(part < 1, 1.0 / (1.0 - part), 0.0)
    return 1.0 / (1.0 - p) if p < 1 else 0.0


def masked(
    input: Tensor, p: Number, scale: Number, training: bool, inplace: bool, shape: Shape
) -> Tensor:
    """input * mask, with a random mask of `shape` that holds `scale` where a draw reaches p."""
    if not training:
        return input
    floating(input, "dropout")
    scale = scale.to(input.dtype) if isinstance(scale, Tensor) else scale
    mask = (rand(shape, device=input.device) >= p).to(input.dtype) * scale
    return written(input, input * mask, inplace)
