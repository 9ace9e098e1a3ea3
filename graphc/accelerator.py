"""torch.accelerator's names: the accelerator is the GPU. See `graphc.cuda`."""

from __future__ import annotations

from typing import Any

from graphc import cuda
from graphc.frontend.devices import device

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
    """Whether there is a GPU that graphc can use."""
    return cuda.is_available()


def device_count() -> int:
    """How many GPUs there are; 0 without any."""
    return cuda.device_count()


def current_accelerator(check_available: bool = False) -> device | None:
    """The kind of accelerator, without an index; None where there is none."""
    return device("cuda") if is_available() else None


def current_device_index() -> int:
    """The index of this thread's GPU."""
    return cuda.current_device()


def set_device_index(device: Any, /) -> None:
    """Make a GPU this thread's, by index or device."""
    cuda.set_device(device)


def current_stream(device: Any = None, /) -> cuda.Stream:
    """The stream on which this thread's work for a GPU goes."""
    return cuda.current_stream(device)


def synchronize(device: Any = None, /) -> None:
    """Wait for all work of the device; raises where there is none."""
    cuda.synchronize(device)


def device_index(device: int | None, /) -> cuda.device:
    """`with device_index(1)`: the current device inside."""
    return cuda.device(device)


current_device_idx, set_device_idx = current_device_index, set_device_index


def empty_cache() -> None:
    """Give memory that no tensor holds back to the driver."""
    cuda.empty_cache()


def memory_allocated(device_index: Any = None, /) -> int:
    """Bytes in use on a GPU, as `cuda.memory_allocated` counts them."""
    return cuda.memory_allocated(device_index)


def max_memory_allocated(device_index: Any = None, /) -> int:
    """The most bytes in use on a GPU, as `cuda.max_memory_allocated` counts them."""
    return cuda.max_memory_allocated(device_index)
