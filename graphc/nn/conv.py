"""Convolutions and their transposes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod, sqrt
from typing import ClassVar

from graphc.errors import InvalidArgument
from graphc.frontend.api.creation import empty
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType, Shape
from graphc.nn import functional as F
from graphc.nn import init
from graphc.nn.functional.arguments import Sizes, per_dim
from graphc.nn.functional.conv import output_padding_for, same_padding
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What convolutions and their transposes of any rank share: arguments, checks, weights."""

    rank: ClassVar[int]
    function: ClassVar[Callable[..., Tensor]]
    transposed: ClassVar[bool] = False
    bias: Parameter | None
    output_padding: Shape

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes,
        padding: str | Sizes,
        dilation: Sizes,
        groups: int,
        padding_mode: str,
    ) -> None:
        super().__init__()
        _check(in_channels, out_channels, groups, padding_mode)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = per_dim(kernel_size, self.rank, "kernel_size")
        self.stride = per_dim(stride, self.rank, "stride")
        self.padding = _padding(padding, self.stride)
        self.dilation = per_dim(dilation, self.rank, "dilation")
        self.output_padding = (0,) * self.rank
        self.groups = groups
        self.padding_mode = padding_mode

    def _make(self, shape: Shape, bias: bool, device: object, dtype: DType | None) -> None:
        self.weight = Parameter(empty(shape, device=device, dtype=dtype))
        made = Parameter(empty(self.out_channels, device=device, dtype=dtype)) if bias else None
        self.bias = made
        self.reset_parameters()

    def reset_parameters(self) -> None:
        init.kaiming_uniform_(self.weight, a=sqrt(5))
        init.uniform_bias_(self.bias, prod(self.weight.shape[1:]))

    def extra_repr(self) -> str:
        zeros, ones = (0,) * self.rank, (1,) * self.rank
        optional = (
            ("padding", self.padding, zeros),
            ("dilation", self.dilation, ones),
            ("output_padding", self.output_padding, zeros),
            ("groups", self.groups, 1),
            ("bias", self.bias is not None, True),
            ("padding_mode", self.padding_mode, "zeros"),
        )
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        for name, value, default in optional:
            if value != default:
                text += f", {name}={value}"
        return text


class _Conv(_Convolution):
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
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode
        )
        shape = (out_channels, in_channels // groups, *self.kernel_size)
        self._make(shape, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        padding: str | Sizes = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._edges(), self.padding_mode), 0
        return self.function(
            input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _edges(self) -> list[int]:
        """The widths for F.pad: of the last dimension first."""
        if self.padding == "same":
            pairs = same_padding(self.kernel_size, self.dilation)
        elif isinstance(self.padding, str):
            pairs = ((0, 0),) * self.rank
        else:
            pairs = tuple((w, w) for w in self.padding)
        return [w for pair in reversed(pairs) for w in pair]


def _check(in_channels: int, out_channels: int, groups: int, padding_mode: str) -> None:
    if groups <= 0:
        raise InvalidArgument("groups must be a positive integer")
    if in_channels % groups:
        raise InvalidArgument("in_channels must be divisible by groups")
    if out_channels % groups:
        raise InvalidArgument("out_channels must be divisible by groups")
    if padding_mode not in PADDING_MODES:
        raise InvalidArgument(
            f"padding_mode must be one of {PADDING_MODES}, but got padding_mode={padding_mode!r}"
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
    """x [B, in_channels, L] -> [B, out_channels, P]; see functional.conv1d.

    Or [in_channels, L] -> [out_channels, P], P = (L + 2 * padding - dilation * (K - 1) - 1) //
    stride + 1.

    weight [out_channels, in_channels / groups, K], bias [out_channels]. `padding`: a size a
    dimension, "valid" or "same" (stride 1); `padding_mode`: zeros, reflect, replicate or circular.
    Raises ShapeMismatch for other channels, another rank or a window larger than the padded input,
    InvalidArgument where the channels cannot be grouped.
    """

    rank = 1
    function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    """x [B, in_channels, H, W] -> [B, out_channels, P, Q]; see functional.conv2d.

    Or without B; P = (H + 2 * padding - dilation * (R - 1) - 1) // stride + 1, and Q of W likewise.

    weight [out_channels, in_channels / groups, R, S], bias [out_channels]. `padding`: a size a
    dimension, "valid" or "same" (stride 1); `padding_mode`: zeros, reflect, replicate or circular.
    Raises ShapeMismatch for other channels, another rank or a window larger than the padded input,
    InvalidArgument where the channels cannot be grouped.
    """

    rank = 2
    function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    """x [B, in_channels, D, H, W] -> [B, out_channels, O, P, Q]; see functional.conv3d.

    Or without B; each extent as in Conv2d.

    weight [out_channels, in_channels / groups, *kernel_size], bias [out_channels]. `padding`: a
    size a dimension, "valid" or "same" (stride 1); `padding_mode`: zeros, reflect, replicate or
    circular. Raises ShapeMismatch for other channels, another rank or a window larger than the
    padded input, InvalidArgument where the channels cannot be grouped.
    """

    rank = 3
    function = staticmethod(F.conv3d)


class _ConvTranspose(_Convolution):
    """The transposes: strides spread the input instead of thinning the output."""

    transposed = True

    padding: Shape

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        if padding_mode != "zeros":
            raise InvalidArgument(
                f'Only "zeros" padding mode is supported for {type(self).__name__}'
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, padding_mode
        )
        self.output_padding = per_dim(output_padding, self.rank, "output_padding")
        shape = (in_channels, out_channels // groups, *self.kernel_size)
        self._make(shape, bias, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """`output_size` chooses among the extents whose convolution has the input's."""
        extra = self.output_padding
        if output_size is not None:
            extra = output_padding_for(
                input.spec.shape,
                output_size,
                self.kernel_size,
                self.stride,
                self.padding,
                self.dilation,
            )
        return self.function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            extra,
            self.groups,
            self.dilation,
        )


class ConvTranspose1d(_ConvTranspose):
    """x [B, in_channels, L] -> [B, out_channels, P]; see functional.conv_transpose1d.

    Or without B. weight [in_channels, out_channels / groups, K], bias [out_channels]; P = (L - 1) *
    stride - 2 * padding + dilation * (K - 1) + output_padding + 1 in each dimension. Raises
    ShapeMismatch for other channels or another rank, and where output_padding is not below stride
    or dilation.
    """

    rank = 1
    function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTranspose):
    """x [B, in_channels, H, W] -> [B, out_channels, P, Q]; see functional.conv_transpose2d.

    Or without B. weight [in_channels, out_channels / groups, R, S], bias [out_channels]; P = (L -
    1) * stride - 2 * padding + dilation * (K - 1) + output_padding + 1 in each dimension. Raises
    ShapeMismatch for other channels or another rank, and where output_padding is not below stride
    or dilation.
    """

    rank = 2
    function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTranspose):
    """x [B, in_channels, D, H, W] -> [B, out_channels, O, P, Q]; see conv_transpose3d.

    Or without B. weight [in_channels, out_channels / groups, *kernel_size], bias [out_channels]; P
    = (L - 1) * stride - 2 * padding + dilation * (K - 1) + output_padding + 1 in each dimension.
    Raises ShapeMismatch for other channels or another rank, and where output_padding is not below
    stride or dilation.
    """

    rank = 3
    function = staticmethod(F.conv_transpose3d)
