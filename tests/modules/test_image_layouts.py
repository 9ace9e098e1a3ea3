"""Nets whose images lie otherwise than row by row in a compiled step: as eager mode has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn


class Applied(nn.Module):
    """A function of the children and the input."""

    def __init__(self, run: Callable[[Any, Any], Any], **children: Any) -> None:
        super().__init__()
        self.run = run
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x: Any) -> Any:
        return self.run(self, x)


def last(norm: nn.Module) -> nn.Module:
    """A norm over channels, with the permutations around it that ConvNeXt has."""
    return Applied(lambda m, x: m.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), norm=norm)


def depthwise_of_a_permuted_norm() -> list[nn.Module]:
    layers = [nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 16, 7, 1, 3, groups=16)]
    return [*layers, last(nn.LayerNorm(16)), nn.GELU(), nn.Conv2d(16, 4, 2, 2)]


def norm_of_images() -> list[nn.Module]:
    first = [nn.Conv2d(3, 20, 3, 1, 1), nn.LayerNorm([20, 8, 8]), nn.ReLU()]
    return [
        *first,
        nn.Conv2d(20, 20, 3, 2, 1),
        nn.LayerNorm([4, 4]),
        nn.Tanh(),
        nn.Conv2d(20, 4, 1),
    ]


def state_read_in_two_orders() -> list[nn.Module]:
    def run(m: Any, x: Any) -> Any:
        product = x.flatten(1) @ m.p.reshape(-1, 1)
        return m.conv(x + m.p) * m.q + product.reshape(-1, 1, 1, 1) + m.p.sum(0)

    p = nn.Parameter(graphc.zeros(20, 8, 8))
    q = nn.Parameter(graphc.ones(1, 20, 8, 1))
    return [nn.Conv2d(3, 20, 1), Applied(run, conv=nn.Conv2d(20, 20, 3, 1, 1), p=p, q=q)]


def group_norms() -> list[nn.Module]:
    layers = [nn.Conv2d(3, 18, 3, 1, 1), nn.GroupNorm(3, 18), nn.ReLU(), nn.Conv2d(18, 6, 3)]
    return [*layers, nn.GroupNorm(6, 6), nn.Flatten(), nn.GroupNorm(8, 216)]


def instance_norms() -> list[nn.Module]:
    tracked = nn.InstanceNorm2d(6, affine=True, track_running_stats=True)
    return [nn.Conv2d(3, 6, 3), tracked, nn.ELU(), nn.Conv2d(6, 6, 3), nn.InstanceNorm2d(6)]


def shuffled_places() -> list[nn.Module]:
    layers = [nn.Conv2d(3, 12, 3, 2, 1), nn.PixelShuffle(2), nn.Conv2d(3, 4, 3)]
    return [*layers, nn.PixelUnshuffle(2)]


KINDS = (
    depthwise_of_a_permuted_norm,
    norm_of_images,
    state_read_in_two_orders,
    group_norms,
    instance_norms,
    shuffled_places,
)


def trained(layers: Any, batch: int, wrap: Any, special: float = 0.0) -> list[Any]:
    """What two steps give, and the parameters after them."""
    graphc.manual_seed(2)
    net = nn.Sequential(*layers()).double()
    optimizer = graphc.optim.SGD(net.parameters(), lr=1e-2, momentum=0.9)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        y = net(x)
        loss = (y * y).mean() + y.sin().sum()
        loss.backward()
        optimizer.step()
        return y

    step = wrap(step)
    x = np.random.default_rng(1).standard_normal((batch, 3, 8, 8))
    x.flat[: x.size // 200] += special
    return [step(graphc.from_numpy(x)).detach().numpy() for _ in range(2)] + [
        p.detach().numpy() for p in net.parameters()
    ]


@pytest.mark.filterwarnings("ignore")  # NumPy's, of what is not finite
@pytest.mark.parametrize(
    ("batch", "special"), [(3, 0.0), (1, 0.0), (0, 0.0), (2, np.nan), (2, np.inf)]
)
@pytest.mark.parametrize("layers", KINDS, ids=lambda f: f.__name__)
def test_as_eager_mode(layers: Any, batch: int, special: float) -> None:
    found = trained(layers, batch, graphc.compile, special)
    expected = trained(layers, batch, lambda step: step, special)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("layers", [group_norms, instance_norms], ids=lambda f: f.__name__)
def test_norms_of_groups_copy_no_image(layers: Any) -> None:
    step = graphc.compile(nn.Sequential(*layers()[:4]))
    step(graphc.ones(2, 3, 8, 8))
    copies = re.findall(r"f32\[B,\d+,\d+,\d+\] = contiguous", step.ir("foresee"))
    assert len(copies) == 3  # what either convolution reads, and the result


@pytest.mark.parametrize("between", ["norm", "slope"])
def test_a_convolution_with_two_channels_from_each(between: str) -> None:
    """Its input's gradient has a channel from two, and is summed where it is made."""
    graphc.manual_seed(0)
    middle = nn.BatchNorm2d(5) if between == "norm" else nn.PReLU(5)
    net = nn.Sequential(nn.Conv2d(1, 5, 3), middle, nn.Conv2d(5, 10, 3, groups=5))
    x = graphc.randn(2, 1, 9, 10)

    def step(x: Any) -> None:
        net.zero_grad()
        net(x).square().mean().backward()

    found = []
    for f in (step, graphc.compile(step)):
        f(x)
        found.append([p.grad.numpy().copy() for p in net.parameters()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
