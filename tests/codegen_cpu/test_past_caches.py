"""What is written and not read again soon goes past the caches: whole lines of large buffers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import graphc
from graphc.codegen_cpu.map.lanes import plan
from graphc.codegen_cpu.target import LINE_BYTES, Target
from graphc.ir.kernel_interpret import run_kernel
from graphc.ir.kernel_text import parse
from graphc.ir.types import Array
from tests.codegen_cpu.compiled_kernel import Native, module_text

F = graphc.nn.functional
WHOLE_LINES = Target.host().vector_bytes == LINE_BYTES
LARGE = 1 << 18  # elements that are more than a cache keeps


def tensor(*shape: int, offset: int = 0) -> graphc.Tensor:
    count = int(np.prod(shape))
    data = np.random.default_rng(count).standard_normal(count + offset).astype(np.float32)
    return graphc.from_numpy(data[offset:].reshape(shape))


def gradients(layer: Callable[..., graphc.Tensor], *xs: graphc.Tensor) -> list[graphc.Tensor]:
    """Of the layer between elementwise maps, whose values lie in memory of the program's own."""
    xs = tuple(x.detach().requires_grad_() for x in xs)
    y = (F.relu(layer(*xs)) ** 2).sum((-1, -2))
    return [y.detach(), *graphc.autograd.grad(y.sum(), xs)]


def conv(x: graphc.Tensor, w: graphc.Tensor) -> graphc.Tensor:
    return F.conv2d(x * 2.0, w, padding=1, groups=x.shape[1] // w.shape[1])


def strided(x: graphc.Tensor, w: graphc.Tensor) -> graphc.Tensor:
    return F.conv2d(x * 2.0, w, stride=2, padding=1, groups=x.shape[1])


def normed(x: graphc.Tensor) -> graphc.Tensor:
    return F.batch_norm(x, None, None, training=True)


STEPS: dict[str, tuple[Callable[..., graphc.Tensor], list[tuple[int, ...]]]] = {
    "a depthwise convolution": (conv, [(2, 96, 40, 40), (96, 1, 3, 3)]),
    "a strided one": (strided, [(3, 96, 40, 40), (96, 1, 3, 3)]),
    "channels that are not whole lines": (conv, [(4, 24, 60, 60), (24, 1, 3, 3)]),
    "a dense convolution": (conv, [(3, 32, 56, 56), (48, 32, 3, 3)]),
    "pixels in the lanes": (conv, [(2, 2, 300, 304), (2, 1, 3, 3)]),
    "products": (lambda x, w: x @ w, [(1, 600, 40), (1, 40, 528)]),
    "a norm of channels": (normed, [(4, 32, 50, 50)]),
    "a softmax": (lambda x: F.softmax(x, -1), [(1, 1100, 272)]),
    "rows that are not whole lines": (lambda x: F.softmax(x, -1), [(1, 1100, 271)]),
}


@pytest.mark.parametrize("name", STEPS)
def test_large_results_are_those_of_small_ones(name: str) -> None:
    layer, shapes = STEPS[name]
    xs = [tensor(*shape) for shape in shapes]
    for got, want in zip(graphc.compile(gradients)(layer, *xs), gradients(layer, *xs), strict=True):
        scale = float(want.abs().max())
        np.testing.assert_allclose(got.numpy(), want.numpy(), 1e-4, 1e-5 * scale)


@pytest.mark.parametrize("offset", [0, 1, 16])
@pytest.mark.parametrize("count", [LARGE - 1, LARGE + 1, LARGE + 16, 2 * LARGE + 7])
def test_arguments_and_results_lie_anywhere(count: int, offset: int) -> None:
    x = tensor(count, offset=offset)
    out = tensor(count + 1, offset=offset)[1:]
    graphc.compile(lambda x, out: out.copy_(F.relu(x * 2.0 + 1.0)))(x, out)
    np.testing.assert_array_equal(out.numpy(), F.relu(x * 2.0 + 1.0).numpy())


@pytest.mark.skipif(not WHOLE_LINES, reason="vectors are no whole lines")
def test_large_buffers_go_past_the_caches() -> None:
    step = graphc.compile(lambda x: F.relu(x + 1.0).cumsum(0)[-1])
    step(tensor(LARGE * 2))
    image, weight = tensor(2, 32, 80, 80), tensor(32, 1, 3, 3)
    conv_step = graphc.compile(lambda x, w: conv(x, w).amax((2, 3)))
    conv_step(image, weight)
    texts = [k.llvm for f in (step, conv_step) for k in f.kernels]
    assert any("!nontemporal" in text and "sfence" in text for text in texts)


SCALED = """kernel scaled map (x: r f32, a: r f32, b: r f32, o: w f32 | s0, n, m | ) {
  for i in n, c in m {
    once {
      %0: f32 = load x[i*s0 + c]
      %1: f32 = load a[c]
      %2: f32 = load b[c]
      %3: f32 = sub %0 %1
      %4: f32 = mul %3 %2
      %5: f32 = add %4 %3
      %6: f32 = mul %5 %4
      %7: f32 = add %6 %1
      %8: f32 = mul %7 %2
      %9: f32 = add %8 %3
      %10: f32 = sub %9 %6
      store o[i*s0 + c] = %10
    }
  }
}"""


@pytest.mark.parametrize(("rows", "channels"), [(2900, 96), (11000, 24), (2700, 100), (40, 48)])
def test_so_do_vectors_of_all_lanes_under_a_mask(rows: int, channels: int) -> None:
    """One body serves whole vectors and the last one of a row, whatever the channels are."""
    kernel = parse(SCALED)
    assert plan(kernel, Target.host()).copies == 1
    native, random = Native([kernel]), np.random.default_rng(0)
    lengths = {"x": rows * channels, "a": channels, "b": channels, "o": rows * channels + 16}
    data = {k: (random.integers(-8, 9, n) / 8).astype(np.float32) for k, n in lengths.items()}
    sizes, want = {"s0": channels, "n": rows, "m": channels}, {k: v.copy() for k, v in data.items()}
    run_kernel(kernel, want, sizes, {})
    for threads in (1, 3):
        got = {k: aligned(v) for k, v in data.items()}
        native.run(got, sizes, {}, threads)
        np.testing.assert_array_equal(got["o"], want["o"])


def aligned(x: Array) -> Array:
    """A copy that begins with a cache line."""
    room = np.zeros(len(x) + LINE_BYTES, x.dtype)
    first = -room.ctypes.data % LINE_BYTES // x.itemsize
    room[first : first + len(x)] = x
    return room[first : first + len(x)]


@pytest.mark.skipif(not WHOLE_LINES, reason="vectors are no whole lines")
def test_a_vector_under_a_mask_asks_whether_it_is_whole() -> None:
    text = module_text([parse(SCALED)], Target.host())
    assert "!nontemporal" in text and "@llvm.masked.store" in text


def test_what_is_updated_in_place_stays_near() -> None:
    step = graphc.compile(lambda x: x.mul_(2.0))
    step(tensor(LARGE * 2))
    assert not any("!nontemporal" in k.llvm for k in step.kernels)
