"""How convolutions' operands are laid out, for two targets, and what outputs become."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial

import pytest

import graphc
from graphc import Tensor
from graphc.ir.kernel import Load
from graphc.passes.layout import bufferize, layout
from graphc.passes.pipeline import compile_graph
from graphc.passes.profile import Profile
from tests.passes.texts import assert_becomes, graph
from tests.targets import CPU

GUARDED = dataclasses.replace(CPU, stored_halo=False, weight_order=("out", "window", "in"))

CONV = """
graph(%x: f32[2,16,8,8], state %w: f32[16,16,3,3]) {
  %0: f32[2,16,8,8] = conv %x %w {stride=(1,1) padding=((1,1),(1,1)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %0
}"""
STORED_HALO = """
graph(%x: f32[2,16,8,8], state %w: f32[16,16,3,3] order (2,3,1,0)) {
  %0: f32[2,16,10,10] = pad %x {low=(0,0,1,1) high=(0,0,1,1) value=0.0}
  %1: f32[2,16,10,10] = contiguous %0 {order=(0,2,3,1)}
  %2: f32[2,16,8,8] = conv %1 %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %2
}"""
MANY_ZEROS = """
graph(%x: f32[2,8,4,9], state %w: f32[4,8,3,3]) {
  %0: f32[2,4,4,9] = conv %x %w {stride=(1,1) padding=((1,1),(1,1)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %0
}"""
BOUNDED_ROWS = """
graph(%x: f32[2,8,4,9], state %w: f32[4,8,3,3] order (2,3,1,0)) {
  %0: f32[2,8,4,11] = pad %x {low=(0,0,0,1) high=(0,0,0,1) value=0.0}
  %1: f32[2,8,4,11] = contiguous %0 {order=(0,2,3,1)}
  %2: f32[2,4,4,9] = conv %1 %w {stride=(1,1) padding=((1,1),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %2
}"""
NO_HALO = """
graph(%x: f32[2,16,8,8], state %w: f32[16,16,3,3] order (0,2,3,1)) {
  %0: f32[2,16,8,8] = contiguous %x {order=(0,2,3,1)}
  %1: f32[2,16,8,8] = conv %0 %w {stride=(1,1) padding=((1,1),(1,1)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %1
}"""
COMPUTED_WEIGHT = """
graph(%x: f32[2,8,8,8], %w: f32[4,8,3,3]) {
  %0: f32[2,4,6,6] = conv %x %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %0
}"""
PACKED = """
graph(%x: f32[2,8,8,8], %w: f32[4,8,3,3]) {
  %0: f32[2,8,8,8] = contiguous %x {order=(0,2,3,1)}
  %1: f32[3,3,8,4] = transpose %w {perm=(2,3,1,0)}
  %2: f32[3,3,8,4] = contiguous %1
  %3: f32[4,8,3,3] = transpose %2 {perm=(3,2,0,1)}
  %4: f32[2,4,6,6] = conv %0 %3 {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %4
}"""
TWO_READERS = """
graph(%x: f32[2,16,8,8], state %w: f32[16,16,3,3], state %u: f32[16,16,1,1]) {
  %0: f32[2,16,8,8] = conv %x %w {stride=(1,1) padding=((1,1),(1,1)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %1: f32[2,16,8,8] = conv %x %u {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %0, %1
}"""
ONE_COPY = """
graph(%x: f32[2,16,8,8], state %w: f32[16,16,3,3] order (2,3,1,0), \
state %u: f32[16,16,1,1] order (2,3,1,0)) {
  %0: f32[2,16,10,10] = pad %x {low=(0,0,1,1) high=(0,0,1,1) value=0.0}
  %1: f32[2,16,10,10] = contiguous %0 {order=(0,2,3,1)}
  %2: f32[2,16,8,8] = slice %1 {start=(0,0,1,1) stop=(2,16,9,9) step=(1,1,1,1)}
  %3: f32[2,16,8,8] = conv %1 %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %4: f32[2,16,8,8] = conv %2 %u {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %3, %4
}"""

PERMUTED = """
graph(%x: f32[2,8,8,16], state %w: f32[16,16,3,3]) {
  %0: f32[2,8,8,16] = exp %x
  %1: f32[2,16,8,8] = transpose %0 {perm=(0,3,1,2)}
  %2: f32[2,16,8,8] = conv %1 %w {stride=(1,1) padding=((1,1),(1,1)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %2
}"""
PERMUTED_ROWS = """
graph(%x: f32[2,8,8,16], state %w: f32[16,16,3,3] order (2,3,1,0)) {
  %0: f32[2,8,8,16] = exp %x
  %1: f32[2,10,10,16] = pad %0 {low=(0,1,1,0) high=(0,1,1,0) value=0.0}
  %2: f32[2,10,10,16] = contiguous %1 {order=(0,1,2,3)}
  %3: f32[2,16,10,10] = transpose %2 {perm=(0,3,1,2)}
  %4: f32[2,16,8,8] = conv %3 %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %4
}"""
GAIN = """
graph(%x: f32[2,16,8,8], state %w: f32[16,16,1,1], state %g: f32[16,8,8], state %b: f32[8]) {
  %0: f32[2,16,8,8] = conv %x %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %1: f32[1,16,8,8] = reshape %g {shape=(1,16,8,8)}
  %2: f32[2,16,8,8] = expand %1 {shape=(2,16,8,8)}
  %3: f32[2,16,8,8] = mul %0 %2
  return %3
}"""
GAIN_BESIDE = """
graph(%x: f32[2,16,8,8], state %w: f32[16,16,1,1] order (2,3,1,0), \
state %g: f32[16,8,8] order (1,2,0), state %b: f32[8]) {
  %0: f32[1,16,8,8] = reshape %g {shape=(1,16,8,8)}
  %1: f32[2,16,8,8] = expand %0 {shape=(2,16,8,8)}
  %2: f32[2,16,8,8] = contiguous %x {order=(0,2,3,1)}
  %3: f32[2,16,8,8] = conv %2 %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %4: f32[2,16,8,8] = mul %3 %1
  return %4
}"""
FEW_OUTPUTS = """
graph(%x: f32[2,16,8,8], %g: f32[2,3,8,8], state %w: f32[3,16,1,1]) {
  %0: f32[16,2,8,8] = transpose %x {perm=(1,0,2,3)}
  %1: f32[3,2,8,8] = transpose %g {perm=(1,0,2,3)}
  %2: f32[16,3,1,1] = conv %0 %1 {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %3: f32[3,16,1,1] = transpose %2 {perm=(1,0,2,3)}
  %4: f32[2,3,8,8] = conv %x %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %3 %4
}"""
CHANNELS_ALONG = """
graph(%x: f32[2,16,8,8], %g: f32[2,3,8,8], state %w: f32[3,16,1,1] order (0,2,3,1)) {
  %0: f32[3,2,8,8] = transpose %g {perm=(1,0,2,3)}
  %1: f32[2,16,8,8] = contiguous %x {order=(0,2,3,1)}
  %2: f32[16,2,8,8] = transpose %1 {perm=(1,0,2,3)}
  %3: f32[2,8,8,3] = transpose %0 {perm=(1,2,3,0)}
  %4: f32[2,8,8,3] = contiguous %3
  %5: f32[3,2,8,8] = transpose %4 {perm=(3,0,1,2)}
  %6: f32[16,3,1,1] = conv %2 %5 {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  %7: f32[3,16,1,1] = transpose %6 {perm=(1,0,2,3)}
  %8: f32[2,3,8,8] = conv %1 %w {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %7 %8
}"""
NARROW_WEIGHT = """
graph(%x: bf16[2,16,8,8], state %w: f32[16,16,1,1]) {
  %0: bf16[16,16,1,1] = cast %w {dtype='bf16'}
  %1: bf16[2,16,8,8] = conv %x %0 {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %1
}"""
NARROWED_WHERE_IT_LIES = """
graph(%x: bf16[2,16,8,8], state %w: f32[16,16,1,1] order (2,3,1,0)) {
  %0: bf16[16,16,1,1] = cast %w {dtype='bf16'}
  %1: bf16[2,16,8,8] = contiguous %x {order=(0,2,3,1)}
  %2: bf16[2,16,8,8] = conv %1 %0 {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %2
}"""

WEIGHT_GRADIENT = """
graph(%x: f32[2,16,8,8], %g: f32[2,4,6,6]) {
  %0: f32[16,2,8,8] = transpose %x {perm=(1,0,2,3)}
  %1: f32[4,2,6,6] = transpose %g {perm=(1,0,2,3)}
  %2: f32[16,4,3,3] = conv %0 %1 {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %2
}"""
OF_IMAGES = """
graph(%x: f32[2,16,8,8], %g: f32[2,4,6,6]) {
  %0: f32[4,2,6,6] = transpose %g {perm=(1,0,2,3)}
  %1: f32[2,16,8,8] = contiguous %x {order=(0,2,3,1)}
  %2: f32[16,2,8,8] = transpose %1 {perm=(1,0,2,3)}
  %3: f32[2,6,6,4] = transpose %0 {perm=(1,2,3,0)}
  %4: f32[2,6,6,4] = contiguous %3
  %5: f32[4,2,6,6] = transpose %4 {perm=(3,0,1,2)}
  %6: f32[16,4,3,3] = conv %2 %5 {stride=(1,1) padding=((0,0),(0,0)) lhs_dilation=(1,1) \
rhs_dilation=(1,1)}
  return %6
}"""


@pytest.mark.parametrize(
    ("before", "after", "profile"),
    [
        (CONV, STORED_HALO, CPU),
        (MANY_ZEROS, BOUNDED_ROWS, CPU),
        (CONV, NO_HALO, GUARDED),
        (COMPUTED_WEIGHT, PACKED, CPU),
        (TWO_READERS, ONE_COPY, CPU),
        (STORED_HALO, STORED_HALO, CPU),
        (PERMUTED, PERMUTED_ROWS, CPU),
        (GAIN, GAIN_BESIDE, CPU),
        (NARROW_WEIGHT, NARROWED_WHERE_IT_LIES, CPU),
        (WEIGHT_GRADIENT, OF_IMAGES, CPU),
        (FEW_OUTPUTS, CHANNELS_ALONG, CPU),
    ],
    ids=[
        *("halo", "zeros", "guard", "weight", "readers", "again", "permuted", "gain", "narrow"),
        *("gradient", "few"),
    ],
)
def test_convolutions_read_channels_side_by_side(before: str, after: str, profile: Profile) -> None:
    assert_becomes(layout, before, after, profile)


@pytest.mark.parametrize("outputs", [1, 3, 4])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_step_of_a_convolution_of_few_outputs(outputs: int, transposed: bool) -> None:
    """Forward, both gradients and a momentum in the order of the weight, as eager float64 has it;
    and rows that are the same in any batch."""
    random = graphc.Generator().manual_seed(0)
    kind = graphc.nn.ConvTranspose2d if transposed else graphc.nn.Conv2d

    def made(dtype: graphc.dtype) -> tuple[graphc.nn.Module, graphc.optim.SGD]:
        layer = kind(32, outputs, 3, stride=2 if transposed else 1, padding=1)
        for p in layer.parameters():
            p.data = graphc.linspace(-1, 1, p.numel()).reshape(p.shape).sin()
        layer.to(dtype)
        return layer, graphc.optim.SGD(layer.parameters(), 1e-3, momentum=0.9)

    def step(layer: graphc.nn.Module, o: graphc.optim.SGD, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.requires_grad_()
        y = layer(x)
        (gx,) = graphc.autograd.grad(y.square().sum(), x, retain_graph=True)
        o.zero_grad()
        y.square().sum().backward()
        o.step()
        return y, gx

    single, double = made(graphc.float32), made(graphc.float64)
    compiled = graphc.compile(lambda x: step(*single, x))
    for _ in range(3):
        x = graphc.randn(5, 32, 9, 7, generator=random)
        for got, want in zip(compiled(x), step(*double, x.double())):
            assert (got.double() - want).abs().max() <= 1e-5 * want.abs().max()
    for p, q in zip(single[0].parameters(), double[0].parameters()):
        assert (p.double() - q).abs().max() <= 1e-5 * q.abs().max()
    forward = graphc.compile(single[0])
    with graphc.no_grad():
        whole = forward(x)
        for n in (1, 2, 4):
            assert (forward(x[:n]) == whole[:n]).all()


VIEW = """
graph(%x: f32[2,3]) {
  %0: f32[3,2] = transpose %x {perm=(1,0)}
  return %0
}"""
VIEW_STORED = """
graph(%x: f32[2,3]) {
  %0: f32[3,2] = transpose %x {perm=(1,0)}
  %1: f32[3,2] = contiguous %0 {order=(0,1)}
  return %1
}"""
TWICE = """
graph(%x: f32[2,3]) {
  %0: f32[2,3] = exp %x
  return %0, %0
}"""
TWO_BUFFERS = """
graph(%x: f32[2,3]) {
  %0: f32[2,3] = exp %x
  %1: f32[2,3] = contiguous %0 {order=(0,1)}
  return %0, %1
}"""


@pytest.mark.parametrize(
    ("before", "after"),
    [(VIEW, VIEW_STORED), (TWICE, TWO_BUFFERS), (TWO_BUFFERS, TWO_BUFFERS)],
    ids=["view", "twice", "stored"],
)
def test_each_output_has_a_buffer_of_its_own(before: str, after: str) -> None:
    assert_becomes(bufferize, before, after)


# ---- zeros that the user writes around an image -------------------------------------------------

CAUSAL = """
graph(%x: f32[2,16,40], %g: f32[2,16,40], state %w: f32[16,16,3]) {
  %0: f32[2,16,40] = contiguous %x {order=(0,2,1)}
  %1: f32[2,16,44] = pad %0 {low=(0,0,4) high=(0,0,0) value=0.0}
  %2: f32[2,16,40] = conv %1 %w {stride=(1,) padding=((0,0),) lhs_dilation=(1,) rhs_dilation=(2,)}
  %3: f32[16,2,44] = transpose %1 {perm=(1,0,2)}
  %4: f32[2,16,40] = contiguous %g {order=(0,2,1)}
  %5: f32[16,2,40] = transpose %4 {perm=(1,0,2)}
  %6: f32[16,16,3] = conv %3 %5 {stride=(2,) padding=((0,0),) lhs_dilation=(1,) rhs_dilation=(1,)}
  return %2, %6
}"""
CAUSAL_STORED = """
graph(%x: f32[2,16,40], %g: f32[2,16,40], state %w: f32[16,16,3] order (2,1,0)) {
  %0: f32[2,16,40] = contiguous %x {order=(0,2,1)}
  %7: f32[2,16,44] = pad %0 {low=(0,0,4) high=(0,0,0) value=0.0}
  %4: f32[2,16,40] = contiguous %g {order=(0,2,1)}
  %5: f32[16,2,40] = transpose %4 {perm=(1,0,2)}
  %8: f32[2,16,44] = contiguous %7 {order=(0,2,1)}
  %2: f32[2,16,40] = conv %8 %w {stride=(1,) padding=((0,0),) lhs_dilation=(1,) rhs_dilation=(2,)}
  %9: f32[16,2,44] = transpose %8 {perm=(1,0,2)}
  %6: f32[16,16,3] = conv %9 %5 {stride=(2,) padding=((0,0),) lhs_dilation=(1,) rhs_dilation=(1,)}
  return %2, %6
}"""


def test_zeros_written_around_an_image_are_stored_as_padding_is() -> None:
    assert_becomes(layout, CAUSAL, CAUSAL_STORED)


def test_a_gradient_of_what_was_padded_by_hand_reads_without_guards() -> None:
    """With them it was no contraction in tiles, where its sum over places is long."""
    wide = CAUSAL.replace("[2,16,4", "[99,16,10").replace("[16,2,4", "[16,99,10")
    program = compile_graph(graph(wide), CPU).program
    products = [k for k in program.kernels() if k.kind == "contract"]
    assert len(products) == 2
    loads = [s for k in products for s in k.statements() if isinstance(s, Load)]
    assert len(loads) == 4 and not any(s.guards for s in loads)


def padded_by_hand(attrs: str, channels: int, places: int, order: str) -> str:
    return f"""
graph(%x: f32[2,16,40], state %w: f32[16,{channels},3]{order}) {{
  %0: f32[2,16,40] = contiguous %x {{order=(0,2,1)}}
  %1: f32[2,{channels},{places}] = pad %0 {{{attrs}}}
  %2: f32[2,16,{places - 2}] = conv %1 %w {{stride=(1,) padding=((0,0),) lhs_dilation=(1,) \
rhs_dilation=(1,)}}
  return %2
}}"""


@pytest.mark.parametrize(
    ("attrs", "channels", "places"),
    [
        ("low=(0,0,4) high=(0,0,0) value=1.0", 16, 44),
        ("low=(0,0,0) high=(0,4,0) value=0.0", 20, 40),
    ],
    ids=["ones", "channels"],
)
def test_other_padding_is_no_convolutions_own(attrs: str, channels: int, places: int) -> None:
    """x itself is stored neither within ones nor with more channels, over which others step."""
    before, after = (
        padded_by_hand(attrs, channels, places, order) for order in ("", " order (2,1,0)")
    )
    assert_becomes(layout, before, after)


@pytest.mark.parametrize(
    ("pad", "conv", "shape"),
    [
        (graphc.nn.ZeroPad1d((4, 0)), partial(graphc.nn.Conv1d, 16, 16, 3, dilation=2), (40,)),
        (graphc.nn.ZeroPad2d((0, 1, 0, 1)), partial(graphc.nn.Conv2d, 16, 8, 3, 2), (8, 6)),
        (graphc.nn.ZeroPad2d((2, -1, 1, 0)), partial(graphc.nn.Conv2d, 16, 8, 3, 1, 1), (8, 6)),
    ],
    ids=["causal", "strided", "cut"],
)
def test_gradients_of_what_was_padded_by_hand(
    pad: graphc.nn.Module, conv: Callable[[], graphc.nn.Module], shape: tuple[int, ...]
) -> None:
    """Behind a layer whose kernel may write into the zeros, and another reader of it."""
    kind = graphc.nn.Conv2d if len(shape) == 2 else graphc.nn.Conv1d
    first, last = kind(16, 16, 1), conv()
    net = graphc.nn.ModuleList([first, last])

    def gradients(x: Tensor) -> tuple[Tensor, ...]:
        y = first(x).relu()
        return graphc.autograd.grad(
            last(pad(y)).sin().sum() + y.square().sum(), [*net.parameters()]
        )

    x = graphc.randn(3, 16, *shape, generator=graphc.Generator().manual_seed(0))
    got = graphc.compile(gradients)(x)
    net.double()
    for a, b in zip(got, gradients(x.double()), strict=True):
        assert (a.double() - b).abs().max() <= 1e-5 * b.abs().max()
