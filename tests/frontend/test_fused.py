"""Attention in a trace: which chains become its kernels, and that gradients are as without them."""

from __future__ import annotations

import math
from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn

F = nn.functional
Tensor = graphc.Tensor
RNG = np.random.default_rng(0)
ROWS, COLUMNS, DEPTH = 9, 11, 8


def tensor(*shape: int) -> Tensor:
    return graphc.tensor(RNG.standard_normal(shape).astype("f4"))


LOWER = graphc.tensor(np.tri(ROWS, COLUMNS, 2).astype("f4"))
SEEN = graphc.tensor(RNG.random((2, 1, 1, COLUMNS)) > 0.3)
ADDED = tensor(ROWS, COLUMNS)


def scores(q: Tensor, k: Tensor) -> Tensor:
    return (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(DEPTH))


def by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(scores(q, k), -1) @ v


def filled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(scores(q, k).masked_fill(LOWER == 0, -inf), -1) @ v


def finite(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(scores(q, k).masked_fill(LOWER == 0, -1e9), -1) @ v


NONE = graphc.tensor(RNG.random((3, ROWS, COLUMNS)) > 0.5)
NONE[:, 2] = False  # rows that see nothing
HIDDEN = (~NONE).float() * float(np.finfo("f4").min)


def all_hidden(fill: float) -> Callable[..., Tensor]:
    """With rows of the fill alone, whose weights are equal and tell the scores nothing."""

    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.softmax(scores(q, k).masked_fill(~NONE, fill), -1) @ v

    return call


def two_masks(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    s = (scores(q, k) + ADDED).masked_fill(~SEEN, -inf)
    return F.softmax(s.masked_fill(LOWER == 0, -inf), -1) @ v


def subtracted(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(scores(q, k) - 10000.0 * (1.0 - LOWER), -1) @ v


def scaled_operands(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax((q / DEPTH**0.25) @ (k * DEPTH**-0.25).mT, -1) @ v


def by_einsum(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    s = graphc.einsum("bhqd,bhkd->bhqk", q, k) / math.sqrt(DEPTH)
    return graphc.einsum("bhqk,bhkd->bqhd", s.softmax(-1), v)


def keys_first(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scores with a row for each key."""
    s = graphc.einsum("bhkd,bhqd->bhkq", k, q).softmax(-2)
    return graphc.einsum("bhkq,bhkd->bhqd", s, v)


def three_dimensions(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.reshape(6, -1, DEPTH) for x in (q, k, v))
    return graphc.bmm(F.softmax(graphc.bmm(q, k.transpose(1, 2)), 2), v)


def dropped(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.dropout(F.softmax(scores(q, k), -1), 0.3) @ v


def official(**options: Any) -> Callable[..., Tensor]:
    def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v, **options)

    return call


FUSED = {
    "by hand": by_hand, "filled": filled, "finite": finite, "two masks": two_masks,
    "subtracted": subtracted, "scaled operands": scaled_operands, "einsum": by_einsum,
    "keys first": keys_first, "three dimensions": three_dimensions, "dropped": dropped,
    "official": official(), "causal": official(is_causal=True), "mask": official(attn_mask=SEEN),
    "added": official(attn_mask=ADDED), "dropout": official(dropout_p=0.4),
    "scale": official(scale=2.0), "hidden": all_hidden(-1e9), "visible fill": all_hidden(-2.0),
    "hidden rows": all_hidden(-1e4), "added rows": official(attn_mask=HIDDEN),
}  # fmt: skip


def operands() -> list[Tensor]:
    shapes = (2, 3, ROWS, DEPTH), (2, 3, COLUMNS, DEPTH), (2, 3, COLUMNS, DEPTH)
    return [tensor(*shape).requires_grad_() for shape in shapes]


def training(f: Callable[..., Tensor], w: Tensor) -> Callable[..., Any]:
    def step(*xs: Tensor) -> Any:
        out = f(*xs)
        (out * w.reshape(out.shape)).sum().backward()
        return out, *(x.grad for x in xs)

    return step


def attentions(step: Any) -> int:
    return str(step.ir("fuse")).count(" attention (")


def agree(f: Callable[..., Tensor], xs: list[Tensor], count: int) -> None:
    """Compiled and eager give the same; compiled it has so many kernels of attention."""
    out = f(*xs)
    step = training(f, tensor(*out.shape))
    graphc.manual_seed(3)
    want = [t.detach().numpy().copy() for t in step(*xs)]
    for x in xs:
        x.grad = None
    compiled = graphc.compile(step)
    graphc.manual_seed(3)
    got = [t.detach().numpy() for t in compiled(*xs)]
    assert attentions(compiled) == count
    for x, y in zip(got, want, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", FUSED)
def test_a_chain_is_two_kernels(name: str) -> None:
    agree(FUSED[name], operands(), 2)


@pytest.mark.parametrize("name", ["filled", "causal", "einsum"])
def test_a_forward_is_one(name: str) -> None:
    xs = [x.detach() for x in operands()]
    compiled = graphc.compile(FUSED[name])
    np.testing.assert_allclose(
        compiled(*xs).numpy(), FUSED[name](*xs).numpy(), rtol=1e-4, atol=1e-5
    )
    assert attentions(compiled) == 1


def test_a_compiled_model_saves_no_weights() -> None:
    """Its forward and backward are programs of their own, with one kernel each."""
    model = graphc.compile(by_hand)
    xs = operands()
    model(*xs).sum().backward()
    grads = [x.grad.numpy().copy() for x in xs]
    for x in xs:
        x.grad = None
    by_hand(*xs).sum().backward()
    for x, g in zip(xs, grads, strict=True):
        np.testing.assert_allclose(g, x.grad.numpy(), rtol=1e-4, atol=1e-5)
    assert attentions(model) == 2


@pytest.mark.parametrize("module", ["layer", "decoder", "heads"])
def test_layers(module: str) -> None:
    graphc.manual_seed(0)
    layer: Any = {
        "layer": lambda: nn.TransformerEncoderLayer(16, 2, 32, 0.0, batch_first=True),
        "decoder": lambda: nn.TransformerDecoderLayer(16, 2, 32, 0.0, batch_first=True),
        "heads": lambda: nn.MultiheadAttention(16, 2, batch_first=True),
    }[module]()
    calls: dict[str, Callable[..., Tensor]] = {
        "layer": lambda x, y: layer(x),
        "decoder": lambda x, y: layer(x, y),
        "heads": lambda x, y: layer(x, y, y, need_weights=False)[0],
    }
    count = {"layer": 2, "decoder": 4, "heads": 2}[module]
    xs = [tensor(2, n, 16).requires_grad_() for n in (5, 7)]

    def both(x: Tensor, y: Tensor) -> Tensor:
        return calls[module](x, y) + y.sum() * 0.0

    agree(both, xs, count)


# ---- what stays as it was ----------------------------------------------------------------------


def mask_by_scores(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    s = scores(q, k)
    return F.softmax(s + s.relu(), -1) @ v


def scores_twice(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(scores(q, k) + scores(q, k), -1) @ v


def weights_seen(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = F.softmax(scores(q, k), -1)
    return weights @ v + weights.sum() * weights.amax()


def hooked(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = F.softmax(scores(q, k), -1)
    if weights.requires_grad:
        weights.register_hook(lambda g: g * 2.0)
    return weights @ v


def other_axis(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(scores(q, k), -2) @ v


def scaled_mask(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax((q @ k.mT + ADDED) * 0.3, -1) @ v


def by_data(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return F.softmax(scores(q, k) * q.sum(), -1) @ v


NO_CHAINS = [
    weights_seen, hooked, other_axis, scaled_mask, by_data, mask_by_scores, scores_twice,
]  # fmt: skip


@pytest.mark.parametrize("f", NO_CHAINS)
def test_what_is_no_such_chain(f: Callable[..., Tensor]) -> None:
    agree(f, operands(), 0)


def test_a_bias_that_is_learned_gets_its_gradient() -> None:
    def biased(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        return F.softmax(scores(q, k) + bias, -1) @ v

    agree(biased, [*operands(), tensor(3, ROWS, COLUMNS).requires_grad_()], 0)


def test_a_product_that_is_added_to_the_scores_gets_its_gradient() -> None:
    q, other = tensor(2, 3, ROWS, DEPTH), tensor(2, 3, COLUMNS, DEPTH)

    def sum_of_products(k: Tensor, v: Tensor) -> Tensor:
        return F.softmax(q @ other.mT * 0.5 + q @ k.mT, -1) @ v

    agree(sum_of_products, operands()[1:], 0)


def test_a_row_that_sees_nothing_has_gradients_for_no_scores() -> None:
    q, k, v = operands()
    compiled = graphc.compile(training(all_hidden(-inf), tensor(2, 3, ROWS, DEPTH)))
    _, dq, dk, dv = compiled(q, k, v)
    assert dq.isfinite().all() and dk.isfinite().all() and dv.isnan().any()


def test_heads_of_unknown_depth_are_two_products() -> None:
    step = graphc.compile(lambda q: F.softmax(q @ q.mT, -1) @ q, dynamic=True)
    for depth in (5, 6, 40):
        q = tensor(2, 7, depth)
        want = F.softmax(q @ q.mT, -1) @ q
        np.testing.assert_allclose(step(q).numpy(), want.numpy(), rtol=1e-4, atol=1e-5)


def test_gradients_of_gradients() -> None:
    def twice(q: Tensor, k: Tensor, v: Tensor) -> Any:
        (g,) = graphc.autograd.grad(by_hand(q, k, v).square().sum(), q, create_graph=True)
        return graphc.autograd.grad(g.square().sum(), (q, k, v))

    xs = operands()
    for x, y in zip(graphc.compile(twice)(*xs), twice(*xs), strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-3, atol=1e-4)


def test_another_length_is_no_other_trace() -> None:
    step = graphc.compile(lambda q: F.scaled_dot_product_attention(q, q, q, is_causal=True))
    for length in (5, 6, 200, 300):
        q = tensor(2, 2, length, DEPTH)
        want = F.scaled_dot_product_attention(q, q, q, is_causal=True)
        np.testing.assert_allclose(step(q).numpy(), want.numpy(), rtol=1e-4, atol=1e-5)
    assert step.stats.kernels == 1


@pytest.mark.parametrize("least", [-1.0, 0.0])
def test_numbers_that_keep_all_weights_are_no_dropout(least: float) -> None:
    def scaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        noise = graphc.rand(*q.shape[:-1], k.shape[-2])
        return (F.softmax(scores(q, k), -1) * ((noise >= least).float() * 1.5)) @ v

    agree(scaled, operands(), 0)
