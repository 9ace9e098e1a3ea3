"""Padding layers."""

from __future__ import annotations

from typing import ClassVar

from graphc.frontend.tensor import Tensor
from graphc.nn import functional as F
from graphc.nn.functional.arguments import Sizes, per_dim
from graphc.nn.module import Module

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]


class _Pad(Module):
    """Grows the last `rank` dimensions by one width, or by (low, high) of the last, then on."""

    rank: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: Sizes) -> None:
        super().__init__()
        self.padding = per_dim(padding, 2 * self.rank, "padding")

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(Module):
    rank: ClassVar[int]

    def __init__(self, padding: Sizes, value: float) -> None:
        super().__init__()
        self.padding = per_dim(padding, 2 * self.rank, "padding")
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPad):
    """Pads with `value`: [B, C, L], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high. A
    negative width cuts off.
    """

    rank = 1


class ConstantPad2d(_ConstantPad):
    """Pads with `value`: [B, C, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high. A
    negative width cuts off.
    """

    rank = 2


class ConstantPad3d(_ConstantPad):
    """Pads with `value`: [B, C, D, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high. A
    negative width cuts off.
    """

    rank = 3


class ZeroPad1d(_Pad):
    """Pads with zeros: [B, C, L], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high. A
    negative width cuts off.
    """

    rank, mode = 1, "constant"


class ZeroPad2d(_Pad):
    """Pads with zeros: [B, C, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high. A
    negative width cuts off.
    """

    rank, mode = 2, "constant"


class ZeroPad3d(_Pad):
    """Pads with zeros: [B, C, D, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high. A
    negative width cuts off.
    """

    rank, mode = 3, "constant"


class ReflectionPad1d(_Pad):
    """Pads with the mirror image, the border once: [B, C, L], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    Raises ShapeMismatch where a width is not below its dimension.
    """

    rank, mode = 1, "reflect"


class ReflectionPad2d(_Pad):
    """Pads with the mirror image, the border once: [B, C, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    Raises ShapeMismatch where a width is not below its dimension.
    """

    rank, mode = 2, "reflect"


class ReflectionPad3d(_Pad):
    """Pads with the mirror image, the border once: [B, C, D, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    Raises ShapeMismatch where a width is not below its dimension.
    """

    rank, mode = 3, "reflect"


class ReplicationPad1d(_Pad):
    """Pads with the border: [B, C, L], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    """

    rank, mode = 1, "replicate"


class ReplicationPad2d(_Pad):
    """Pads with the border: [B, C, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    """

    rank, mode = 2, "replicate"


class ReplicationPad3d(_Pad):
    """Pads with the border: [B, C, D, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    """

    rank, mode = 3, "replicate"


class CircularPad1d(_Pad):
    """Pads with what lies at the other end: [B, C, L], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    Raises ShapeMismatch where a width is more than its dimension.
    """

    rank, mode = 1, "circular"


class CircularPad2d(_Pad):
    """Pads with what lies at the other end: [B, C, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    Raises ShapeMismatch where a width is more than its dimension.
    """

    rank, mode = 2, "circular"


class CircularPad3d(_Pad):
    """Pads with what lies at the other end: [B, C, D, H, W], or without B.

    `padding`: one width, or (low, high) of the last dimension, then on; each grows by low + high.
    Raises ShapeMismatch where a width is more than its dimension.
    """

    rank, mode = 3, "circular"
