"""Eager loops over arrays that are large enough for groups, compiled products and recycled memory:
the same as PyTorch's, and every kept result stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.frontend.eager.pool import POOL

ROWS, WIDTH, ROUNDS = 256, 320, 5  # 320 KB an array: of the pool, and of groups


def noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def block(T: Any) -> Any:
    model = T.nn.Sequential(
        T.nn.Linear(WIDTH, WIDTH), T.nn.GELU(), T.nn.LayerNorm(WIDTH), T.nn.Linear(WIDTH, WIDTH)
    )
    with T.no_grad():
        for k, p in enumerate(model.parameters()):
            p.copy_(T.from_numpy(noise(*p.shape, seed=k) / 16))
    return model


def inference(T: Any) -> list[Any]:
    """A loop that feeds results back and keeps each."""
    model, x, kept = block(T), T.from_numpy(noise(ROWS, WIDTH)), []
    with T.no_grad():
        for _ in range(ROUNDS):
            x = model(x) + x
            kept.append(x)
    assert not any(y.requires_grad for y in kept)
    return kept


def views(T: Any) -> list[Any]:
    """Writes through views of results, before and after these are read by others."""
    model, kept = block(T), []
    for k in range(ROUNDS):
        y = model(T.from_numpy(noise(ROWS, WIDTH, seed=k)))
        z = y * 1.0
        z[:, ::2].mul_(0.5)
        z[k].zero_()
        z.view(-1)[3] += 1.0
        half = z.t()[: WIDTH // 2]
        half.add_(half.detach().clone())
        model.zero_grad()
        (z * T.sigmoid(y)).sum().backward()
        kept += [z.detach(), model[0].weight.grad.clone()]
    return kept


def accumulated(T: Any) -> list[Any]:
    """Gradients that nobody sets to zero; what was read of them before is a copy or the same."""
    model, kept = block(T), []
    for k in range(ROUNDS):
        model(T.from_numpy(noise(ROWS, WIDTH, seed=k))).square().mean().backward()
        kept.append(model[3].weight.grad.clone())
    kept += [p.grad for p in model.parameters()]
    first = model[0].weight.grad
    model.zero_grad()
    model(T.from_numpy(noise(ROWS, WIDTH))).sum().backward()
    assert model[0].weight.grad is not first
    return [*kept, model[0].weight.grad]


def hooked(T: Any) -> list[Any]:
    """Hooks on tensors and modules see and change what passes; retained gradients stay."""
    model, kept = block(T), []
    model[1].register_forward_hook(lambda m, args, out: out * 2.0)
    model[2].register_full_backward_hook(lambda m, gi, go: (gi[0] * 0.5,))
    model[0].weight.register_post_accumulate_grad_hook(lambda p: kept.append(p.grad.clone()))
    for k in range(ROUNDS):
        x = T.from_numpy(noise(ROWS, WIDTH, seed=k)).requires_grad_()
        y = model(x)
        y.register_hook(lambda g: g.clamp(-0.1, 0.1))
        y.retain_grad()
        model.zero_grad()
        (y * y).sum().backward()
        kept += [y.grad, x.grad]
    return kept


@pytest.mark.parametrize("loop", [inference, views, accumulated, hooked])
def test_loops_are_pytorchs(loop: Callable[[Any], list[Any]]) -> None:
    torch = pytest.importorskip("torch")
    for got, want in zip(loop(graphc), loop(torch), strict=True):
        want = want.detach().numpy()
        scale = float(np.abs(want).max())
        np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize("loop", [inference, views, accumulated, hooked])
def test_kept_results_stay(loop: Callable[[Any], list[Any]]) -> None:
    """Another run, in memory that the first one has freed, changes nothing of what it kept."""
    kept = [t.detach().numpy() for t in loop(graphc)]
    copies = [a.copy() for a in kept]
    again = loop(graphc)
    for a, b, c in zip(kept, copies, again, strict=True):
        assert a.tobytes() == b.tobytes() == c.detach().numpy().tobytes()


def test_memory_does_not_grow() -> None:
    model, x = block(graphc), graphc.from_numpy(noise(ROWS, WIDTH))
    optimizer = graphc.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()

    for _ in range(5):
        step()
    before = POOL.bytes
    for _ in range(25):
        step()
    assert POOL.bytes == before
