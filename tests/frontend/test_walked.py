"""Recurrent layers in eager mode: one node for all steps, and what the steps as written give."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.autograd.graph import saved_tensors_hooks
from graphc.frontend.walked import Walked
from graphc.ir.types import Array

T = graphc.Tensor
LAYERS = {"LSTM": 2, "GRU": 1, "RNN": 1}  # and how many states each has
STEPS, BATCH, WIDTH = 6, 3, 5


def noise(*shape: int, seed: int = 0) -> T:
    return graphc.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def made(kind: str, **options: Any) -> Any:
    graphc.manual_seed(1)
    return getattr(nn, kind)(4, WIDTH, **options)


def states(kind: str, count: int = 1) -> list[T]:
    return [noise(count, BATCH, WIDTH, seed=k + 2).requires_grad_() for k in range(LAYERS[kind])]


def run(layer: Any, kind: str, used: str = "all") -> tuple[list[Array], list[Array], Any]:
    """Results and gradients, and the node of the outputs."""
    x = noise(STEPS, BATCH, 4).requires_grad_()
    start = states(kind, 2 if layer.bidirectional else 1)
    ys, last = layer(x, tuple(start) if kind == "LSTM" else start[0])
    node = ys.grad_fn
    results = [ys, *(last if kind == "LSTM" else [last])]
    kept = {"all": results, "outputs": results[:1], "last": results[-1:]}[used]
    loss = sum((r * noise(*r.shape, seed=k)).sum() for k, r in enumerate(kept))
    loss.backward()
    gradients = [p.grad for p in (x, *start, *layer.parameters())]
    return (
        [r.detach().numpy() for r in results],
        [np.zeros(0) if g is None else g.numpy() for g in gradients],
        node,
    )


@pytest.mark.parametrize("used", ["all", "outputs", "last"])
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"bidirectional": True}], ids=str)
def test_it_is_what_the_steps_as_written_give(
    kind: str, used: str, options: dict[str, Any]
) -> None:
    with saved_tensors_hooks(lambda x: x, lambda x: x):  # are told of each operation
        results, gradients, written = run(made(kind, **options), kind, used)
    got, others, node = run(made(kind, **options), kind, used)
    assert type(written) is not Walked
    assert (type(node) is Walked) == (not options.get("bidirectional"))  # which joins two
    for a, b in zip(got, results, strict=True):
        assert a.tobytes() == b.tobytes()
    for a, b in zip(others, gradients, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", LAYERS)
def test_second_derivatives(kind: str) -> None:
    def twice() -> list[Array]:
        layer = made(kind)
        x = noise(STEPS, BATCH, 4).requires_grad_()
        ys, _ = layer(x)
        gs = graphc.autograd.grad((ys * ys).sum(), [x, *layer.parameters()], create_graph=True)
        sum((g * g).sum() for g in gs).backward()
        return [p.grad.numpy() for p in (x, *layer.parameters()) if p.grad is not None]

    with saved_tensors_hooks(lambda x: x, lambda x: x):
        expected = twice()
    for a, b in zip(twice(), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_each_step_takes_few_calls() -> None:
    def calls(steps: int) -> int:
        layer, x = made("LSTM"), noise(steps, BATCH, 4)
        for _ in range(2):
            layer(x)[0].sum().backward()
        seen = [0]

        def count(frame: Any, event: str, arg: Any) -> None:
            seen[0] += event == "call"

        sys.setprofile(count)
        try:
            layer(x)[0].sum().backward()
        finally:
            sys.setprofile(None)
        return seen[0]

    assert calls(30) - calls(10) < 20 * 150


def test_the_tape_ends_and_sees_writes_as_any_other() -> None:
    layer, x = made("GRU"), noise(STEPS, BATCH, 4)
    ys, last = layer(x)
    ys.mul_(2.0), last.zero_()  # results of its own, which no derivative reads
    ys.sum().backward(retain_graph=True)
    ys.sum().backward()
    with pytest.raises(RuntimeError, match="a second time"):
        ys.sum().backward()
    ys, _ = layer(x)
    with graphc.no_grad():
        layer.weight_hh_l0.add_(1.0)
    with pytest.raises(RuntimeError, match="changed by an in-place operation"):
        ys.sum().backward()


def test_without_gradients_no_step_is_kept() -> None:
    layer, x = made("LSTM"), noise(STEPS, BATCH, 4)
    with graphc.no_grad():
        quiet, _ = layer(x)
    assert quiet.grad_fn is None
    assert quiet.numpy().tobytes() == layer(x)[0].detach().numpy().tobytes()


def test_frozen_weights_get_no_gradient() -> None:
    layer = made("LSTM").requires_grad_(False)
    layer.bias_hh_l0.requires_grad_()
    layer(noise(STEPS, BATCH, 4))[0].sum().backward()
    assert layer.weight_hh_l0.grad is None
    assert layer.bias_hh_l0.grad is not None and layer.bias_hh_l0.grad.abs().sum() > 0
