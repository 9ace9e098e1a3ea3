"""Mixed precision under PyTorch's names: automatic casts, and the scaling of losses.

Where a device is not there both warn and do nothing, as in a PyTorch without CUDA.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from graphc.frontend.autocast import DEFAULTS, is_autocast_available, narrow_type, working
from graphc.frontend.devices import device
from graphc.frontend.grad_scaler import GradScaler
from graphc.frontend.modes import modes
from graphc.ir.types import DType, bf16, f16

__all__ = ["GradScaler", "autocast", "is_autocast_available"]

F = TypeVar("F", bound=Callable[..., Any])


class autocast:
    """A context manager and decorator: inside, functions on a device take their tensors in the
    types that PyTorch's lists say; products in `dtype`, float16 on a GPU and bfloat16 on a CPU."""

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        self._enabled = working("autocast", device_type, enabled)
        self.device = device_type
        self.fast_dtype = dtype or DEFAULTS.get(device_type)
        if self._enabled and self.fast_dtype not in (f16, bf16):
            warnings.warn(
                f"In {device_type} autocast, but the target dtype {self.fast_dtype} is not "
                "supported, disabling: it is for float16 and bfloat16",
                UserWarning,
                stacklevel=2,
            )
            self._enabled = False
        self._before: list[tuple[tuple[str, DType], ...]] = []

    def __enter__(self) -> Self:
        self._before.append(modes.autocast)
        kept = tuple(row for row in modes.autocast if row[0] != self.device)
        mine = ((self.device, self.fast_dtype),) if self._enabled and self.fast_dtype else ()
        modes.autocast = tuple(sorted((*kept, *mine), key=lambda row: row[0]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        modes.autocast = self._before.pop()

    def __call__(self, func: F) -> F:
        @functools.wraps(func)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return inside  # type: ignore[return-value]  # wraps keeps the signature


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether functions on a device are cast here and now."""
    return narrow_type(device_type) is not None


def get_autocast_dtype(device_type: str) -> DType:
    """What products on a device take now, or would if autocast were enabled."""
    return narrow_type(device_type) or DEFAULTS[device(device_type).type]
