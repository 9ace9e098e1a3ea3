"""First and second derivatives of every row against differences along random directions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc
from graphc.ir.ops import OPS
from graphc.passes.vjp_rules import NOT_DIFFERENTIABLE, VJP
from tests.op_table import TABLE, Array, OpRow
from tests.ops.rows import floats, samples, tensors, weights

STEP = 1e-5


def test_every_op_has_a_rule_or_stands_in_the_named_set() -> None:
    """A loop's is written where it is traced, body by body."""
    assert set(VJP) | NOT_DIFFERENTIABLE == set(OPS) - {"loop"}
    assert not set(VJP) & NOT_DIFFERENTIABLE


def along(f: Callable[[list[Array]], float], at: list[Array], way: dict[int, Array]) -> float:
    """The derivative of f at `at` along `way`, by a central difference of fourth order."""

    def moved(t: float) -> float:
        return f([a + t * way[k] if k in way else a for k, a in enumerate(at)])

    near, far = moved(STEP) - moved(-STEP), moved(2 * STEP) - moved(-2 * STEP)
    return (8 * near - far) / (12 * STEP)


def objective(row: OpRow, xs: list[graphc.Tensor]) -> graphc.Tensor:
    y = row.fn(graphc, *xs)
    return (y * graphc.tensor(weights(tuple(y.shape), 2))).sum()


def gradient(row: OpRow, arrays: list[Array]) -> dict[int, Array]:
    xs = tensors(arrays, True)
    grads = graphc.autograd.grad(objective(row, xs), [xs[k] for k in floats(arrays)])
    return {k: g.numpy() for k, g in zip(floats(arrays), grads)}


def directions(arrays: list[Array], seed: int) -> dict[int, Array]:
    return {k: weights(arrays[k].shape, seed + k) for k in floats(arrays)}


@pytest.mark.parametrize("row", [r for r in TABLE if r.grad], ids=str)
def test_gradient_is_the_slope_along_a_direction(row: OpRow) -> None:
    arrays = samples(row, np.float64)
    way = directions(arrays, 10)
    with graphc.no_grad():
        slope = along(lambda at: float(objective(row, tensors(at, False))), arrays, way)
    grads = gradient(row, arrays)
    assert sum((grads[k] * way[k]).sum() for k in way) == pytest.approx(slope, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("row", [r for r in TABLE if r.grad and r.second], ids=str)
def test_second_derivative_is_the_slope_of_the_gradient(row: OpRow) -> None:
    arrays = samples(row, np.float64)
    u, v = directions(arrays, 20), directions(arrays, 30)

    def projected(at: list[Array]) -> float:
        g = gradient(row, at)
        return float(sum((g[k] * u[k]).sum() for k in u))

    xs = tensors(arrays, True)
    wanted = [xs[k] for k in floats(arrays)]
    first = graphc.autograd.grad(objective(row, xs), wanted, create_graph=True)
    total = sum(((g * graphc.tensor(u[k])).sum() for k, g in zip(u, first)), graphc.tensor(0.0))
    slope = along(projected, arrays, v)
    if not total.requires_grad:
        assert slope == pytest.approx(0.0, abs=1e-6)
        return
    second = graphc.autograd.grad(total, wanted, allow_unused=True)
    got = sum((s.numpy() * v[k]).sum() for k, s in zip(v, second) if s is not None)
    assert got == pytest.approx(slope, rel=1e-5, abs=1e-6)
