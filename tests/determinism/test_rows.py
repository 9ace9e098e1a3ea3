"""A row of a result has the same bits in any batch and at any place in it."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest

import graphc
from graphc import Tensor
from tests.determinism.random_nets import ROWS, built

BATCHES = (1, 2, 3, 7, 37, ROWS)
DTYPES = (graphc.float32, graphc.bfloat16)


@pytest.mark.parametrize("seed", range(16))
def test_rows_of_a_random_net(seed: int) -> None:
    """In any order of batches, the first of which is what the plan is made of."""
    net, x = built(seed)
    dtype = DTYPES[seed % 2]
    net.to(dtype)
    x = x.to(dtype) if x.is_floating_point() else x
    r = random.Random(seed)
    step = graphc.compile(net)
    rows = {}
    with graphc.no_grad():
        for n in r.sample(BATCHES, len(BATCHES)):
            at = r.randint(0, ROWS - n)
            rows[n, at] = step(x[at : at + n]).float().numpy()
    assert step.stats.programs == 1
    for (n, at), got in rows.items():
        np.testing.assert_array_equal(got, rows[ROWS, 0][at : at + n], f"{n} rows from {at}")


REDUCED = {
    "short rows": ((8, 9, 7), (2, 3)),
    "columns": ((9, 16), (1,)),
    "long rows": ((300,), (1,)),
    "all": ((5, 3, 70), (1, 2, 3)),
}


@pytest.mark.parametrize("name", REDUCED)
def test_sums_of_rows(name: str) -> None:
    """Those of the last rows, too, which do not fill a block of vectors."""
    shape, dims = REDUCED[name]
    x = graphc.randn(ROWS, *shape)
    step = graphc.compile(lambda x: x.sum(dims))
    whole = step(x).numpy()
    for n in range(1, ROWS, 5):
        np.testing.assert_array_equal(step(x[:n]).numpy(), whole[:n])


F = graphc.nn.functional
LITERAL: dict[str, tuple[tuple[int, ...], Callable[[Tensor, Tensor], Tensor]]] = {
    "places": ((3, 9, 9), lambda x, w: x.sum((2, 3))),
    "image": ((16, 28, 28), lambda x, w: x.sum((2, 3))),
    "all": ((5, 7, 3), lambda x, w: x.sum((1, 2, 3))),
    "norm": ((3, 20), lambda x, w: x.norm(dim=(1, 2))),
    "conv and mean": ((3, 9, 9), lambda x, w: F.conv2d(x, w, padding=1).mean((2, 3))),
    "conv and pool": ((3, 9, 9), lambda x, w: F.avg_pool2d(F.conv2d(x, w, padding=1), 2)),
    "groups": ((3, 9, 9), lambda x, w: F.group_norm(F.conv2d(x, w, padding=1), 4)),
    "instances": ((3, 14, 14), lambda x, w: F.instance_norm(F.conv2d(x, w, padding=1))),
    "rows of a product": ((27,), lambda x, w: F.linear(x, w.flatten(1)).softmax(1)),
    "tokens": ((5, 27), lambda x, w: F.linear(x, w.flatten(1))),
    "one token": ((1, 27), lambda x, w: F.linear(x, w.flatten(1))),
}


@pytest.mark.parametrize("name", LITERAL)
def test_rows_of_plans_of_one_batch_each(name: str) -> None:
    """Numbers in place of the batch: what divides a sum in two does not read how many rows.

    Nor does that of a single row, whose product would be a vector's and go another way.
    """
    shape, function = LITERAL[name]
    x, w = graphc.randn(ROWS, *shape), graphc.randn(8, 3, 3, 3)
    step = graphc.compile(function, dynamic=False)
    whole = step(x, w).numpy()
    for n in (1, 2, 7, 37):
        np.testing.assert_array_equal(step(x[:n], w).numpy(), whole[:n])
    assert step.stats.programs == 5


@pytest.mark.parametrize("dynamic", [None, False])
@pytest.mark.parametrize("name", ["conv and mean", "rows of a product", "groups"])
def test_a_single_row_that_requires_grad(name: str, dynamic: bool | None) -> None:
    """As what an attack differentiates by."""
    shape, function = LITERAL[name]
    x, w = graphc.randn(ROWS, *shape), graphc.randn(8, 3, 3, 3)

    def rows(n: int) -> Tensor:
        given = x[:n].clone().requires_grad_()
        return graphc.compile(function, dynamic=dynamic)(given, w).detach()

    np.testing.assert_array_equal(rows(1).numpy(), rows(ROWS)[:1].numpy())


def test_rows_beside_weights_that_are_arguments() -> None:
    """A class token's unit, and a batch that is first as large as a weight."""

    def net(x: Tensor, token: Tensor, w: Tensor) -> Tensor:
        x = graphc.cat([token.expand(x.shape[0], -1, -1), x], 1)
        return (x @ w).softmax(-1).sum(1)

    x, token, w = graphc.randn(ROWS, 3, 8), graphc.randn(1, 1, 8), graphc.randn(8, 8)
    whole = graphc.compile(net)(x, token, w).numpy()
    for first in (1, 8):
        step = graphc.compile(net)
        for n in (first, 5, 1, 8, 37):
            np.testing.assert_array_equal(step(x[:n], token, w).numpy(), whole[:n])
        assert step.stats.programs == 2
