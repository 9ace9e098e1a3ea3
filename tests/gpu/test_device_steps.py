"""Compiled steps on a GPU, played by FakeDriver: the same training as on the CPU."""

from __future__ import annotations

import gc
import queue
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.cli.measure import measure_gpu
from graphc.errors import TracerLeak
from graphc.frontend.devices import accelerator
from graphc.frontend.step.cuda_backend import backend_at
from graphc.nn import functional as F
from graphc.passes.known import Schedules
from graphc.runtime.cuda.device import current
from graphc.runtime.disk_cache import DiskCache
from graphc.runtime.peaks import save

pytest.importorskip("triton")

Make = Callable[[], nn.Module]
Run = tuple[list[float], dict[str, np.ndarray], Any]


@pytest.fixture(autouse=True)
def fake(fake_gpu: None) -> None:
    """All of it on the fake GPU, or with `pytest -m gpu` on one that is there."""


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))


def convolutions() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(16, 4),
    )


class Transformer(nn.Module):
    """Two layers over embedded tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        layers = [
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True) for _ in range(2)
        ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(8, 4)

    def forward(self, ids: Any) -> Any:
        return self.head(self.layers(self.embed(ids)).mean(1))


def images(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, 2, 8, 8)).astype(np.float32)


def rows(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((n, 8)).astype(np.float32)


def tokens(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.integers(0, 11, (n, 5))


def trained(device: str, make: Make, draw: Any, batches: Sequence[int] = (4, 4, 4)) -> Run:
    """Losses, what the model holds then, and the step."""
    graphc.manual_seed(3)
    rng = np.random.default_rng(0)
    model = make().to(device)
    # where a gradient is zero but for rounding, Adam would make steps of the rounding
    optimizer = graphc.optim.Adam(model.parameters(), lr=1e-2, eps=1e-3)

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    losses = []
    for n in batches:
        x = graphc.from_numpy(draw(rng, n)).to(device)
        y = graphc.from_numpy(rng.integers(0, 4, n)).to(device)
        loss = step(x, y)
        assert loss.device == graphc.device(device, None if device == "cpu" else 0)
        losses.append(loss.item())
    held = {k: v.cpu().numpy() for k, v in model.state_dict().items()}
    return losses, held, step


@pytest.mark.parametrize(
    ("make", "draw"), [(mlp, rows), (convolutions, images), (Transformer, tokens)]
)
def test_training_equals_the_cpus(make: Make, draw: Any) -> None:
    want, state, _ = trained("cpu", make, draw)
    losses, held, step = trained("cuda", make, draw)
    np.testing.assert_allclose(losses, want, rtol=2e-5)
    for name, value in state.items():
        np.testing.assert_allclose(held[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    assert step.stats.programs == 1


def test_statistics_that_tiles_find_are_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batch norm over 64 points an image: two tiles, the later of which adds them up."""
    backend = backend_at(accelerator().place(0))
    often = replace(backend.profile, partial_reductions=64)
    monkeypatch.setattr(backend, "_schedules", Schedules(DiskCache(), often))
    want, state, _ = trained("cpu", convolutions, images, (4, 3))
    losses, held, step = trained("cuda", convolutions, images, (4, 3))
    np.testing.assert_allclose(losses, want, rtol=2e-5)
    for name, value in state.items():
        np.testing.assert_allclose(held[name], value, rtol=1e-3, atol=1e-5, err_msg=name)
    assert any("partial" in k.text for k in step.kernels)


def test_another_batch_compiles_nothing() -> None:
    graphc.manual_seed(0)
    *_, step = trained("cuda", mlp, rows, (4, 7, 3, 4))
    stats = step.stats
    assert (stats.programs, stats.compiles) == (1, 1)
    assert not step.explain().recompiles
    want, _, _ = trained("cpu", mlp, rows, (4, 7, 3, 4))
    losses, _, _ = trained("cuda", mlp, rows, (4, 7, 3, 4))
    np.testing.assert_allclose(losses, want, rtol=2e-5)


def test_runs_are_equal_bit_by_bit() -> None:
    one, other = (trained("cuda", mlp, rows) for _ in range(2))
    assert one[0] == other[0]
    assert all(np.array_equal(v, other[1][k]) for k, v in one[1].items())


def test_rows_do_not_depend_on_the_batch() -> None:
    graphc.manual_seed(0)
    model = graphc.compile(mlp().eval().to("cuda"))
    x = rows(np.random.default_rng(1), 37)
    with graphc.no_grad():
        whole = model(graphc.from_numpy(x).to("cuda")).cpu().numpy()
        for n in (1, 5, 33):
            part = model(graphc.from_numpy(x[:n]).to("cuda")).cpu().numpy()
            assert np.array_equal(part, whole[:n])


def test_dropout_masks_are_the_cpus() -> None:
    @graphc.compile
    def dropped(x: Any) -> Any:
        return F.dropout(x, 0.3), graphc.rand(7)

    found = []
    for device in ("cpu", "cuda"):
        graphc.manual_seed(11)
        x = graphc.ones(33, 5).to(device)
        found.append([[v.cpu().numpy() for v in dropped(x)] for _ in range(2)])
    for a, b in zip(*found):
        assert all(np.array_equal(p, q) for p, q in zip(a, b))
    assert not np.array_equal(found[1][0][0], found[1][1][0])  # each call draws anew


def test_a_failed_check_leaves_state_and_names_the_line() -> None:
    graphc.manual_seed(0)
    table = nn.Embedding(5, 3).to("cuda")
    optimizer = graphc.optim.SGD(table.parameters(), lr=0.5, momentum=0.9)

    @graphc.compile
    def step(ids: Any) -> Any:
        optimizer.zero_grad()
        loss = table(ids).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    good = graphc.tensor([0, 1, 4]).to("cuda")
    first = step(good).item()
    before = table.weight.detach().cpu().numpy()
    with pytest.raises(IndexError, match=r"index 5 is out of range \[0, 5\)") as caught:
        step(graphc.tensor([0, 5, 1]).to("cuda")).item()
    assert "table(ids)" in str(caught.value)
    assert np.array_equal(table.weight.detach().cpu().numpy(), before)
    assert step(good).item() < first  # the words of the failure are forgotten
    assert not np.array_equal(table.weight.detach().cpu().numpy(), before)


def lookup() -> tuple[nn.Embedding, Any]:
    graphc.manual_seed(0)
    table = nn.Embedding(5, 3).to("cuda")
    optimizer = graphc.optim.SGD(table.parameters(), lr=0.1)

    @graphc.compile
    def step(ids: Any) -> Any:
        optimizer.zero_grad()
        loss = table(ids).square().sum()
        loss.backward()
        optimizer.step()
        return loss

    return table, step


def test_a_failed_check_is_told_by_whoever_looks_first() -> None:
    good, bad = graphc.tensor([0, 1, 4]).to("cuda"), graphc.tensor([0, 7, 1]).to("cuda")
    waits: list[Callable[[Any], Any]] = [
        lambda step: graphc.cuda.synchronize(),
        lambda step: graphc.cuda.current_stream().synchronize(),
        lambda step: step(good).item(),
        lambda step: good.cpu(),
        lambda step: lookup()[1](good),  # another program that writes state
    ]
    for wait in waits:
        table, step = lookup()
        step(good).item()
        before = table.weight.detach().cpu().numpy()
        step(bad)
        with pytest.raises(IndexError, match="index 7 is out of range"):
            wait(step)
        assert np.array_equal(table.weight.detach().cpu().numpy(), before)
        step(good).item()
        assert not np.array_equal(table.weight.detach().cpu().numpy(), before)


def test_runs_behind_a_failed_one_leave_state() -> None:
    table, step = lookup()
    good, bad = graphc.tensor([0, 1, 4]).to("cuda"), graphc.tensor([0, 7, 1]).to("cuda")
    before = table.weight.detach().cpu().numpy()
    with pytest.raises(IndexError, match="index 7 is out of range"):
        for ids in (bad, good, good, good):
            step(ids)
        graphc.cuda.synchronize()
    assert np.array_equal(table.weight.detach().cpu().numpy(), before)


def test_a_step_with_checks_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    _, step = lookup()
    good = graphc.tensor([0, 1, 4]).to("cuda")
    for _ in range(3):
        loss = step(good)
    driver = current().driver
    waited: list[str] = []
    for name in ("StreamSynchronize", "CtxSynchronize", "EventSynchronize"):
        call = getattr(driver, name)

        def noted(*args: Any, name: str = name, call: Any = call) -> Any:
            waited.append(name)
            return call(*args)

        monkeypatch.setattr(driver, name, noted)
    for _ in range(3):
        loss = step(good)
    assert not waited
    assert loss.item() > 0 and waited == ["StreamSynchronize"]


def test_a_compiled_models_own_backward() -> None:
    grads = []
    for device in ("cpu", "cuda"):
        graphc.manual_seed(0)
        model = graphc.compile(mlp().to(device))
        x = graphc.from_numpy(rows(np.random.default_rng(2), 6)).to(device).requires_grad_()
        model(x).square().mean().backward()
        grads.append([t.grad.cpu().numpy() for t in (x, *model.parameters())])
    for a, b in zip(*grads):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-6)


def test_gradients_can_be_dropped() -> None:
    model = mlp().to("cuda")
    optimizer = graphc.optim.SGD(model.parameters(), lr=0.1)

    @graphc.compile(grads="drop")
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    x = graphc.from_numpy(rows(np.random.default_rng(0), 4)).to("cuda")
    first, second = step(x).item(), step(x).item()
    assert second < first
    with pytest.raises(graphc.errors.GraphcError):
        _ = model[0].weight.grad


def test_a_routine_runs_on_the_host_between_kernels() -> None:
    @graphc.compile
    def step(x: Any) -> Any:
        values, places = (x * 2).sort(dim=1)
        return values + 1, places

    x = rows(np.random.default_rng(0), 3).astype(np.float64)  # keys too long for a kernel
    values, places = step(graphc.from_numpy(x).to("cuda"))
    assert np.array_equal(values.cpu().numpy(), np.sort(x * 2, 1) + 1)
    assert np.array_equal(places.cpu().numpy(), np.argsort(x, 1))
    assert "sort" in str(step.explain().callbacks)


def test_what_a_step_tells_about_itself() -> None:
    *_, step = trained("cuda", mlp, rows, (4,))
    kernel = step.kernels[0]
    assert "@triton.jit" in kernel.triton and kernel.triton in step.ir("triton")
    assert ".visible .entry" in kernel.ptx and "EXIT" in kernel.sass
    with pytest.raises(graphc.errors.NotAvailable, match="device is cuda"):
        _ = kernel.llvm
    told = step.explain()
    assert len(told.blocks) == len(step.kernels) and "blocks of" in str(told)


def test_a_profile_times_each_launch_by_events() -> None:
    weight = graphc.rand(16, 16).to("cuda")
    step = graphc.compile(lambda x: (x @ weight).sort(1).values.cumsum(0).exp().sum())
    x = graphc.rand(8, 16).to("cuda")
    want = step(x).item()
    for _ in range(2):
        found = step.profile(x)
        assert found.result.item() == want
        (program,) = [unit.program for unit in step._units()]
        assert [row.kernel for row in found.launches] == [k.kernel.name for k in program.launches]
        assert all(row.row.seconds > 0 for row in found.launches) and not found.measured
        assert found.seconds == pytest.approx(sum(r.seconds for r in found.by("kernel")))
        assert found.by("line")[0].name.startswith("test_device_steps.py") and str(found)
    recorded = step._last.plan.native.captures
    assert step(x).item() == want and step._last.plan.native.captures == recorded


def test_a_device_is_measured_by_what_steps_reach_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    step = graphc.compile(lambda x: (x @ x).sum())
    x = graphc.rand(8, 8).to("cuda")
    assert "doctor --measure" in str(step.profile(x))
    found = measure_gpu(rows=16)
    assert found.machine and found.flops > 0 and found.bytes > 0
    save(found, "cuda")
    profile = step.profile(x)
    assert profile.peaks == found and "doctor --measure" not in str(profile)
    beside = step.profile_over([x] * 4).beside
    assert beside is not None and beside.seconds > 0


def test_a_profile_of_a_first_call_and_of_training() -> None:
    model, y = mlp().to("cuda"), graphc.tensor([0, 1], device="cuda")
    optimizer = graphc.optim.SGD(model.parameters(), lr=0.1)

    @graphc.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    found = step.profile(graphc.rand(2, 8).to("cuda"))
    assert {r.name for r in found.by("phase")} >= {"forward", "backward"}
    with pytest.raises(graphc.errors.IndexOutOfRange):
        y.fill_(7)
        step.profile(graphc.rand(2, 8).to("cuda"))


def test_a_dump_has_the_code_at_each_level(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_DUMP", str(tmp_path))
    step = graphc.compile(lambda x: x.exp() * 2.0)
    step(graphc.ones(3, device="cuda"))
    files = {f.suffix: f.read_text() for f in tmp_path.rglob("kernels/*")}
    assert set(files) == {".py", ".ptx", ".sass"}
    assert "tl.exp" in files[".py"] or "exp" in files[".py"]
    assert ".entry" in files[".ptx"] and "EXIT" in files[".sass"]


def test_stacks_of_values_are_told_on_any_device() -> None:
    step = graphc.compile(lambda x: x.exp() * 2.0)
    step(graphc.ones(3, device="cuda"))
    (unit,) = step._units()
    graph = next(s for s in unit.stages if s.name == "autodiff").graph
    assert unit.stack(graph.outs[0].where)[0][0] == __file__


def test_nothing_is_pinned_once_the_gpu_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    graphc.ones(3, device="cuda")
    monkeypatch.setenv("GRAPHC_CUDA", "off")
    assert not graphc.ones(3).is_pinned()


def test_tensors_of_two_devices_are_refused() -> None:
    model = mlp().to("cuda")

    @graphc.compile
    def step(x: Any) -> Any:
        return model(x)

    with pytest.raises(RuntimeError, match="found at least two devices, cpu and cuda:0") as caught:
        step(graphc.ones(2, 8))
    assert "model(x)" in str(caught.value)
    assert step(graphc.ones(2, 8).to("cuda")).shape == (2, 4)


def test_a_number_of_the_host_is_brought_to_each_call() -> None:
    scale, count = graphc.tensor(2.0), graphc.tensor(0)

    @graphc.compile
    def step(x: Any) -> Any:
        count.add_(1)
        return x * scale

    x = graphc.ones(3).to("cuda")
    assert step(x).cpu().tolist() == [2, 2, 2]
    scale.fill_(5.0)
    assert step(x).cpu().tolist() == [5, 5, 5]
    assert count.item() == 2 and count.device.type == "cpu"


def test_a_moved_model_is_traced_where_it_is() -> None:
    graphc.manual_seed(0)
    model = mlp()

    @graphc.compile
    def step(x: Any) -> Any:
        return model(x)

    x = graphc.ones(2, 8)
    want = step(x).detach().numpy()
    model.to("cuda")
    got = step(x.to("cuda"))
    assert got.device.type == "cuda"
    np.testing.assert_allclose(got.detach().cpu().numpy(), want, rtol=1e-5, atol=1e-6)


def test_training_holds_no_more_memory_from_step_to_step() -> None:
    """What a step allocates is its results; the arena is what the plan says."""
    gc.collect()  # what other tests left is not freed on the way
    graphc.manual_seed(0)
    rng = np.random.default_rng(0)
    model = mlp().to("cuda")
    optimizer = graphc.optim.Adam(model.parameters())

    @graphc.compile
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x = graphc.from_numpy(rows(rng, 4)).to("cuda")
    y = graphc.from_numpy(rng.integers(0, 4, 4)).to("cuda")
    allocated, peaks = [], []
    for _ in range(5):
        graphc.cuda.reset_peak_memory_stats()
        loss = step(x, y)
        graphc.cuda.synchronize()
        allocated.append(graphc.cuda.memory_allocated())
        peaks.append(graphc.cuda.max_memory_allocated())
    assert len(set(allocated[2:])) == len(set(peaks[2:])) == 1, (allocated, peaks)
    assert peaks[-1] - allocated[-1] <= 1 << 12  # a loss that is made while the last one is held
    assert np.isfinite(loss.item())
    reserved = graphc.cuda.memory_reserved()
    step(x, y)
    assert graphc.cuda.memory_reserved() == reserved


def test_a_model_that_is_gone_gives_its_memory_back() -> None:
    def held() -> int:
        gc.collect()
        graphc.cuda.synchronize()
        return graphc.cuda.memory_allocated()

    graphc.ones(1).to("cuda")
    before = held()
    model = nn.Linear(64, 64).to("cuda")
    optimizer = graphc.optim.Adam(model.parameters())
    model(graphc.ones(2, 64).to("cuda")).sum().backward()
    optimizer.step()
    assert held() - before >= 4 * 64 * 64 * 4  # weights, gradients, and two slots
    del model, optimizer
    assert held() - before <= 1 << 14  # what programs of one operation keep


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_outlives_a_dropped_step_is_refused_where_there_is_a_gpu(device: str) -> None:
    kept: queue.SimpleQueue[Any] = queue.SimpleQueue()
    graphc.compile(lambda x: kept.put(x + 1))(graphc.ones(3).cuda().to(device))
    gc.collect()
    x = kept.get()
    assert x.device.type == device
    with pytest.raises(TracerLeak):
        x + 1
