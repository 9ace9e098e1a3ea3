"""Sums over a million terms of one sign are right to 1e-6 of float64, however they are computed.

Equal terms are the hardest: beside a large sum each loses the same low bits, so that a plain
float32 sum of a million is off by a percent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import graphc as T
from graphc.nn import functional as F

N = 1_000_000
Arrays = Callable[..., Any]


class Row(NamedTuple):
    """A function, what it means in float64, and the shapes of its arguments."""

    name: str
    function: Arrays
    meaning: Arrays
    shapes: tuple[tuple[int, ...], ...]


def plus(x: Any) -> Any:
    """What fuses: the summed values are computed in the loop that sums them."""
    return x * 2 + 1


def summed(name: str, shape: tuple[int, ...], axes: tuple[int, ...]) -> Row:
    return Row(name, lambda x: plus(x).sum(axes), lambda x: plus(x).sum(axes), (shape,))


def gradient(forward: Arrays) -> Arrays:
    """The weight's gradient, of (x, w, the result's cotangent)."""

    def run(x: Any, w: Any, g: Any) -> Any:
        w = w.detach().requires_grad_()
        (forward(x, w) * g).sum().backward()
        return w.grad

    return run


def conv_gradient(x: Any, w: Any, g: Any) -> Any:
    high, wide = g.shape[2:]
    taps = np.ndindex(*w.shape[2:])
    grads = [
        np.einsum("nohw,nchw->oc", g, x[:, :, i : i + high, j : j + wide], optimize=True)
        for i, j in taps
    ]
    return np.stack(grads, -1).reshape(w.shape)


def depthwise_gradient(x: Any, w: Any, g: Any) -> Any:
    high, wide = g.shape[2:]
    taps = np.ndindex(*w.shape[2:])
    grads = [(g * x[:, :, i : i + high, j : j + wide]).sum((0, 2, 3)) for i, j in taps]
    return np.stack(grads, -1).reshape(w.shape)


def numbers(x: Any) -> Any:
    """Places in two rows, most of them in the second."""
    return (T.arange(x.shape[0]) % 10 > 0).long()


def scattered(x: Any) -> Any:
    second = np.arange(len(x)) % 10 > 0
    return np.stack([x[~second].sum(0), x[second].sum(0)])


def pixels(x: Any, w: Any, b: Any) -> Any:
    return np.einsum("oc,nchw->nohw", w[:, :, 0, 0], x) + b[:, None, None]


ROWS = [
    summed("rows", (N, 3), (0,)),
    summed("columns", (3, N), (1,)),
    summed("all", (1009, 997), (0, 1)),
    summed("wide rows", (N // 4, 16), (0,)),
    summed("both ends", (1000, 3, 1000), (0, 2)),
    summed("middle", (3, N, 2), (1,)),
    summed("all but one of four", (100, 100, 3, 100), (0, 1, 3)),
    summed("short inner", (N // 4, 2, 4), (0, 2)),
    Row("part of rows", lambda x: x[:, :3].sum((0, 1)), lambda x: x[:, :3].sum(), ((N // 3, 5),)),
    Row("turned", lambda x: x.t().sum(1), lambda x: x.sum(0), ((N, 3),)),
    Row("norm", lambda x: T.linalg.norm(x, dim=0), lambda x: np.sqrt((x * x).sum(0)), ((N, 3),)),
    Row("logsumexp", lambda x: x.logsumexp(0), lambda x: np.log(np.exp(x).sum(0)), ((N, 3),)),
    Row("loss", F.mse_loss, lambda x, y: ((x - y) ** 2).mean(), ((N,), (N,))),
    Row("pool", lambda x: F.avg_pool2d(x, 1000), lambda x: x.mean((2, 3))[..., None, None],
        ((1, 2, 1000, 1000),)),
    Row("expand", gradient(lambda x, b: b.expand(x.shape)), lambda x, b, g: g.sum(0)[None],
        ((N, 4), (1, 4), (N, 4))),
    Row("dot", T.dot, lambda x, y: x @ y, ((N,), (N,))),
    Row("mv", T.mv, lambda x, y: x @ y, ((3, N), (N,))),
    Row("mm", T.mm, lambda x, y: x @ y, ((3, N), (N, 4))),
    Row("mm of columns", lambda x, y: x.t() @ y, lambda x, y: x.T @ y, ((N, 3), (N, 4))),
    Row("mm of rows", lambda x, y: x @ y.t(), lambda x, y: x @ y.T, ((3, N), (4, N))),
    Row("mm of many", lambda x, y: x.t() @ y, lambda x, y: x.T @ y, ((N // 4, 32), (N // 4, 40))),
    Row("bmm", T.bmm, lambda x, y: x @ y, ((2, 3, N), (2, N, 3))),
    Row("1x1", gradient(F.conv2d), conv_gradient,
        ((16, 4, 250, 250), (3, 4, 1, 1), (16, 3, 250, 250))),
    Row("3x3", gradient(F.conv2d), conv_gradient,
        ((4, 2, 502, 502), (2, 2, 3, 3), (4, 2, 500, 500))),
    Row("depthwise", gradient(lambda x, w: F.conv2d(x, w, groups=4)), depthwise_gradient,
        ((4, 4, 501, 501), (4, 1, 2, 2), (4, 4, 500, 500))),
    Row("linear", gradient(F.linear), lambda x, w, g: g.T @ x, ((N, 5), (4, 5), (N, 4))),
    Row("scatter", lambda x: T.zeros(2, 3).index_add(0, numbers(x), x), scattered, ((N, 3),)),
    Row("embedding", gradient(lambda x, w: F.embedding(numbers(x), w)),
        lambda x, w, g: scattered(g), ((N,), (2, 4), (N, 4))),
    Row("epilogue of all", lambda x, w, b: F.conv2d(x, w, b).pow(2).mean(),
        lambda x, w, b: (pixels(x, w, b) ** 2).mean(), ((4, 2, 500, 500), (2, 2, 1, 1), (2,))),
    Row("epilogue of positions", lambda x, w, b: F.conv2d(x, w, b).sum((0, 2, 3)),
        lambda x, w, b: pixels(x, w, b).sum((0, 2, 3)), ((4, 2, 500, 500), (2, 2, 1, 1), (2,))),
    Row("epilogue of rows", lambda x, w, b: F.linear(x, w, b).relu().sum(0),
        lambda x, w, b: (x @ w.T + b).sum(0), ((N, 3), (4, 3), (4,))),
    Row("epilogue of columns", lambda x, w, b: F.linear(x, w, b).relu().sum(1),
        lambda x, w, b: (x @ w.T + b).sum(1), ((3, 8), (N, 8), (N,))),
]  # fmt: skip


def equal(k: int, shape: tuple[int, ...]) -> Any:
    return np.full(shape, (1e-6, 1.7e-3, 0.7)[k], np.float32)


def uniform(k: int, shape: tuple[int, ...]) -> Any:
    return np.random.default_rng(k).random(shape, np.float32) * (k + 1)


@pytest.mark.parametrize("data", [equal, uniform])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_million_terms_of_one_sign(row: Row, data: Arrays) -> None:
    arrays = [data(k, shape) for k, shape in enumerate(row.shapes)]
    want = row.meaning(*(a.astype(np.float64) for a in arrays))
    assert (want > 0).all()
    for function in (row.function, T.compile(row.function)):
        got = function(*map(T.tensor, arrays)).numpy().astype(np.float64)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.mark.parametrize("dtype", [T.float16, T.bfloat16])
def test_scattered_halves_add_up_in_float32(dtype: T.dtype) -> None:
    x, index = T.ones(40960).to(dtype), T.zeros(40960, dtype=T.int64)

    def add(x: Any, index: Any) -> Any:
        return T.zeros(2, dtype=dtype).index_add(0, index, x)

    for function in (add, T.compile(add)):
        assert function(x, index).tolist() == [40960.0, 0.0]
