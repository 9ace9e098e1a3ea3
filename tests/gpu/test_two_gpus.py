"""A machine with two GPUs: each computes with its own memory, streams and code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import graphc
from graphc import cuda, nn
from graphc.frontend.devices import ACCELERATORS
from graphc.ir.cuda_abi import Image
from graphc.runtime.cuda import device, pack
from graphc.runtime.cuda.driver import Grid
from graphc.runtime.cuda.fake import FakeDriver
from graphc.runtime.cuda.fake_objects import Function
from tests.gpu.test_device import as_if


class TwoGpus(FakeDriver):
    """Two contexts; what was made in one is for calls that are made in it, as CUDA has it."""

    def __init__(self) -> None:
        super().__init__()
        self.context = 1
        self.made_in: dict[int, int] = {}  # streams, modules, functions, events, memory
        self.launched: list[int] = []  # contexts

    def made(self, handle: int) -> int:
        self.made_in[handle] = self.context
        return handle

    def here(self, *handles: int) -> None:
        assert {self.made_in.get(h, self.context) for h in handles} == {self.context}

    def context_of(self, address: int) -> int:
        """That of the memory where this lies."""
        base = max(a for a in self.memory.device if a <= address)
        return self.made_in[base]

    def here_is(self, x: graphc.Tensor, context: int) -> None:
        assert self.context_of(x.array.address) == context  # type: ignore[union-attr]

    def DeviceGetCount(self) -> int:
        return 2

    def DeviceGet(self, ordinal: int) -> int:
        assert ordinal in (0, 1)
        return ordinal

    def DevicePrimaryCtxRetain(self, device: int) -> int:
        return device + 1

    def CtxSetCurrent(self, context: int) -> None:
        self.context = context

    def MemAlloc(self, size_bytes: int) -> int:
        return self.made(super().MemAlloc(size_bytes))

    def ModuleLoadData(self, image: Image) -> int:
        return self.made(super().ModuleLoadData(image))

    def ModuleGetFunction(self, module: int, name: str) -> int:
        self.here(module)
        return self.made(super().ModuleGetFunction(module, name))

    def StreamCreateWithPriority(self, priority: int = 0) -> int:
        return self.made(super().StreamCreateWithPriority(priority))

    def EventCreate(self, timing: bool = False) -> int:
        return self.made(super().EventCreate(timing))

    def EventRecord(self, event: int, stream: int) -> None:
        self.here(event, stream)
        super().EventRecord(event, stream)

    def GraphInstantiate(self, graph: int) -> int:
        return self.made(super().GraphInstantiate(graph))

    def GraphLaunch(self, executable: int, stream: int) -> None:
        self.here(executable, stream)
        self.launched.append(self.context)
        super().GraphLaunch(executable, stream)

    def LaunchKernel(
        self,
        function: int,
        grid: Grid,
        threads: int,
        shared_bytes: int,
        stream: int,
        parameters: int,
    ) -> None:
        self.here(function, stream)
        source = self._take("LaunchKernel", function, Function).image.source
        values, _ = pack.read(source, parameters)
        pointers = [int(v) for p, v in zip(source.params, values) if p.type == "pointer"]
        assert {self.context_of(at) for at in pointers} <= {self.context}
        super().LaunchKernel(function, grid, threads, shared_bytes, stream, parameters)

    def MemcpyHtoDAsync(self, device: int, host: int, size_bytes: int, stream: int) -> None:
        assert self.context_of(device) == self.made_in[stream]
        super().MemcpyHtoDAsync(device, host, size_bytes, stream)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Iterator[TwoGpus]:
    driver = TwoGpus()
    as_if(monkeypatch, driver)
    monkeypatch.setattr(device, "_devices", {})
    monkeypatch.setattr(device._thread, "context", None)
    before = list(ACCELERATORS)
    ACCELERATORS.clear()
    yield driver
    cuda.set_device(0)
    ACCELERATORS[:] = before
    device._thread.context = None


class Training:
    def __init__(self, where: str) -> None:
        graphc.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).to(where)
        self.optimizer = graphc.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.x = graphc.rand(6, 4).pin_memory().to(where, non_blocking=True)
        self.y = (graphc.arange(6) % 3).to(where)

        @graphc.compile
        def step(x: Any, y: Any) -> Any:
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            return loss

        self.step = step

    def losses(self, count: int) -> list[float]:
        return [self.step(self.x, self.y).item() for _ in range(count)]


def test_each_trains_as_the_cpu_does(two: TwoGpus) -> None:
    want = Training("cpu").losses(4)
    second, first = Training("cuda:1"), Training("cuda:0")
    found: list[list[float]] = [[], []]
    for _ in range(4):  # in turns, so that each has to make its own context this thread's
        found[0] += first.losses(1)
        found[1] += second.losses(1)
    assert second.model[0].weight.device == graphc.device("cuda:1")
    assert set(two.launched) == {1, 2}
    assert found[0] == found[1] == pytest.approx(want, rel=1e-5)


def test_tensors_of_two_gpus_do_not_mix(two: TwoGpus) -> None:
    a, b = graphc.ones(3, device="cuda:0"), graphc.ones(3, device="cuda:1")
    with pytest.raises(RuntimeError, match="cuda:0 and cuda:1"):
        a + b
    step: Any = graphc.compile(lambda a, b: a + b)
    with pytest.raises(RuntimeError, match="cuda:0 and cuda:1"):
        step(a, b)
    assert (a + b.to("cuda:0")).tolist() == [2.0] * 3
    assert b.cpu().tolist() == [1.0] * 3


def test_a_tensor_moves_into_memory_of_its_new_gpu(two: TwoGpus) -> None:
    """New memory, which is asked for when that of the other one has just been looked at."""
    for n in (1 << 18, 1 << 19):
        x = graphc.full((n,), 2.0, device="cuda:1").to("cuda:0")
        two.here_is(x, 1)
        two.here_is(x.to("cuda:1"), 2)
        x.copy_(graphc.ones(n, device="cuda:1"))
        assert (x[:5] + 1).tolist() == [2.0] * 5


def test_pinned_memory_is_for_both(two: TwoGpus) -> None:
    """Whichever was current when it was made: it is not handed out while the other reads it."""
    seen = set()
    for k in range(4):
        x = graphc.full((1000,), float(k)).pin_memory()
        seen.add(x.data_ptr())
        with graphc.no_grad():
            y = x.to("cuda:1", non_blocking=True)
            z = graphc.zeros(1000, device="cuda:1").copy_(x, non_blocking=True)
        del x
        again = graphc.full((1000,), -1.0).pin_memory()
        assert y.tolist() == z.tolist() == [float(k)] * 1000
        del again
    assert len(seen) <= 2
    x = graphc.ones(1000).pin_memory()
    y = x.to("cuda:1")  # is to have read it
    x.fill_(2.0)
    assert y.tolist() == [1.0] * 1000


def test_the_current_one_is_where_things_are_made(two: TwoGpus) -> None:
    assert cuda.device_count() == 2 and cuda.current_device() == 0
    held = cuda.memory_allocated(1)
    with cuda.device(1):
        x = graphc.ones(1000, device="cuda")
        assert cuda.current_device() == 1
    assert x.device.index == 1 and cuda.memory_allocated(1) > held
    cuda.set_device(1)
    assert graphc.ones(2, device="cuda").device.index == 1
    cuda.set_device(0)
    cuda.synchronize(1)  # which leaves the context of the other one to this thread
    y = graphc.ones(1 << 19, device="cuda:0")
    assert (y[:4] + 1).sum().item() == 8
    assert (x * 2).sum().item() == 2000


def test_an_event_is_of_the_gpu_whose_stream_records_it(two: TwoGpus) -> None:
    event, other = cuda.Event(), cuda.Stream(1)
    assert event.query()
    event.synchronize()
    event.wait(other)
    event.record(other)
    event.wait(cuda.Stream(0))
    event.synchronize()
    assert event.query()
    with pytest.raises(RuntimeError, match="an event of cuda:1 is recorded in a stream of cuda:0"):
        event.record(cuda.Stream(0))
    assert graphc.ones(3, device="cuda").sum().item() == 3


def test_a_failed_check_is_the_others_affair_alone(two: TwoGpus) -> None:
    table = graphc.ones(5, device="cuda:1")
    step: Any = graphc.compile(lambda k: table[k].sum())
    out = step(graphc.tensor([9], device="cuda:1"))
    assert (graphc.ones(3, device="cuda:0") * 2).sum().item() == 6
    with pytest.raises(IndexError):
        out.item()
    assert step(graphc.tensor([4], device="cuda:1")).item() == 1
