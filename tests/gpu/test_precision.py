"""Products of float32 on a GPU: exact or of TF32, as PyTorch's switches say at each call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.backends import cuda, cudnn
from graphc.nn import functional as F

pytest.importorskip("triton")

TF32 = 2.0**-11  # the most that rounding to 10 bits of mantissa changes, relatively
Run = Callable[[], np.ndarray]


@pytest.fixture(autouse=True)
def fake(fake_gpu: None) -> Iterator[None]:
    yield
    graphc.set_float32_matmul_precision("highest")


def matmul() -> tuple[Callable[..., Any], list[np.ndarray]]:
    r = np.random.default_rng(0)
    return graphc.matmul, [r.uniform(1, 2, s).astype(np.float32) for s in ((16, 32), (32, 16))]


def conv() -> tuple[Callable[..., Any], list[np.ndarray]]:
    r = np.random.default_rng(0)
    shapes = (2, 8, 6, 6), (16, 8, 3, 3)
    return F.conv2d, [r.uniform(1, 2, s).astype(np.float32) for s in shapes]


def pointwise() -> tuple[Callable[..., Any], list[np.ndarray]]:
    r = np.random.default_rng(0)
    shapes = (1, 16, 4, 4), (16, 16, 1, 1)
    return F.conv2d, [r.uniform(1, 2, s).astype(np.float32) for s in shapes]


def runs(make: Any, compiled: bool) -> tuple[Run, np.ndarray]:
    """The function on a GPU, and what it gives in float64."""
    function, arrays = make()
    exact = function(*(graphc.from_numpy(a.astype(np.float64)) for a in arrays)).numpy()
    xs = [graphc.from_numpy(a).to("cuda") for a in arrays]
    f = graphc.compile(lambda *xs: function(*xs)) if compiled else function
    return (lambda: f(*xs).cpu().numpy()), exact


def error(got: np.ndarray, want: np.ndarray) -> float:
    return float(np.abs(got / want - 1).max())


def is_tf32(got: np.ndarray, want: np.ndarray) -> bool:
    """Whether a result is off by about TF32's rounding; else it is as exact as float32's."""
    off = error(got, want)
    assert off < 2e-6 or TF32 / 64 < off < 2 * TF32, off
    return off > 2e-6


def of_matmul(allowed: bool) -> None:
    graphc.set_float32_matmul_precision("high" if allowed else "highest")


def of_conv(allowed: bool) -> None:
    cudnn.allow_tf32 = allowed


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("make", "switch", "other"),
    [(matmul, of_matmul, of_conv), (conv, of_conv, of_matmul), (pointwise, of_conv, of_matmul)],
)
def test_a_switch_holds_from_the_next_call_on(
    make: Any, switch: Callable[[bool], None], other: Callable[[bool], None], compiled: bool
) -> None:
    run, exact = runs(make, compiled)
    other(True)  # speaks of something else
    results = []
    for allowed in (False, True, False, True):
        switch(allowed)
        results.append(run())
        assert is_tf32(results[-1], exact) == allowed
    assert np.array_equal(results[0], results[2]) and np.array_equal(results[1], results[3])


@pytest.mark.parametrize("first", [False, True])
def test_a_step_compiled_under_either_serves_both(first: bool) -> None:
    cuda.matmul.allow_tf32 = first
    graphc.manual_seed(0)
    model = nn.Linear(32, 16).to("cuda")
    x = graphc.rand(16, 32).to("cuda")

    @graphc.compile
    def step(x: Any) -> Any:
        model.zero_grad()
        y = model(x)
        y.sum().backward()
        return y.detach()

    want = x.cpu().double() @ model.weight.detach().cpu().double().T
    want = (want + model.bias.detach().cpu().double()).numpy()
    seen = []
    for allowed in (first, not first, first):
        cuda.matmul.allow_tf32 = allowed
        y = step(x).cpu().numpy()
        off = np.abs(y - want).max()
        assert (off > 1e-5) == allowed, off
        seen.append((y, model.weight.grad.cpu().numpy()))
    assert step.stats.programs == step.stats.compiles == 1
    for a, b in zip(seen[0], seen[2], strict=True):
        assert np.array_equal(a, b)
    assert ("TF32" in str(step.explain())) == first


def test_defaults_and_names_are_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert cudnn.allow_tf32 is True and cuda.matmul.allow_tf32 is False
    for precision, allowed in (("medium", True), ("highest", False), ("high", True)):
        graphc.set_float32_matmul_precision(precision)
        assert cuda.matmul.allow_tf32 is allowed
    cuda.matmul.allow_tf32 = False
    assert graphc.get_float32_matmul_precision() == "highest"
    with cudnn.flags(allow_tf32=False):
        assert not cudnn.allow_tf32 and not cudnn.enabled
    assert cudnn.allow_tf32 and cudnn.enabled


def test_half_types_and_doubles_know_no_switch() -> None:
    graphc.set_float32_matmul_precision("high")
    x = graphc.rand(16, 16, dtype=graphc.float64)
    got = (x.to("cuda") @ x.to("cuda")).cpu().numpy()
    np.testing.assert_allclose(got, x.numpy() @ x.numpy(), rtol=1e-13)
