"""The driver over host memory: a device without a GPU, which sees what a GPU would not tell.

Kernels are their Source's text in Triton's interpreter, launched by the same packed `void*[]` that
the real driver takes. What is wrong raises: an access outside live memory or a race (when the work
runs, at the host's next wait), an unaligned pointer, a missing scratch buffer, a shared memory
limit not raised, a wait or an allocation during capture. Memory that holds nothing is NaN.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from functools import partial
from itertools import count
from threading import get_ident
from typing import Any, TypeVar

from graphc.ir.cuda_abi import Image
from graphc.runtime.cuda import pack
from graphc.runtime.cuda.driver import (
    Code,
    CudaError,
    DeviceAttribute,
    FunctionAttribute,
    Grid,
    MapElement,
    PointerAttribute,
    Swizzle,
    failure,
)
from graphc.runtime.cuda.fake_memory import FakeMemory, is_within
from graphc.runtime.cuda.fake_objects import (
    ATTRIBUTES,
    MOST_THREADS,
    PARAMETER_BYTES,
    Capture,
    Event,
    Function,
    map_record,
)
from graphc.runtime.cuda.order import Clock, Operation, Timeline, Work, join

Thing = TypeVar("Thing")
Launcher = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_size_t, ctypes.c_size_t)
Copier = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_size_t] * 4)


class FakeDriver:
    """One device, `total_bytes` large. `reverse` runs the programs of kernels from last to first.

    `launches` lists the kernels that ran, by name.
    """

    name = "fake"

    def __init__(self, total_bytes: int = 1 << 30, *, reverse: bool = False) -> None:
        self.total_bytes, self.reverse = total_bytes, reverse
        self.launches: list[str] = []
        self.forked = False
        self.timeline = Timeline()
        self.memory = FakeMemory(self.timeline)
        self._handles = count(1)
        self._objects: dict[int, Any] = {}
        self._captures: dict[int, Capture] = {}  # by stream
        self._launcher = Launcher(partial(self._status, "GraphLaunch"))
        self._copier = Copier(partial(self._status, "MemcpyDtoDAsync"))

    # ---- init

    def Init(self) -> None:
        """Nothing to do."""

    def DriverGetVersion(self) -> int:
        return 13000

    def DeviceGetCount(self) -> int:
        return 1

    def DeviceGet(self, ordinal: int) -> int:
        self._require(ordinal == 0, "DeviceGet", Code.INVALID_VALUE)
        return 0

    def DeviceGetName(self, device: int) -> str:
        return "Fake GPU (Triton's interpreter)"

    def DeviceGetAttribute(self, attribute: DeviceAttribute, device: int) -> int:
        return ATTRIBUTES[attribute]

    def DeviceTotalMem(self, device: int) -> int:
        return self.total_bytes

    def DevicePrimaryCtxRetain(self, device: int) -> int:
        return 1

    def CtxSetCurrent(self, context: int) -> None:
        """There is one."""

    def CtxSynchronize(self) -> None:
        self._not_in_capture("CtxSynchronize")
        self.timeline.wait_for_all()

    # ---- code

    def ModuleLoadData(self, image: Image) -> int:
        self._not_in_capture("ModuleLoadData")
        return self._handle(image)

    def ModuleUnload(self, module: int) -> None:
        self._take("ModuleUnload", module, Image)
        del self._objects[module]

    def ModuleGetFunction(self, module: int, name: str) -> int:
        image = self._take("ModuleGetFunction", module, Image)
        self._require(
            name == (image.entry or image.source.name), "ModuleGetFunction", Code.NOT_FOUND
        )
        return self._handle(Function(image))

    def FuncGetAttribute(self, attribute: FunctionAttribute, function: int) -> int:
        f = self._take("FuncGetAttribute", function, Function)
        values = {
            FunctionAttribute.MAX_THREADS_PER_BLOCK: 1024,
            FunctionAttribute.SHARED_SIZE_BYTES: 0,
            FunctionAttribute.LOCAL_SIZE_BYTES: 0,
            FunctionAttribute.NUM_REGS: 32,
            FunctionAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES: f.shared_limit,
        }
        return values[attribute]

    def FuncSetAttribute(self, function: int, attribute: FunctionAttribute, value: int) -> None:
        f = self._take("FuncSetAttribute", function, Function)
        settable = attribute == FunctionAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
        limit = ATTRIBUTES[DeviceAttribute.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN]
        self._require(settable and 0 <= value <= limit, "FuncSetAttribute", Code.INVALID_VALUE)
        f.shared_limit = value

    def OccupancyMaxActiveBlocksPerMultiprocessor(
        self, function: int, threads: int, shared_bytes: int
    ) -> int:
        shared = ATTRIBUTES[DeviceAttribute.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR]
        return min(2048 // threads, shared // max(1, shared_bytes), 32)

    def LaunchKernel(
        self,
        function: int,
        grid: Grid,
        threads: int,
        shared_bytes: int,
        stream: int,
        parameters: int,
    ) -> None:
        f = self._take("LaunchKernel", function, Function)
        source = f.image.source
        self._check_launch(f, grid, threads, shared_bytes)
        values, scratch = pack.read(source, parameters)
        for param, value in zip(source.params, values):
            pack.check(source, param, value)
        self._check_scratch(f.image, grid, scratch)

        def work() -> None:
            from graphc.runtime.cuda import interp  # only launches need Triton

            self.launches.append(source.name)
            interp.launch(source, values, grid, self.memory.guard, reverse=self.reverse)

        self._issue("LaunchKernel", stream, f"kernel {source.name}", work)

    def _check_launch(self, f: Function, grid: Grid, threads: int, shared_bytes: int) -> None:
        source = f.image.source
        limits = (1 << 31) - 1, 65535, 65535
        sound = all(0 < n <= limit for n, limit in zip(grid, limits))
        sound &= threads == 32 * source.num_warps
        sound &= shared_bytes == f.image.shared_bytes and shared_bytes <= f.shared_limit
        given = pack.offsets((*source.params, *pack.SCRATCH))[-1]
        if not (sound and threads <= MOST_THREADS and given <= PARAMETER_BYTES):
            text = f"grid {grid}, {threads} threads, {shared_bytes} bytes shared, {given} given"
            raise failure("LaunchKernel", Code.INVALID_VALUE, source.name, text=text)

    def _check_scratch(self, image: Image, grid: Grid, scratch: tuple[int, int]) -> None:
        programs = grid[0] * grid[1] * grid[2]
        for (size, align), address in zip((image.global_scratch, image.profile_scratch), scratch):
            if size:
                self.memory.guard.check_range(
                    address, size * programs, f"{image.source.name}: scratch"
                )
                self._require(address % align == 0, "LaunchKernel", Code.INVALID_VALUE)

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
        """A tagged record in the map's place, after the checks of the CUDA manual."""
        record = map_record(destination, element, address, shape, strides, box, swizzle)
        if record is None:
            raise failure("TensorMapEncodeTiled", Code.INVALID_VALUE)
        ctypes.memmove(destination, record, len(record))

    # ---- memory

    def MemGetInfo(self) -> tuple[int, int]:
        return self.total_bytes - self.memory.used_bytes, self.total_bytes

    def PointerGetAttribute(self, attribute: PointerAttribute, address: int) -> int:
        there = is_within(self.memory.device, address, 1)
        self._require(there, "PointerGetAttribute", Code.INVALID_VALUE)
        return 0

    def MemAlloc(self, size_bytes: int) -> int:
        self._not_in_capture("MemAlloc")
        self._require(size_bytes > 0, "MemAlloc", Code.INVALID_VALUE)
        fits = self.memory.used_bytes + size_bytes <= self.total_bytes
        self._require(fits, "MemAlloc", Code.OUT_OF_MEMORY)
        return self.memory.add(size_bytes)

    def MemFree(self, address: int) -> None:
        """Waits for all work, as the real one does."""
        self._not_in_capture("MemFree")
        self._require(address in self.memory.device, "MemFree", Code.INVALID_VALUE)
        self.timeline.wait_for_all()
        self.memory.remove(address)

    def MemHostAlloc(self, size_bytes: int) -> int:
        self._not_in_capture("MemHostAlloc")
        self._require(size_bytes > 0, "MemHostAlloc", Code.INVALID_VALUE)
        return self.memory.add_pinned(size_bytes)

    def MemFreeHost(self, address: int) -> None:
        self._not_in_capture("MemFreeHost")
        self._require(address in self.memory.pinned, "MemFreeHost", Code.INVALID_VALUE)
        self.timeline.wait_for_all()
        self.memory.remove_pinned(address)

    def MemcpyHtoDAsync(self, device: int, host: int, size_bytes: int, stream: int) -> None:
        data = None
        if not self.memory.is_pinned(host, size_bytes):
            self._outside_capture("MemcpyHtoDAsync", stream)
            data = ctypes.string_at(host, size_bytes)  # pageable memory is read before it returns

        def work() -> None:
            self.memory.touch(device, size_bytes, "copy to device", write=True)
            ctypes.memmove(device, host if data is None else data, size_bytes)

        self._issue("MemcpyHtoDAsync", stream, "copy to device", work)

    def MemcpyDtoHAsync(self, host: int, device: int, size_bytes: int, stream: int) -> None:
        pinned = self.memory.is_pinned(host, size_bytes)
        if not pinned:
            self._outside_capture("MemcpyDtoHAsync", stream)

        def work() -> None:
            self.memory.touch(device, size_bytes, "copy to host", write=False)
            ctypes.memmove(host, device, size_bytes)

        self._issue("MemcpyDtoHAsync", stream, "copy to host", work)
        if not pinned:  # such a copy returns when it has ended
            self.timeline.wait(self.timeline.streams[stream])

    def MemcpyDtoDAsync(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        def work() -> None:
            self.memory.touch(source, size_bytes, "copy", write=False)
            self.memory.touch(target, size_bytes, "copy", write=True)
            ctypes.memmove(target, source, size_bytes)

        self._issue("MemcpyDtoDAsync", stream, "copy", work)

    def MemsetD8Async(self, address: int, value: int, count: int, stream: int) -> None:
        self._memset("MemsetD8Async", address, value.to_bytes(1, "little"), count, stream)

    def MemsetD16Async(self, address: int, value: int, count: int, stream: int) -> None:
        self._memset("MemsetD16Async", address, value.to_bytes(2, "little"), count, stream)

    def MemsetD32Async(self, address: int, value: int, count: int, stream: int) -> None:
        self._memset("MemsetD32Async", address, value.to_bytes(4, "little"), count, stream)

    def _memset(self, call: str, address: int, word: bytes, count: int, stream: int) -> None:
        self._require(address % len(word) == 0, call, Code.INVALID_VALUE)

        def work() -> None:
            self.memory.touch(address, count * len(word), "memset", write=True)
            ctypes.memmove(address, word * count, count * len(word))

        self._issue(call, stream, "memset", work)

    def Lend(self, address: int, size_bytes: int, stream: int) -> None:
        self._not_in_capture("Lend")
        self._issue("Lend", stream, "lend", lambda: self.memory.lend(address, size_bytes))

    def Reclaim(self, address: int, size_bytes: int, stream: int) -> None:
        self._not_in_capture("Reclaim")
        self._issue("Reclaim", stream, "reclaim", lambda: self.memory.reclaim(address, size_bytes))

    def Discard(self, address: int, size_bytes: int, stream: int) -> None:
        self._issue("Discard", stream, "discard", lambda: self.memory.discard(address, size_bytes))

    # ---- streams and events

    def StreamCreateWithPriority(self, priority: int = 0) -> int:
        stream = next(self._handles)
        self.timeline.streams[stream] = {}
        return stream

    def StreamDestroy(self, stream: int) -> None:
        self._not_in_capture("StreamDestroy")
        self.timeline.wait(self._clock("StreamDestroy", stream))
        del self.timeline.streams[stream]

    def StreamSynchronize(self, stream: int) -> None:
        self._outside_capture("StreamSynchronize", stream)
        self.timeline.wait(dict(self._clock("StreamSynchronize", stream)))

    def StreamQuery(self, stream: int) -> bool:
        """Says no where work is left, and does it meanwhile."""
        self._outside_capture("StreamQuery", stream)
        return not self.timeline.wait(dict(self._clock("StreamQuery", stream)))

    def StreamWaitEvent(self, stream: int, event: int) -> None:
        e = self._take("StreamWaitEvent", event, Event)
        clock = self._clock("StreamWaitEvent", stream)
        if e.clock is None:
            return  # CUDA: an event that was never recorded is no reason to wait
        if e.capture is not None:
            self._join_capture(e.capture, stream)
            join(e.capture.clocks[stream], e.clock)
        else:
            self._require(
                stream not in self._captures, "StreamWaitEvent", Code.STREAM_CAPTURE_UNSUPPORTED
            )  # what lies outside a graph cannot be waited for in it
            join(clock, e.clock)

    def EventCreate(self, timing: bool = False) -> int:
        return self._handle(Event(timing))

    def EventDestroy(self, event: int) -> None:
        self._take("EventDestroy", event, Event)
        del self._objects[event]

    def EventRecord(self, event: int, stream: int) -> None:
        e = self._take("EventRecord", event, Event)
        clock = self._clock("EventRecord", stream)
        e.capture = self._captures.get(stream)
        if e.capture is not None:
            e.clock = dict(e.capture.clocks[stream])
            return
        times: list[float] = []
        if e.timing:
            self._issue("EventRecord", stream, "time", lambda: times.append(_milliseconds()))
        e.milliseconds = times
        join(clock, self.timeline.host)
        e.clock = dict(clock)

    def EventQuery(self, event: int) -> bool:
        """Says no where work is left, and does it meanwhile."""
        self._not_in_capture("EventQuery")
        e = self._finished_event("EventQuery", event)
        return e.clock is None or not self.timeline.wait(e.clock)

    def EventSynchronize(self, event: int) -> None:
        self._not_in_capture("EventSynchronize")
        e = self._finished_event("EventSynchronize", event)
        if e.clock is not None:
            self.timeline.wait(e.clock)

    def EventElapsedTime(self, start: int, end: int) -> float:
        events = [self._finished_event("EventElapsedTime", e) for e in (start, end)]
        sound = all(e.timing and e.clock is not None for e in events)
        self._require(sound, "EventElapsedTime", Code.INVALID_HANDLE)
        ready = not any(self.timeline.pending(e.clock or {}) for e in events)
        self._require(ready, "EventElapsedTime", Code.NOT_READY)
        return events[1].milliseconds[0] - events[0].milliseconds[0]

    # ---- graphs

    def StreamBeginCapture(self, stream: int) -> None:
        self._clock("StreamBeginCapture", stream)
        self._require(stream not in self._captures, "StreamBeginCapture", Code.INVALID_VALUE)
        self._join_capture(Capture(stream, get_ident()), stream)

    def StreamEndCapture(self, stream: int) -> int:
        capture = self._captures.get(stream)
        if capture is None or capture.origin != stream:
            raise failure("StreamEndCapture", Code.INVALID_VALUE)
        for s in capture.names:
            self._captures.pop(s, None)
        self._require(
            capture.thread == get_ident(), "StreamEndCapture", Code.STREAM_CAPTURE_WRONG_THREAD
        )
        self._require(not capture.invalid, "StreamEndCapture", Code.STREAM_CAPTURE_INVALIDATED)
        end = capture.clocks[stream]
        missing = [n for n in capture.nodes if end.get(n.stream, 0) < n.count]
        if missing:
            text = f"{missing[-1].label} is not joined to the stream that the capture began on"
            raise failure("StreamEndCapture", Code.STREAM_CAPTURE_UNJOINED, text=text)
        return self._handle(tuple(capture.nodes))

    def GraphInstantiate(self, graph: int) -> int:
        self._not_in_capture("GraphInstantiate")
        return self._handle(list(self._take("GraphInstantiate", graph, tuple)))

    def GraphUpload(self, executable: int, stream: int) -> None:
        self._take("GraphUpload", executable, list)
        self._clock("GraphUpload", stream)

    def GraphLaunch(self, executable: int, stream: int) -> None:
        nodes = self._take("GraphLaunch", executable, list)
        self._clock("GraphLaunch", stream)
        self._outside_capture("GraphLaunch", stream)
        self.timeline.replay(stream, nodes)

    def GraphLauncher(self) -> int:
        return ctypes.cast(self._launcher, ctypes.c_void_p).value or 0

    def Copier(self) -> int:
        return ctypes.cast(self._copier, ctypes.c_void_p).value or 0

    def _status(self, call: str, *arguments: int) -> int:
        """As C calls it."""
        try:
            getattr(self, call)(*arguments)
        except CudaError as e:
            return e.number
        return 0

    def GraphExecDestroy(self, executable: int) -> None:
        self._not_in_capture("GraphExecDestroy")
        self._take("GraphExecDestroy", executable, list)
        del self._objects[executable]

    def GraphDestroy(self, graph: int) -> None:
        self._take("GraphDestroy", graph, tuple)
        del self._objects[graph]

    # ---- inside

    def _handle(self, thing: Any) -> int:
        handle = next(self._handles)
        self._objects[handle] = thing
        return handle

    def _take(self, call: str, handle: int, kind: type[Thing]) -> Thing:
        thing = self._objects.get(handle)
        if not isinstance(thing, kind):
            raise failure(call, Code.INVALID_HANDLE)
        return thing

    def _clock(self, call: str, stream: int) -> Clock:
        self._require(stream in self.timeline.streams, call, Code.INVALID_HANDLE)
        return self.timeline.streams[stream]

    def _require(self, condition: bool, call: str, code: int) -> None:
        if not condition:
            raise failure(call, code)

    def _not_in_capture(self, call: str) -> None:
        """Refuse what a thread may not do while it captures (CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
        its capture is spoilt by that, whoever looks at the error."""
        mine = [c for c in self._captures.values() if c.thread == get_ident()]
        for capture in mine:
            capture.invalid = True
        self._require(not mine, call, Code.STREAM_CAPTURE_UNSUPPORTED)

    def _outside_capture(self, call: str, stream: int) -> None:
        if (capture := self._captures.get(stream)) is not None:
            capture.invalid = True
            raise failure(call, Code.STREAM_CAPTURE_UNSUPPORTED)

    def _finished_event(self, call: str, event: int) -> Event:
        e = self._take(call, event, Event)
        self._require(e.capture is None, call, Code.STREAM_CAPTURE_UNSUPPORTED)
        return e

    def _join_capture(self, capture: Capture, stream: int) -> None:
        """`stream` takes part in the capture; its operations there have a stream of their own."""
        mine = self._captures.setdefault(stream, capture)
        self._require(mine is capture, "StreamWaitEvent", Code.STREAM_CAPTURE_INVALIDATED)
        if stream not in capture.names:
            capture.names[stream] = next(self._handles)
            capture.clocks[stream] = {}

    def _issue(self, call: str, stream: int, label: str, work: Work) -> None:
        self._clock(call, stream)
        capture = self._captures.get(stream)
        if capture is None:
            self.timeline.issue(stream, label, work)
            return
        clock, name = capture.clocks[stream], capture.names[stream]
        clock[name] = clock.get(name, 0) + 1
        capture.nodes.append(Operation(label, name, clock[name], dict(clock), work))


def _milliseconds() -> float:
    return time.perf_counter() * 1e3
