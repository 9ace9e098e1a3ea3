"""set_float32_matmul_precision: what a step may do with convolutions, and when it is asked."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.frontend import switches
from graphc.ir.types import Array

BOUND = 1e-5  # rms of the error over rms of the result, as documented


@pytest.fixture(autouse=True)
def as_at_the_start(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(switches._set, "precision", "")
    yield


def counts(step: object) -> int:
    """Kernels that ask for Winograd's algorithm."""
    return sum("\n  winograd 4\n" in k.text for k in step.kernels)  # type: ignore[attr-defined]


class Net(nn.Module):
    """A convolution whose input needs a gradient."""

    def __init__(self, ins: int, outs: int, padding: int, **options: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(ins, outs, 3, padding=padding, **options)

    def forward(self, x: graphc.Tensor) -> graphc.Tensor:
        return self.conv(x).relu()


def trained(net: Net) -> object:
    """A step that gives the loss, and changes the weights."""
    optimizer = graphc.optim.SGD(net.parameters(), lr=0.5)

    @graphc.compile
    def step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = (net(x) * y).sum()
        loss.backward()
        optimizer.step()
        return loss

    return step


def test_asked_at_the_start_it_is_highest_and_not_asked_for() -> None:
    assert graphc.get_float32_matmul_precision() == "highest"
    assert not switches.as_written()
    graphc.set_float32_matmul_precision("highest")
    assert switches.as_written()
    graphc.set_float32_matmul_precision("high")
    assert not switches.as_written()


def test_highest_keeps_to_the_sums_as_written() -> None:
    """Also in calls that are like the last one, which check almost nothing."""
    graphc.manual_seed(3)
    net = nn.Conv2d(32, 32, 3, padding=1)
    call = graphc.compile(lambda x: net(x))
    x = graphc.randn(2, 32, 14, 14)
    with graphc.no_grad():
        free = [call(x).numpy() for _ in range(5)]
        graphc.set_float32_matmul_precision("highest")
        exact = [call(x).numpy() for _ in range(5)]
        graphc.set_float32_matmul_precision("medium")
        again = call(x).numpy()
    want = reference(x.numpy(), net.weight.detach().numpy(), 1)
    want = want + net.bias.detach().numpy().astype(np.float64)[:, None, None]
    assert 2 * error(exact[0], want) < error(free[0], want) <= BOUND
    for group in (free, exact):
        assert all(np.array_equal(group[0], y) for y in group)
    np.testing.assert_array_equal(again, free[0])


def test_gradients_follow_it() -> None:
    x, y = graphc.randn(2, 32, 8, 8), graphc.randn(2, 32, 8, 8)
    for precision, asked in (("highest", 0), ("high", 2)):
        graphc.set_float32_matmul_precision(precision)
        step = trained(Net(32, 32, 1))
        step(x, y)  # type: ignore[operator]
        assert counts(step) == asked  # forward, and the gradient of the weight


def test_products_of_bfloat16_follow_it_too() -> None:
    """Their operands are rounded, then the result: nothing that lies between shows."""
    graphc.manual_seed(3)
    net = nn.Conv2d(32, 64, 3, padding=1, bias=False)
    x, seen = graphc.randn(3, 32, 16, 16), []
    for precision, asked in (("high", 1), ("highest", 0)):
        graphc.set_float32_matmul_precision(precision)
        call = graphc.compile(lambda x: net(x))
        with graphc.no_grad(), graphc.autocast("cpu", dtype=graphc.bfloat16):
            seen.append(call(x).float().numpy())
        assert counts(call) == asked
    rounded = (t.detach().bfloat16().float().numpy() for t in (x, net.weight))
    want = reference(*rounded, 1)
    for got in seen:
        assert error(got, want) <= 2**-9  # half of the last digit
        assert np.mean(got == graphc.tensor(want).bfloat16().float().numpy()) > 0.995


# ---- against float64 ---------------------------------------------------------------------------


def reference(x: Array, w: Array, padding: int) -> Array:
    """The convolution in float64."""
    x, w = x.astype(np.float64), w.astype(np.float64)
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), (2, 3))
    return np.asarray(np.einsum("nchwrs,ocrs->nohw", windows, w, optimize=True))


def error(got: Array, want: Array) -> float:
    """Rms of the difference over the rms of what is wanted."""
    size = np.sqrt(np.mean(np.square(want)))
    return float(np.sqrt(np.mean(np.square(got - want))) / max(size, 1e-30))


def gradients(x: Array, w: Array, g: Array, padding: int) -> tuple[Array, Array]:
    """Of the input and of the weight, in float64."""
    turned = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
    dx = reference(g, turned, 2)
    inside = slice(padding, dx.shape[2] - padding), slice(padding, dx.shape[3] - padding)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded.astype(np.float64), (3, 3), (2, 3))
    dw = np.einsum("nchwrs,nohw->ocrs", windows, g.astype(np.float64), optimize=True)
    return dx[:, :, inside[0], inside[1]], np.asarray(dw)


CASES = [
    (64, 32, 1, 9, 6), (32, 32, 0, 6, 7), (32, 64, 2, 3, 5), (32, 32, 1, 1, 9),  # small and odd
    (32, 96, 1, 16, 16), (20, 32, 1, 9, 9), (96, 40, 1, 8, 8), (256, 32, 1, 4, 4),
]  # fmt: skip


def near_in_every_direction(case: Sequence[int], batch: int, seed: int) -> None:
    ins, outs, padding, height, width = case
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, ins, height, width)).astype(np.float32)
    net = nn.Conv2d(ins, outs, 3, padding=padding, bias=False)
    w = net.weight.detach().numpy().copy()
    want = reference(x, w, padding)
    g = rng.standard_normal(want.shape).astype(np.float32)

    @graphc.compile
    def step(x: graphc.Tensor, g: graphc.Tensor) -> tuple[graphc.Tensor, ...]:
        y = net(x)
        dx, dw = graphc.autograd.grad((y * g).sum(), (x, net.weight))
        return y, dx, dw

    got = step(graphc.tensor(x, requires_grad=True), graphc.tensor(g))
    wanted = want, *gradients(x, w, g, padding)
    for a, b in zip(got, wanted, strict=True):
        assert error(a.detach().numpy(), b) <= BOUND


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_direction_is_near_the_sums_in_float64(case: tuple[int, ...]) -> None:
    near_in_every_direction(case, 3, 7)


@pytest.mark.parametrize("seed", range(8))
def test_random_convolutions(seed: int) -> None:
    r = random.Random(seed)
    channels = [r.choice((32, 64, 96, 33)) for _ in range(2)]
    padding = r.randrange(3)
    sizes = [r.randrange(max(1, 3 - 2 * padding), 15) for _ in range(2)]
    near_in_every_direction((*channels, padding, *sizes), r.randrange(1, 5), seed)


def test_other_convolutions_are_sums_as_written() -> None:
    """Groups, steps between taps or outputs, and channels that are no whole runs."""
    cases: list[dict[str, int]] = [
        {"groups": 2}, {"stride": 2}, {"dilation": 2}, {"ins": 31}, {"outs": 33}
    ]  # fmt: skip
    for case in cases:
        options = {"ins": 64, "outs": 64, "padding": 2, **case}
        call = graphc.compile(Net(**options))
        call(graphc.randn(1, options["ins"], 16, 16))
        assert counts(call) == 0, case


def test_the_batch_has_no_say() -> None:
    """One plan serves any, an empty one too; rows have the same bits in each."""
    net = nn.Conv2d(32, 64, 3, padding=1)
    call = graphc.compile(lambda x: net(x))
    x = graphc.randn(9, 32, 13, 10)
    with graphc.no_grad():
        whole = call(x).numpy()
        assert counts(call) == 1
        for n in (1, 4, 0):
            np.testing.assert_array_equal(call(x[:n].clone()).numpy(), whole[:n])
        fixed = graphc.compile(lambda x: net(x), dynamic=False)
        np.testing.assert_array_equal(fixed(x[:1].clone()).numpy(), whole[:1])


def test_bits_do_not_depend_on_threads() -> None:
    before, results = graphc.get_num_threads(), []
    x, y = graphc.randn(5, 32, 9, 9), graphc.randn(5, 64, 9, 9)
    try:
        for threads in (1, 2, 3):
            graphc.set_num_threads(threads)
            graphc.manual_seed(5)
            net = Net(32, 64, 1)
            step = trained(net)
            for _ in range(2):
                step(x, y)  # type: ignore[operator]
            results.append(net.conv.weight.detach().numpy().copy())
    finally:
        graphc.set_num_threads(before)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_recompile_for_it_says_so() -> None:
    call = graphc.compile(lambda x: x + 1.0)
    call(graphc.ones(3))
    graphc.set_float32_matmul_precision("highest")
    call(graphc.ones(3))
    assert "float32 products as written" in str(call.explain())
