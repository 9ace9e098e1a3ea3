"""torch.cuda's rarer names: statistics as a dict and as text, seeds, facts of the build."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from graphc.cuda.device_index import device_index, the_device
from graphc.cuda.streams import Stream
from graphc.errors import CudaError, DeviceUnavailable, InvalidArgument
from graphc.frontend.api import legacy, random
from graphc.frontend.devices import device as named_device
from graphc.frontend.tensor import Tensor
from graphc.runtime.cuda import device as gpus

__all__ = [
    "BFloat16Tensor",
    "BoolTensor",
    "ByteTensor",
    "CharTensor",
    "CudaError",
    "DeferredCudaCallError",
    "DoubleTensor",
    "FloatTensor",
    "HalfTensor",
    "IntTensor",
    "LongTensor",
    "ShortTensor",
    "can_device_access_peer",
    "device_memory_used",
    "device_of",
    "get_allocator_backend",
    "get_arch_list",
    "get_gencode_flags",
    "get_rng_state",
    "get_sync_debug_mode",
    "has_half",
    "has_magma",
    "init",
    "initial_seed",
    "is_current_stream_capturing",
    "is_tf32_supported",
    "max_memory_cached",
    "memory_cached",
    "memory_stats",
    "memory_stats_as_nested_dict",
    "memory_summary",
    "reset_accumulated_memory_stats",
    "reset_max_memory_allocated",
    "reset_max_memory_cached",
    "seed",
    "seed_all",
    "set_rng_state",
    "set_rng_state_all",
    "set_stream",
    "set_sync_debug_mode",
]

has_half, has_magma = True, False
_sync_mode = [0]


class DeferredCudaCallError(Exception):
    """For `except`: no call is put off until a device is used."""


class _OnGpu(type):
    """The class of `cuda.FloatTensor`: makes tensors on the GPU; isinstance asks for both."""

    plain: Any

    def __call__(cls, *data: Any) -> Tensor:
        found: Tensor = cls.plain(*data)
        return found.to(named_device("cuda"))

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, cls.plain) and isinstance(x, Tensor) and x.device.type == "cuda"


def _type(name: str) -> Any:
    plain = legacy.BY_NAME[name]
    text = f"{name} on the GPU."
    made = _OnGpu(name, (), {"plain": plain, "__doc__": text, "dtype": plain.dtype})
    made.__module__ = "graphc.cuda"
    return made


(FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor, ByteTensor, CharTensor, ShortTensor,
 IntTensor, LongTensor, BoolTensor) = map(_type, legacy.BY_NAME)  # fmt: skip


# ---- random numbers: a device draws what the CPU would, from the one generator


def seed() -> None:
    """Seed the generator of the GPUs, which is the CPU's, by chance; without a GPU nothing."""
    if gpus.count():
        random.seed()


def seed_all() -> None:
    """As `seed`."""
    seed()


def initial_seed() -> int:
    """What the generator was seeded with."""
    the_device(None)
    return random.initial_seed()


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The state of the generator that draws for the GPU: [bytes], uint8."""
    the_device(device)
    return random.get_rng_state()


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Go on from a state that `get_rng_state` gave, [bytes], uint8; without a GPU nothing."""
    if gpus.count():
        random.set_rng_state(new_state)


def set_rng_state_all(new_states: Any) -> None:
    """`set_rng_state` of the list that `get_rng_state_all` gave."""
    for state in new_states:
        set_rng_state(state)


# ---- memory


def _nested(device: Any) -> dict[str, Any]:
    if device is None and not gpus.is_initialized():
        return {}
    allocator = the_device(device).allocator
    allocator.collect()
    s = allocator.stats

    def of_all(current: int, peak: int) -> dict[str, Any]:
        return {"all": {"current": current, "peak": peak}}

    return {
        "allocated_bytes": of_all(s.allocated, s.max_allocated),
        "active_bytes": of_all(s.allocated, s.max_allocated),
        "reserved_bytes": of_all(s.reserved, s.max_reserved),
        "segment": {"all": {"current": s.segments}},
        "allocation": {"all": {"allocated": s.allocations}},
        "num_ooms": 0,
    }


def memory_stats_as_nested_dict(device: Any = None) -> dict[str, Any]:
    """`memory_stats`, as dicts in dicts; {} where no device was used."""
    return _nested(device)


def memory_stats(device: Any = None) -> dict[str, Any]:
    """What the allocator counts, by names as "allocated_bytes.all.peak"; {} where no device was
    used."""
    found: dict[str, Any] = {}

    def walk(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                walk(f"{prefix}.{name}" if prefix else name, inner)
        else:
            found[prefix] = value

    walk("", _nested(device))
    return dict(sorted(found.items()))


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """`memory_stats` as a table."""
    stats = memory_stats(device)
    width = max(map(len, stats), default=0)
    rows = [f"{name:<{width}}  {value:>16,d}" for name, value in stats.items()]
    return "\n".join(["GPU memory", *rows])


def reset_max_memory_allocated(device: Any = None) -> None:
    """`reset_peak_memory_stats`, as it was called before: the most bytes are counted from now."""
    if device is not None or gpus.is_initialized():
        the_device(device).allocator.stats.reset_peaks()


def reset_max_memory_cached(device: Any = None) -> None:
    """As `reset_max_memory_allocated`."""
    reset_max_memory_allocated(device)


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Count allocations anew."""
    if device is not None or gpus.is_initialized():
        the_device(device).allocator.stats.allocations = 0


def memory_cached(device: Any = None) -> int:
    """`memory_reserved`, as it was called before."""
    found: int = memory_stats(device).get("reserved_bytes.all.current", 0)
    return found


def max_memory_cached(device: Any = None) -> int:
    """`max_memory_reserved`, as it was called before."""
    found: int = memory_stats(device).get("reserved_bytes.all.peak", 0)
    return found


def device_memory_used(device: Any = None) -> int:
    """Bytes of the device that are in use, by other processes too."""
    free, total = the_device(device).driver.MemGetInfo()
    used: int = total - free
    return used


def get_allocator_backend() -> str:
    """ "native": graphc's own."""
    return "native"


# ---- devices and streams


def init() -> None:
    """Begin to use the GPU, which happens by itself; raises where there is none."""
    the_device(None)


class device_of(nullcontext[None]):
    """`with device_of(x)`: the device of a tensor; as tensors know theirs, nothing changes."""

    def __init__(self, obj: Tensor) -> None:
        super().__init__()


def set_stream(stream: Stream) -> None:
    """graphc computes in the device's own stream; for another use `with stream(s)`."""
    if stream is not None and stream.cuda_stream != the_device(stream.device).stream:
        raise InvalidArgument(
            "set_stream of another stream than the device's",
            why="graphc computes in one stream per device, in the order of the calls",
            fix="use `with graphc.cuda.stream(s):`",
        )


def is_current_stream_capturing() -> bool:
    """False: what graphc captures is replayed by it, and no code of the user's runs meanwhile."""
    return False


def is_tf32_supported() -> bool:
    """Whether there is a GPU, all of which have it."""
    return gpus.count() > 0


def get_arch_list() -> list[str]:
    """The capabilities of the GPUs here: code is compiled for them as it is needed."""
    found = (gpus.current(k).properties for k in range(gpus.count()))
    return sorted({f"sm_{p.major}{p.minor}" for p in found})


def get_gencode_flags() -> str:
    """nvcc's flags for the GPUs here."""
    names = (name.removeprefix("sm_") for name in get_arch_list())
    return " ".join(f"-gencode compute=compute_{n},code=sm_{n}" for n in names)


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """False: no memory of one GPU is read by another."""
    count = gpus.count()
    for where in (device, peer_device):
        if not 0 <= device_index(where) < count:
            raise DeviceUnavailable(f"can_device_access_peer: no device {where}")
    return False


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """Accepted and remembered; `step.explain()` says where a step waits."""
    names = {"default": 0, "warn": 1, "error": 2}
    mode = names.get(debug_mode, -1) if isinstance(debug_mode, str) else debug_mode
    if mode not in names.values():
        raise InvalidArgument(f"set_sync_debug_mode({debug_mode!r:.40})", fix="0, 1 or 2")
    _sync_mode[0] = mode


def get_sync_debug_mode() -> int:
    """What was set: 0, 1 or 2."""
    return _sync_mode[0]
