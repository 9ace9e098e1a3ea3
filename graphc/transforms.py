"""Transforms of single images, under torchvision's names.

Before ToTensor an image is a uint8 array [H,W] or [H,W,C], after it a float tensor [C,H,W]; the
random ones take either, and draw from graphc's generator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend.api.creation import as_tensor, from_numpy
from graphc.frontend.api.random import rand
from graphc.frontend.tensor import Tensor
from graphc.ir.types import Array
from graphc.nn import functional as F

__all__ = [
    "Compose",
    "Lambda",
    "Normalize",
    "RandomCrop",
    "RandomHorizontalFlip",
    "ToTensor",
]

Transform = Callable[[Any], Any]


class Compose:
    """One transform after the other."""

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self.transforms = list(transforms)

    def __call__(self, img: Any) -> Any:
        for transform in self.transforms:
            img = transform(img)
        return img

    def __repr__(self) -> str:
        return "\n".join(["Compose(", *(f"    {t}" for t in self.transforms), ")"])


class Lambda:
    """Any function as a transform."""

    def __init__(self, lambd: Transform) -> None:
        if not callable(lambd):
            raise InvalidType(f"Argument lambd should be callable, got {type(lambd)}")
        self.lambd = lambd

    def __call__(self, img: Any) -> Any:
        return self.lambd(img)

    def __repr__(self) -> str:
        return "Lambda()"


class ToTensor:
    """[H,W] or [H,W,C] -> float32 [C,H,W]; bytes are scaled to 0..1."""

    def __call__(self, pic: Any) -> Tensor:
        array = np.asarray(pic)
        if array.ndim not in (2, 3):
            raise InvalidArgument(f"pic should be 2/3 dimensional. Got {array.ndim} dimensions.")
        array = array[:, :, None] if array.ndim == 2 else array
        out = from_numpy(np.ascontiguousarray(array.transpose(2, 0, 1)))
        return out.float() / 255 if array.dtype == np.uint8 else out

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize:
    """(x - mean) / std of each channel of [..., C, H, W]."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def __call__(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise InvalidType(f"Input tensor should be a float tensor, got {tensor!r:.60}")
        if tensor.dim() < 3:
            raise InvalidArgument(
                f"Expected tensor to be a tensor image of size (..., C, H, W), got {tensor.spec}"
            )
        mean, std = (as_tensor(v, dtype=tensor.dtype) for v in (self.mean, self.std))
        if not bool((std != 0).all()):
            raise InvalidArgument(f"std evaluated to zero, leading to division by zero: {self.std}")
        out = (tensor - mean.reshape(-1, 1, 1)) / std.reshape(-1, 1, 1)
        return tensor.copy_(out) if self.inplace else out

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std})"


class RandomHorizontalFlip:
    """Mirrored left to right with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        if not 0.0 <= p <= 1.0:
            raise InvalidArgument(f"p should be between 0 and 1, got {p}")
        self.p = p

    def __call__(self, img: Any) -> Any:
        if rand(()).item() >= self.p:
            return img
        if isinstance(img, Tensor):
            return img.flip(-1)
        return np.ascontiguousarray(np.asarray(img)[:, ::-1])

    def __repr__(self) -> str:
        return f"RandomHorizontalFlip(p={self.p})"


class RandomCrop:
    """A window of `size` anywhere in the image, after `padding` (left, top, right, bottom)."""

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: float = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = (size, size) if isinstance(size, int) else (size[0], size[-1])
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        if padding_mode not in MODES:
            raise InvalidArgument(f"padding_mode must be one of {sorted(MODES)}")
        self.padding_mode = padding_mode

    def __call__(self, img: Any) -> Any:
        if self.padding is not None:
            img = self._pad(img, _sides(self.padding))
        height, width = _extents(img)
        if self.pad_if_needed:
            short = max(self.size[0] - height, 0), max(self.size[1] - width, 0)
            img = self._pad(img, (short[1], short[0], short[1], short[0]))
            height, width = _extents(img)
        if height < self.size[0] or width < self.size[1]:
            raise InvalidArgument(
                f"Required crop size {self.size} is larger than input image size {(height, width)}"
            )
        top = int(rand(()).item() * (height - self.size[0] + 1))
        left = int(rand(()).item() * (width - self.size[1] + 1))
        rows, columns = slice(top, top + self.size[0]), slice(left, left + self.size[1])
        return img[..., rows, columns] if isinstance(img, Tensor) else img[rows, columns]

    def _pad(self, img: Any, sides: tuple[int, int, int, int]) -> Any:
        left, top, right, bottom = sides
        mode = MODES[self.padding_mode]
        value = {"value": float(self.fill)} if mode[0] == "constant" else {}
        if isinstance(img, Tensor):
            return F.pad(img, (left, right, top, bottom), mode[0], **value)
        widths = [(top, bottom), (left, right)] + [(0, 0)] * (np.ndim(img) - 2)
        return _padded(np.asarray(img), widths, mode[1], self.fill)

    def __repr__(self) -> str:
        return f"RandomCrop(size={self.size}, padding={self.padding})"


# torchvision's name of a mode: F.pad's and NumPy's
MODES = {
    "constant": ("constant", "constant"),
    "edge": ("replicate", "edge"),
    "reflect": ("reflect", "reflect"),
}


def _padded(array: Array, widths: list[tuple[int, int]], mode: Any, fill: float) -> Array:
    if mode == "constant":
        return np.pad(array, widths, mode, constant_values=fill)
    return np.pad(array, widths, mode)


def _sides(padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """One width, (left/right, top/bottom), or all four."""
    if isinstance(padding, int):
        return (padding,) * 4
    if len(padding) == 2:
        return padding[0], padding[1], padding[0], padding[1]
    if len(padding) != 4:
        raise InvalidArgument(f"Padding must be an int or a 1, 2, or 4 element tuple: {padding}")
    return padding[0], padding[1], padding[2], padding[3]


def _extents(img: Any) -> tuple[int, int]:
    """Height and width of an array [H,W,...] or a tensor [...,H,W]."""
    if isinstance(img, Tensor):
        return img.shape[-2], img.shape[-1]
    return np.shape(img)[0], np.shape(img)[1]
