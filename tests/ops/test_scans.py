"""Scans in a compiled step: what they give at every length, and how many launches they take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.frontend.api.scans import BLOCK, SHORT

LENGTHS = (1, SHORT, SHORT + 1, 3 * BLOCK, 10 * BLOCK + 7, SHORT * BLOCK + 1)


def numbers(axis: int, n: int) -> np.ndarray:
    """Near 1, so that products stay in range; of either sign."""
    shape = [3, 2]
    shape.insert(axis, n)
    r = np.random.default_rng(n)
    return (r.choice([-1, 1], shape) * r.uniform(0.97, 1.03, shape)).astype(np.float32)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_every_length(name: str, axis: int) -> None:
    step = graphc.compile(lambda x: getattr(x, name)(axis))
    for n in LENGTHS:
        x = numbers(axis, n)
        want = getattr(np, name)(x.astype(np.float64), axis).astype(np.float32)
        np.testing.assert_allclose(step(graphc.from_numpy(x)).numpy(), want, rtol=1e-6)


def test_integers_wrap_and_bools_are_counted() -> None:
    step = graphc.compile(lambda x: (x.cumsum(0), x.cumprod(0)))
    x = np.arange(1, 301)
    for got, want in zip(step(graphc.from_numpy(x)), (np.cumsum(x), np.cumprod(x)), strict=True):
        assert np.array_equal(got.numpy(), want)
    odd = graphc.from_numpy(x % 2 == 1)
    assert np.array_equal(graphc.compile(lambda x: x.cumsum(0))(odd).numpy(), (x + 1) // 2)


def test_infinities_and_nans_go_on_from_where_they_are() -> None:
    x = np.ones(300, np.float32)
    x[70], x[150], x[220] = np.inf, -np.inf, np.nan
    step = graphc.compile(lambda x: (x.cumsum(0), x.cumprod(0)))
    total, product = (y.numpy() for y in step(graphc.from_numpy(x)))
    with np.errstate(invalid="ignore"):
        assert np.array_equal(total, np.cumsum(x), equal_nan=True)
        assert np.array_equal(product, np.cumprod(x), equal_nan=True)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_gradients_of_both_orders(name: str) -> None:
    def gradients(x: Any) -> Any:
        x = x.detach().requires_grad_()
        (g,) = graphc.autograd.grad((getattr(x, name)(0) ** 2).sum(), x, create_graph=True)
        return g, graphc.autograd.grad((g * g).sum(), x)[0]

    x = graphc.from_numpy(numbers(0, 3 * BLOCK + 5).astype(np.float64))
    for got, want in zip(graphc.compile(gradients)(x), gradients(x), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), want.detach().numpy(), rtol=1e-9)


@pytest.mark.parametrize(("n", "most"), [(SHORT, 1), (1000, 4), (20000, 6)])
def test_a_scan_takes_a_few_launches(n: int, most: int) -> None:
    """Not two for each doubling of a stride."""
    step: Any = graphc.compile(lambda x: x.cumsum(1))
    step(graphc.ones(2, n))
    assert len(step._last.plan.native.program.launches) <= most
