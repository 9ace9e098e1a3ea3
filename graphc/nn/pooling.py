"""Pooling layers over one to three spatial dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from graphc.frontend.tensor import Tensor
from graphc.nn import functional as F
from graphc.nn.functional.arguments import Sizes, per_dim
from graphc.nn.module import Module

__all__ = [
    "AdaptiveAvgPool1d",
    "AdaptiveAvgPool2d",
    "AdaptiveAvgPool3d",
    "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d",
    "AdaptiveMaxPool3d",
    "AvgPool1d",
    "AvgPool2d",
    "AvgPool3d",
    "LPPool1d",
    "LPPool2d",
    "LPPool3d",
    "MaxPool1d",
    "MaxPool2d",
    "MaxPool3d",
    "MaxUnpool1d",
    "MaxUnpool2d",
    "MaxUnpool3d",
]

Function = Callable[..., Tensor]  # with `return_indices` two, which type checkers are not told


class _MaxPool(Module):
    """Largest element of each window."""

    function: ClassVar[Function]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return self.function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
            self.return_indices,
        )

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """Largest element of each window, of [B, C, W] or [C, W].

    x [B, C, L] -> [B, C, P], or both without B. With `return_indices` also the flat positions,
    int64. P = (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1 in each dimension (upwards
    with `ceil_mode`); stride is the window's size if not given. Raises ShapeMismatch for another
    rank, where padding is more than half the window, or nothing is left.
    """

    function = staticmethod(F.max_pool1d)


class MaxPool2d(_MaxPool):
    """Largest element of each window, of [B, C, H, W] or [C, H, W].

    x [B, C, H, W] -> [B, C, P, Q], or both without B. With `return_indices` also the flat
    positions, int64. P = (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1 in each dimension
    (upwards with `ceil_mode`); stride is the window's size if not given. Raises ShapeMismatch for
    another rank, where padding is more than half the window, or nothing is left.
    """

    function = staticmethod(F.max_pool2d)


class MaxPool3d(_MaxPool):
    """Largest element of each window, of [B, C, D, H, W] or [C, D, H, W].

    x [B, C, D, H, W] -> [B, C, O, P, Q], or both without B. With `return_indices` also the flat
    positions, int64. P = (L + 2 * padding - dilation * (K - 1) - 1) // stride + 1 in each dimension
    (upwards with `ceil_mode`); stride is the window's size if not given. Raises ShapeMismatch for
    another rank, where padding is more than half the window, or nothing is left.
    """

    function = staticmethod(F.max_pool3d)


class AvgPool1d(Module):
    """Mean of each window of [B,C,L].

    x [B, C, L] -> [B, C, P], or both without B. P = (L + 2 * padding - K) // stride + 1 in each
    dimension (upwards with `ceil_mode`); stride is the window's size if not given. Raises
    ShapeMismatch for another rank, where padding is more than half the window, or nothing is left.
    """

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = per_dim(kernel_size, 1, "kernel_size")
        self.stride = per_dim(kernel_size if stride is None else stride, 1, "stride")
        self.padding = per_dim(padding, 1, "padding")
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPool(Module):
    """Mean of each window, or its sum over `divisor_override`."""

    function: ClassVar[Function]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def forward(self, input: Tensor) -> Tensor:
        return self.function(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool2d(_AvgPool):
    """Mean of each window, of [B, C, H, W] or [C, H, W].

    x [B, C, H, W] -> [B, C, P, Q], or both without B. P = (L + 2 * padding - K) // stride + 1 in
    each dimension (upwards with `ceil_mode`); stride is the window's size if not given. Raises
    ShapeMismatch for another rank, where padding is more than half the window, or nothing is left.
    """

    function = staticmethod(F.avg_pool2d)


class AvgPool3d(_AvgPool):
    """Mean of each window, of [B, C, D, H, W] or [C, D, H, W].

    x [B, C, D, H, W] -> [B, C, O, P, Q], or both without B. P = (L + 2 * padding - K) // stride + 1
    in each dimension (upwards with `ceil_mode`); stride is the window's size if not given. Raises
    ShapeMismatch for another rank, where padding is more than half the window, or nothing is left.
    """

    function = staticmethod(F.avg_pool3d)


class _LPPool(Module):
    """Power average of each window."""

    function: ClassVar[Function]

    def __init__(
        self,
        norm_type: float,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Tensor:
        return self.function(
            input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPool):
    """Power average of each window, of [B, C, W] or [C, W].

    x [B, C, L] -> [B, C, P], or both without B. (sum of x^p)^(1/p). P = (L - K) // stride + 1 in
    each dimension (upwards with `ceil_mode`). Raises ShapeMismatch for another rank or where
    nothing is left.
    """

    function = staticmethod(F.lp_pool1d)


class LPPool2d(_LPPool):
    """Power average of each window, of [B, C, H, W] or [C, H, W].

    x [B, C, H, W] -> [B, C, P, Q], or both without B. (sum of x^p)^(1/p). P = (L - K) // stride + 1
    in each dimension (upwards with `ceil_mode`). Raises ShapeMismatch for another rank or where
    nothing is left.
    """

    function = staticmethod(F.lp_pool2d)


class LPPool3d(_LPPool):
    """Power average of each window, of [B, C, D, H, W] or [C, D, H, W].

    x [B, C, D, H, W] -> [B, C, O, P, Q], or both without B. (sum of x^p)^(1/p). P = (L - K) //
    stride + 1 in each dimension (upwards with `ceil_mode`). Raises ShapeMismatch for another rank
    or where nothing is left.
    """

    function = staticmethod(F.lp_pool3d)


class _MaxUnpool(Module):
    """Puts what max pooling kept back in its place."""

    rank: ClassVar[int]
    function: ClassVar[Function]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        super().__init__()
        self.kernel_size = per_dim(kernel_size, self.rank, "kernel_size")
        self.stride = per_dim(kernel_size if stride is None else stride, self.rank, "stride")
        self.padding = per_dim(padding, self.rank, "padding")

    def forward(
        self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None
    ) -> Tensor:
        return self.function(
            input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpool):
    """Puts what max pooling kept back in its place, of [B, C, W] or [C, W].

    x and indices [B, C, P] -> [B, C, L], or all without B; zeros elsewhere. `output_size` in the
    call tells extents that several windows could give. Raises ShapeMismatch for another rank or
    indices of another shape.
    """

    rank = 1
    function = staticmethod(F.max_unpool1d)


class MaxUnpool2d(_MaxUnpool):
    """Puts what max pooling kept back in its place, of [B, C, H, W] or [C, H, W].

    x and indices [B, C, P, Q] -> [B, C, H, W], or all without B; zeros elsewhere. `output_size` in
    the call tells extents that several windows could give. Raises ShapeMismatch for another rank or
    indices of another shape.
    """

    rank = 2
    function = staticmethod(F.max_unpool2d)


class MaxUnpool3d(_MaxUnpool):
    """Puts what max pooling kept back in its place, of [B, C, D, H, W] or [C, D, H, W].

    x and indices [B, C, O, P, Q] -> [B, C, D, H, W], or all without B; zeros elsewhere.
    `output_size` in the call tells extents that several windows could give. Raises ShapeMismatch
    for another rank or indices of another shape.
    """

    rank = 3
    function = staticmethod(F.max_unpool3d)


class _AdaptiveAvgPool(Module):
    """Mean over a grid of nearly equal cells."""

    function: ClassVar[Function]

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return self.function(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Mean over a grid of nearly equal cells, of [B, C, W] or [C, W].

    x [B, C, L] -> [B, C, *output_size], or both without B; None keeps an extent. Raises
    ShapeMismatch for another rank.
    """

    function = staticmethod(F.adaptive_avg_pool1d)


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Mean over a grid of nearly equal cells, of [B, C, H, W] or [C, H, W].

    x [B, C, H, W] -> [B, C, *output_size], or both without B; None keeps an extent. Raises
    ShapeMismatch for another rank.
    """

    function = staticmethod(F.adaptive_avg_pool2d)


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Mean over a grid of nearly equal cells: [B, C, D, H, W] or [C, D, H, W].

    x [B, C, D, H, W] -> [B, C, *output_size], or both without B; None keeps an extent. Raises
    ShapeMismatch for another rank.
    """

    function = staticmethod(F.adaptive_avg_pool3d)


class _AdaptiveMaxPool(Module):
    """Largest element of each of a grid of nearly equal cells."""

    function: ClassVar[Function]

    def __init__(
        self, output_size: int | Sequence[int | None] | None, return_indices: bool = False
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Tensor) -> Tensor:
        return self.function(input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Largest element of each of a grid of nearly equal cells, of [B, C, W] or [C, W].

    x [B, C, L] -> [B, C, *output_size], or both without B; with `return_indices` also the flat
    positions, int64. Raises ShapeMismatch for another rank.
    """

    function = staticmethod(F.adaptive_max_pool1d)


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Largest element of each of a grid of nearly equal cells, of [B, C, H, W] or [C, H, W].

    x [B, C, H, W] -> [B, C, *output_size], or both without B; with `return_indices` also the flat
    positions, int64. Raises ShapeMismatch for another rank.
    """

    function = staticmethod(F.adaptive_max_pool2d)


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Largest element of each of a grid of nearly equal cells: [B, C, D, H, W] or [C, D, H, W].

    x [B, C, D, H, W] -> [B, C, *output_size], or both without B; with `return_indices` also the
    flat positions, int64. Raises ShapeMismatch for another rank.
    """

    function = staticmethod(F.adaptive_max_pool3d)
