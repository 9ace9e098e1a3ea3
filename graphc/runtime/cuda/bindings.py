"""The real driver, by NVIDIA's cuda-bindings: each method is the call of its name, checked.

Importing this needs the package, not a GPU: without libcuda the first call raises.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from cuda.bindings import driver as cu

from graphc.ir.cuda_abi import Image
from graphc.runtime.cuda.driver import (
    Code,
    DeviceAttribute,
    FunctionAttribute,
    Grid,
    MapElement,
    PointerAttribute,
    Swizzle,
    failure,
)

NON_BLOCKING = 1  # a stream that the default stream does not wait for
DISABLE_TIMING = 2
PORTABLE = 1  # pinned memory of every context
MAP_BYTES, MAP_ALIGNMENT = 128, 64
ENCODE_SINCE = 12000  # the CUDA version that brought tensor maps
L2_PROMOTION_128B = 2

Encode = Callable[..., int]


def _text(code: Any) -> tuple[str, str]:
    """Name and explanation of an error."""
    found = []
    for ask in (cu.cuGetErrorName, cu.cuGetErrorString):
        status, text = ask(code)
        found.append(text.decode() if int(status) == 0 and text else "")
    return found[0], found[1]


class CudaDriver:
    """`Driver` for the GPUs of this machine."""

    name = "cuda"

    def __init__(self) -> None:
        self._kernels: dict[int, str] = {}  # functions by handle, for messages
        self._encode: Encode | None = None
        self._context = 0  # the one set last, in any thread
        self.forked = False  # whether this is the child of a process that uses it

    def _call(self, name: str, *arguments: Any, kernel: str = "") -> Any:
        """What the call returns behind its status: nothing, a value, or a tuple."""
        status, *values = self._tried(name, *arguments)
        if int(status):
            error, text = _text(status)
            raise failure(name, int(status), kernel, name=error, text=text)
        return values[0] if len(values) == 1 else tuple(values)

    def _ready(self, name: str, *arguments: Any) -> bool:
        (status,) = self._tried(name, *arguments)
        if int(status) not in (0, Code.NOT_READY):
            error, text = _text(status)
            raise failure(name, int(status), name=error, text=text)
        return not int(status)

    def _tried(self, name: str, *arguments: Any) -> tuple[Any, ...]:
        """Status and values. A thread that has made no call yet, the user's, or one whose garbage
        collection ends us, gets a context first."""
        if self.forked:
            text = "the process was forked after CUDA had begun"
            raise failure(name, Code.NOT_INITIALIZED, text=text)
        function = getattr(cu, f"cu{name}")
        found: tuple[Any, ...] = function(*arguments)
        if int(found[0]) == Code.INVALID_CONTEXT and self._context:
            cu.cuCtxSetCurrent(self._context)
            found = function(*arguments)
        return found

    # ---- init

    def Init(self) -> None:
        self._call("Init", 0)

    def DriverGetVersion(self) -> int:
        return int(self._call("DriverGetVersion"))

    def DeviceGetCount(self) -> int:
        return int(self._call("DeviceGetCount"))

    def DeviceGet(self, ordinal: int) -> int:
        return int(self._call("DeviceGet", ordinal))

    def DeviceGetName(self, device: int) -> str:
        name: bytes = self._call("DeviceGetName", 128, device)
        return name.split(b"\0")[0].decode()

    def DeviceGetAttribute(self, attribute: DeviceAttribute, device: int) -> int:
        asked = cu.CUdevice_attribute(int(attribute))
        return int(self._call("DeviceGetAttribute", asked, device))

    def DeviceTotalMem(self, device: int) -> int:
        return int(self._call("DeviceTotalMem", device))

    def DevicePrimaryCtxRetain(self, device: int) -> int:
        return int(self._call("DevicePrimaryCtxRetain", device))

    def CtxSetCurrent(self, context: int) -> None:
        self._call("CtxSetCurrent", context)
        self._context = context

    def CtxSynchronize(self) -> None:
        self._call("CtxSynchronize")

    # ---- code

    def ModuleLoadData(self, image: Image) -> int:
        return int(self._call("ModuleLoadData", image.cubin, kernel=image.source.name))

    def ModuleUnload(self, module: int) -> None:
        self._call("ModuleUnload", module)

    def ModuleGetFunction(self, module: int, name: str) -> int:
        function = int(self._call("ModuleGetFunction", module, name.encode(), kernel=name))
        self._kernels[function] = name
        return function

    def FuncGetAttribute(self, attribute: FunctionAttribute, function: int) -> int:
        asked = cu.CUfunction_attribute(int(attribute))
        return int(self._call("FuncGetAttribute", asked, function))

    def FuncSetAttribute(self, function: int, attribute: FunctionAttribute, value: int) -> None:
        asked = cu.CUfunction_attribute(int(attribute))
        self._call("FuncSetAttribute", function, asked, value, kernel=self._kernels[function])

    def OccupancyMaxActiveBlocksPerMultiprocessor(
        self, function: int, threads: int, shared_bytes: int
    ) -> int:
        call = "OccupancyMaxActiveBlocksPerMultiprocessor"
        return int(self._call(call, function, threads, shared_bytes))

    def LaunchKernel(
        self,
        function: int,
        grid: Grid,
        threads: int,
        shared_bytes: int,
        stream: int,
        parameters: int,
    ) -> None:
        shape = *grid, threads, 1, 1, shared_bytes
        kernel = self._kernels[function]
        self._call("LaunchKernel", function, *shape, stream, parameters, 0, kernel=kernel)

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
        """By ctypes: the bindings' own map objects are not always aligned as the call demands."""
        if destination % MAP_ALIGNMENT:
            raise failure("TensorMapEncodeTiled", 1, text="the map must lie on 64 bytes")
        if self._encode is None:
            pointer, u32 = ctypes.c_void_p, ctypes.c_uint32
            arguments = pointer, u32, u32, pointer, *(pointer,) * 4, *(ctypes.c_int,) * 4
            kind = ctypes.CFUNCTYPE(ctypes.c_int, *arguments)
            self._encode = kind(self._entry("cuTensorMapEncodeTiled"))
        rank = len(shape)
        wide, narrow = ctypes.c_uint64 * rank, ctypes.c_uint32 * rank
        status = self._encode(
            *(destination, int(element), rank, address),
            *(wide(*shape), wide(*strides), narrow(*box), narrow(*[1] * rank)),
            *(0, int(swizzle), L2_PROMOTION_128B, 0),  # not interleaved; zeros outside
        )
        if status:
            error, text = _text(cu.CUresult(status))
            raise failure("TensorMapEncodeTiled", status, name=error, text=text)

    def _entry(self, symbol: str) -> int:
        """The address of a driver's function, for a call that the bindings cannot make well."""
        found = self._call("GetProcAddress", symbol.encode(), ENCODE_SINCE, 0)
        return int(found[0] if isinstance(found, tuple) else found)

    # ---- memory

    def MemGetInfo(self) -> tuple[int, int]:
        free, total = self._call("MemGetInfo")
        return int(free), int(total)

    def PointerGetAttribute(self, attribute: PointerAttribute, address: int) -> int:
        asked = cu.CUpointer_attribute(int(attribute))
        return int(self._call("PointerGetAttribute", asked, address))

    def MemAlloc(self, size_bytes: int) -> int:
        return int(self._call("MemAlloc", size_bytes))

    def MemFree(self, address: int) -> None:
        self._call("MemFree", address)

    def MemHostAlloc(self, size_bytes: int) -> int:
        return int(self._call("MemHostAlloc", size_bytes, PORTABLE))

    def MemFreeHost(self, address: int) -> None:
        self._call("MemFreeHost", address)

    def MemcpyHtoDAsync(self, device: int, host: int, size_bytes: int, stream: int) -> None:
        self._call("MemcpyHtoDAsync", device, host, size_bytes, stream)

    def MemcpyDtoHAsync(self, host: int, device: int, size_bytes: int, stream: int) -> None:
        self._call("MemcpyDtoHAsync", host, device, size_bytes, stream)

    def MemcpyDtoDAsync(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        self._call("MemcpyDtoDAsync", target, source, size_bytes, stream)

    def MemsetD8Async(self, address: int, value: int, count: int, stream: int) -> None:
        self._call("MemsetD8Async", address, value, count, stream)

    def MemsetD16Async(self, address: int, value: int, count: int, stream: int) -> None:
        self._call("MemsetD16Async", address, value, count, stream)

    def MemsetD32Async(self, address: int, value: int, count: int, stream: int) -> None:
        self._call("MemsetD32Async", address, value, count, stream)

    # ---- streams and events

    def StreamCreateWithPriority(self, priority: int = 0) -> int:
        return int(self._call("StreamCreateWithPriority", NON_BLOCKING, priority))

    def StreamDestroy(self, stream: int) -> None:
        self._call("StreamDestroy", stream)

    def StreamSynchronize(self, stream: int) -> None:
        self._call("StreamSynchronize", stream)

    def StreamQuery(self, stream: int) -> bool:
        return self._ready("StreamQuery", stream)

    def StreamWaitEvent(self, stream: int, event: int) -> None:
        self._call("StreamWaitEvent", stream, event, 0)

    def EventCreate(self, timing: bool = False) -> int:
        return int(self._call("EventCreate", 0 if timing else DISABLE_TIMING))

    def EventDestroy(self, event: int) -> None:
        self._call("EventDestroy", event)

    def EventRecord(self, event: int, stream: int) -> None:
        self._call("EventRecord", event, stream)

    def EventQuery(self, event: int) -> bool:
        return self._ready("EventQuery", event)

    def EventSynchronize(self, event: int) -> None:
        self._call("EventSynchronize", event)

    def EventElapsedTime(self, start: int, end: int) -> float:
        return float(self._call("EventElapsedTime", start, end))

    # ---- graphs

    def StreamBeginCapture(self, stream: int) -> None:
        mode = cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL  # others go on
        self._call("StreamBeginCapture", stream, mode)

    def StreamEndCapture(self, stream: int) -> int:
        return int(self._call("StreamEndCapture", stream))

    def GraphInstantiate(self, graph: int) -> int:
        return int(self._call("GraphInstantiate", graph, 0))

    def GraphUpload(self, executable: int, stream: int) -> None:
        self._call("GraphUpload", executable, stream)

    def GraphLaunch(self, executable: int, stream: int) -> None:
        self._call("GraphLaunch", executable, stream)

    def GraphLauncher(self) -> int:
        return self._entry("cuGraphLaunch")

    def Copier(self) -> int:
        return self._entry("cuMemcpyDtoDAsync")

    def GraphExecDestroy(self, executable: int) -> None:
        self._call("GraphExecDestroy", executable)

    def GraphDestroy(self, graph: int) -> None:
        self._call("GraphDestroy", graph)

    # ---- ours

    def Lend(self, address: int, size_bytes: int, stream: int) -> None:
        """Nothing: only fake memory is watched."""

    def Reclaim(self, address: int, size_bytes: int, stream: int) -> None:
        """Nothing: only fake memory is watched."""

    def Discard(self, address: int, size_bytes: int, stream: int) -> None:
        """Nothing: only fake memory is watched."""
