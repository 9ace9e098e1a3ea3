"""Layers that resize images, cut them in blocks, or rearrange channels and pixels."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.frontend.tensor import Tensor
from graphc.nn import functional as F
from graphc.nn.functional.arguments import Sizes
from graphc.nn.module import Module

__all__ = [
    "ChannelShuffle",
    "Fold",
    "PixelShuffle",
    "PixelUnshuffle",
    "Unfold",
    "Upsample",
    "UpsamplingBilinear2d",
    "UpsamplingNearest2d",
]

Factor = float | Sequence[float] | None


class Upsample(Module):
    """Other extents of the spatial dimensions; see functional.interpolate.

    x [B, C, *S] -> [B, C, *T], T = `size` or floor(S * scale_factor). Raises Unsupported for a mode
    that does not fit the rank.
    """

    def __init__(
        self,
        size: int | Sequence[int] | None = None,
        scale_factor: Factor = None,
        mode: str = "nearest",
        align_corners: bool | None = None,
        recompute_scale_factor: bool | None = None,
    ) -> None:
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        many = isinstance(scale_factor, Sequence)
        self.scale_factor: Factor = (
            tuple(map(float, scale_factor))  # type: ignore[arg-type]  # a sequence, as asked
            if many
            else (float(scale_factor) if scale_factor else None)  # type: ignore[arg-type]  # a number
        )
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(
            input,
            self.size,
            self.scale_factor,
            self.mode,
            self.align_corners,
            self.recompute_scale_factor,
        )

    def extra_repr(self) -> str:
        named = "size" if self.scale_factor is None else "scale_factor"
        return f"{named}={getattr(self, named)!r}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of [B, C, H, W] that repeats the nearest element.

    -> [B, C, *size], or each extent times `scale_factor`, down to an integer.
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: Factor = None
    ) -> None:
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of [B, C, H, W] between four elements, corners on corners.

    -> [B, C, *size], or each extent times `scale_factor`, down to an integer.
    """

    def __init__(
        self, size: int | Sequence[int] | None = None, scale_factor: Factor = None
    ) -> None:
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class Unfold(Module):
    """Sliding blocks of [B,C,H,W] as columns.

    x [B, C, H, W] or [C, H, W] -> [B, C*R*S, L]. Raises ShapeMismatch for another rank or where no
    block fits.
    """

    def __init__(
        self, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, "
            f"stride={self.stride}"
        )


class Fold(Module):
    """Columns added up into [B,C,H,W] where their blocks stand.

    x [B, C*R*S, L] or [C*R*S, L] -> [B, C, *output_size]. Raises ShapeMismatch where the rows or
    columns do not fit.
    """

    def __init__(
        self,
        output_size: Sizes,
        kernel_size: Sizes,
        dilation: Sizes = 1,
        padding: Sizes = 0,
        stride: Sizes = 1,
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(
            input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride
        )

    def extra_repr(self) -> str:
        return (
            f"output_size={self.output_size}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        )


class PixelShuffle(Module):
    """[..., C*r*r, H, W] -> [..., C, H*r, W*r].

    Raises ShapeMismatch where r * r does not divide the channels. Shi et al. 2016.
    """

    def __init__(self, upscale_factor: int) -> None:
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    """[..., C, H*r, W*r] -> [..., C*r*r, H, W].

    Raises ShapeMismatch where r does not divide H and W.
    """

    def __init__(self, downscale_factor: int) -> None:
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    """Interleaves groups of channels.

    x [B, C, ...], which stays. Raises ShapeMismatch where groups does not divide C. Zhang et al.
    2017.
    """

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
