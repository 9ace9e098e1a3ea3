"""What nobody reads is not computed: the same numbers, by smaller products."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import Tensor, nn
from graphc.ir import text
from graphc.ir.interpret import interpret
from graphc.passes.unread import unread
from tests.passes.texts import assert_becomes, graph

F = nn.functional
ROWS, WIDTH, HIDDEN = 6, 8, 32
Net = Callable[[Tensor, dict[str, Tensor]], Tensor]


def mixed(x: Tensor, w: dict[str, Tensor], causal: bool = False, drop: float = 0.0) -> Tensor:
    """Attention of two heads, and what a transformer has behind it."""
    q, k, v = (
        t.reshape(*x.shape[:2], 2, WIDTH // 2).transpose(1, 2) for t in (x @ w["qkv"]).chunk(3, -1)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=drop, is_causal=causal)
    y = F.layer_norm(x + mixed.transpose(1, 2).reshape(*x.shape[:2], WIDTH), (WIDTH,))
    return y + by_rows(y, w)


def by_rows(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    return F.layer_norm(F.gelu(x @ w["up"] + w["bias"]) @ w["down"], (WIDTH,))


def weights() -> dict[str, Tensor]:
    shapes = {"qkv": (WIDTH, 3 * WIDTH), "up": (WIDTH, HIDDEN), "down": (HIDDEN, WIDTH)}
    return {k: graphc.randn(*n) * 0.3 for k, n in (*shapes.items(), ("bias", (HIDDEN,)))}


def gradients(net: Net) -> Any:
    """A step that gives the loss and the gradients of x and of all weights."""

    def step(x: Tensor, w: dict[str, Tensor]) -> list[Tensor]:
        x = x.detach().requires_grad_()
        w = {k: t.detach().requires_grad_() for k, t in w.items()}
        loss = (net(x, w) ** 2).sum()
        wanted = [x, *w.values()]
        found = graphc.autograd.grad(loss, wanted, allow_unused=True)
        return [loss.detach(), *(g for g in found if g is not None)]

    return step


def rows_of_hidden(shown: str) -> set[int]:
    """Positions for which the hidden units are computed, forward and backward."""
    found = re.findall(rf"f32\[\w+,(\d+),{HIDDEN}\] = dot", shown)
    return set(map(int, found))


NARROWED: dict[str, tuple[Net, int]] = {
    "first": (lambda x, w: mixed(x, w)[:, 0], 1),
    "last": (lambda x, w: mixed(x, w)[:, -1], 1),
    "half": (lambda x, w: mixed(x, w)[:, 2:5], 3),
    "causal, first": (lambda x, w: mixed(x, w, causal=True)[:, :2], 2),
    "causal, last": (lambda x, w: mixed(x, w, causal=True)[:, -1:], 1),
    "by rows": (lambda x, w: by_rows(x, w)[:, 1] @ w["up"], 1),
    "two layers": (lambda x, w: by_rows(mixed(x, w), w)[:, 0], 1),
    "part of the features": (lambda x, w: by_rows(x, w)[:, 3, :4], 1),
    "turned": (lambda x, w: by_rows(x, w).transpose(0, 1)[2], 1),
    "weighted": (lambda x, w: (by_rows(x, w) * x)[:, 0] / (1 + x[:, 0] ** 2), 1),
}
KEPT: dict[str, Net] = {
    "all": lambda x, w: by_rows(x, w),
    "most": lambda x, w: by_rows(x, w)[:, :-1],
    "every other one": lambda x, w: by_rows(x, w)[:, ::2],
    "two parts": lambda x, w: (lambda y: y[:, 0] * y[:, 3])(by_rows(x, w)),
    "a part and the sum": lambda x, w: (lambda y: y[:, 0] * y.sum(1))(by_rows(x, w)),
}


def check(net: Net) -> Any:
    """The compiled step, once it gave what eager code gives."""
    graphc.manual_seed(0)
    x, w = graphc.randn(3, ROWS, WIDTH), weights()
    step = graphc.compile(gradients(net))
    for got, wanted in zip(step(x, w), gradients(net)(x, w), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=2e-4, atol=2e-5)
    return step


@pytest.mark.parametrize("name", NARROWED)
def test_rows_that_are_read_are_all_that_is_computed(name: str) -> None:
    net, count = NARROWED[name]
    assert rows_of_hidden(check(net).ir("unread")) == {count}


@pytest.mark.parametrize("name", KEPT)
def test_what_is_read_is_computed(name: str) -> None:
    assert ROWS in rows_of_hidden(check(KEPT[name]).ir("unread"))


@pytest.mark.parametrize("name", [*NARROWED, *KEPT])
def test_the_graph_means_the_same(name: str) -> None:
    net = KEPT[name] if name in KEPT else NARROWED[name][0]
    step = check(net)
    before, after = (text.parse(step.ir(stage)) for stage in ("simplify", "unread"))
    rng = np.random.default_rng(0)
    arrays = [
        rng.standard_normal([3 if type(n) is not int else n for n in v.shape]).astype(
            v.spec.dtype.numpy
        )
        for v in before.inputs
    ]
    for a, b in zip(interpret(before, *arrays), interpret(after, *arrays), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


Function = Callable[[Tensor, Tensor], Tensor]
BETWEEN: dict[str, Function] = {
    "of the batch": lambda x, w: F.softmax(x @ w, -1)[0],
    "a slice of a slice": lambda x, w: graphc.exp(x @ w)[:, 2:][:, 0],
    "batches of matrices": lambda x, w: graphc.bmm(x, x.transpose(1, 2))[-1, 2:4],
    "sums along rows": lambda x, w: graphc.cumsum(x @ w, 1)[:, 1],
    "turned round": lambda x, w: graphc.flip(x @ w, (1,))[:, 0],
    "moved": lambda x, w: F.pad(x @ w, (0, 0, 1, -1))[:, 0] + 1,
    "rolled": lambda x, w: graphc.roll(x @ w, 2, 1)[:, 0],
    "permuted": lambda x, w: (x @ w).permute(2, 0, 1)[0],
    "softmax along rows": lambda x, w: graphc.softmax(x @ w, 1)[:, 0],
    "largest of the features": lambda x, w: (x @ w).amax(2)[:, 0],
    "joined": lambda x, w: graphc.cat([x @ w, (x * 2) @ w], 1)[:, 0],
    "chosen": lambda x, w: graphc.where(x @ w > 0, x @ w, (x * 0.1) @ w)[:, 3],
    "reshaped": lambda x, w: (x.reshape(-1, WIDTH) @ w).reshape(x.shape)[:, 0],
    "split": lambda x, w: (x @ w).reshape(-1, ROWS, 2, WIDTH // 2)[:, 0, 1],
    "convolved": lambda x, w: F.conv1d(x, w[:ROWS, :3].expand(4, ROWS, 3), padding=1)[:, :, 0],
}


@pytest.mark.parametrize("batch", [0, 1, 3])
@pytest.mark.parametrize("name", BETWEEN)
def test_whatever_is_between(name: str, batch: int) -> None:
    if batch == 0 and name in ("of the batch", "batches of matrices"):
        pytest.skip("there is no first one")

    def step(x: Tensor, w: Tensor) -> list[Tensor]:
        x, w = x.detach().requires_grad_(), w.detach().requires_grad_()
        y = BETWEEN[name](x, w)
        found = graphc.autograd.grad((y * y).sum(), [x, w], allow_unused=True)
        return [y.detach(), *(g for g in found if g is not None)]

    graphc.manual_seed(0)
    x, w = graphc.randn(max(batch, 2), ROWS, WIDTH)[:batch], graphc.randn(WIDTH, WIDTH) * 0.3
    for got, wanted in zip(graphc.compile(step)(x, w), step(x, w), strict=True):
        np.testing.assert_allclose(got.numpy(), wanted.numpy(), rtol=2e-4, atol=2e-5)


def test_dropout_of_attention_counts_its_weights_over_all_rows() -> None:
    step = graphc.compile(gradients(lambda x, w: mixed(x, w, drop=0.5)[:, 0]))
    step(graphc.randn(3, ROWS, WIDTH), weights())
    assert re.search(r"attention_dk.*drop=[1-9]", step.ir("unread"))
    assert f"f32[x0,2,{ROWS},4] = attention " in re.sub(r"\[B,", "[x0,", step.ir("unread"))


def test_an_index_of_a_row_that_is_not_read_is_checked() -> None:
    table, w = graphc.randn(5, WIDTH), weights()
    step = graphc.compile(lambda i: by_rows(table[i], w)[:, 0])
    i = graphc.zeros(2, ROWS, dtype=graphc.int64)
    step(i)
    i[1, 3] = 5
    with pytest.raises(IndexError):
        step(i)


def test_values_outside_a_product_are_left_as_they_are() -> None:
    """Where no product gets smaller, gradients are what the arithmetic as written gives."""
    x = graphc.tensor([[1.0, 2.0], [np.inf, 1.0]])
    step = graphc.compile(lambda x, w: graphc.autograd.grad((x * w)[0].sum(), w)[0])
    w = graphc.ones(2, 2, requires_grad=True)
    assert np.isnan(step(x, w).numpy()[1, 0])


SLICED = """
graph(%x: f32[4,8,3], %w: f32[5,3], %b: f32[1,1,5]) {
  %0: f32[4,8,5] = dot %x %w {batch=() contract=((2,1),)}
  %1: f32[4,8,5] = expand %b {shape=(4,8,5)}
  %2: f32[4,8,5] = add %0 %1
  %3: f32[4,2,5] = slice %2 {start=(0,3,0) stop=(4,5,5) step=(1,1,1)}
  return %3
}"""
SLICED_FIRST = """
graph(%x: f32[4,8,3], %w: f32[5,3], %b: f32[1,1,5]) {
  %0: f32[4,2,3] = slice %x {start=(0,3,0) stop=(4,5,3) step=(1,1,1)}
  %1: f32[4,2,5] = dot %0 %w {batch=() contract=((2,1),)}
  %2: f32[4,2,5] = expand %b {shape=(4,2,5)}
  %3: f32[4,2,5] = add %1 %2
  return %3
}"""
ADDED = """
graph(%x: f32[4,8,3], %w: f32[5,3]) {
  %0: f32[4,8,5] = dot %x %w {batch=() contract=((2,1),)}
  %1: f32[4,2,5] = slice %0 {start=(0,3,0) stop=(4,5,5) step=(1,1,1)}
  return %0, %1
}"""


def test_slices_go_up_to_what_is_read_as_a_whole() -> None:
    assert_becomes(lambda g, _: unread(g), SLICED, SLICED_FIRST)


def test_what_is_returned_is_computed() -> None:
    start = graph(ADDED)
    with start.in_passes():
        assert text.show(unread(start)) == text.show(start)
