"""Mixed precision, switched off: scripts that ask for it on a GPU run in full precision here.

As in a PyTorch without CUDA, `autocast("cuda")` and `GradScaler()` warn and do nothing. Automatic
casts on the CPU do not exist: `autocast("cpu")` raises unless enabled=False.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

from graphc.errors import InvalidState, Unsupported
from graphc.frontend.devices import device
from graphc.ir.types import DType

__all__ = ["GradScaler", "autocast", "is_autocast_available"]

F = TypeVar("F", bound=Callable[..., Any])


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast can be enabled: on no device. Raises for an unknown device type."""
    device(device_type)
    return False


def _enabled(what: str, device_type: str, enabled: bool) -> bool:
    """Warn for a device that is not there, raise for the CPU; False."""
    kind = device(device_type).type
    if not enabled:
        return False
    if kind == "cpu":
        raise Unsupported(
            f'{what} is enabled for device "cpu"',
            why="graphc computes in the dtypes of the tensors and casts nothing by itself",
            fix="pass enabled=False, or convert model and inputs with .to(graphc.bfloat16)",
        )
    warnings.warn(
        f"{what}: device {device_type!r} is not available, disabling", UserWarning, stacklevel=3
    )
    return False


class autocast:
    """A context manager and decorator under which nothing is cast."""

    def __init__(
        self,
        device_type: str,
        dtype: DType | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        self.device = device_type
        self.fast_dtype = dtype
        self._enabled = _enabled("autocast", device_type, enabled)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None

    def __call__(self, func: F) -> F:
        @functools.wraps(func)
        def inside(*args: Any, **kwargs: Any) -> Any:
            return func(*args, **kwargs)

        return inside  # type: ignore[return-value]  # wraps keeps the signature


class GradScaler:
    """The gradient scaler of mixed precision, disabled: losses and steps pass through."""

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._enabled = _enabled("GradScaler", device, enabled)

    def scale(self, outputs: Any) -> Any:
        """`outputs` as they are."""
        return outputs

    def unscale_(self, optimizer: Any) -> None:
        """Nothing was scaled."""

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """optimizer.step(*args, **kwargs)."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: Any = None) -> None:
        """There is no scale to update."""

    def get_scale(self) -> float:
        return 1.0

    def is_enabled(self) -> bool:
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """Empty, as of every disabled scaler."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Ignored, so that a checkpoint made with a GPU loads; its type is checked."""
        if not isinstance(state_dict, dict):
            raise InvalidState(f"GradScaler: a state dict is a dict, not {state_dict!r:.100}")
