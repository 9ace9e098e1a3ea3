"""The process's GPUs: for each its context, streams, memory, and the kernels loaded on it."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from dataclasses import dataclass

import numpy as np

from graphc.errors import DeviceUnavailable
from graphc.ir.cuda_abi import Image
from graphc.ir.types import Array
from graphc.runtime.cuda import probe
from graphc.runtime.cuda.driver import DeviceAttribute, Driver, FunctionAttribute
from graphc.runtime.cuda.gone import Gone
from graphc.runtime.cuda.memory import Allocation, Allocator, recorded
from graphc.runtime.cuda.pending import Cells, Pending
from graphc.runtime.cuda.pinned import shared

SHARED_BYTES = 48 << 10  # what a kernel may use without asking

__all__ = ["Device", "Properties", "count", "current", "current_index", "is_initialized", "select"]


@dataclass(frozen=True, slots=True)
class Properties:
    """What PyTorch tells of a device, under its names; sizes in bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int
    L2_cache_size: int
    max_threads_per_multi_processor: int
    regs_per_multiprocessor: int
    shared_memory_per_block: int
    shared_memory_per_block_optin: int
    shared_memory_per_multiprocessor: int
    warp_size: int
    is_integrated: int
    is_multi_gpu_board: int

    @property
    def arch(self) -> str:
        """As compilers spell it; with "a" from sm_90 on: all that the chip has."""
        return f"sm_{self.major}{self.minor}" + ("a" if self.major >= 9 else "")


def properties(driver: Driver, device: int) -> Properties:
    def ask(attribute: DeviceAttribute) -> int:
        return driver.DeviceGetAttribute(attribute, device)

    A = DeviceAttribute
    return Properties(
        name=driver.DeviceGetName(device),
        major=ask(A.COMPUTE_CAPABILITY_MAJOR),
        minor=ask(A.COMPUTE_CAPABILITY_MINOR),
        total_memory=driver.DeviceTotalMem(device),
        multi_processor_count=ask(A.MULTIPROCESSOR_COUNT),
        L2_cache_size=ask(A.L2_CACHE_SIZE),
        max_threads_per_multi_processor=ask(A.MAX_THREADS_PER_MULTIPROCESSOR),
        regs_per_multiprocessor=ask(A.MAX_REGISTERS_PER_MULTIPROCESSOR),
        shared_memory_per_block=ask(A.MAX_SHARED_MEMORY_PER_BLOCK),
        shared_memory_per_block_optin=ask(A.MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
        shared_memory_per_multiprocessor=ask(A.MAX_SHARED_MEMORY_PER_MULTIPROCESSOR),
        warp_size=ask(A.WARP_SIZE),
        is_integrated=ask(A.INTEGRATED),
        is_multi_gpu_board=ask(A.MULTI_GPU_BOARD),
    )


class Device:
    """One GPU: `stream` is where all computing is done, `copy_stream` for what may overlap it.

    Nothing runs in `capture_stream`: launches are recorded there, so that what other threads start
    meanwhile is not.
    """

    def __init__(self, driver: Driver, index: int = 0) -> None:
        self.driver, self.index = driver, index
        handle = driver.DeviceGet(index)
        self.context = driver.DevicePrimaryCtxRetain(handle)
        self.enter()
        self.properties = properties(driver, handle)
        self.arch = self.properties.arch
        self.stream = driver.StreamCreateWithPriority()
        self.copy_stream = driver.StreamCreateWithPriority()
        self.capture_stream = driver.StreamCreateWithPriority()
        self._idle: dict[int, list[int]] = {}  # streams by priority
        self.allocator = Allocator(driver)
        self.host = shared(driver)
        self.gone = Gone()
        self.pending = Pending()
        self.cells = Cells(lambda shape: self.host.array(shape, np.dtype(np.int64)))
        self._functions: dict[Image, int] = {}

    def enter(self) -> None:
        """Make its context this thread's."""
        if _thread.context is not self:
            if self.driver.forked:
                raise probe.forked()
            self.driver.CtxSetCurrent(self.context)
            _thread.context = self
            entered.value += 1

    def lent_stream(self, priority: int, owner: object) -> int:
        """A stream until its owner goes. It is never destroyed: memory may still be noted as used
        by it, and whoever frees that records an event there."""
        idle = self._idle.setdefault(priority, [])
        try:
            stream = idle.pop()
        except IndexError:
            self.enter()
            stream = self.driver.StreamCreateWithPriority(priority)
        weakref.finalize(owner, idle.append, stream).atexit = False
        return stream

    # ---- kernels

    def function(self, image: Image) -> int:
        """The kernel of an image, loaded once, with as much shared memory as it needs."""
        found = self._functions.get(image)
        if found is not None:
            return found
        self.enter()
        module = self.driver.ModuleLoadData(image)
        function = self.driver.ModuleGetFunction(module, image.entry or image.source.name)
        if image.shared_bytes > SHARED_BYTES:
            most = FunctionAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
            self.driver.FuncSetAttribute(function, most, image.shared_bytes)
        # Modules load lazily: asking loads the kernel, which a capture could not.
        self.driver.FuncGetAttribute(FunctionAttribute.NUM_REGS, function)
        self._functions[image] = function
        return function

    # ---- memory, in the order of `stream`; another GPU's may have been looked at meanwhile

    def allocate(self, size_bytes: int) -> Allocation:
        self.enter()
        self.gone.give_back()
        return self.allocator.allocate(size_bytes, self.stream)

    def upload(self, address: int, source: Array, wait: bool = True) -> None:
        """Copy a dense array of the host. Pinned memory is read later, unless this is to `wait`;
        any other may be changed when this returns."""
        if source.nbytes:
            self.enter()
            self.driver.MemcpyHtoDAsync(address, source.ctypes.data, source.nbytes, self.stream)
            if wait and self.host.holds(source):
                self.driver.StreamSynchronize(self.stream)
            elif not wait:
                self.host.read_by(self.stream, source)

    def fetch(self, source: Array) -> Allocation | None:
        """Memory with the elements of dense pinned memory, copied beside what was started before
        this and in front of what is started later; None of any other memory."""
        if not source.nbytes or not source.flags.c_contiguous or not self.host.holds(source):
            return None
        self.enter()
        driver, beside = self.driver, self.copy_stream
        block = self.allocator.allocate(source.nbytes, beside)
        block.used_by(self.stream)
        driver.MemcpyHtoDAsync(block.address, source.ctypes.data, source.nbytes, beside)
        self.host.read_by(beside, source)
        event = recorded(driver, beside)
        driver.StreamWaitEvent(self.stream, event)
        driver.EventDestroy(event)
        return block

    def download(self, target: Array, address: int) -> None:
        """Copy to a dense array of the host, and wait for it."""
        if target.nbytes:
            self.enter()
            self.driver.MemcpyDtoHAsync(target.ctypes.data, address, target.nbytes, self.stream)
            self.wait()

    def move(self, target: int, source: int, size_bytes: int) -> None:
        if size_bytes:
            self.enter()
            self.driver.MemcpyDtoDAsync(target, source, size_bytes, self.stream)

    def set(self, address: int, word: bytes, count: int) -> None:
        """`count` words of 1, 2 or 4 bytes."""
        if count:
            self.enter()
            value = int.from_bytes(word, "little")
            by_width = {
                1: self.driver.MemsetD8Async,
                2: self.driver.MemsetD16Async,
                4: self.driver.MemsetD32Async,
            }
            by_width[len(word)](address, value, count, self.stream)

    def settle(self) -> None:
        """Raise what the programs started so far may fail with, before what they give is kept."""
        if self.pending.others():
            self.wait()

    def wait(self) -> None:
        """Wait for all work of `stream`; raises what has failed of it."""
        self.pending.through(lambda: self.driver.StreamSynchronize(self.stream))

    def synchronize(self) -> None:
        """Wait for all work of the device; raises what has failed of it."""
        self.enter()
        self.pending.through(self.driver.CtxSynchronize)


# ---- the process's -------------------------------------------------------------------------------


class _Thread(threading.local):
    """CUDA's current context is each thread's own, and so is PyTorch's current device."""

    index = 0
    context: Device | None = None


_thread = _Thread()
entered = ctypes.c_int64(0)  # how often a thread went from one context to another


def _in_child() -> None:
    """A forked process has no context, and no latched call of its parent's is right in it."""
    _thread.context = None
    entered.value += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

_devices: dict[tuple[str, int], Device] = {}
_making = threading.Lock()


def count() -> int:
    """GPUs that kernels can run on; 0 if none, or if something is missing."""
    return 0 if probe.unavailable() is not None else probe.driver().DeviceGetCount()


def is_initialized() -> bool:
    return any(
        mode == probe.mode() and not made.driver.forked for (mode, _), made in _devices.items()
    )


def select(index: int) -> None:
    """What `current()` means in this thread from now on."""
    current(index)
    _thread.index = index


def current_index() -> int:
    """The index that "cuda" alone means in this thread."""
    return _thread.index


def current(index: int | None = None) -> Device:
    """The device, ready for this thread's calls. Raises DeviceUnavailable."""
    index = _thread.index if index is None else index
    key = probe.mode(), index
    device = _devices.get(key)
    if device is None:
        with _making:
            device = _devices.get(key) or _devices.setdefault(key, _make(index))
    device.enter()
    return device


def _make(index: int) -> Device:
    driver = probe.driver()
    there = driver.DeviceGetCount()
    if not 0 <= index < there:
        raise DeviceUnavailable(
            f"no device 'cuda:{index}': this machine has {there}",
            why="CUDA error: invalid device ordinal",
            fix='use device="cuda:0"',
        )
    return Device(driver, index)
