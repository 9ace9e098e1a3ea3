"""A process that compiles for a GPU what an earlier one has compiled runs no pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import graphc
from graphc import nn
from graphc.frontend.step import native_backend
from graphc.frontend.step.cuda_backend import cuda_backend
from graphc.frontend.step.native_backend import NativeBackend
from graphc.passes import known
from tests.steps import MODELS


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake_gpu: None) -> Callable[[], None]:
    """Each call is the start of a process: the GPU's backend knows nothing but the disk, and the
    CPU's looks at the same disk."""
    monkeypatch.setenv("GRAPHC_VERIFY", "0")
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path / "cache"))
    cpu = NativeBackend()
    monkeypatch.setattr(native_backend, "native", lambda: cpu)
    cuda_backend.cache_clear()
    return cuda_backend.cache_clear


def trained(kind: str) -> tuple[Any, list[float], list[Any]]:
    graphc.manual_seed(3)
    net, x, y = MODELS[kind]()
    net, x, y = net.to("cuda"), x.to("cuda"), y.to("cuda")
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @graphc.compile
    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    losses = [step(x, y).item() for _ in range(2)]
    return step, losses, [p.detach().cpu().numpy().tobytes() for p in net.parameters()]


def no_passes(*args: Any, **named: Any) -> Any:
    raise AssertionError("a pass was run")


@pytest.mark.parametrize("kind", ["perceptron", "convolution"])
def test_a_warm_start_runs_no_pass(
    kind: str, fresh: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cold, losses, weights = trained(kind)
    assert cold.stats.programs_found == 0
    fresh()
    monkeypatch.setattr(known, "compile_graph", no_passes)
    warm, again, same = trained(kind)
    assert warm.stats.programs_found == 1
    assert (again, same) == (losses, weights)
    assert [k.triton for k in warm.kernels] == [k.triton for k in cold.kernels]
    assert warm.memory().peak_bytes == cold.memory().peak_bytes


def test_a_cpus_plan_is_no_gpus(fresh: Callable[[], None]) -> None:
    def found(device: str) -> int:
        step = graphc.compile(lambda x: (x @ x.T).softmax(-1).sum(0))
        step(graphc.ones(5, 7, device=device))
        return int(step.stats.programs_found)

    assert [found(d) for d in ("cpu", "cuda", "cuda")] == [0, 0, 1]
