"""What both drivers do alike: on FakeDriver, or with `pytest -m gpu` on a GPU."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

pytest.importorskip("triton")

from small_kernels import AXPY

import graphc
from graphc.codegen_gpu.library import GpuLibrary
from graphc.errors import CudaError, DeviceOutOfMemory
from graphc.ir.cuda_abi import GridDim, Image, Param, Source
from graphc.ir.types import Array
from graphc.runtime.cuda import pack
from graphc.runtime.cuda.device import Device, current
from graphc.runtime.cuda.driver import Code, MapElement, Swizzle

ALL_TYPES = Source(
    "all_types",
    """
import triton
import triton.language as tl


@triton.jit
def all_types(out, a, b, c, d, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    x = tl.where(i == 0, a.to(tl.float64), b.to(tl.float64))
    y = tl.where(i == 2, c.to(tl.float64), d.to(tl.float64))
    tl.store(out + i, tl.where(i < 2, x, y))
""",
    (
        Param("out", "pointer", "buffer", 0, "f64", 16),
        Param("a", "i32", "size", 0),
        Param("b", "i64", "size", 1),
        Param("c", "f32", "scalar", 0),
        Param("d", "f64", "scalar", 1),
    ),
    (("BLOCK", 4),),
    (GridDim((1,)),),
)


@pytest.fixture
def gpu(fake_gpu: None) -> Device:
    return current()


def image(gpu: Device, source: Source) -> Image:
    return Image(source) if gpu.driver.name == "fake" else GpuLibrary(gpu).images([source])[0]


def launch(gpu: Device, source: Source, values: list[Any], sizes: dict[str, int]) -> None:
    made = image(gpu, source)
    packed = pack.pack(source, values)
    grid, threads = pack.grid(source, sizes), 32 * source.num_warps
    function = gpu.function(made)
    gpu.driver.LaunchKernel(function, grid, threads, made.shared_bytes, gpu.stream, packed.address)


def put(gpu: Device, array: Array) -> Any:
    block = gpu.allocate(array.nbytes)
    gpu.upload(block.address, array)
    return block


def get(gpu: Device, block: Any, like: Array) -> Array:
    out = np.zeros_like(like)
    gpu.download(out, block.address)
    return out


X = np.linspace(-2, 2, 1000, dtype=np.float32)


def test_a_kernel(gpu: Device) -> None:
    x, y = put(gpu, X), put(gpu, X)
    launch(gpu, AXPY, [x.address, y.address, X.size, 2.0], {"n": X.size})
    np.testing.assert_allclose(get(gpu, y, X), 3 * X, rtol=1e-6)


def test_every_type_of_parameter(gpu: Device) -> None:
    like = np.zeros(4)
    out = put(gpu, like)
    values = [-7, 1 << 40, 0.5, 1 / 3]
    launch(gpu, ALL_TYPES, [out.address, *values], {})
    assert get(gpu, out, like).tolist() == values


def test_a_graph_repeats_its_launches(gpu: Device) -> None:
    x, y = put(gpu, X), put(gpu, X)
    values = [x.address, y.address, X.size, 1.0]
    gpu.function(image(gpu, AXPY))
    gpu.driver.StreamBeginCapture(gpu.stream)
    for _ in range(2):
        launch(gpu, AXPY, values, {"n": X.size})
    graph = gpu.driver.StreamEndCapture(gpu.stream)
    executable = gpu.driver.GraphInstantiate(graph)
    gpu.driver.GraphDestroy(graph)
    assert np.array_equal(get(gpu, y, X), X)
    for _ in range(3):
        gpu.driver.GraphLaunch(executable, gpu.stream)
    np.testing.assert_allclose(get(gpu, y, X), 7 * X, rtol=1e-6)
    gpu.driver.GraphExecDestroy(executable)


@pytest.mark.parametrize("word", [b"\x01", b"\x01\x02", b"\x01\x02\x03\x04"])
def test_memory_is_set_and_moved(gpu: Device, word: bytes) -> None:
    like = np.zeros(96, np.uint8)
    first, second = put(gpu, like), put(gpu, like)
    gpu.set(first.address, word, 96 // len(word))
    gpu.move(second.address + 4, first.address, 92)
    assert get(gpu, second, like).tobytes() == bytes(4) + (word * 96)[:92]


def test_pinned_copies_and_events(gpu: Device) -> None:
    d = gpu.driver
    source, target = (gpu.host.array(X.shape, X.dtype) for _ in range(2))
    source[:] = X
    block = gpu.allocate(X.nbytes)
    start, end = (d.EventCreate(timing=True) for _ in range(2))
    d.EventRecord(start, gpu.stream)
    gpu.upload(block.address, source, wait=False)
    d.EventRecord(end, gpu.stream)
    d.StreamWaitEvent(gpu.copy_stream, end)
    d.MemcpyDtoHAsync(target.ctypes.data, block.address, X.nbytes, gpu.copy_stream)
    d.StreamSynchronize(gpu.copy_stream)
    assert np.array_equal(target, X)
    assert d.EventQuery(end) and d.StreamQuery(gpu.copy_stream)
    assert d.EventElapsedTime(start, end) >= 0
    gpu.synchronize()


def test_a_tensor_map_is_written_where_it_is_asked_for(gpu: Device) -> None:
    block = gpu.allocate(64 * 64 * 2)
    room = np.zeros(256, np.uint8)
    at = -(-room.ctypes.data // 64) * 64
    element, swizzle = MapElement.BFLOAT16, Swizzle.BYTES_128
    shape = (at, element, block.address, (64, 64), (128,), (64, 16), swizzle)
    gpu.driver.TensorMapEncodeTiled(*shape)
    start = at - room.ctypes.data
    assert room[start : start + 128].any() and not room[start + 128 :].any()
    with pytest.raises(CudaError) as caught:
        gpu.driver.TensorMapEncodeTiled(at + 16, *shape[1:])
    assert caught.value.number == Code.INVALID_VALUE


class Foreign:
    """An array of another library's."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.__cuda_array_interface__ = told


def test_memory_that_another_library_tells_of(gpu: Device) -> None:
    x = graphc.arange(6.0, device="cuda").view(2, 3)
    y = graphc.as_tensor(Foreign(x[:, 1:].__cuda_array_interface__))
    y.add_(1.0)
    assert x.tolist() == [[0, 2, 3], [3, 5, 6]] and y.device == x.device
    here = np.zeros(4, np.float32)
    told = {"shape": (4,), "typestr": "<f4", "data": (here.ctypes.data, False), "version": 3}
    with pytest.raises(ValueError, match="resides on host memory"):
        graphc.as_tensor(Foreign(told))


def test_arrays_of_cupy_go_both_ways(gpu: Device) -> None:
    cupy = pytest.importorskip("cupy")
    if gpu.driver.name == "fake":
        pytest.skip("CuPy needs a GPU")
    there = cupy.arange(3.0)
    x = graphc.as_tensor(there)
    x.mul_(2.0)
    graphc.cuda.synchronize()
    assert there.tolist() == [0.0, 2.0, 4.0] == cupy.asarray(x).tolist()
    assert graphc.from_dlpack(there).tolist() == cupy.from_dlpack(x).tolist()


def test_an_empty_grid_is_refused(gpu: Device) -> None:
    x = put(gpu, X)
    with pytest.raises(CudaError, match="INVALID_VALUE"):
        launch(gpu, AXPY, [x.address, x.address, 0, 1.0], {"n": 0})


def test_other_threads_may_use_the_device(gpu: Device) -> None:
    """One that never asked for it, too."""
    failed: list[BaseException] = []

    def work() -> None:
        try:
            assert np.array_equal(get(gpu, put(gpu, X), X), X)
        except BaseException as e:
            failed.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert not failed


def test_more_memory_than_there_is(gpu: Device) -> None:
    total = gpu.properties.total_memory
    with pytest.raises(DeviceOutOfMemory, match="were asked for"):
        gpu.allocate(2 * total)
    assert np.array_equal(get(gpu, put(gpu, X), X), X)


def test_elementwise_results_are_a_cpus_bit_by_bit(gpu: Device) -> None:
    """Denormals, products that are not fused with sums, quotients and roots to the nearest."""
    r = np.random.default_rng(0)
    x, y, z = (r.standard_normal(4096).astype(np.float32) for _ in range(3))
    x[::7] *= np.float32(1e-38)  # so that products and quotients are denormal
    y[::11] *= np.float32(1e-20)
    step = graphc.compile(lambda x, y, z: (x * y + z, x * 1e-3, x / y, x.abs().sqrt()))
    with np.errstate(all="ignore"):
        want = x * y + z, x * np.float32(1e-3), x / y, np.sqrt(np.abs(x))
    got = step(*(graphc.from_numpy(v).cuda() for v in (x, y, z)))
    for mine, theirs in zip(got, want, strict=True):
        assert np.array_equal(mine.cpu().numpy().view(np.int32), theirs.view(np.int32))


def test_offsets_beyond_31_bits(gpu: Device) -> None:
    if gpu.driver.name == "fake":
        pytest.skip("takes 7 GB")
    n = (1 << 31) + 1000
    x = graphc.zeros(n, dtype=graphc.uint8, device="cuda")
    x[-1] = 5
    y = graphc.compile(lambda x: x + 1)(x)
    assert y[-2:].tolist() == [1, 6] and y[:2].tolist() == [1, 1]
    assert y.sum().item() == n + 5
