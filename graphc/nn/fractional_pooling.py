"""Pooling layers over windows at drawn places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from graphc.errors import InvalidArgument
from graphc.frontend.tensor import Tensor
from graphc.nn import functional as F
from graphc.nn.functional.arguments import Sizes, per_dim
from graphc.nn.module import Module

__all__ = ["FractionalMaxPool2d", "FractionalMaxPool3d"]


class _FractionalMaxPool(Module):
    rank: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if (output_size is None) == (output_ratio is None):
            lacking = "requires specifying either" if output_size is None else "takes only one of"
            raise InvalidArgument(f"{name} {lacking} an output size or a pooling ratio")
        self.kernel_size = per_dim(kernel_size, self.rank, "kernel_size")
        self.return_indices = return_indices
        self.output_size = output_size
        self.output_ratio = output_ratio
        self.register_buffer("_random_samples", _random_samples)
        ratios = output_ratio if isinstance(output_ratio, Sequence) else (output_ratio or 0.5,)
        if not all(0 < r < 1 for r in ratios):
            raise InvalidArgument(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def forward(self, input: Tensor) -> Any:
        pool = F.fractional_max_pool2d if self.rank == 2 else F.fractional_max_pool3d
        return pool(
            input,
            self.kernel_size,
            self.output_size,
            self.output_ratio,
            self.return_indices,
            _random_samples=self._random_samples,
        )


class FractionalMaxPool2d(_FractionalMaxPool):
    """x [B,C,H,W] -> [B,C,P,Q]; see functional.fractional_max_pool2d.

    Extents are `output_size`, or each times `output_ratio`, down to an integer. Raises
    InvalidArgument unless one of the two is given. Graham 2014.
    """

    rank = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """x [B,C,T,H,W] -> [B,C,O,P,Q]; see functional.fractional_max_pool3d.

    Extents are `output_size`, or each times `output_ratio`, down to an integer. Raises
    InvalidArgument unless one of the two is given. Graham 2014.
    """

    rank = 3
