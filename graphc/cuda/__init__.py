"""torch.cuda's names: devices, their memory, streams and events.

Without a GPU, as in a PyTorch without CUDA: what asks or seeds works, what needs a device raises,
and says what is missing.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from graphc.cuda import amp as amp
from graphc.cuda import more as _more
from graphc.cuda import nvtx as nvtx
from graphc.cuda.device_index import device_index, the_device
from graphc.cuda.more import *
from graphc.cuda.streams import (
    CUDAGraph,
    Event,
    Stream,
    StreamContext,
    current_stream,
    default_stream,
    graph,
    stream,
)
from graphc.errors import DeviceOutOfMemory as OutOfMemoryError
from graphc.frontend.api import random
from graphc.frontend.tensor import Tensor
from graphc.runtime.cuda import device as gpus
from graphc.runtime.cuda.device import Properties

__all__ = [
    "CUDAGraph",
    "Event",
    "OutOfMemoryError",
    "Stream",
    "StreamContext",
    "amp",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
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
__all__ += _more.__all__


def is_available() -> bool:
    """Whether kernels can run on a GPU here; `python -m graphc doctor` says why not."""
    return device_count() > 0


def is_initialized() -> bool:
    """Whether this process has begun to use a GPU."""
    return gpus.is_initialized()


def is_bf16_supported() -> bool:
    """Whether there is a GPU, all of which have it."""
    return is_available()  # a device that is available has it


def device_count() -> int:
    """How many GPUs there are; 0 without any."""
    return gpus.count()


# ---- random numbers: a device draws what the CPU would, from the one generator


def manual_seed(seed: int) -> None:
    """Seed the generator of the GPUs, which is the CPU's; without a GPU nothing."""
    if is_available():
        random.manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """As `manual_seed`."""
    manual_seed(seed)


def get_rng_state_all() -> list[Tensor]:
    """The state of the generator, once for each GPU: they share one. Each [bytes], uint8."""
    return [random.get_rng_state() for _ in range(device_count())]


# ---- memory


def _stats(device: Any) -> tuple[int, int, int, int]:
    """Allocated, most allocated, reserved, most reserved; zeros where no device was used."""
    if device is None and not is_initialized():
        return 0, 0, 0, 0
    allocator = the_device(device).allocator
    allocator.collect()
    s = allocator.stats
    return s.allocated, s.max_allocated, s.reserved, s.max_reserved


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors hold."""
    return _stats(device)[0]


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors held since the start or `reset_peak_memory_stats`."""
    return _stats(device)[1]


def memory_reserved(device: Any = None) -> int:
    """Bytes taken from the driver: in tensors, or kept for the next."""
    return _stats(device)[2]


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that were asked of the driver since the peak was reset."""
    return _stats(device)[3]


def reset_peak_memory_stats(device: Any = None) -> None:
    """Count peaks of memory anew."""
    if device is not None or is_initialized():
        the_device(device).allocator.stats.reset_peaks()


def empty_cache() -> None:
    """Give memory that no tensor holds, pinned memory of the host as well, back to the driver."""
    if is_initialized():
        gpu = the_device(None)
        gpu.allocator.empty_cache()
        gpu.host.empty_cache()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of the device, other processes included."""
    return the_device(device).driver.MemGetInfo()


def ipc_collect() -> None:
    """No memory is shared with other processes."""


# ---- devices


def synchronize(device: Any = None) -> None:
    """Wait for all work of the device."""
    the_device(device).synchronize()


def current_device() -> int:
    """The index that "cuda" alone means."""
    return the_device(None).index


def set_device(device: Any) -> None:
    """Make a GPU this thread's."""
    gpus.select(device_index(device))


class device:
    """`with graphc.cuda.device(1)`: the current device inside; None or a negative index: as is."""

    def __init__(self, device: Any) -> None:
        self.idx = device_index(device)
        self.prev_idx = gpus.current_index()

    def __enter__(self) -> Self:
        self.prev_idx = gpus.current_index()
        gpus.select(self.idx)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        gpus.select(self.prev_idx)


def get_device_name(device: Any = None) -> str:
    """The GPU's name."""
    return the_device(device).properties.name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The GPU's compute capability, (9, 0) say."""
    found = the_device(device).properties
    return found.major, found.minor


def get_device_properties(device: Any = None) -> Properties:
    """What the driver tells of the GPU: name, capability, memory and the like."""
    return the_device(device).properties
