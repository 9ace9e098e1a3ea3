"""SyncBatchNorm: batch normalisation over all devices, of which there is one."""

from __future__ import annotations

from typing import Any

from graphc.errors import InvalidArgument
from graphc.frontend.tensor import Tensor
from graphc.nn.module import Module
from graphc.nn.normalization import _BatchNorm

__all__ = ["SyncBatchNorm"]


class SyncBatchNorm(_BatchNorm):
    """Batch normalisation of [B,C,...] of any rank; on one device that is plain BatchNorm."""

    ranks = (2, 3, 4, 5)

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        device: object = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype)
        self.process_group = process_group

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() < 2:
            raise InvalidArgument(f"expected at least 2D input (got {input.dim()}D input)")
        if input.dim() <= self.ranks[-1]:
            return super().forward(input)
        flat = input.reshape(*input.shape[:2], -1)
        return super().forward(flat).reshape(input.shape)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """`module` with every BatchNorm below it replaced, parameters and statistics shared."""
        made = module
        if isinstance(module, _BatchNorm) and not isinstance(module, SyncBatchNorm):
            made = cls(module.num_features, module.eps, module.momentum, module.affine,
                       module.track_running_stats, process_group)  # fmt: skip
            for table in ("_parameters", "_buffers"):
                getattr(made, table).update(getattr(module, table))
            made.train(module.training)
        for name, child in module._modules.items():
            if child is not None:
                made.register_module(name, cls.convert_sync_batchnorm(child, process_group))
        return made
