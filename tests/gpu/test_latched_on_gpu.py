"""Calls of a step on a GPU that run no Python code: when they are taken, and what ends them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")

import graphc
from graphc import nn
from graphc.errors import CudaError
from graphc.frontend.step.latched import places
from graphc.frontend.storage import running
from graphc.frontend.tensor import Tensor
from graphc.runtime.cuda import apart, capture, device, executor
from graphc.runtime.cuda.device import Device
from tests.counted import ORDERS, WARM_UP, Counted

pytestmark = [
    pytest.mark.skipif(places() is None, reason="this interpreter keeps no versions"),
    pytest.mark.usefixtures("uncollected"),
]


@pytest.fixture
def counted(fake_gpu: None, monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch, "cuda")


def test_calls_like_the_last_one_run_no_python(counted: Counted) -> None:
    x = graphc.arange(3.0, device="cuda")
    counted.run(WARM_UP, x)
    for _ in range(5):
        counted.latched(x)
    assert counted.weight.cpu().tolist() == [1.0 + WARM_UP + 5] * 3


def test_other_memory_is_recorded_once(counted: Counted) -> None:
    xs = [graphc.full((3,), float(k), device="cuda") for k in range(3)]
    counted.run(WARM_UP, xs[0])
    for x in xs * 12:
        counted.run(1, x)
    captures = counted.step._last.plan.native.captures
    for x in xs * 12:
        counted.latched(x)
    assert counted.step._last.plan.native.captures == captures
    y = graphc.full((3,), 9.0, device="cuda")
    counted.run(1, y)
    assert counted.step._last.plan.native.captures == captures + 1


def test_a_result_that_somebody_has_stays(counted: Counted) -> None:
    counted.run()
    held = [counted.step(graphc.full((3,), float(k), device="cuda")) for k in range(6)]
    numbers = [x.item() for x in held]
    views: list[Tensor] = []
    looks: list[Callable[[Tensor], Tensor]] = [
        lambda x: x.detach(), lambda x: x.reshape(1)[0], lambda x: graphc.from_dlpack(x),
    ]  # fmt: skip
    for look in looks:
        out = counted.step(graphc.ones(3, device="cuda"))
        numbers.append(out.item())
        views.append(look(out))
        del out
    counted.run(5)
    assert [x.item() for x in (*held, *views)] == numbers


def test_a_result_that_was_changed_is_not_handed_out_again(counted: Counted) -> None:
    counted.run()
    changes: list[Callable[[Any], object]] = [
        lambda x: setattr(x, "note", 1), lambda x: x.requires_grad_(), lambda x: x.add_(1.0),
    ]  # fmt: skip
    x = graphc.ones(3, device="cuda")
    for change in changes:
        for _ in range(3):
            out = counted.step(x)
            assert set(vars(out)) <= {"array", "storage", "_spec", "_requires_grad", "_node"}
            assert not out.requires_grad and out._version == 0
            change(out)
            del out
    counted.run(4)


ARGUMENTS: dict[str, Callable[[], Tensor]] = {
    "a view": lambda: graphc.ones(6, device="cuda")[::2],
    "a view that is dense": lambda: graphc.ones(6, device="cuda")[3:],
    "another dtype": lambda: graphc.ones(3, device="cuda").double(),
    "another shape": lambda: graphc.ones(3, 3, device="cuda"),
    "another size": lambda: graphc.ones(1, device="cuda"),
    "the host's": lambda: graphc.ones(()),
    "requires grad": lambda: graphc.ones(3, device="cuda").requires_grad_(),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_other_kinds_of_arguments(counted: Counted, name: str) -> None:
    counted.run()
    x = ARGUMENTS[name]()
    for _ in range(2):
        want = float((x.detach().cpu().numpy() * (counted.weight.cpu().numpy() + 1)).sum())
        assert counted.step(x).item() == pytest.approx(want)
        counted.run(3)


@pytest.mark.parametrize("name", ORDERS)
def test_arguments_in_another_order(
    monkeypatch: pytest.MonkeyPatch, fake_gpu: None, name: str
) -> None:
    x = ORDERS[name]("cuda")
    Counted(monkeypatch, "cuda", x.shape[-1]).latched_among_others(x)


def test_a_failed_check_is_told_and_changes_nothing(fake_gpu: None) -> None:
    table, count = graphc.arange(15.0, device="cuda").reshape(5, 3), graphc.zeros(1, device="cuda")

    def taken(k: Tensor) -> Tensor:
        count.add_(1)
        return table[k].sum()

    step: Any = graphc.compile(taken)
    good = graphc.tensor([1, 2], device="cuda")
    for _ in range(WARM_UP):
        step(good)
    assert step._latch is not None
    keep = good.clone()
    for look in (lambda out: out.item(), lambda out: step(keep), lambda out: count.cpu()):
        before = count.item()
        good.copy_(graphc.tensor([1, 7], device="cuda"))
        out = step(good)  # latched, and started: nobody knows
        with pytest.raises(IndexError):
            look(out)
            graphc.cuda.synchronize()
        assert count.item() == before
        good.copy_(keep)
        for _ in range(WARM_UP):
            assert step(good).item() == table[1:3].sum().item()
        assert count.item() == before + WARM_UP and step._latch is not None


def test_another_program_waits_for_what_a_latched_one_may_fail_with(fake_gpu: None) -> None:
    table, count = graphc.ones(5, device="cuda"), graphc.zeros(1, device="cuda")
    first: Any = graphc.compile(lambda k: (count.add_(1) * table[k]).sum())
    other: Any = graphc.compile(lambda x: count.mul_(x).sum())
    k, two = graphc.tensor([1], device="cuda"), graphc.full((1,), 2.0, device="cuda")
    for _ in range(WARM_UP):
        first(k)
    assert first._latch is not None
    k.copy_(graphc.tensor([9], device="cuda"))
    first(k)
    with pytest.raises(IndexError):
        other(two)
    assert count.item() == WARM_UP


def test_two_that_are_latched_know_of_each_other(fake_gpu: None) -> None:
    table, count = graphc.ones(5, device="cuda"), graphc.zeros(1, device="cuda")
    first: Any = graphc.compile(lambda k: (count.add_(1) * table[k]).sum())
    other: Any = graphc.compile(lambda x: count.mul_(x).sum())
    k, one = graphc.tensor([1], device="cuda"), graphc.ones(1, device="cuda")
    for _ in range(3):
        for _ in range(WARM_UP):
            first(k)
        graphc.cuda.synchronize()
        for _ in range(WARM_UP):
            other(one)
    k.copy_(graphc.tensor([9], device="cuda"))
    first(k)
    with pytest.raises(IndexError):
        other(one * 2)
    assert count.item() == 3 * WARM_UP


@pytest.fixture
def wandering(fake_gpu: None, monkeypatch: pytest.MonkeyPatch) -> tuple[Counted, list[Tensor]]:
    """After so many calls with other addresses that a graph is shared by all; parts of a data set
    that are left."""
    monkeypatch.setattr(capture, "MOST_CAPTURES", 3)
    monkeypatch.setattr(apart, "LEAST", 1)
    counted = Counted(monkeypatch, "cuda", 4)
    parts = [*graphc.randn(48, 4, device="cuda").split(2)]
    for x in parts[:16]:
        counted.run(1, x)
    return counted, parts[16:]


def test_parts_of_a_data_set_run_no_python(wandering: tuple[Counted, list[Tensor]]) -> None:
    """Views, whose addresses never recur: a graph between copies is started natively, too."""
    counted, parts = wandering
    kept = [counted.step(x) for x in parts[:2]]
    numbers = [x.item() for x in kept]
    for x in parts[2:]:
        counted.run(1, x)
    assert [x.item() for x in kept] == numbers
    plan = counted.step._last.plan.native
    captures = plan.captures
    for x in parts:
        counted.latched(x)
    assert plan.captures == captures


@pytest.mark.parametrize(("fails", "steps"), [("in", 0), ("out", 1)])
def test_a_copy_that_fails_is_an_error_and_a_step_runs_once(
    told_gpu: Device,
    wandering: tuple[Counted, list[Tensor]],
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
    steps: int,
) -> None:
    counted, parts = wandering
    counted.latched(parts[0])
    driver: Any = told_gpu.driver
    copy = type(driver).MemcpyDtoDAsync
    before, seen = counted.weight.cpu()[0].item(), list[str]()

    def failing(self: Any, target: int, source: int, size: int, stream: int) -> None:
        seen.append("in" if source == parts[1].data_ptr() else "out")
        if seen[-1] == fails:
            raise CudaError("no", call="MemcpyDtoDAsync", number=700)
        copy(self, target, source, size, stream)

    with monkeypatch.context() as patch:
        patch.setattr(type(driver), "MemcpyDtoDAsync", failing)
        with pytest.raises(CudaError):
            counted.step(parts[1])
    assert fails in seen and not running.programs
    assert counted.weight.cpu()[0].item() == before + steps
    counted.run(WARM_UP, parts[2])


class Bias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(graphc.zeros(3, device="cuda"))


WRITES: dict[str, Callable[[Bias, Tensor], object]] = {
    "copy": lambda m, x: m.bias.copy_(x),
    "copy to data": lambda m, x: m.bias.data.copy_(x),
    "add": lambda m, x: m.bias.add_(x),
    "set part": lambda m, x: m.bias.__setitem__(slice(None), x),
    "data": lambda m, x: setattr(m.bias, "data", x),
    "data of a view": lambda m, x: setattr(m.bias, "data", x.view(3)),
    "set": lambda m, x: m.bias.set_(x),
    "out": lambda m, x: graphc.mul(x, 1, out=m.bias),
    "grad": lambda m, x: setattr(m.bias, "grad", x),
    "load": lambda m, x: m.load_state_dict({"bias": x}),
    "assign": lambda m, x: m.load_state_dict({"bias": x}, assign=True),
}


@pytest.mark.parametrize("name", WRITES)
def test_what_is_written_of_a_failed_step_is_not_kept(fake_gpu: None, name: str) -> None:
    """Nor what is put in place of a tensor's memory: told before anything holds it."""
    module, table = Bias(), graphc.ones(5, 3, device="cuda")
    step: Any = graphc.compile(lambda k: table[k].sum(0) * 2)
    good, bad = (graphc.tensor([k], device="cuda") for k in (1, 7))
    with graphc.no_grad():
        WRITES[name](module, step(good))
        with pytest.raises(IndexError):
            WRITES[name](module, step(bad))
    kept = module.bias.grad if name == "grad" else module.bias
    assert kept is not None and kept.tolist() == [2, 2, 2]


def test_a_buffer_is_not_what_a_failed_step_gave(fake_gpu: None) -> None:
    module, table = nn.Module(), graphc.ones(5, 3, device="cuda")
    module.register_buffer("mean", graphc.zeros(3, device="cuda"))
    step: Any = graphc.compile(lambda k: table[k].sum(0) * 2)
    good, bad = (graphc.tensor([k], device="cuda") for k in (1, 7))
    module.mean = step(good)
    with pytest.raises(IndexError):
        module.mean = step(bad)
    with pytest.raises(IndexError):
        module.register_buffer("mean", step(bad))
    with pytest.raises(IndexError):
        module.weight = nn.Parameter(step(bad))
    assert not [*module.parameters()]
    assert module.mean.tolist() == [2, 2, 2]


def test_eager_writes_wait_only_where_something_was_started(
    fake_gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    table, w = graphc.ones(5, device="cuda"), graphc.zeros(1, device="cuda")
    step: Any = graphc.compile(lambda k: (table[k] * 2).sum())
    k = graphc.tensor([1, 2], device="cuda")
    for _ in range(WARM_UP):
        w.add_(step(k))
    assert step._latch is not None and w.item() == 4 * WARM_UP
    here, waits = device.current(), []
    wait = type(here).wait
    monkeypatch.setattr(type(here), "wait", lambda self: waits.append(1) or wait(self))
    one = graphc.ones(1, device="cuda")
    w.add_(one)
    w.add_(one)
    assert not waits
    w.add_(step(k))
    assert len(waits) == 1


def test_numbers_of_a_schedule_and_switches(fake_gpu: None) -> None:
    w = nn.Parameter(graphc.ones(3, device="cuda"))
    optimizer = graphc.optim.SGD([w], lr=1.0)

    @graphc.compile
    def step(x: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = graphc.ones(3, device="cuda")
    want = 1.0
    for k in range(30):
        if k % 10 == 9:
            optimizer.param_groups[0]["lr"] = 1.0 / k
        step(x)
        want -= optimizer.param_groups[0]["lr"]
        assert w[0].item() == pytest.approx(want)


def test_dropout_draws_anew(fake_gpu: None) -> None:
    step = graphc.compile(lambda x: nn.functional.dropout(x, 0.5).sum())
    x = graphc.ones(64, device="cuda")
    graphc.manual_seed(3)
    got = [step(x).item() for _ in range(WARM_UP)]
    graphc.manual_seed(3)
    with graphc.disable():
        assert got == [step(x).item() for _ in range(WARM_UP)]
    assert len(set(got)) > 1


def test_a_graph_that_does_not_start_is_an_error(
    told_gpu: Device, counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = graphc.ones(3, device="cuda")
    counted.run(WARM_UP, x)
    driver: Any = told_gpu.driver
    start = type(driver).GraphLaunch

    def fails(self: Any, executable: int, stream: int) -> None:
        raise CudaError("no", call="GraphLaunch", number=700)

    monkeypatch.setattr(type(driver), "GraphLaunch", fails)
    version = counted.weight._version
    with pytest.raises(CudaError):
        counted.step(x)
    assert not running.programs and counted.weight._version == version
    monkeypatch.setattr(type(driver), "GraphLaunch", start)
    counted.run(WARM_UP, x)


def test_threads_take_turns(counted: Counted) -> None:
    counted.run()
    failed: list[BaseException] = []

    def calls() -> None:
        try:
            x = graphc.ones(3, device="cuda")
            for _ in range(10):
                counted.step(x)
                (x + 1).sum()  # eager programs use the same arena
        except BaseException as e:
            failed.append(e)

    before = counted.weight.cpu()[0].item()
    threads = [threading.Thread(target=calls) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed, failed
    assert counted.weight.cpu()[0].item() == before + 40


def test_a_profile_within_another_ends_alone() -> None:
    outer: list[object] = []
    with executor.timing(outer):
        with executor.timing([]):
            pass
        assert executor._timed[-1] is outer
    assert not executor._timed


def test_a_profile_sees_each_run(counted: Counted) -> None:
    counted.run()
    x = graphc.ones(3, device="cuda")
    assert counted.step.profile(x) is not None
    counted.run(3)


def test_steps_that_are_gone_leave_nothing(fake_gpu: None) -> None:
    table = graphc.ones(5, device="cuda")
    step: Any = graphc.compile(lambda k: (table[k] * 2).sum())
    k = graphc.tensor([1, 2], device="cuda")
    for _ in range(WARM_UP):
        step(k)
    assert step._latch is not None
    gone = weakref.ref(step._latch), weakref.ref(step._last.plan.native)
    del step
    import gc

    gc.collect()
    graphc.cuda.synchronize()
    gc.collect()
    assert [x() for x in gone] == [None, None]
