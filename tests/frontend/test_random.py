"""Random numbers: reproducible from two integers, distributed as they should be."""

from __future__ import annotations

import numpy as np
import pytest

import graphc


def test_a_seed_and_a_draw_number_are_the_whole_state() -> None:
    graphc.manual_seed(3)
    first, state = graphc.rand(4), graphc.get_rng_state()
    second = graphc.rand(4)
    assert state.tolist() == [3, 1] and first.tolist() != second.tolist()
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
    with pytest.raises(ValueError, match="std"):
        x.normal_(0, -1)
