"""DataParallel: copies of a module on several devices, of which there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graphc.frontend.devices import check_device
from graphc.nn.module import Module

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """`module` on the one device there is, under the name "module" in paths and state_dict."""

    def __init__(
        self,
        module: Module,
        device_ids: Sequence[Any] | None = None,
        output_device: Any = None,
        dim: int = 0,
    ) -> None:
        super().__init__()
        for device in (*(device_ids or ()), output_device):
            check_device(device)
        self.module = module
        self.device_ids: list[Any] = []  # as in a PyTorch without GPUs
        self.dim = dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """`module` of the inputs, a tuple or one tensor."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    return DataParallel(module, device_ids, output_device, dim)(*given, **(module_kwargs or {}))
