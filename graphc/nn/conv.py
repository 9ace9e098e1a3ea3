"""Convolutions."""

from __future__ import annotations

from math import prod, sqrt
from typing import ClassVar

from graphc.errors import InvalidArgument
from graphc.frontend.creation import empty
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, Shape
from graphc.nn import functional as F
from graphc.nn import init
from graphc.nn.functional.arguments import Sizes, per_dim
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter

__all__ = ["Conv1d", "Conv2d"]


class _Conv(Module):
    """What convolutions of any rank share: arguments, checks, weights."""

    rank: ClassVar[int]
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: str | Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        _check(in_channels, out_channels, groups, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_dim(kernel_size, self.rank, "kernel_size")
        self.stride = per_dim(stride, self.rank, "stride")
        self.padding = _padding(padding, self.stride)
        self.dilation = per_dim(dilation, self.rank, "dilation")
        self.groups = groups
        self.padding_mode = padding_mode
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        self.bias = Parameter(empty(out_channels, device=device, dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=sqrt(5))
        init.uniform_bias_(self.bias, prod(self.weight.shape[1:]))

    def extra_repr(self) -> str:
        ones = (1,) * self.rank
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * self.rank:
            text += f", padding={self.padding}"
        if self.dilation != ones:
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else text + ", bias=False"


def _check(in_channels: int, out_channels: int, groups: int, padding_mode: str) -> None:
    if groups <= 0:
        raise InvalidArgument("groups must be a positive integer")
    if in_channels % groups:
        raise InvalidArgument("in_channels must be divisible by groups")
    if out_channels % groups:
        raise InvalidArgument("out_channels must be divisible by groups")
    if padding_mode != "zeros":
        raise InvalidArgument(
            f"padding_mode {padding_mode!r} is not supported",
            why="a convolution pads with zeros only",
            fix='use padding_mode="zeros", or pad the input first',
        )


def _padding(padding: str | Sizes, stride: Shape) -> str | Shape:
    if not isinstance(padding, str):
        return per_dim(padding, len(stride), "padding")
    if padding not in ("same", "valid"):
        raise InvalidArgument(f"Invalid padding string {padding!r}, should be 'valid' or 'same'")
    if padding == "same" and any(s != 1 for s in stride):
        raise InvalidArgument("padding='same' is not supported for strided convolutions")
    return padding


class Conv1d(_Conv):
    """x [B, in_channels, L] -> [B, out_channels, P]; see functional.conv1d."""

    rank = 1

    def forward(self, input: Tensor) -> Tensor:
        return F.conv1d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


class Conv2d(_Conv):
    """x [B, in_channels, H, W] -> [B, out_channels, P, Q]; see functional.conv2d."""

    rank = 2

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(
            input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )
