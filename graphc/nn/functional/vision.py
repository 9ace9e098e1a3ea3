"""Rearranging channels and pixels."""

from __future__ import annotations

from math import prod

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend.api.formats import keep_channels_last
from graphc.frontend.api.shapes import owned
from graphc.frontend.tensor import Tensor

__all__ = ["channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """[..., C*r*r, H, W] -> [..., C, H*r, W*r]."""
    r = upscale_factor
    *lead, c, h, w = _image(input, "pixel_shuffle")
    if r < 1 or c % (r * r):
        raise ShapeMismatch(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square "
            f"of upscale_factor, but input.size(-3)={c} is not divisible by {r * r}"
        )
    y = input.reshape(prod(lead), c // (r * r), r, r, h, w).permute(0, 1, 4, 2, 5, 3)
    return keep_channels_last(y.reshape(*lead, c // (r * r), h * r, w * r), input)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """[..., C, H*r, W*r] -> [..., C*r*r, H, W]."""
    r = downscale_factor
    *lead, c, h, w = _image(input, "pixel_unshuffle")
    if r < 1 or h % r or w % r:
        raise ShapeMismatch(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor={r}, "
            f"but got {input.spec}"
        )
    y = input.reshape(prod(lead), c, h // r, r, w // r, r).permute(0, 1, 3, 5, 2, 4)
    return keep_channels_last(y.reshape(*lead, c * r * r, h // r, w // r), input)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """[B,C,...]: channel g*C/groups + k becomes channel k*groups + g."""
    if groups < 1:
        raise InvalidArgument(f"Number of groups to divide channels in must be positive: {groups}")
    if input.dim() < 3 or input.shape[1] % groups:
        raise ShapeMismatch(
            f"Number of channels must be divisible by groups. Got {input.spec} and {groups} groups"
        )
    b, c, *rest = input.shape
    y = input.reshape(b, groups, c // groups, *rest).transpose(1, 2).reshape(b, c, *rest)
    return keep_channels_last(owned(y, input), input)


def _image(input: Tensor, name: str) -> tuple[int, ...]:
    if input.dim() < 3:
        raise ShapeMismatch(f"{name} expects input to have at least 3 dimensions, got {input.spec}")
    return input.spec.shape
