"""Modules around the tensors: profiler, futures, processes, other devices, what is refused."""

from __future__ import annotations

import gzip
import json
import warnings
from pathlib import Path
from typing import Any

import pytest

import graphc
from graphc import multiprocessing as mp
from graphc import overrides, profiler
from graphc.futures import Future, collect_all, wait_all

# ---- profiler ----------------------------------------------------------------------------------


def test_a_profile_has_eager_operations_kernels_and_ranges(tmp_path: Path) -> None:
    step = graphc.compile(lambda x: (x @ x).tanh().sum())
    x = graphc.rand(32, 32)
    step(x)
    plain = graphc.Tensor.emit
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as prof:
        with profiler.record_function("mine"):
            y = x.exp()
        step(y)
        (y * 2).sum()
    assert graphc.Tensor.emit is plain
    names = [e.name for e in prof.events()]
    assert names.index("mine") < names.index("mul") and "exp" in names
    kinds = {e.kind for e in prof.events()}
    assert kinds == {"range", "op", "kernel"}
    rows = {r.name: r for r in prof.key_averages()}
    assert rows["exp"].calls == 1 and rows["exp"].seconds > 0
    table = prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=3)
    assert "Self CPU time total" in table and len(table.splitlines()) == 8
    prof.add_metadata("run", "3")
    for name in ("trace.json", "trace.json.gz"):
        path = tmp_path / name
        prof.export_chrome_trace(str(path))
        data = path.read_bytes()
        trace = json.loads(gzip.decompress(data) if name.endswith("gz") else data)
        assert len(trace["traceEvents"]) == len(names) and trace["run"] == "3"


def test_schedules_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    for options in (
        {"wait": 1, "warmup": 1, "active": 2},
        {"wait": 0, "warmup": 0, "active": 1, "repeat": 2},
        {"wait": 2, "warmup": 1, "active": 3, "repeat": 1, "skip_first": 3},
        {"wait": 2, "warmup": 1, "active": 1, "skip_first": 1, "skip_first_wait": 1},
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            mine, theirs = (T.profiler.schedule(**options) for T in (graphc, torch))
            assert [mine(k).name for k in range(20)] == [theirs(k).name for k in range(20)]
    with pytest.raises(AssertionError):
        profiler.schedule(wait=0, warmup=0, active=0)


def test_a_schedule_saves_what_it_records(tmp_path: Path) -> None:
    saved: list[list[str]] = []
    schedule = profiler.schedule(wait=1, warmup=1, active=2, repeat=1)
    on = profiler.tensorboard_trace_handler(str(tmp_path / "logs"), "w")

    def ready(prof: profiler.profile) -> None:
        saved.append([e.name for e in prof.events()])
        on(prof)

    with profiler.profile(schedule=schedule, on_trace_ready=ready) as prof:
        for _ in range(6):
            graphc.ones(3).exp()
            prof.step()
    assert len(saved) == 1
    assert [n for n in saved[0] if n != "exp"] == ["ProfilerStep#2", "ProfilerStep#3"]
    assert saved[0].count("exp") == 2
    assert [f.name.startswith("w.") for f in (tmp_path / "logs").iterdir()] == [True]


def test_older_names_of_the_profiler() -> None:
    with graphc.autograd.profiler.profile(enabled=False) as off:
        graphc.ones(3).exp()
    assert not off.events()

    @graphc.autograd.profiler.record_function("named")
    def work() -> None:
        graphc.ones(3).exp()

    with graphc.autograd.profiler.profile(use_cuda=False) as on, pytest.raises(RuntimeError):
        work()
        profiler.profile().start()
    assert [e.name for e in on.events()] == ["named", "exp"]


# ---- futures and processes ---------------------------------------------------------------------


def test_futures() -> None:
    future: Future = Future()
    after = future.then(lambda f: f.value() + 1)
    both = collect_all([future, after])
    assert not both.done()
    with pytest.raises(RuntimeError):
        future.value()
    future.set_result(2)
    assert after.wait() == 3 and wait_all(both.wait()) == [2, 3]
    with pytest.raises(RuntimeError):
        future.set_result(3)
    failed = Future().then(lambda f: 1 / 0)
    other: Future = Future()
    failed = other.then(lambda f: 1 / 0)
    other.set_result(1)
    with pytest.raises(ZeroDivisionError):
        failed.wait()


def works(k: int, folder: str) -> None:
    (Path(folder) / str(k)).write_text(str(graphc.full((2,), float(k)).sum().item()))


def fails(k: int) -> None:
    raise ValueError(f"number {k}")


def test_spawn(tmp_path: Path) -> None:
    mp.spawn(works, (str(tmp_path),), nprocs=2)
    assert sorted(f.read_text() for f in tmp_path.iterdir()) == ["0.0", "2.0"]
    with pytest.raises(mp.ProcessRaisedException, match="number 0"):
        mp.start_processes(fails, nprocs=1, start_method="fork")
    mp.set_sharing_strategy("file_system")
    assert mp.get_sharing_strategy() == "file_system"
    with pytest.raises(ValueError):
        mp.set_sharing_strategy("other")
    assert mp.get_context("spawn") and mp.cpu_count() >= 1


# ---- devices -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["xpu", "mps", "mtia"])
def test_devices_that_are_not_there(kind: str) -> None:
    module: Any = getattr(graphc, kind)
    assert module.is_available() is False and module.device_count() == 0
    module.manual_seed(1)
    module.empty_cache()
    with pytest.raises(RuntimeError, match="is_available"):
        module.synchronize()
    with pytest.raises(AttributeError):
        _ = module.no_such_name


def test_the_cpu_is_a_device() -> None:
    cpu = graphc.cpu
    assert cpu.is_available() and cpu.device_count() == 1 and cpu.current_device() == "cpu"
    cpu.synchronize()
    with cpu.stream(cpu.current_stream()):
        cpu.Event().record()
    assert cpu.get_capabilities()["architecture"]


# ---- what is not there -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["nested.nested_tensor", "export.export", "onnx.export", "quantization.quantize_dynamic",
     "package.PackageImporter"],
)  # fmt: skip
def test_parts_without_a_counterpart_say_so(name: str) -> None:
    module, _, function = name.partition(".")
    with pytest.raises(NotImplementedError, match=name):
        getattr(getattr(graphc, module), function)(1)
    assert graphc.onnx.is_in_onnx_export() is False  # type: ignore[attr-defined]


def test_overrides_of_ones_own_functions() -> None:
    class Own:
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
            return "own", args

    @overrides.wrap_torch_function(lambda x: (x,))
    def f(x: Any) -> Any:
        """Told."""
        return x

    assert f(Own())[0] == "own" and f(3) == 3
    assert overrides.is_tensor_like(Own()) and overrides.is_tensor_like(graphc.ones(1))
    assert not overrides.has_torch_function((graphc.ones(1), 2))
    assert overrides.is_tensor_method_or_property(graphc.Tensor.exp)
    assert overrides.resolve_name(graphc.add) == "graphc.add"


# ---- settings ----------------------------------------------------------------------------------


def test_settings_of_old() -> None:
    graphc.set_default_tensor_type("torch.DoubleTensor")
    try:
        assert graphc.zeros(1).dtype is graphc.float64
        graphc.set_default_tensor_type(graphc.FloatTensor)
        assert graphc.zeros(1).dtype is graphc.float32
    finally:
        graphc.set_default_dtype(graphc.float32)
    with pytest.raises(TypeError):
        graphc.set_default_tensor_type("torch.NoTensor")
    graphc.set_deterministic_debug_mode("warn")
    assert graphc.get_deterministic_debug_mode() == 1
    graphc.set_deterministic_debug_mode(0)
    assert not graphc.are_deterministic_algorithms_enabled()
    with pytest.raises(ValueError):
        graphc.set_deterministic_debug_mode("x")
    assert graphc.typename(graphc.ones(1)) == "torch.FloatTensor"
    assert graphc.typename(3) == "int" and graphc.typename(Path).startswith("pathlib")
    assert graphc.is_storage(graphc.ones(1).untyped_storage()) and not graphc.is_storage(3)
    graphc.set_anomaly_enabled(True)
    assert graphc.is_anomaly_enabled() and graphc.is_anomaly_check_nan_enabled()
    graphc.set_anomaly_enabled(False)


def test_settings_of_autocast() -> None:
    x = graphc.ones(2, 2)
    graphc.set_autocast_enabled("cpu", True)
    try:
        assert (x @ x).dtype is graphc.bfloat16 and graphc.is_autocast_cpu_enabled()
        graphc.set_autocast_dtype("cpu", graphc.float16)
        assert (x @ x).dtype is graphc.float16
    finally:
        graphc.set_autocast_cpu_dtype(graphc.bfloat16)
        graphc.set_autocast_cpu_enabled(False)
    assert (x @ x).dtype is graphc.float32
    with pytest.raises(ValueError):
        graphc.set_autocast_dtype("cpu", graphc.float64)


def test_a_function_runs_as_autocast_found_it() -> None:
    seen: list[Any] = []

    class Own(graphc.autograd.Function):
        @staticmethod
        @graphc.amp.custom_fwd(device_type="cpu", cast_inputs=graphc.float32)
        def forward(ctx: Any, x: Any) -> Any:
            seen.append((x.dtype, (x @ x).dtype))
            ctx.save_for_backward(x)
            return x @ x

        @staticmethod
        @graphc.amp.custom_bwd(device_type="cpu")
        def backward(ctx: Any, g: Any) -> Any:
            (x,) = ctx.saved_tensors
            seen.append((g @ x).dtype)
            return g @ x.T + x.T @ g

    x = graphc.ones(2, 2, requires_grad=True)
    with graphc.autocast("cpu", graphc.bfloat16):
        y = Own.apply(x.bfloat16())
        y.float().sum().backward()
    assert seen == [(graphc.float32, graphc.float32), graphc.float32]
