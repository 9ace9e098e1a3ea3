"""What nobody uses any more is given back to the driver, and never in the middle of a capture."""

from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("triton")

import graphc
from graphc.errors import CudaError, DeviceUnavailable
from graphc.ir.types import Array
from graphc.runtime.cuda.capture import Recorded, Report
from graphc.runtime.cuda.device import Device, current
from graphc.runtime.cuda.driver import Driver
from graphc.runtime.cuda.fake import FakeDriver
from graphc.runtime.cuda.memory import Allocation


class Knot:
    """Holds something until the collector runs."""

    def __init__(self, held: object) -> None:
        self.held, self.own = held, self


@pytest.fixture
def device() -> Iterator[Device]:
    gc.collect()
    gc.disable()
    yield Device(FakeDriver())
    gc.enable()


def report(device: Device) -> tuple[Report, tuple[Allocation, Array]]:
    word, host = device.allocate(8), device.host.array((8,), np.dtype(np.uint8))
    device.set(word.address, b"\1", 8)
    return Report(host.ctypes.data, word.address, 8), (word, host)


def test_the_collector_may_run_within_a_capture(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy, (_, host) = report(device)
    Knot(Recorded(device, [copy]))
    start = Report.start

    def collecting(self: Report, driver: Driver, stream: int) -> None:
        gc.collect()
        start(self, driver, stream)

    monkeypatch.setattr(Report, "start", collecting)
    recorded = Recorded(device, [copy])
    recorded.start()
    device.wait()
    assert host.tolist() == [1] * 8


def test_a_graph_is_given_back_at_the_next_allocation(device: Device) -> None:
    copy, _ = report(device)
    Recorded(device, [copy]).start()
    handles = device.driver._objects  # type: ignore[attr-defined]  # the fake one's
    before = len(handles)
    keep = device.allocate(8)
    assert len(handles) == before - 1 and keep.size_bytes == 8


def test_a_capture_that_fails_leaves_none(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    copy, _ = report(device)

    def fails(self: Report, driver: Driver, stream: int) -> None:
        device.driver.MemAlloc(8)

    before = len(device.driver._objects)  # type: ignore[attr-defined]  # the fake one's
    with monkeypatch.context() as patch:
        patch.setattr(Report, "start", fails)
        with pytest.raises(CudaError, match="MemAlloc"):
            Recorded(device, [copy])
    assert len(device.driver._objects) == before  # type: ignore[attr-defined]  # the fake one's
    Recorded(device, [copy]).start()
    device.wait()


def test_memory_that_a_stream_uses_is_kept_though_the_stream_goes(fake_gpu: None) -> None:
    """As PyTorch's record_stream has it, for work that another library does in a stream."""
    here = current()
    side = graphc.cuda.Stream()
    handle, x = side.cuda_stream, graphc.ones(1 << 19, device="cuda")
    address, host = x.data_ptr(), here.host.array((4 * x.numel(),), np.dtype(np.uint8))
    side.wait_stream(graphc.cuda.default_stream())
    here.driver.MemcpyDtoHAsync(host.ctypes.data, address, host.nbytes, handle)
    x.record_stream(side)
    del x, side
    y = [graphc.zeros(1 << 19, device="cuda") for _ in range(3)]
    graphc.cuda.synchronize()  # a race, where one of them was given that memory at once
    assert host.view(np.float32).tolist()[:2] == [1, 1] and len(y) == 3
    assert graphc.cuda.Stream().cuda_stream == handle
    with pytest.raises(NotImplementedError, match="'CPU' backend"):
        graphc.ones(2).record_stream(graphc.cuda.default_stream())


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="no processes fork here"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_no_gpu_and_computes_on_the_cpu(fake_gpu: None) -> None:
    """Neither eagerly nor by a step, latched or not; the parent goes on."""
    step = graphc.compile(lambda x: (x * 2).sum())
    x, here = graphc.ones(3, device="cuda"), graphc.ones(3)
    for _ in range(12):
        step(x)
    child = os.fork()
    if not child:
        refused = 0
        for use in (lambda: step(x), lambda: x + 1, lambda: x.cpu(), lambda: here.cuda()):
            try:
                use()
            except DeviceUnavailable as e:
                refused += "forked" in str(e)
        told = graphc.cuda.is_available(), graphc.cuda.is_initialized(), here.is_pinned()
        used, twice = graphc.cuda.memory_allocated(), (here * 2).sum().item()
        os._exit(0 if refused == 4 and not any(told) and (used, twice) == (0, 6) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert step(x).item() == 6 and (x + 1).tolist() == [2, 2, 2]
