"""The CUDA driver as the runtime sees it: thin methods that bear the names of its calls.

`bindings.py` makes them real, `fake.py` plays them over host memory with checks that no device
makes. Handles and addresses are ints; sizes are in bytes; a stream is always one that was created,
never the default stream. A call that fails raises `CudaError`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Protocol

from graphc.errors import CudaError
from graphc.ir.cuda_abi import Image

__all__ = [
    "Code",
    "CudaError",
    "DeviceAttribute",
    "Driver",
    "FunctionAttribute",
    "MapElement",
    "PointerAttribute",
    "Swizzle",
    "failure",
]

Grid = tuple[int, int, int]


class Code(IntEnum):
    """CUresult, as far as it is told apart."""

    INVALID_VALUE = 1
    OUT_OF_MEMORY = 2
    NOT_INITIALIZED = 3
    INVALID_CONTEXT = 201
    INVALID_HANDLE = 400
    NOT_FOUND = 500
    NOT_READY = 600
    ILLEGAL_ADDRESS = 700
    STREAM_CAPTURE_UNSUPPORTED = 900
    STREAM_CAPTURE_INVALIDATED = 901
    STREAM_CAPTURE_UNJOINED = 904
    STREAM_CAPTURE_WRONG_THREAD = 908


class DeviceAttribute(IntEnum):
    """CUdevice_attribute, as far as it is asked for."""

    MAX_SHARED_MEMORY_PER_BLOCK = 8
    WARP_SIZE = 10
    MULTIPROCESSOR_COUNT = 16
    INTEGRATED = 18
    L2_CACHE_SIZE = 38
    MAX_THREADS_PER_MULTIPROCESSOR = 39
    COMPUTE_CAPABILITY_MAJOR = 75
    COMPUTE_CAPABILITY_MINOR = 76
    MAX_SHARED_MEMORY_PER_MULTIPROCESSOR = 81
    MAX_REGISTERS_PER_MULTIPROCESSOR = 82
    MULTI_GPU_BOARD = 84
    MAX_SHARED_MEMORY_PER_BLOCK_OPTIN = 97


class FunctionAttribute(IntEnum):
    """CUfunction_attribute, as far as it is asked for."""

    MAX_THREADS_PER_BLOCK = 0
    SHARED_SIZE_BYTES = 1
    LOCAL_SIZE_BYTES = 3
    NUM_REGS = 4
    MAX_DYNAMIC_SHARED_SIZE_BYTES = 8


class PointerAttribute(IntEnum):
    """CUpointer_attribute, as far as it is asked for."""

    DEVICE_ORDINAL = 9


class MapElement(IntEnum):
    """CUtensorMapDataType."""

    UINT8 = 0
    UINT16 = 1
    UINT32 = 2
    INT32 = 3
    UINT64 = 4
    INT64 = 5
    FLOAT16 = 6
    FLOAT32 = 7
    FLOAT64 = 8
    BFLOAT16 = 9


class Swizzle(IntEnum):
    """CUtensorMapSwizzle."""

    NONE = 0
    BYTES_32 = 1
    BYTES_64 = 2
    BYTES_128 = 3


class Driver(Protocol):
    """~45 calls; the last two are ours: real memory ignores them, fake memory checks by them."""

    name: str
    forked: bool  # whether this is the child of a process that uses it

    def Init(self) -> None: ...
    def DriverGetVersion(self) -> int: ...
    def DeviceGetCount(self) -> int: ...
    def DeviceGet(self, ordinal: int) -> int: ...
    def DeviceGetName(self, device: int) -> str: ...
    def DeviceGetAttribute(self, attribute: DeviceAttribute, device: int) -> int: ...
    def DeviceTotalMem(self, device: int) -> int: ...
    def DevicePrimaryCtxRetain(self, device: int) -> int: ...
    def CtxSetCurrent(self, context: int) -> None: ...
    def CtxSynchronize(self) -> None: ...

    def ModuleLoadData(self, image: Image) -> int: ...
    def ModuleUnload(self, module: int) -> None: ...
    def ModuleGetFunction(self, module: int, name: str) -> int: ...
    def FuncGetAttribute(self, attribute: FunctionAttribute, function: int) -> int: ...
    def FuncSetAttribute(self, function: int, attribute: FunctionAttribute, value: int) -> None: ...
    def OccupancyMaxActiveBlocksPerMultiprocessor(
        self, function: int, threads: int, shared_bytes: int
    ) -> int: ...
    def LaunchKernel(
        self,
        function: int,
        grid: Grid,
        threads: int,
        shared_bytes: int,
        stream: int,
        parameters: int,
    ) -> None:
        """`parameters` is the address of a `void*[]`, whose values are copied before it returns.

        No dimension of the grid may be 0: an empty launch is the caller's to leave out.
        """

    def TensorMapEncodeTiled(
        self,
        destination: int,
        element: MapElement,
        address: int,
        shape: Sequence[int],
        strides: Sequence[int],
        box: Sequence[int],
        swizzle: Swizzle = Swizzle.NONE,
    ) -> None:
        """Write 128 bytes at `destination` (64-B aligned).

        Dimensions innermost first; `strides` in bytes without the innermost.
        """

    def MemGetInfo(self) -> tuple[int, int]:
        """Free and total bytes."""

    def PointerGetAttribute(self, attribute: PointerAttribute, address: int) -> int: ...

    def MemAlloc(self, size_bytes: int) -> int: ...
    def MemFree(self, address: int) -> None: ...
    def MemHostAlloc(self, size_bytes: int) -> int: ...
    def MemFreeHost(self, address: int) -> None: ...
    def MemcpyHtoDAsync(self, device: int, host: int, size_bytes: int, stream: int) -> None: ...
    def MemcpyDtoHAsync(self, host: int, device: int, size_bytes: int, stream: int) -> None: ...
    def MemcpyDtoDAsync(self, target: int, source: int, size_bytes: int, stream: int) -> None: ...
    def MemsetD8Async(self, address: int, value: int, count: int, stream: int) -> None: ...
    def MemsetD16Async(self, address: int, value: int, count: int, stream: int) -> None: ...
    def MemsetD32Async(self, address: int, value: int, count: int, stream: int) -> None: ...

    def StreamCreateWithPriority(self, priority: int = 0) -> int: ...
    def StreamDestroy(self, stream: int) -> None: ...
    def StreamSynchronize(self, stream: int) -> None: ...
    def StreamQuery(self, stream: int) -> bool: ...
    def StreamWaitEvent(self, stream: int, event: int) -> None: ...
    def EventCreate(self, timing: bool = False) -> int: ...
    def EventDestroy(self, event: int) -> None: ...
    def EventRecord(self, event: int, stream: int) -> None: ...
    def EventQuery(self, event: int) -> bool: ...
    def EventSynchronize(self, event: int) -> None: ...
    def EventElapsedTime(self, start: int, end: int) -> float:
        """Milliseconds between two events made with timing."""

    def StreamBeginCapture(self, stream: int) -> None: ...
    def StreamEndCapture(self, stream: int) -> int: ...
    def GraphInstantiate(self, graph: int) -> int: ...
    def GraphUpload(self, executable: int, stream: int) -> None: ...
    def GraphLaunch(self, executable: int, stream: int) -> None: ...
    def GraphLauncher(self) -> int:
        """The address of GraphLaunch as a function of C, which gives a status."""

    def Copier(self) -> int:
        """The same of MemcpyDtoDAsync."""

    def GraphExecDestroy(self, executable: int) -> None: ...
    def GraphDestroy(self, graph: int) -> None: ...

    def Lend(self, address: int, size_bytes: int, stream: int) -> None:
        """From here on in stream order these bytes are in use, with nothing in them yet."""

    def Reclaim(self, address: int, size_bytes: int, stream: int) -> None:
        """From here on in stream order nothing may read or write these bytes."""

    def Discard(self, address: int, size_bytes: int, stream: int) -> None:
        """From here on in stream order these bytes hold nothing; a part of what is captured."""


def failure(call: str, code: int, kernel: str = "", *, name: str = "", text: str = "") -> CudaError:
    """The error of a call that returned `code`."""
    if not name:
        name = f"CUDA_ERROR_{Code(code).name}" if code in {*Code} else f"error {code}"
    what = f"cu{call}: {name}" + (f" in kernel {kernel}" if kernel else "")
    return CudaError(what, call=call, number=code, kernel=kernel, why=text)
