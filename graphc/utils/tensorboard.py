"""SummaryWriter, tensorboardX's, which takes graphc tensors as they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from graphc.frontend.tensor import Tensor

try:
    from tensorboardX import SummaryWriter as _Writer
except ImportError as e:
    raise ImportError(
        "graphc.utils.tensorboard needs tensorboardX: pip install 'graphc[tb]'"
    ) from e

__all__ = ["SummaryWriter"]

TAKES_TENSORS = (
    *("add_scalar", "add_scalars", "add_histogram", "add_image", "add_images", "add_embedding"),
    *("add_pr_curve", "add_video", "add_audio"),
)


class SummaryWriter(_Writer):  # type: ignore[misc]  # tensorboardX has no types
    """Writes event files for TensorBoard, as torch.utils.tensorboard's does."""


def _plain(x: Any) -> Any:
    """Tensors as arrays, inside lists and dicts too."""
    if isinstance(x, Tensor):
        return np.asarray(x.detach().numpy())
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    return [_plain(v) for v in x] if isinstance(x, list | tuple) else x


def _taking_tensors(name: str) -> Any:
    def method(self: SummaryWriter, *args: Any, **kwargs: Any) -> Any:
        plain = getattr(super(SummaryWriter, self), name)
        return plain(*map(_plain, args), **{k: _plain(v) for k, v in kwargs.items()})

    method.__name__ = name
    method.__doc__ = getattr(_Writer, name).__doc__
    return method


for _name in TAKES_TENSORS:
    setattr(SummaryWriter, _name, _taking_tensors(_name))
