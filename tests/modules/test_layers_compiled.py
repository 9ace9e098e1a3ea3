"""Every layer in a compiled training step gives what it gives eagerly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from tests.modules.image_rows import IMAGES
from tests.modules.rows import LAYERS, Row
from tests.modules.spatial_rows import SPATIAL


def train(row: Row, wrap: Any) -> list[Any]:
    """Outputs of two steps, the input's gradient, and the state they leave."""
    graphc.manual_seed(0)
    m = row.build(nn)
    params = list(m.parameters())
    opt = optim.SGD(params, lr=0.01) if params else None
    rng = np.random.default_rng(1)
    if row.bound:
        x = graphc.from_numpy(rng.integers(0, row.bound, row.shape))
    else:
        values = (rng.standard_normal(row.shape) * 3).astype(np.float32)
        x = graphc.tensor(values, requires_grad=True)
    shape = m.eval()(x).shape
    m.train()
    weight = graphc.tensor(rng.standard_normal(shape).astype(np.float32))

    def step(x: Any, weight: Any) -> Any:
        if opt is not None:
            opt.zero_grad()
        out = m(x)
        loss = (out * weight).sum()
        loss.backward()
        if opt is not None:
            opt.step()
        return out.detach() * 1.0

    run = wrap(step)
    results = []
    for _ in range(2):
        x.grad = None
        results.append(run(x, weight).numpy().copy())
    if not row.bound:
        results.append(x.grad.numpy().copy())
    return results + [v.numpy().copy() for v in m.state_dict().values()]


@pytest.mark.parametrize("row", [*LAYERS, *IMAGES, *SPATIAL], ids=str)
def test_compiled_equals_eager(row: Row) -> None:
    for mine, expected in zip(train(row, graphc.compile), train(row, lambda f: f)):
        np.testing.assert_allclose(mine, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def test_numbers_read_at_each_call_compile_nothing_and_options_do() -> None:
    m = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.5), nn.LeakyReLU(0.1))
    step = graphc.compile(lambda x: m(x))
    x = graphc.tensor(np.arange(12, dtype=np.float32).reshape(4, 3))
    step(x)
    m[0].momentum = 1.0
    m[1].p = 0.0
    out = step(x)
    assert step.stats.programs == 1
    np.testing.assert_allclose(m[0].running_mean.numpy(), x.numpy().mean(0))
    np.testing.assert_allclose(out.detach().numpy().min(), -0.13416, rtol=1e-3)
    m[2].negative_slope = 1.0
    np.testing.assert_allclose(step(x).detach().numpy().min(), -1.3416, rtol=1e-3)
    assert step.stats.programs == 2


def test_label_smoothing_is_read_at_each_call() -> None:
    loss = nn.CrossEntropyLoss(label_smoothing=0.1)
    step = graphc.compile(lambda x, y: loss(x, y))
    x, y = graphc.tensor([[1.0, 2.0, 4.0]]), graphc.tensor([1])
    for smoothing, programs in ((0.1, 1), (0.3, 1), (0.0, 2), (0.2, 2)):
        loss.label_smoothing = smoothing
        assert step(x, y).item() == pytest.approx(loss(x, y).item(), rel=1e-5)
        assert step.stats.programs == programs


TYPES = (graphc.float16, graphc.bfloat16, graphc.float64)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_number_that_is_read_at_each_call_takes_the_type_of_each_input(dtype: Any) -> None:
    drop, loss = nn.Dropout(0.3), nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(x: Any) -> list[Any]:
        return [drop(x.float()), drop(x), loss(x, x), drop(x.flip(0))]

    compiled = graphc.compile(step)
    x = graphc.tensor(np.random.default_rng(0).random((5, 4))).to(dtype)
    for p in (0.3, 0.7):
        drop.p = p
        graphc.manual_seed(3)
        got = compiled(x)
        graphc.manual_seed(3)
        for a, b in zip(got, step(x), strict=True):
            assert a.dtype is b.dtype
            graphc.testing.assert_close(a, b)


def test_a_number_that_is_read_at_each_call_is_not_set_inside_a_step() -> None:
    drop = nn.Dropout(0.5)

    def step(x: Any, p: float) -> Any:
        drop.p = p
        return drop(x)

    run = graphc.compile(step)
    with pytest.raises(graphc.errors.Untraceable, match="before the call"):
        run(graphc.ones(3), 0.0)
    assert drop.p == 0.5 and run(graphc.ones(3), 0.5).shape == (3,)
