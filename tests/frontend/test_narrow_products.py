"""set_float32_matmul_precision("medium"): large products of operands rounded to bfloat16."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.codegen_cpu.target import Target
from graphc.frontend.step import native_backend
from graphc.ir.types import Array

Step = Callable[..., tuple[graphc.Tensor, ...]]
PAIRS = Target.host().pairs
BOUND = 2**-8  # rms of the error over rms of the result: each operand is off by 2^-9 at most
needs_pairs = pytest.mark.skipif(not PAIRS, reason="no AVX512-BF16 here")


@pytest.fixture(autouse=True)
def medium() -> None:
    """`conftest` puts back what was set before."""
    graphc.set_float32_matmul_precision("medium")


@pytest.fixture(autouse=True, scope="module")
def noted() -> None:
    """The note of a processor without the instruction, which comes once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        native_backend._note_exact()


def product(w: graphc.Tensor, **options: bool) -> Step:
    """y = x w^T, and the gradients of both."""

    @graphc.compile(**options)
    def step(x: graphc.Tensor, g: graphc.Tensor) -> tuple[graphc.Tensor, ...]:
        y = nn.functional.linear(x, w)
        return y, *graphc.autograd.grad(y, (x, w), g)

    return step


def arrays(results: tuple[graphc.Tensor, ...]) -> list[Array]:
    return [r.detach().numpy().copy() for r in results]


def error(got: Array, want: Array) -> float:
    size = np.sqrt(np.mean(np.square(want)))
    return float(np.sqrt(np.mean(np.square(got - want))) / size)


def parameter(*shape: int) -> graphc.Tensor:
    return graphc.randn(*shape, requires_grad=True)


@pytest.mark.parametrize("shape", [(64, 64, 64), (37, 129, 67), (5, 300, 100), (2, 1, 80)])
def test_each_product_is_near_that_in_float64(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    x, w, g = parameter(m, k), parameter(n, k), graphc.randn(m, n)
    a, b, c = (t.detach().numpy().astype(np.float64) for t in (x, w, g))
    results = product(w)(x, g)
    assert {r.dtype for r in results} == {graphc.float32}
    for r, want in zip(arrays(results), (a @ b.T, c @ b, c.T @ a), strict=True):
        assert error(r, want) < BOUND


@needs_pairs
def test_sums_and_results_are_float32() -> None:
    """Of operands that bfloat16 holds a product is as near as one of float32."""
    x, w, g = (graphc.randn(s).bfloat16().float() for s in ((70, 4000), (70, 4000), (70, 70)))
    a, b = x.numpy().astype(np.float64), w.numpy().astype(np.float64)
    got = arrays(product(w.requires_grad_())(x.requires_grad_(), g))
    assert error(got[0], a @ b.T) < 1e-6


@needs_pairs
def test_products_are_told_and_the_switch_makes_another_plan() -> None:
    x, w, g = parameter(33, 96), parameter(80, 96), graphc.randn(33, 80)
    step = product(w)
    seen = []
    for precision in ("high", "medium", "high", "medium"):
        graphc.set_float32_matmul_precision(precision)
        seen.append([arrays(step(x, g)) for _ in range(3)][-1])
        told = str(step.explain())  # type: ignore[attr-defined]
    want = x.detach().numpy().astype(np.float64) @ w.detach().numpy().astype(np.float64).T
    assert error(seen[0][0], want) < 1e-6 < error(seen[1][0], want) < BOUND
    for k in (0, 1):
        for a, b in zip(seen[k], seen[k + 2], strict=True):
            np.testing.assert_array_equal(a, b)
    (row,) = step.explain().products  # type: ignore[attr-defined]
    assert row.startswith("of bfloat16 in pairs") and row.count("dot") == 3
    assert "float32 products of bfloat16 where that pays" in told


def test_high_is_exact() -> None:
    x, w, g = parameter(33, 96), parameter(80, 96), graphc.randn(33, 80)
    graphc.set_float32_matmul_precision("high")
    high = arrays(product(w)(x, g))
    graphc.set_float32_matmul_precision("highest")
    for a, b in zip(high, arrays(product(w)(x, g)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_stays_exact() -> None:
    """Without gradients, of few columns, of other types, in loops, and attention."""
    x, w, few = graphc.randn(40, 96), parameter(80, 96), parameter(10, 96)
    wide = w.detach().double().requires_grad_()
    q = parameter(1, 2, 80, 64)
    cell = nn.RNN(96, 96)

    @graphc.no_grad()
    def served(x: graphc.Tensor) -> graphc.Tensor:
        return nn.functional.linear(x, w)

    calls: list[Callable[[graphc.Tensor], graphc.Tensor]] = [
        served,
        lambda x: nn.functional.linear(x, few),
        lambda x: nn.functional.linear(x.double(), wide),
        lambda x: nn.functional.scaled_dot_product_attention(q, q, q).sum() + x,
    ]
    for call in calls:
        exact = graphc.compile(call)
        exact(x)
        assert not exact.explain().products, call
    loop = graphc.compile(lambda x: cell(x)[0])
    loop(x)
    _, body, rest = loop.ir("decompose").split("graph(")
    assert "dot" in body and "bf16" not in body and ("bf16" in rest) == PAIRS


def test_nan_and_infinity() -> None:
    x, w, g = graphc.randn(20, 70), parameter(80, 70), graphc.randn(20, 80)
    x[3, 4], x[5, 6], x[7, 0] = float("nan"), float("inf"), -float("inf")
    g[11, 2] = float("nan")
    step = product(w)
    got = arrays(step(x.requires_grad_(), g))
    graphc.set_float32_matmul_precision("high")
    for a, b in zip(got, arrays(step(x, g)), strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(np.isposinf(a), np.isposinf(b))
        np.testing.assert_array_equal(np.isneginf(a), np.isneginf(b))


def test_rows_have_the_same_bits_in_any_batch() -> None:
    """One plan serves any, an empty one too."""
    w, x, g = parameter(80, 96), graphc.randn(150, 96), graphc.randn(150, 80)
    step, rows = product(w), None
    for n in (150, 2, 7, 64, 0):
        part = x[:n].clone().requires_grad_()
        for call in (step, product(w, dynamic=False)):
            got = arrays(call(part, g[:n].clone()))
            rows = rows or got
            np.testing.assert_array_equal(got[0], rows[0][:n])
            np.testing.assert_array_equal(got[1], rows[1][:n])
            assert n or not got[2].any()
    forward = graphc.compile(lambda x: nn.functional.linear(x, w))
    whole = forward(x).detach().numpy()
    for n in (1, 5, 0):
        np.testing.assert_array_equal(forward(x[:n].clone()).detach().numpy(), whole[:n])


def trained(net: nn.Module) -> Step:
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.1)

    @graphc.compile
    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = (net(x) - y).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    return step


def net() -> nn.Module:
    graphc.manual_seed(5)
    return nn.Sequential(nn.Linear(96, 160), nn.ReLU(), nn.Linear(160, 80))


def test_bits_do_not_depend_on_threads() -> None:
    before, results = graphc.get_num_threads(), []
    x, y = graphc.randn(100, 96), graphc.randn(100, 80)
    try:
        for threads in (1, 2, 3):
            graphc.set_num_threads(threads)
            model = net()
            step = trained(model)
            for _ in range(3):
                step(x, y)
            results.append([p.detach().numpy().copy() for p in model.parameters()])
    finally:
        graphc.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_step_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    step = trained(net())
    step(graphc.randn(40, 96), graphc.randn(40, 80))
    assert bool(step.explain().products) == PAIRS  # type: ignore[attr-defined]


def test_eager_gradients_follow_it() -> None:
    x, w, g = parameter(80, 200), parameter(90, 200), graphc.randn(80, 90)
    y = nn.functional.linear(x, w)
    y.backward(g)
    a, b, c = (t.detach().numpy().astype(np.float64) for t in (x, w, g))
    for r, want in ((y, a @ b.T), (x.grad, c @ b), (w.grad, c.T @ a)):
        assert error(r.detach().numpy(), want) < BOUND


def test_a_processor_without_it_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = native_backend.native()
    monkeypatch.setattr(backend, "_profile", dataclasses.replace(backend.profile, narrow=0))
    native_backend._note_exact.cache_clear()
    x, w, g = parameter(3, 70), parameter(80, 70), graphc.randn(3, 80)
    with pytest.warns(UserWarning, match="stay exact"):
        product(w)(x, g)
    product(w)(x, g)  # where a warning would be an error
