"""Random numbers: reproducible from two integers, distributed as they should be."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import graphc


def test_a_seed_and_a_draw_number_are_the_whole_state() -> None:
    graphc.manual_seed(3)
    first, state = graphc.rand(4), graphc.get_rng_state()
    second = graphc.rand(4)
    assert state.tolist() == [3, *[0] * 7, 1, *[0] * 7] and first.tolist() != second.tolist()
    graphc.set_rng_state(state)
    assert graphc.rand(4).tolist() == second.tolist()
    graphc.manual_seed(3)
    assert graphc.rand(4).tolist() == first.tolist() and graphc.initial_seed() == 3
    assert graphc.manual_seed(-1).initial_seed() == 2**64 - 1


def test_generators_are_apart_and_rows_do_not_depend_on_the_batch() -> None:
    def draw(rows: int) -> list[list[float]]:
        g = graphc.Generator().manual_seed(5)
        return graphc.rand(rows, 8, generator=g).tolist()  # type: ignore[no-any-return]

    before = graphc.default_generator.draw
    assert draw(2) == draw(7)[:2]
    assert graphc.default_generator.draw == before


@pytest.mark.parametrize("dtype", [graphc.float32, graphc.float64, graphc.float16, graphc.bfloat16])
def test_uniform_and_normal(dtype: graphc.dtype) -> None:
    graphc.manual_seed(0)
    u = graphc.rand(20_000, dtype=dtype).double().numpy()
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.01
    assert abs(u.var() - 1 / 12) < 0.005
    z = graphc.randn(20_000, dtype=dtype).double().numpy()
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    assert abs((z**3).mean()) < 0.1 and abs((z**4).mean() - 3) < 0.25
    assert np.isfinite(z).all() and np.abs(z).max() > 3


def test_integers_permutations_and_masks() -> None:
    graphc.manual_seed(0)
    k = graphc.randint(-3, 4, (7000,)).numpy()
    assert sorted(set(k.tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    assert np.bincount(k + 3).min() > 850
    big = graphc.randint(0, 1 << 50, (100,)).numpy()
    assert big.max() > 1 << 48 and big.min() >= 0
    assert sorted(graphc.randperm(50).tolist()) == list(range(50))
    p = graphc.full((10_000,), 0.3).bernoulli()
    assert set(p.tolist()) == {0.0, 1.0}
    assert abs(p.mean().item() - 0.3) < 0.02
    x = graphc.empty(5000)
    assert abs(x.normal_(2, 3).mean().item() - 2) < 0.2 and abs(x.std().item() - 3) < 0.1
    assert x.uniform_(-1, 1).min().item() >= -1 and abs(x.mean().item()) < 0.05
    assert abs(x.exponential_(2.0).mean().item() - 0.5) < 0.05
    assert abs(x.bernoulli_(0.8).mean().item() - 0.8) < 0.03
    assert abs(graphc.normal(1.0, 2.0, (5000,)).mean().item() - 1) < 0.15


def test_in_place_draws_take_views_and_refuse_leaves() -> None:
    x = graphc.zeros(3, 3)
    x[1].uniform_(1, 2)
    assert (x[1] >= 1).all().item() and x[0].sum().item() == 0
    w = graphc.zeros(2, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf"):
        w.normal_()
    with graphc.no_grad():
        w.normal_()
    with pytest.raises(RuntimeError, match="std"):
        x.normal_(0, -1)


def frequencies(index: graphc.Tensor, n: int) -> list[float]:
    return (np.bincount(index.numpy().ravel(), minlength=n) / index.numel()).tolist()  # type: ignore[no-any-return]


def test_multinomial_draws_by_weight() -> None:
    graphc.manual_seed(1)
    weights = graphc.tensor([1.0, 0.0, 3.0, 4.0])
    often = graphc.multinomial(weights, 20_000, replacement=True)
    assert frequencies(often, 4) == pytest.approx([0.125, 0.0, 0.375, 0.5], abs=0.015)
    once = graphc.multinomial(weights.expand(20_000, 4), 1)
    assert frequencies(once, 4) == pytest.approx([0.125, 0.0, 0.375, 0.5], abs=0.015)
    pairs = graphc.multinomial(weights.expand(4000, 4), 2).numpy()
    assert (pairs[:, 0] != pairs[:, 1]).all() and 1 not in pairs
    both = [{*p} == {2, 3} for p in pairs.tolist()]  # 3/8 * 4/5 + 4/8 * 3/4
    assert np.mean(both) == pytest.approx(0.675, abs=0.03)


def test_multinomial_in_a_compiled_step_draws_what_eager_draws() -> None:
    def step(p: graphc.Tensor) -> list[graphc.Tensor]:
        return [graphc.multinomial(p, 3, replacement=r) for r in (False, True)]

    p = graphc.tensor([[0.1, 0.4, 0.2, 0.3], [1.0, 2.0, 3.0, 4.0]])
    compiled = graphc.compile(step)
    for seed in (3, 4):
        graphc.manual_seed(seed)
        want = [t.tolist() for t in step(p)]
        graphc.manual_seed(seed)
        assert [t.tolist() for t in compiled(p)] == want


def test_more_distributions() -> None:
    graphc.manual_seed(2)
    x = graphc.empty(20_000, dtype=graphc.float64)
    assert x.geometric_(0.25).min().item() == 1 and abs(x.mean().item() - 4) < 0.2
    assert abs(x.log_normal_(0.5, 0.5).log().mean().item() - 0.5) < 0.02
    assert abs(np.median(x.cauchy_(2.0, 1.0).numpy()) - 2.0) < 0.06
    mean = graphc.tensor([0.0, 100.0]).unsqueeze(1).expand(2, 5000)
    drawn = graphc.normal(mean, graphc.tensor(2.0))
    assert drawn.mean(1).tolist() == pytest.approx([0.0, 100.0], abs=0.15)
    assert graphc.normal(graphc.zeros(3, requires_grad=True)).requires_grad is False


@pytest.mark.parametrize("enabled", [True, False])
def test_a_fork_leaves_no_trace(enabled: bool) -> None:
    from graphc.random import fork_rng

    graphc.manual_seed(1)
    with fork_rng(devices=[], enabled=enabled):
        graphc.manual_seed(7)
        graphc.rand(3)
    again = graphc.rand(2).tolist()
    graphc.manual_seed(1)
    assert (again == graphc.rand(2).tolist()) == enabled


def test_each_process_draws_a_seed() -> None:
    code = "import graphc; print(graphc.initial_seed(), graphc.rand(1).item())"
    run = [sys.executable, "-c", code]
    lines = {subprocess.run(run, check=True, capture_output=True).stdout for _ in range(2)}
    assert len(lines) == 2


LARGE: dict[str, Callable[[], graphc.Tensor]] = {
    "rand": lambda: graphc.rand(3, 5001),
    "rand f64": lambda: graphc.rand(3, 5001, dtype=graphc.float64),
    "rand f16": lambda: graphc.rand(3, 5001, dtype=graphc.float16),
    "randn": lambda: graphc.randn(3, 5001),
    "randn f64": lambda: graphc.randn(15003, dtype=graphc.float64),
    "randn bf16": lambda: graphc.randn(15003, dtype=graphc.bfloat16),
    "uniform_": lambda: graphc.empty(3, 5001).uniform_(-2, 3),
    "normal_": lambda: graphc.empty(5001, 3).t().normal_(1, 2),
    "randint": lambda: graphc.randint(-5, 9, (3, 5001)),
    "randint far": lambda: graphc.randint(0, 1 << 40, (3, 5001)),
    "exponential_": lambda: graphc.empty(3, 5001).exponential_(2.0),
}


@pytest.mark.parametrize("name", LARGE)
def test_draws_made_by_pieces_are_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> tuple[np.ndarray, int]:
        generator = graphc.default_generator
        graphc.manual_seed(7)
        made = LARGE[name]()
        return made.double().numpy(), generator.draw

    whole, draws = drawn()
    monkeypatch.setattr("graphc.frontend.api.bits.PIECE", 64)
    parts, again = drawn()
    np.testing.assert_array_equal(parts, whole)
    assert again == draws


@pytest.mark.parametrize("name", ["rand", "randn", "Linear", "randint"])
def test_a_large_draw_takes_little_more_than_its_result(name: str) -> None:
    n = 1 << 20
    make: dict[str, Callable[[], object]] = {
        "rand": lambda: graphc.rand(n),
        "randn": lambda: graphc.randn(n),
        "Linear": lambda: graphc.nn.Linear(1 << 10, 1 << 10).weight,
        "randint": lambda: graphc.randint(0, 9, (n,), dtype=graphc.int32),
    }
    make[name]()
    tracemalloc.start()
    try:
        kept = make[name]()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept is not None and peak < 3 * 4 * n
