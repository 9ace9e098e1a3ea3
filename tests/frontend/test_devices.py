"""Devices by name, and the parts of torch.cuda, backends and amp that exist without a GPU."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import graphc
from graphc.frontend import switches

NAMES: list[tuple[Any, ...]] = [
    ("cpu",),
    ("cuda:0",),
    ("cuda", 1),
    ("cpu:0",),
    ("mps",),
    ("foo",),
    ("cuda:-1",),
    ("cuda:x",),
    ("cuda:",),
    ("cuda:0", 1),
    ("cpu", -1),
    (1.5,),
    ("cuda", "1"),
]


def outcome(make: Any, args: Any) -> Any:
    try:
        d = make(*args)
    except Exception as e:
        return next(c for c in type(e).__mro__ if c.__module__ == "builtins")
    return repr(d), str(d), d.type, d.index, d == make(*args), hash(d) == hash(make(*args))


@pytest.mark.parametrize("args", NAMES, ids=str)
def test_names_are_read_as_pytorch_reads_them(args: Any) -> None:
    torch = pytest.importorskip("torch")
    assert outcome(graphc.device, args) == outcome(torch.device, args)


def test_devices_are_values() -> None:
    d = graphc.device("cuda:1")
    assert d == graphc.device(type="cuda", index=1) == graphc.device(d) != "cuda:1"
    assert graphc.device("cpu") != graphc.device("cpu:0")
    assert pickle.loads(pickle.dumps(d)) == d
    with graphc.device("cpu") as inside:
        assert graphc.ones(1).device == inside == graphc.get_default_device()


ABSENT = {
    "cuda": lambda: graphc.ones(2).cuda(),
    "to": lambda: graphc.ones(2).to(graphc.device("cuda:0")),
    "to a number": lambda: graphc.ones(2).to(0),
    "factory": lambda: graphc.ones(2, device="cuda:3"),
    "module": lambda: graphc.nn.Linear(2, 2).to("cuda"),
    "with": lambda: graphc.device("mps").__enter__(),
    "default": lambda: graphc.set_default_device("cuda"),
    "name": lambda: graphc.cuda.get_device_name(),
    "name of a number": lambda: graphc.cuda.get_device_name(0),
    "synchronize": lambda: graphc.cuda.synchronize(),
    "set_device": lambda: graphc.cuda.set_device(1),
    "current": lambda: graphc.cuda.current_device(),
}


@pytest.mark.parametrize("name", ABSENT)
@pytest.mark.parametrize("builtin", [RuntimeError, AssertionError])
def test_a_device_that_is_not_there(name: str, builtin: type[Exception]) -> None:
    with pytest.raises(builtin, match="GC008") as caught:
        ABSENT[name]()
    said = str(caught.value)
    assert "no back end but the CPU's" in said or "no CUDA device: GRAPHC_CUDA=off" in said


def test_cuda_answers_questions() -> None:
    cuda = graphc.cuda
    assert not cuda.is_available() and cuda.device_count() == 0
    cuda.manual_seed(1)
    cuda.manual_seed_all(1)
    cuda.empty_cache()
    assert cuda.memory_allocated() == 0
    chosen = graphc.device("cuda" if cuda.is_available() else "cpu")
    assert graphc.nn.Linear(1, 1).to(chosen).weight.device == chosen
    assert not graphc.backends.mps.is_available() and not graphc.backends.cudnn.is_available()
    x = graphc.ones(2)
    assert x.pin_memory() is x and x.is_cpu and not x.is_cuda


def test_backends_may_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    import graphc.backends.cudnn as cudnn

    assert not cudnn.benchmark and not cudnn.deterministic
    monkeypatch.setattr(cudnn, "benchmark", True)
    monkeypatch.setattr(graphc.backends.cudnn, "deterministic", True)
    assert graphc.backends.cudnn.benchmark and cudnn.deterministic


def test_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(switches._set, "precision", "")
    assert not graphc.are_deterministic_algorithms_enabled()
    graphc.use_deterministic_algorithms(True, warn_only=True)
    assert graphc.are_deterministic_algorithms_enabled()
    assert graphc.is_deterministic_algorithms_warn_only_enabled()
    graphc.use_deterministic_algorithms(False)
    assert not graphc.is_deterministic_algorithms_warn_only_enabled()
    graphc.set_float32_matmul_precision("high")
    assert graphc.get_float32_matmul_precision() == "high"
    with pytest.warns(UserWarning, match="low"):
        graphc.set_float32_matmul_precision("low")
    graphc.set_float32_matmul_precision("highest")
    assert graphc.get_num_interop_threads() == 1
    with pytest.raises(TypeError):
        graphc.use_deterministic_algorithms(1)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(RuntimeError, match="positive"):
        graphc.set_num_interop_threads(0)


def test_mixed_precision_without_a_gpu_is_off() -> None:
    x = graphc.ones(2, 2, requires_grad=True)
    with pytest.warns(UserWarning, match="not available"):
        scaler = graphc.amp.GradScaler()
    with pytest.warns(UserWarning, match="not available"):
        context = graphc.autocast("cuda", dtype=graphc.float16)
    optimizer = graphc.optim.SGD([x], lr=1.0)
    with context:
        loss = (x @ x).sum()
    assert loss.dtype is graphc.float32 and not scaler.is_enabled()
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert x.tolist() == [[-3.0, -3.0], [-3.0, -3.0]]
    scaler.load_state_dict(scaler.state_dict())
    assert scaler.get_scale() == 1.0

    @graphc.autocast("cpu", enabled=False)
    def double(y: Any) -> Any:
        return 2 * y

    assert double(3) == 6 and double.__name__ == "double"
    with pytest.raises(RuntimeError, match="no device"):
        graphc.autocast("foo")


def test_the_older_names_of_mixed_precision() -> None:
    with graphc.cuda.amp.autocast(enabled=False):
        assert graphc.ones(1).dtype is graphc.float32
    with pytest.warns(UserWarning, match="not available"):
        graphc.cuda.amp.autocast()
    assert not graphc.cuda.amp.GradScaler(enabled=False).is_enabled()
