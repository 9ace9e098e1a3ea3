"""SummaryWriter, tensorboardX's, which takes graphc tensors as they are."""

from __future__ import annotations

import warnings
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
    *("add_scalars", "add_histogram", "add_image", "add_images", "add_embedding"),
    *("add_pr_curve", "add_video", "add_audio", "add_mesh", "add_image_with_boxes"),
)


class SummaryWriter(_Writer):  # type: ignore[misc]  # tensorboardX has no types
    """Writes event files for TensorBoard, as torch.utils.tensorboard's does."""

    @property
    def log_dir(self) -> str:
        return str(self.logdir)

    def get_logdir(self) -> str:
        return self.log_dir

    def add_scalar(
        self,
        tag: str,
        scalar_value: Any,
        global_step: Any = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """A number of a series; the last two arguments choose an encoding, and are ignored."""
        super().add_scalar(tag, _plain(scalar_value), _plain(global_step), walltime)

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list[Any]] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """The settings of a run and what came of them; the settings' domains are not written."""
        super().add_hparams(_plain(hparam_dict), _plain(metric_dict), run_name, global_step)

    def add_graph(self, model: Any, *args: Any, **kwargs: Any) -> None:
        """Writes nothing, and says so: TensorBoard's graphs are those of PyTorch's own tracer."""
        warnings.warn(
            f"add_graph: no graph of {type(model).__name__} is written; "
            'graphc.compile(model).ir("trace") shows what it computes',
            stacklevel=2,
        )


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
