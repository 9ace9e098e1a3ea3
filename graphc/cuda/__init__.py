"""torch.cuda's names in a build without a CUDA back end: questions are answered, no work is done.

As in a PyTorch without CUDA: what asks or seeds works, what needs a device raises.
"""

from __future__ import annotations

from typing import Any, NoReturn

from graphc.cuda import amp as amp
from graphc.frontend.devices import no_device
from graphc.frontend.tensor import Tensor

__all__ = [
    "CUDAGraph",
    "Event",
    "Stream",
    "StreamContext",
    "amp",
    "current_device",
    "current_stream",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "get_rng_state_all",
    "graph",
    "ipc_collect",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    return False


def is_initialized() -> bool:
    return False


def is_bf16_supported() -> bool:
    return False


def device_count() -> int:
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to seed; `graphc.manual_seed` seeds the CPU's generator."""


def manual_seed_all(seed: int) -> None:
    """Nothing to seed, as `manual_seed`."""


def get_rng_state_all() -> list[Tensor]:
    return []


def empty_cache() -> None:
    """There is no cache to empty."""


def memory_allocated(device: Any = None) -> int:
    return 0


def max_memory_allocated(device: Any = None) -> int:
    return 0


def _missing(device: Any) -> NoReturn:
    name = "cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device
    raise no_device(str(name))


class _OfADevice:
    """What only a device has: making one raises."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _missing(None)


class CUDAGraph(_OfADevice):
    """For annotations and isinstance."""


class Event(_OfADevice):
    """For annotations and isinstance."""


class Stream(_OfADevice):
    """For annotations and isinstance."""


class StreamContext(_OfADevice):
    """For annotations and isinstance."""


class graph(_OfADevice):
    """For annotations and isinstance."""


def stream(stream: Any) -> StreamContext:
    return StreamContext(stream)


def current_stream(device: Any = None) -> NoReturn:
    _missing(device)


def mem_get_info(device: Any = None) -> NoReturn:
    _missing(device)


def memory_reserved(device: Any = None) -> int:
    return 0


def max_memory_reserved(device: Any = None) -> int:
    return 0


def reset_peak_memory_stats(device: Any = None) -> None:
    """There is no memory to watch."""


def ipc_collect() -> None:
    """There is no memory to collect."""


def synchronize(device: Any = None) -> NoReturn:
    """Raises, as in a PyTorch without CUDA: there is no device to wait for."""
    _missing(device)


def current_device() -> NoReturn:
    _missing(None)


def set_device(device: Any) -> NoReturn:
    _missing(device)


def get_device_name(device: Any = None) -> NoReturn:
    _missing(device)


def get_device_capability(device: Any = None) -> NoReturn:
    _missing(device)


def get_device_properties(device: Any = None) -> NoReturn:
    _missing(device)
