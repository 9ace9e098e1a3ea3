"""Where the dimensions of a value lie, told by the op that makes it."""

from __future__ import annotations

import pytest

import graphc
from graphc import Tensor
from graphc.passes.orders import orders_of
from tests.passes.texts import graph
from tests.targets import CPU

LAST = (0, 2, 3, 1)  # channels innermost
IMAGES = "%x: f32[2,16,6,5], %i: i64[7], %j: i64[3,4], %k: i64[2,16,6,5]"


@pytest.mark.parametrize(
    ("made", "order"),
    [
        ("f32[2,16,7,5] = gather %a %i {axis=2}", LAST),
        ("f32[2,7,6,5] = gather %a %i {axis=1}", LAST),
        ("f32[2,16,3,4,5] = gather %a %j {axis=2}", (0, 2, 3, 4, 1)),
        ("f32[2,3,4,6,5] = gather %a %j {axis=1}", (0, 3, 4, 1, 2)),
        ("f32[2,16,6,9] = scatter_add %a %l {axis=3 length=9}", LAST),
        ("f32[9,6,5] = scatter_add %a %m {axis=0 length=9}", (0, 1, 2)),
        ("f32[2,16,9] = scatter_add %a %n {axis=2 length=9}", (0, 2, 1)),
        ("f32[2,16,9,5] = put_along %a %k {axis=2 length=9}", LAST),
        ("f32[2,16,6,5] = take_along %a %k {axis=2}", LAST),
    ],
)
def test_what_indices_choose_lies_as_what_they_choose_from(
    made: str, order: tuple[int, ...]
) -> None:
    g = graph(f"""
graph({IMAGES}, %l: i64[5], %m: i64[2,16], %n: i64[6,5]) {{
  %a: f32[2,16,6,5] = contiguous %x {{order=(0,2,3,1)}}
  %r: {made}
  return %r
}}""")
    assert orders_of(g, CPU)(g.outs[0]) == order


def test_rows_of_an_embedding_stay_rows() -> None:
    g = graph("""
graph(state %t: f32[50,8], %i: i64[2,3], %g: f32[2,3,8]) {
  %0: f32[2,3,8] = gather %t %i {axis=0}
  %1: f32[50,8] = scatter_add %g %i {axis=0 length=50}
  return %0, state %t = %1
}""")
    assert [orders_of(g, CPU)(v) for v in g.outs] == [(0, 1, 2), (0, 1)]


def test_gradients_of_images_shown_larger_between_convolutions() -> None:
    """Rows and columns are gathered, and scattered behind, with channels side by side."""
    nn = graphc.nn
    up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
    net = nn.Sequential(nn.Conv2d(16, 16, 3), up, nn.Conv2d(16, 16, 3))

    def step(x: Tensor) -> tuple[Tensor, ...]:
        return graphc.autograd.grad(net(x).square().sum(), [*net.parameters()])

    x = graphc.randn(2, 16, 9, 7, generator=graphc.Generator().manual_seed(0))
    got = graphc.compile(step)(x)
    net.double()
    for a, b in zip(got, step(x.double()), strict=True):
        assert (a.double() - b).abs().max() <= 1e-5 * b.abs().max()
