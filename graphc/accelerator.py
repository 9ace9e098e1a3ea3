"""torch.accelerator's names in a build without one: questions are answered, no work is done."""

from __future__ import annotations

from typing import Any, NoReturn

from graphc.frontend.devices import device, no_device

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "device_index",
    "empty_cache",
    "is_available",
    "max_memory_allocated",
    "memory_allocated",
    "set_device_idx",
    "set_device_index",
    "synchronize",
]


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def current_accelerator(check_available: bool = False) -> device | None:
    """None: there is no accelerator in this build."""
    return None


def _missing(device: Any = None) -> NoReturn:
    raise no_device("accelerator" if device is None else f"accelerator:{device}")


def current_device_index() -> NoReturn:
    _missing()


def set_device_index(device: Any, /) -> NoReturn:
    _missing(device)


def current_stream(device: Any = None, /) -> NoReturn:
    _missing(device)


def synchronize(device: Any = None, /) -> NoReturn:
    """Raises, as in a PyTorch without accelerators: there is no device to wait for."""
    _missing(device)


def device_index(device: int | None, /) -> NoReturn:
    _missing(device)


current_device_idx, set_device_idx = current_device_index, set_device_index


def empty_cache() -> None:
    """There is no cache to empty."""


def memory_allocated(device_index: Any = None, /) -> int:
    return 0


def max_memory_allocated(device_index: Any = None, /) -> int:
    return 0
