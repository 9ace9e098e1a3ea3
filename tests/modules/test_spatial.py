"""Layers that rows cannot show: random masks, several inputs, sizes asked for, warnings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.nn import functional as F

torch: Any = pytest.importorskip("torch")


def both(*shape: int) -> tuple[Any, Any]:
    x = np.random.default_rng(0).standard_normal(shape)
    return graphc.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)


def check_same(mine: Any, theirs: Any, *pairs: tuple[Any, Any]) -> None:
    """The same value, and the same gradients of its weighted sum."""
    weight = np.random.default_rng(1).standard_normal(tuple(theirs.shape))
    np.testing.assert_allclose(mine.detach().numpy(), theirs.detach().numpy(), 1e-9, 1e-12)
    (mine * graphc.tensor(weight)).sum().backward()
    (theirs * torch.tensor(weight)).sum().backward()
    for x, y in pairs:
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), 1e-9, 1e-12)


@pytest.mark.parametrize("size", [(7, 9), (8, 10), (2, 4, 8, 9)])
def test_a_transposed_convolution_gives_the_size_asked_for(size: tuple[int, ...]) -> None:
    theirs = torch.nn.ConvTranspose2d(3, 4, 3, 2, 1).double()
    mine = nn.ConvTranspose2d(3, 4, 3, 2, 1).double()
    mine.load_state_dict({k: graphc.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    x, y = both(2, 3, 4, 5)
    check_same(mine(x, output_size=size), theirs(y, output_size=size), (x, y))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stride", [2, 1])
def test_unpooling_inverts_pooling(rank: int, stride: int) -> None:
    x, y = both(2, 3, *(5, 4, 4)[:rank])

    def there_and_back(nn: Any, x: Any) -> Any:
        pool = getattr(nn, f"MaxPool{rank}d")(2, stride, return_indices=True)
        unpool = getattr(nn, f"MaxUnpool{rank}d")(2, stride)
        return unpool(*pool(x), output_size=x.shape)

    check_same(there_and_back(nn, x), there_and_back(torch.nn, y), (x, y))
    step = graphc.compile(lambda x: there_and_back(nn, x))
    np.testing.assert_array_equal(step(x.detach()).numpy(), there_and_back(nn, x.detach()).numpy())
    name = f"MaxUnpool{rank}d"
    assert repr(getattr(nn, name)(3, 2, 1)) == repr(getattr(torch.nn, name)(3, 2, 1))


@pytest.mark.parametrize("bias", [True, False])
def test_bilinear(bias: bool) -> None:
    theirs = torch.nn.Bilinear(4, 3, 5, bias=bias).double()
    mine = nn.Bilinear(4, 3, 5, bias=bias).double()
    mine.load_state_dict({k: graphc.tensor(v.numpy()) for k, v in theirs.state_dict().items()})
    assert repr(mine) == repr(theirs)
    (a, b), (c, d) = both(2, 6, 4), both(2, 6, 3)
    pairs = [*zip(mine.parameters(), theirs.parameters()), (a, b), (c, d)]
    check_same(mine(a, c), theirs(b, d), *pairs)
    step = graphc.compile(lambda a, c: mine(a, c))
    np.testing.assert_allclose(step(a, c).detach().numpy(), mine(a, c).detach().numpy(), 1e-9)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_alpha_dropout_keeps_mean_and_variance(p: float) -> None:
    graphc.manual_seed(0)
    x = graphc.randn(200_000)
    y = nn.AlphaDropout(p)(x)
    dropped = np.unique(y.numpy(), return_counts=True)[1].max()  # all of them hold one value
    assert dropped / 200_000 == pytest.approx(p, abs=0.01)
    assert y.mean().item() == pytest.approx(0.0, abs=0.02)
    assert y.var().item() == pytest.approx(1.0, abs=0.03)
    assert nn.AlphaDropout(p).eval()(x) is x


CHANNELS = [
    ("Dropout1d", (4, 5, 6), 2),
    ("Dropout1d", (20, 6), 1),
    ("Dropout2d", (4, 5, 2, 3), 2),
    ("Dropout3d", (4, 5, 2, 2, 2), 2),
    ("Dropout3d", (20, 2, 2, 2), 1),
    ("FeatureAlphaDropout", (4, 5, 6), 2),
]


@pytest.mark.parametrize(("name", "shape", "lead"), CHANNELS)
def test_whole_channels_are_dropped(name: str, shape: tuple[int, ...], lead: int) -> None:
    layer = getattr(nn, name)(0.5)
    assert repr(layer) == repr(getattr(torch.nn, name)(0.5))
    x = graphc.ones(*shape)
    graphc.manual_seed(1)
    y = layer(x).numpy().reshape(*shape[:lead], -1)
    assert (y == y[..., :1]).all() and 0 < (y[..., 0] > 0.9).sum() < y[..., 0].size
    graphc.manual_seed(1)
    compiled = graphc.compile(lambda x: layer(x))
    np.testing.assert_allclose(compiled(x).numpy().reshape(y.shape), y, 1e-6)
    graphc.manual_seed(1)
    function = {"FeatureAlphaDropout": "feature_alpha_dropout"}.get(name, name.lower())
    again = getattr(F, function)(x, 0.5, True).numpy().reshape(y.shape)
    np.testing.assert_array_equal(again, y)


def test_instance_norm_without_weights_takes_any_number_of_channels() -> None:
    x, y = both(2, 4, 5)
    with pytest.warns(UserWarning, match="num_features"):
        mine = nn.InstanceNorm1d(3)(x)
    with pytest.warns(UserWarning):
        theirs = torch.nn.InstanceNorm1d(3)(y)
    check_same(mine, theirs, (x, y))


def test_the_momentum_of_an_instance_norm_is_read_at_each_call() -> None:
    m = nn.InstanceNorm1d(2, track_running_stats=True)
    step = graphc.compile(lambda x: m(x))
    x = graphc.tensor(np.arange(12, dtype=np.float32).reshape(2, 2, 3))
    step(x)
    m.momentum = 1.0
    step(x)
    assert step.stats.programs == 1
    np.testing.assert_allclose(m.running_mean.numpy(), x.numpy().mean((0, 2)), 1e-6)
    np.testing.assert_allclose(m.running_var.numpy(), [1.0, 1.0], 1e-6)


def test_upsample_says_what_to_use() -> None:
    with pytest.warns(UserWarning, match="interpolate"):
        y = F.upsample(graphc.ones(1, 2, 3), scale_factor=2)
    assert tuple(y.shape) == (1, 2, 6)


def test_half_images_resize_in_float32_and_round_once() -> None:
    x = np.random.default_rng(0).standard_normal((1, 2, 5, 6)).astype(np.float16)
    mine = F.interpolate(graphc.tensor(x), (9, 4), mode="bicubic")
    theirs = torch.nn.functional.interpolate(torch.tensor(x), (9, 4), mode="bicubic")
    assert mine.dtype is graphc.float16
    np.testing.assert_allclose(mine.float().numpy(), theirs.float().numpy(), rtol=2e-3, atol=2e-3)
