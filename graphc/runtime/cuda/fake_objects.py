"""What FakeDriver's handles stand for, and the facts of the GPU that it plays."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from graphc.ir.cuda_abi import Image
from graphc.runtime.cuda.driver import DeviceAttribute, MapElement, Swizzle
from graphc.runtime.cuda.order import Clock, Operation

SHARED_BYTES = 48 << 10  # more must be asked for
MOST_THREADS = 1024
PARAMETER_BYTES = 4 << 10  # of a launch, as all drivers of CUDA 12 take them
TENSOR_MAP = struct.Struct("<8sIIQ5Q4Q5I3I")

# An H100's, so that what is chosen by them is what will run there.
ATTRIBUTES = {
    DeviceAttribute.MAX_SHARED_MEMORY_PER_BLOCK: SHARED_BYTES,
    DeviceAttribute.WARP_SIZE: 32,
    DeviceAttribute.MULTIPROCESSOR_COUNT: 132,
    DeviceAttribute.INTEGRATED: 0,
    DeviceAttribute.L2_CACHE_SIZE: 50 << 20,
    DeviceAttribute.MAX_THREADS_PER_MULTIPROCESSOR: 2048,
    DeviceAttribute.COMPUTE_CAPABILITY_MAJOR: 9,
    DeviceAttribute.COMPUTE_CAPABILITY_MINOR: 0,
    DeviceAttribute.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: 228 << 10,
    DeviceAttribute.MAX_REGISTERS_PER_MULTIPROCESSOR: 65536,
    DeviceAttribute.MULTI_GPU_BOARD: 0,
    DeviceAttribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: 227 << 10,
}


@dataclass(eq=False, slots=True)
class Function:
    image: Image
    shared_limit: int = SHARED_BYTES


@dataclass(eq=False, slots=True)
class Capture:
    """A capture in progress: its operations, and a clock for each stream that takes part."""

    origin: int
    thread: int  # that began it
    invalid: bool = False
    nodes: list[Operation] = field(default_factory=list)
    clocks: dict[int, Clock] = field(default_factory=dict)
    names: dict[int, int] = field(default_factory=dict)  # stream -> its name in the graph


@dataclass(eq=False, slots=True)
class Event:
    timing: bool
    clock: Clock | None = None
    capture: Capture | None = None
    milliseconds: list[float] = field(default_factory=list)


def map_record(
    destination: int,
    element: MapElement,
    address: int,
    shape: Sequence[int],
    strides: Sequence[int],
    box: Sequence[int],
    swizzle: Swizzle,
) -> bytes | None:
    """What stands for a tensor map; None for what the CUDA manual does not allow."""
    rank = len(shape)
    sound = destination % 64 == 0 and address % 16 == 0 and 1 <= rank <= 5
    sound &= len(strides) == rank - 1 and len(box) == rank
    sound &= all(s % 16 == 0 and s < 1 << 40 for s in strides)
    sound &= all(0 < b <= 256 for b in box) and all(0 < n <= 1 << 32 for n in shape)
    if not sound:
        return None
    unused = 5 - rank
    return TENSOR_MAP.pack(
        *(b"FAKE MAP", rank, element, address),
        *(*shape, *[1] * unused),
        *(*strides, *[0] * unused),
        *(*box, *[1] * unused),
        *(swizzle, 0, 0),
    )
