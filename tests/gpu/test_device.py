"""What is there or missing, and torch.cuda's names over a device that the CPU plays."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

import numpy as np
import pytest

import graphc
from graphc import config
from graphc.__main__ import main
from graphc.cli.command import Exit
from graphc.errors import CudaError, DeviceUnavailable, InvalidArgument, Unsupported
from graphc.runtime.cuda import device, probe
from graphc.runtime.cuda.driver import DeviceAttribute, Driver
from graphc.runtime.cuda.executor import CudaExecutable
from graphc.runtime.cuda.fake import FakeDriver

cuda = graphc.cuda


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    probe._missing.cache_clear()
    yield
    probe._missing.cache_clear()


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setenv("GRAPHC_CUDA", "fake")


def missing() -> str:
    found = probe.unavailable()
    assert found is not None
    return str(found)


# ---- what is missing


def as_if(monkeypatch: pytest.MonkeyPatch, driver: Driver, library: bool = True) -> None:
    """The machine has this driver."""
    monkeypatch.setenv("GRAPHC_CUDA", "")
    monkeypatch.setattr(probe, "real", lambda: driver)
    monkeypatch.setattr(probe, "LIBRARY", "libc.so.6" if library else "libnowhere.so.1")
    monkeypatch.setattr(probe, "triton_missing", lambda: None)


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    as_if(monkeypatch, FakeDriver(), library=False)
    assert "libnowhere.so.1 is not there [GC008]" in missing()
    assert "install NVIDIA's driver" in missing()
    assert not cuda.is_available() and cuda.device_count() == 0
    with pytest.raises(DeviceUnavailable, match="libnowhere"):
        device.current()


class Old(FakeDriver):
    def DriverGetVersion(self) -> int:
        return 11040


class Small(FakeDriver):
    def DeviceGetAttribute(self, attribute: DeviceAttribute, device: int) -> int:
        major = DeviceAttribute.COMPUTE_CAPABILITY_MAJOR
        return 7 if attribute == major else super().DeviceGetAttribute(attribute, device)


class NoGpu(FakeDriver):
    def Init(self) -> None:
        raise CudaError("cuInit: CUDA_ERROR_NO_DEVICE", call="Init", number=100)


class NoneListed(FakeDriver):
    def DeviceGetCount(self) -> int:
        return 0


REFUSED = {
    Old: ("the driver is for CUDA 11.4, 12.0 is needed", "525 or later"),
    Small: ("is sm_70, sm_80 is needed", "newer GPU"),
    NoGpu: ("CUDA_ERROR_NO_DEVICE", "nvidia-smi"),
    NoneListed: ("this machine has none", 'device="cpu"'),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_gpu_that_will_not_do(kind: type[FakeDriver], monkeypatch: pytest.MonkeyPatch) -> None:
    as_if(monkeypatch, kind())
    for text in REFUSED[kind]:
        assert text in missing()
    assert not cuda.is_available()


@pytest.mark.parametrize(
    "version, text",
    [
        ("3.5.1", "Triton 3.5.1 is installed, triton>=3.6,<3.10 is needed"),
        ("3.10.0", "Triton 3.10.0 is installed"),
        ("4.0", "Triton 4.0 is installed"),
        (None, "Triton is not installed"),
    ],
)
def test_a_triton_that_will_not_do(
    version: str | None, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(package: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(package)
        return version

    monkeypatch.setenv("GRAPHC_CUDA", "fake")
    monkeypatch.setattr(metadata, "version", installed)
    assert text in missing() and "pip install" in missing()


def test_off_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CUDA", "off")
    assert "GRAPHC_CUDA=off" in missing()
    assert not cuda.is_available()


def test_a_mode_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CUDA", "maybe")
    with pytest.raises(InvalidArgument, match="maybe"):
        probe.unavailable()


def test_asking_imports_nothing_that_is_not_needed() -> None:
    """The main process never imports Triton, nor the bindings where there is no libcuda."""
    code = (
        "import sys, graphc; from graphc.runtime.cuda import probe; "
        "probe.LIBRARY = 'libnowhere.so'; graphc.cuda.is_available(); graphc.cuda.device_count(); "
        "print([m for m in ('triton', 'cuda', 'cuda.bindings') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_bindings_import_without_a_gpu() -> None:
    pytest.importorskip("cuda.bindings")
    driver = probe.real()
    named = {n for n in vars(Driver) if n[0].isupper()}
    assert named and not [n for n in named if not callable(getattr(driver, n, None))]
    if "libcuda" in missing_or_empty():
        with pytest.raises((RuntimeError, OSError)):
            driver.Init()


def missing_or_empty() -> str:
    return str(probe.unavailable() or "")


def test_every_call_has_its_counterpart_in_the_bindings() -> None:
    cu = pytest.importorskip("cuda.bindings.driver")
    ours = {"Lend", "Reclaim", "Discard", "GraphLauncher", "Copier"}
    names = {n for n in vars(Driver) if n[0].isupper()} - ours
    assert not [n for n in names if not hasattr(cu, f"cu{n}")]


def test_attributes_have_the_numbers_of_cuda() -> None:
    cu = pytest.importorskip("cuda.bindings.driver")
    from graphc.runtime.cuda.driver import FunctionAttribute, MapElement

    for a in DeviceAttribute:
        assert int(getattr(cu.CUdevice_attribute, f"CU_DEVICE_ATTRIBUTE_{a.name}")) == a
    for f in FunctionAttribute:
        assert int(getattr(cu.CUfunction_attribute, f"CU_FUNC_ATTRIBUTE_{f.name}")) == f
    for m in MapElement:
        assert int(getattr(cu.CUtensorMapDataType, f"CU_TENSOR_MAP_DATA_TYPE_{m.name}")) == m


# ---- torch.cuda's names


@pytest.mark.usefixtures("fake")
class TestNames:
    def test_what_is_there(self) -> None:
        assert cuda.is_available() and cuda.device_count() == 1
        assert cuda.current_device() == 0
        assert cuda.get_device_capability() == (9, 0)
        assert cuda.get_device_name("cuda:0") == cuda.get_device_properties(0).name
        assert cuda.get_device_properties(0).multi_processor_count == 132
        assert cuda.is_bf16_supported()
        cuda.set_device(0)
        cuda.synchronize()
        with graphc.accelerator.device_index(0), cuda.device(None):
            assert graphc.accelerator.current_device_index() == 0
        assert graphc.accelerator.current_accelerator() == graphc.device("cuda")
        assert cuda.is_initialized()

    def test_a_device_that_is_not(self) -> None:
        for ask in (cuda.set_device, cuda.get_device_name, cuda.memory_allocated):
            with pytest.raises(DeviceUnavailable, match="cuda:3"):
                ask(3)
        with pytest.raises(InvalidArgument, match="cpu"):
            cuda.synchronize("cpu")

    def test_memory(self) -> None:
        before = cuda.memory_allocated()
        cuda.reset_peak_memory_stats()
        block = device.current().allocate(3000)
        assert cuda.memory_allocated() == before + 3072 == cuda.max_memory_allocated()
        del block
        assert cuda.memory_allocated() == before
        assert cuda.memory_reserved() > 0
        free, total = cuda.mem_get_info()
        assert 0 < free < total
        cuda.empty_cache()
        assert cuda.memory_allocated() <= cuda.memory_reserved() <= cuda.max_memory_reserved()

    def test_streams_and_events(self) -> None:
        gpu = device.current()
        block = gpu.allocate(400)
        stream = cuda.Stream()
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        start.record()
        with cuda.stream(stream):
            assert cuda.current_stream() == stream
            gpu.upload(block.address, np.ones(100, np.float32))
            end.record()
        assert cuda.current_stream() == cuda.default_stream() != stream
        cuda.current_stream().wait_stream(stream)
        end.synchronize()
        assert end.query() and start.elapsed_time(end) >= 0
        stream.synchronize()
        assert stream.query()

    def test_a_stream_that_is_waited_for_has_what_was_done_in_it(self) -> None:
        gpu = device.current()
        out = gpu.host.array((4,), np.dtype(np.float32))
        block = gpu.allocate(16)
        gpu.upload(block.address, np.ones(4, np.float32))
        stream = cuda.Stream()
        with cuda.stream(stream):
            gpu.driver.MemcpyDtoHAsync(out.ctypes.data, block.address, 16, gpu.stream)
            stream.synchronize()
            assert (out == 1).all()

    def test_seeds_are_those_of_the_cpu(self) -> None:
        cuda.manual_seed_all(5)
        first = graphc.rand(3)
        graphc.manual_seed(5)
        assert graphc.equal(first, graphc.rand(3))

    def test_graphs_are_captured_by_compiled_steps(self) -> None:
        with pytest.raises(Unsupported, match="compile"):
            cuda.CUDAGraph()


def test_the_switch_is_declared() -> None:
    assert config.SWITCHES["cuda"].variable == "GRAPHC_CUDA"


def test_pinned_arrays_live_as_their_views(fake: None) -> None:
    gpu = device.current()
    view = gpu.host.array((3, 4), np.dtype(np.int16))[1:]
    assert gpu.host.holds(view) and not gpu.host.holds(np.zeros(3))
    address = view.ctypes.data
    other = gpu.host.array((3, 4), np.dtype(np.int16))
    assert other.ctypes.data != address - 8
    del view
    assert gpu.host.array((3, 4), np.dtype(np.int16)).ctypes.data == address - 8


def test_pinned_memory_is_used_again_once_it_was_read(fake: None) -> None:
    """To give it back would wait for the device, which copies from it are there to avoid."""
    driver = device.current().driver
    assert isinstance(driver, FakeDriver)
    cuda.empty_cache()
    held, seen = len(driver.memory.pinned), set()
    for k in range(9):
        x = graphc.full((100 + k,), float(k)).pin_memory()
        seen.add(x.data_ptr())
        y = graphc.zeros(100 + k, device="cuda").copy_(x, non_blocking=True)
        del x
        assert y.tolist() == [float(k)] * (100 + k)
    assert len(seen) <= 2 and len(driver.memory.pinned) <= held + 2
    cuda.empty_cache()
    assert len(driver.memory.pinned) == held


def test_doctor_runs_its_test_on_the_device_as_well(
    fake_gpu: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("triton")
    assert main(["doctor", "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert told["gpu"]["arch"] and told["gpu_test"]["passed"] and told["self_test"]["passed"]
    monkeypatch.setattr(CudaExecutable, "run", lambda *_: 1 / 0)
    assert main(["doctor", "--json"]) == Exit.FAILED
    told = json.loads(capsys.readouterr().out)
    assert "ZeroDivisionError" in told["gpu_test"]["error"] and told["self_test"]["passed"]
