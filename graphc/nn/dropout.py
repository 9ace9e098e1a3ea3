"""Dropout layers; p is a number read at each call, also in a compiled step."""

from __future__ import annotations

from graphc.frontend import trace as tracing
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Shape, f32
from graphc.nn.functional.dropout import (
    alpha_dropout,
    channels_of,
    check_probability,
    feature_alpha_dropout,
    keep_scale,
    masked,
)
from graphc.nn.module import Module

__all__ = [
    "AlphaDropout",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
    "Dropout3d",
    "FeatureAlphaDropout",
]


class Dropout(Module):
    """Zeroes each element with probability p in training, and scales the rest by 1 / (1 - p).

    Shapes: any, which stays. With `inplace` it is written into x. Raises InvalidArgument where p is
    not in [0, 1]. Srivastava et al. 2014.
    """

    run_time_scalars = frozenset({"p"})

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        shape = self._mask_shape(input)
        if tracing.active() is None or not self.training:
            check_probability(self.p)
            kept = keep_scale(self.p)
            return masked(input, self.p, kept, self.training, self.inplace, shape)
        number, scale = self._number("p", self._probability), self._number("p", self._keep_scale)
        p = tracing.host_scalar(number, f32, "p", ("p", id(self)))
        kept_scale = tracing.host_scalar(scale, input.dtype, "scale", ("scale", id(self)))
        return masked(input, p, kept_scale, True, self.inplace, shape)

    def _probability(self) -> float:
        check_probability(self.p)
        return float(self.p)

    def _keep_scale(self) -> float:
        return float(keep_scale(self.p))

    def _mask_shape(self, input: Tensor) -> Shape:
        return input.spec.shape

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout2d(Dropout):
    """Dropout of whole channels of [B,C,H,W].

    Shapes: channels are dimension 1; the shape stays. With `inplace` it is written into x. Raises
    InvalidArgument where p is not in [0, 1]. Tompson et al. 2014.
    """

    def _mask_shape(self, input: Tensor) -> Shape:
        return (*input.spec.shape[:2], *(1,) * (input.dim() - 2))


class Dropout1d(Dropout):
    """Dropout of whole channels of [B,C,L] or [C,L].

    Shapes: channels are dimension 1; the shape stays. With `inplace` it is written into x. Raises
    InvalidArgument where p is not in [0, 1].
    """

    def _mask_shape(self, input: Tensor) -> Shape:
        return channels_of(input, 2)


class Dropout3d(Dropout):
    """Dropout of whole channels of [B,C,D,H,W] or [C,D,H,W].

    Shapes: channels are dimension 1; the shape stays. With `inplace` it is written into x. Raises
    InvalidArgument where p is not in [0, 1].
    """

    def _mask_shape(self, input: Tensor) -> Shape:
        return channels_of(input, 4)


class AlphaDropout(Module):
    """Dropout to selu's saturation that keeps mean and variance.

    Shapes: any, which stays. With `inplace` it is written into x. Raises InvalidArgument where p is
    not in [0, 1]. Klambauer et al. 2017.
    """

    function = staticmethod(alpha_dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        check_probability(p)
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return self.function(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class FeatureAlphaDropout(AlphaDropout):
    """AlphaDropout of whole channels.

    Shapes: channels are dimension 1; the shape stays. With `inplace` it is written into x. Raises
    InvalidArgument where p is not in [0, 1].
    """

    function = staticmethod(feature_alpha_dropout)
