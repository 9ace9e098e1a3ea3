"""How programs run on a GPU: recorded, replayed, bound anew, refused and interrupted."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.errors import CudaError, OutOfMemory
from graphc.frontend.switches import precision
from graphc.ir.kernel import Kernel
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.types import TensorSpec, f32

pytest.importorskip("triton")

from graphc.runtime.cuda import device
from graphc.runtime.cuda.dead import dead_behind
from graphc.runtime.cuda.driver import Code, failure
from graphc.runtime.cuda.executor import CudaExecutable


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CUDA", "fake")


class Training:
    """A line that is fitted by a compiled step."""

    def __init__(self, lr: float = 0.1) -> None:
        graphc.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).to("cuda")
        self.optimizer = graphc.optim.SGD(self.model.parameters(), lr=lr, momentum=0.9)
        self.step = graphc.compile(self._step)
        self.x = graphc.from_numpy(np.eye(3, dtype=np.float32)).to("cuda")

    def _step(self, x: Any) -> Any:
        self.optimizer.zero_grad()
        loss = (self.model(x) - 1).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss

    @property
    def native(self) -> Any:
        return self.step._last.plan.native

    def weight(self) -> np.ndarray:
        return self.model[0].weight.detach().cpu().numpy()


def graphs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The graphs that are launched from now on."""
    driver = device.current().driver
    launched: list[int] = []
    launch = driver.GraphLaunch

    def noted(executable: int, stream: int) -> None:
        launched.append(executable)
        launch(executable, stream)

    monkeypatch.setattr(driver, "GraphLaunch", noted)
    return launched


def test_a_step_is_recorded_once_and_launched_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    t = Training()
    for _ in range(3):
        t.step(t.x)  # its result has two places, which alternate while the last one is held
    launched, kernels = graphs(monkeypatch), len(device.current().driver.launches)
    for rate in (0.1, 0.05, 0.01):
        t.optimizer.param_groups[0]["lr"] = rate
        t.step(t.x)
    assert len(launched) == 3 and t.native.captures <= 2
    device.current().synchronize()
    assert len(device.current().driver.launches) > kernels


def test_a_new_rate_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    t = Training(lr=0.0)
    t.step(t.x)
    before = t.weight()
    t.step(t.x)
    assert np.array_equal(t.weight(), before)
    t.optimizer.param_groups[0]["lr"] = 0.1
    t.step(t.x)
    assert not np.array_equal(t.weight(), before)


def test_state_that_moved_is_bound_anew() -> None:
    t = Training()
    t.step(t.x)
    weight = t.model[0].weight
    old, compiles = weight.data, t.step.stats.compiles
    weight.data = old.clone()
    before = old.cpu().numpy()
    t.step(t.x)
    assert np.array_equal(old.cpu().numpy(), before)
    assert not np.array_equal(t.weight(), before)
    assert t.step.stats.compiles == compiles


def test_arguments_that_lie_elsewhere_are_used_where_they_are() -> None:
    double = graphc.compile(lambda x: (x.cumsum(0) * 2).sum(1))
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    x = graphc.from_numpy(whole).to("cuda")
    for part, seen in ((x, whole), (x[:, 1:4], whole[:, 1:4]), (x[1:], whole[1:])):
        want = (seen.cumsum(0) * 2).sum(1)
        assert np.array_equal(double(part).cpu().numpy(), want)


def test_memory_that_does_not_suffice_is_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    driver = device.current().driver

    @graphc.compile
    def step(x: Any) -> Any:
        return (x @ x.T).softmax(1).sum()

    x = graphc.ones(2000, 2).to("cuda")
    monkeypatch.setattr(driver, "total_bytes", driver.memory.used_bytes + (4 << 20))
    with pytest.raises(OutOfMemory, match=r"the step needs .* MB are free; the largest: .*f32\["):
        step(x)
    monkeypatch.undo()
    monkeypatch.setenv("GRAPHC_CUDA", "fake")
    assert graphc.compile(lambda x: x + 1)(graphc.ones(2)).tolist() == [2, 2]
    assert step(graphc.ones(3, 2).to("cuda")).item() == 3


def test_a_lost_device_is_an_error_and_the_cpu_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    t = Training()
    before = t.weight()

    def lost(executable: int, stream: int) -> None:
        raise failure("GraphLaunch", Code.ILLEGAL_ADDRESS)

    with monkeypatch.context() as patch:
        patch.setattr(device.current().driver, "GraphLaunch", lost)
        with pytest.raises(CudaError, match="ILLEGAL_ADDRESS"):
            t.step(t.x)
    assert not t.native.done and np.array_equal(t.weight(), before)
    assert all(p.grad is None for p in t.model.parameters())
    assert graphc.compile(lambda x: x * 3)(graphc.ones(2)).tolist() == [3, 3]


def test_an_interrupt_after_the_launch_finds_the_step_done(monkeypatch: pytest.MonkeyPatch) -> None:
    t = Training()
    t.step(t.x)
    before, version = t.weight(), t.model[0].weight._version
    driver = device.current().driver
    launch = driver.GraphLaunch

    def interrupted(executable: int, stream: int) -> None:
        launch(executable, stream)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(driver, "GraphLaunch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            t.step(t.x)
    assert not np.array_equal(t.weight(), before)
    assert t.model[0].weight._version > version


def test_a_check_before_a_routine_is_told_first() -> None:
    @graphc.compile
    def step(x: Any, at: Any) -> Any:
        return graphc.linalg.cholesky(x[at])

    x = graphc.eye(3).to("cuda")
    assert step(x, graphc.tensor([0, 1, 2]).to("cuda")).shape == (3, 3)
    with pytest.raises(IndexError, match="index 3 is out of range"):
        step(x, graphc.tensor([0, 3, 2]).to("cuda"))
    with pytest.raises(graphc.linalg.LinAlgError) as caught:
        step(x - 2, graphc.tensor([0, 1, 2]).to("cuda"))
    assert "cholesky(x[at])" in str(caught.value)


def test_stages_are_compared_with_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    t = Training()
    assert t.step(t.x).item() > t.step(t.x).item()


def test_what_reads_a_dead_buffer_reads_nan() -> None:
    """A plan that gives a buffer back too early shows, whoever has its place next."""
    graphc.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 2)).to("cuda")

    @graphc.compile
    def step(x: Any) -> Any:
        return model(x)

    x = graphc.rand(3, 4).to("cuda")
    with graphc.no_grad():
        assert np.isfinite(step(x).cpu().numpy()).all()
        entry = step._last
        native = entry.plan.native
        program = native._last.program
        dead = [s for s in program.slots if s.space == "arena" and s.last > s.first]
        assert dead and all(low < high for spans in dead_behind(program) for low, high in spans)
        slots = tuple(
            dataclasses.replace(s, last=s.first) if s is dead[0] else s for s in program.slots
        )
        wrong = dataclasses.replace(program, slots=slots)
        broken = CudaExecutable(wrong, native._last._images, native._last._engine)
        entry.plan.native = native._made[precision()] = broken
        broken.bind_state(native._states)
        assert np.isnan(step(x).cpu().numpy()).any()


def test_dead_memory_is_what_no_living_buffer_shares() -> None:
    spec = TensorSpec(f32, (16,))
    slots = tuple(
        Slot(f"s{k}", spec, "arena", at, first, last)
        for k, (at, first, last) in enumerate([(0, 0, 1), (64, 0, 0), (96, 0, 2), (0, 1, 2)])
    )
    launch = Launch(Kernel("k", "map", (), (), (), (), ()), (), (), ())
    program = Program("p", slots, (launch,) * 3, 3, (), 160, 160)
    assert dead_behind(program) == [[(64, 96)], [], [(96, 160), (0, 64)]]
