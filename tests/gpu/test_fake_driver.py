"""FakeDriver: runs what a GPU would, and sees what a GPU would not tell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("triton")

from small_kernels import AXPY, IMAGE

from graphc.errors import CudaError, InternalError, OutOfBounds
from graphc.ir.cuda_abi import Image, Param
from graphc.ir.types import Array
from graphc.runtime.cuda import pack
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.driver import FunctionAttribute, MapElement
from graphc.runtime.cuda.fake import FakeDriver
from graphc.runtime.cuda.memory import Allocation
from graphc.runtime.cuda.order import Race

N = 100


class Bench:
    """A device with two streams and two vectors in memory."""

    def __init__(self) -> None:
        self.driver = FakeDriver()
        self.device = Device(self.driver)
        self.one, self.two = self.device.stream, self.device.copy_stream
        self.x, self.y = (self.device.allocate(4 * N) for _ in range(2))
        for block in (self.x, self.y):
            self.device.upload(block.address, np.arange(N, dtype=np.float32))
        self.device.synchronize()
        self.device.function(IMAGE)  # loading is not allowed in a capture
        self.graph = 0

    def launch(self, stream: int = 0, image: Image = IMAGE, n: int = N, **changed: int) -> None:
        function = self.device.function(image)
        values = [self.x.address, self.y.address, n, 2.0]
        packed = pack.pack(image.source, values)
        grid = pack.grid(image.source, {"n": n})
        threads = changed.get("threads", 128)
        shared = changed.get("shared", image.shared_bytes)
        address = packed.address
        self.driver.LaunchKernel(function, grid, threads, shared, stream or self.one, address)

    def order(self, first: int, second: int) -> None:
        event = self.driver.EventCreate()
        self.driver.EventRecord(event, first)
        self.driver.StreamWaitEvent(second, event)
        self.driver.EventDestroy(event)

    def read(self, block: Allocation) -> Array:
        out = np.zeros(N, np.float32)
        self.device.download(out, block.address)
        return out


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_launch_reads_its_packed_parameters(bench: Bench) -> None:
    bench.launch()
    assert np.array_equal(bench.read(bench.y), 3 * np.arange(N, dtype=np.float32))
    assert bench.driver.launches == ["axpy"]


def test_work_is_done_when_the_host_waits(bench: Bench) -> None:
    """A result that is read without waiting is not there, as on a GPU that is still busy."""
    out = bench.device.host.array((N,), np.dtype(np.float32))
    out[:] = -1
    bench.driver.MemcpyDtoHAsync(out.ctypes.data, bench.x.address, 4 * N, bench.one)
    assert (out == -1).all()
    bench.driver.StreamSynchronize(bench.one)
    assert np.array_equal(out, np.arange(N))


def test_pinned_memory_is_read_when_the_copy_runs(bench: Bench) -> None:
    source = bench.device.host.array((N,), np.dtype(np.float32))
    source[:] = 1
    bench.device.upload(bench.x.address, source, wait=False)
    source[:] = 2  # too early, and seen
    assert (bench.read(bench.x) == 2).all()
    source[:] = 3
    bench.device.upload(bench.x.address, source)
    source[:] = 4
    assert (bench.read(bench.x) == 3).all()


@pytest.mark.parametrize("ordered", [True, False])
def test_streams_race_unless_an_event_orders_them(bench: Bench, ordered: bool) -> None:
    bench.launch(bench.one)
    if ordered:
        bench.order(bench.one, bench.two)
        bench.launch(bench.two)
        bench.device.synchronize()
    else:
        bench.launch(bench.two)
        with pytest.raises(Race, match=r"kernel axpy (reads|writes) what kernel axpy uses"):
            bench.device.synchronize()


def test_reading_side_by_side_is_no_race(bench: Bench) -> None:
    out = bench.device.host.array((2, N), np.dtype(np.float32))
    for k, stream in enumerate((bench.one, bench.two)):
        bench.driver.MemcpyDtoHAsync(out[k].ctypes.data, bench.x.address, 4 * N, stream)
    bench.device.synchronize()


def test_a_wait_of_the_host_orders_streams(bench: Bench) -> None:
    bench.launch(bench.one)
    bench.driver.StreamSynchronize(bench.one)
    bench.launch(bench.two)
    bench.device.synchronize()


def test_an_event_recorded_before_the_work_does_not_cover_it(bench: Bench) -> None:
    bench.order(bench.one, bench.two)
    bench.launch(bench.one)
    bench.launch(bench.two)
    with pytest.raises(Race):
        bench.device.synchronize()


def test_memory_freed_while_another_stream_uses_it(bench: Bench) -> None:
    bench.launch(bench.two)
    bench.y = bench.device.allocate(4 * N)  # the old one goes, in order of stream one alone
    bench.device.allocator.collect()
    with pytest.raises(Race, match="reclaim"):
        bench.device.synchronize()


def test_memory_that_says_who_uses_it(bench: Bench) -> None:
    bench.order(bench.one, bench.two)
    bench.launch(bench.two)
    bench.y.used_by(bench.two)
    bench.y = bench.device.allocate(4 * N)
    bench.device.allocator.collect()
    bench.device.synchronize()


def test_an_access_outside_a_block_is_caught(bench: Bench) -> None:
    """The next block of the same segment is not the kernel's, either."""
    bench.launch(n=N + 60)
    with pytest.raises(OutOfBounds) as caught:
        bench.device.synchronize()
    assert "on the device: kernel axpy" in caught.value.__notes__


def test_fresh_memory_is_nan(bench: Bench) -> None:
    block = bench.device.allocate(4 * N)
    assert np.isnan(bench.read(block)).all()


def test_memory_given_back_is_not_to_be_read(bench: Bench) -> None:
    address = bench.y.address
    bench.y = bench.x
    bench.device.allocator.collect()
    bench.device.synchronize()
    with pytest.raises(OutOfBounds, match="copy to host"):
        bench.device.download(np.zeros(4, np.float32), address)


def give_many(bench: Bench) -> None:
    """Launch with more parameters than a driver of CUDA 12.0 takes."""
    params = tuple(Param(f"p{k}", "pointer", "buffer", k, "f32", 16) for k in range(520))
    source = replace(AXPY, params=params)
    packed = pack.pack(source, [bench.x.address] * len(params))
    function = bench.device.function(Image(source))
    bench.driver.LaunchKernel(function, (1, 1, 1), 128, 0, bench.one, packed.address)


WRONG: dict[str, Callable[[Bench], None]] = {
    "threads": lambda b: b.launch(threads=64),
    "shared memory": lambda b: b.launch(shared=16),
    "parameters of more than 4 KiB": give_many,
    "an empty grid": lambda b: b.launch(n=0),
    "a stream that is none": lambda b: b.launch(12345),
    "too much freed": lambda b: b.driver.MemFree(b.x.address + 256),
    "a map off 64 bytes": lambda b: b.driver.TensorMapEncodeTiled(
        b.x.address + 16, MapElement.FLOAT32, b.x.address, (16,), (), (16,)
    ),
    "a box of 512": lambda b: b.driver.TensorMapEncodeTiled(
        b.x.address, MapElement.FLOAT32, b.x.address, (512,), (), (512,)
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_driver_refuses(bench: Bench, name: str) -> None:
    with pytest.raises(CudaError):
        WRONG[name](bench)


def test_an_unaligned_pointer_is_refused(bench: Bench) -> None:
    with pytest.raises(InternalError, match=r"parameter x: .* is not a multiple of 16"):
        pack.pack(AXPY, [bench.x.address + 4, bench.y.address, N, 2.0])


def test_shared_memory_beyond_48_kib_is_asked_for(bench: Bench) -> None:
    image = replace(IMAGE, shared_bytes=64 << 10)
    function = bench.device.function(image)
    most = FunctionAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES
    assert bench.driver.FuncGetAttribute(most, function) == 64 << 10
    bench.launch(image=image)
    bench.driver.FuncSetAttribute(function, most, 48 << 10)
    with pytest.raises(CudaError, match="kernel axpy"):
        bench.launch(image=image)


def test_scratch_must_be_there(bench: Bench) -> None:
    with pytest.raises(OutOfBounds, match="scratch"):
        bench.launch(image=replace(IMAGE, global_scratch=(64, 16)))


# ---- capture


def capture(bench: Bench, *streams: int) -> int:
    bench.driver.StreamBeginCapture(bench.one)
    for stream in streams:
        if stream == bench.two:
            bench.order(bench.one, bench.two)
        bench.launch(stream)
        if stream == bench.two:
            bench.order(bench.two, bench.one)
    graph = bench.driver.StreamEndCapture(bench.one)
    executable = bench.driver.GraphInstantiate(graph)
    bench.driver.GraphDestroy(graph)
    return executable


@pytest.mark.parametrize("forked", [False, True])
def test_a_replay_is_the_launches(bench: Bench, forked: bool) -> None:
    other = bench.two if forked else bench.one
    executable = capture(bench, bench.one, other, bench.one)
    assert np.array_equal(bench.read(bench.y), np.arange(N))  # capturing runs nothing
    direct = Bench()
    for _ in range(3):
        bench.driver.GraphLaunch(executable, bench.one)
        for _ in range(3):
            direct.launch()
    assert np.array_equal(bench.read(bench.y), direct.read(direct.y))
    assert bench.driver.launches == direct.driver.launches


def test_a_replay_is_ordered_like_any_work(bench: Bench) -> None:
    executable = capture(bench, bench.one, bench.two)
    bench.driver.GraphLaunch(executable, bench.one)
    bench.order(bench.one, bench.two)
    bench.launch(bench.two)
    bench.device.synchronize()
    bench.driver.GraphLaunch(executable, bench.one)
    bench.launch(bench.two)
    with pytest.raises(Race):
        bench.device.synchronize()


def test_a_race_within_a_graph_is_found(bench: Bench) -> None:
    bench.driver.StreamBeginCapture(bench.one)
    bench.order(bench.one, bench.two)
    bench.launch(bench.one)
    bench.launch(bench.two)
    bench.order(bench.two, bench.one)
    graph = bench.driver.StreamEndCapture(bench.one)
    bench.driver.GraphLaunch(bench.driver.GraphInstantiate(graph), bench.one)
    with pytest.raises(Race):
        bench.device.synchronize()


NOT_IN_CAPTURE: dict[str, Callable[[Bench], object]] = {
    "wait for a stream": lambda b: b.driver.StreamSynchronize(b.one),
    "wait for all": lambda b: b.device.synchronize(),
    "ask a stream": lambda b: b.driver.StreamQuery(b.one),
    "allocate": lambda b: b.driver.MemAlloc(64),
    "allocate from the cache": lambda b: b.device.allocate(64),
    "free": lambda b: b.driver.MemFree(b.x.address),
    "pin": lambda b: b.driver.MemHostAlloc(64),
    "load": lambda b: b.device.function(replace(IMAGE, arch="other")),
    "read pageable memory": lambda b: b.device.upload(b.x.address, np.zeros(4, np.float32)),
    "ask an event": lambda b: b.driver.EventQuery(b.driver.EventCreate()),
    "wait for an event": lambda b: b.driver.EventSynchronize(b.driver.EventCreate()),
    "destroy a stream": lambda b: b.driver.StreamDestroy(b.two),
    "destroy a graph": lambda b: b.driver.GraphExecDestroy(b.graph),
}


@pytest.mark.parametrize("name", NOT_IN_CAPTURE)
def test_what_a_capture_does_not_allow(bench: Bench, name: str) -> None:
    bench.graph = capture(bench, bench.one)
    bench.driver.StreamBeginCapture(bench.one)
    with pytest.raises(CudaError, match="CAPTURE_UNSUPPORTED"):
        NOT_IN_CAPTURE[name](bench)
    with pytest.raises(CudaError, match="CAPTURE_INVALIDATED"):
        bench.driver.StreamEndCapture(bench.one)


def test_a_fork_must_come_back(bench: Bench) -> None:
    bench.driver.StreamBeginCapture(bench.one)
    bench.order(bench.one, bench.two)
    bench.launch(bench.two)
    with pytest.raises(CudaError, match="CAPTURE_UNJOINED"):
        bench.driver.StreamEndCapture(bench.one)


def test_time_between_events(bench: Bench) -> None:
    start, end = (bench.driver.EventCreate(timing=True) for _ in range(2))
    bench.driver.EventRecord(start, bench.one)
    bench.launch()
    bench.driver.EventRecord(end, bench.one)
    with pytest.raises(CudaError, match="NOT_READY"):
        bench.driver.EventElapsedTime(start, end)
    assert not bench.driver.EventQuery(end)
    assert bench.driver.EventQuery(end)
    assert bench.driver.EventElapsedTime(start, end) > 0
