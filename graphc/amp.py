"""Mixed precision under PyTorch's names: automatic casts, and the scaling of losses.

Where a device is not there both warn and do nothing, as in a PyTorch without CUDA.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from graphc.errors import DeviceUnavailable, InvalidType
from graphc.frontend.autocast import narrow_type
from graphc.frontend.devices import device, resolve
from graphc.frontend.grad_scaler import GradScaler as _GradScaler
from graphc.frontend.modes import modes
from graphc.ir.types import DType, bf16, f16

__all__ = ["GradScaler", "autocast", "is_autocast_available"]

F = TypeVar("F", bound=Callable[..., Any])
DEFAULTS = {"cpu": bf16, "cuda": f16}


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast can be enabled. Raises for an unknown device type."""
    try:
        return resolve(device(device_type).type).type in DEFAULTS
    except DeviceUnavailable:
        return False


def _enabled(what: str, device_type: Any, enabled: bool) -> bool:
    """Whether it is to work; warns for a device that is not there."""
    if not isinstance(device_type, str):
        kind = type(device_type).__name__
        raise InvalidType(f"Expected `device_type` of type `str`, got: `{kind}`")
    device(device_type)
    if not enabled or is_autocast_available(device_type):
        return enabled
    warnings.warn(
        f"{what}: device {device_type!r} is not available, disabling", UserWarning, stacklevel=3
    )
    return False


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
        self._enabled = _enabled("autocast", device_type, enabled)
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


class GradScaler(_GradScaler):
    """Scales losses, so that small gradients are no zeros in float16; see `_GradScaler`."""

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        enabled = _enabled("GradScaler", device, enabled)
        super().__init__(
            device, init_scale, growth_factor, backoff_factor, growth_interval, enabled
        )
