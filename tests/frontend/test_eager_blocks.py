"""Large attention in eager mode: one program forward, one back, and no matrix of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc.autograd.graph import saved_tensors_hooks
from graphc.frontend import fused
from graphc.frontend.eager import blocks
from graphc.frontend.step.native_backend import native
from graphc.ir.cpu_abi import RUNNING
from graphc.ir.graph import Graph
from graphc.ir.types import Array

T = graphc.Tensor
SHAPE = (2, 3, 65, 24)
KINDS = ("plain", "causal", "bools", "bools of all", "numbers", "scaled", "served", "cross")


def noise(*shape: int, seed: int = 0) -> T:
    return graphc.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def attended(kind: str, q: T, k: T, v: T) -> T:
    length, places = q.shape[-2], k.shape[-2]
    some = noise(length, places, seed=9)
    options: dict[str, dict[str, Any]] = {
        "causal": {"is_causal": True},
        "bools": {"attn_mask": (some > -0.5) & (graphc.arange(length) > 2).unsqueeze(1)},
        "bools of all": {"attn_mask": (noise(2, 1, 1, places, seed=8) > -0.5)},
        "numbers": {"attn_mask": some},
        "scaled": {"scale": 0.3},
        "served": {"enable_gqa": True},
    }
    return F.scaled_dot_product_attention(q, k, v, **options.get(kind, {}))


def step(kind: str) -> tuple[list[Array], Any]:
    shapes = [SHAPE, SHAPE, SHAPE]
    if kind == "served":
        shapes[1] = shapes[2] = (2, 1, 65, 24)
    if kind == "cross":
        shapes[1], shapes[2] = (2, 3, 90, 24), (2, 3, 90, 40)
    xs = [noise(*s, seed=k).requires_grad_() for k, s in enumerate(shapes)]
    y = attended(kind, *xs)
    node = y.grad_fn
    y.backward(noise(*y.shape, seed=5))
    return [t.numpy() for t in (y.detach(), *(x.grad for x in xs)) if t is not None], node


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The operations of each block that compiled code has run."""
    seen: list[list[str]] = []
    make = blocks.MAKERS[-1]

    def making(graph: Graph) -> Callable[..., bool]:
        made = make(graph)
        names = [v.op.name for v in graph.outs if v.op is not None]

        def noted(arrays: Any, outs: Any) -> bool:
            seen.append(names)
            return made(arrays, outs)

        return noted

    monkeypatch.setattr(blocks, "MAKERS", [making])
    monkeypatch.setattr("graphc.frontend.whole._plans", {})
    yield seen


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_two_programs_and_what_the_operations_give(kind: str, run: list[list[str]]) -> None:
    with saved_tensors_hooks(lambda x: x, lambda x: x):  # are told of each operation
        expected, _ = step(kind)
    assert not run
    got, node = step(kind)
    assert run == [
        ["attention", "attention_lse"],
        ["attention_dq", "attention_dk", "attention_dv"],
    ]
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=3e-6)
    assert [a.tobytes() for a in step(kind)[0]] == [a.tobytes() for a in got]
    kept = [v for line in node.plan.forward._lines for v in np.atleast_1d(line.result)]
    assert len(kept) < 12  # no scores, no exponentials, no weights


def test_bits_do_not_depend_on_threads() -> None:
    before, found = graphc.get_num_threads(), []
    for threads in (1, 2, 3):
        graphc.set_num_threads(threads)
        found.append([a.tobytes() for a in step("causal")[0]])
    graphc.set_num_threads(before)
    assert found[0] == found[1] == found[2]


def test_without_gradients_there_are_no_statistics(run: list[list[str]]) -> None:
    xs = [noise(*SHAPE, seed=k) for k in range(3)]
    attended("plain", *xs)
    assert run == [["attention"]]


def test_a_gradient_of_the_mask_reads_the_weights(run: list[list[str]]) -> None:
    q, k, v = (noise(*SHAPE, seed=k).requires_grad_() for k in range(3))
    bias = noise(65, 65, seed=3).requires_grad_()
    F.scaled_dot_product_attention(q, k, v, attn_mask=bias).sum().backward()
    assert not run and bias.grad is not None


def test_small_attention_and_single_queries_stay_with_numpy(run: list[list[str]]) -> None:
    q, k, v = (noise(2, 3, 16, 8, seed=k) for k in range(3))
    attended("plain", q, k, v)
    wide = noise(8, 8, 2000, 64)
    attended("plain", noise(8, 8, fused.FEW - 1, 64), wide, wide)
    assert not run


def test_second_derivatives_are_those_of_the_operations() -> None:
    def twice(hooked: bool) -> list[Array]:
        xs = [noise(*SHAPE, seed=k).requires_grad_() for k in range(3)]
        if hooked:
            with saved_tensors_hooks(lambda x: x, lambda x: x):
                y = attended("causal", *xs)
        else:
            y = attended("causal", *xs)
        gs = graphc.autograd.grad((y * y).sum(), xs, create_graph=True)
        sum((g * g).sum() for g in gs).backward()
        return [x.grad.numpy() for x in xs if x.grad is not None]

    for a, b in zip(twice(False), twice(True), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)


def test_inside_a_handler_numpy_computes_it() -> None:
    xs = [noise(*SHAPE, seed=k) for k in range(3)]
    want = attended("plain", *xs).numpy()
    engine = native()._engine
    with engine.lock:
        engine.busy = RUNNING
        try:
            got = attended("plain", *xs).numpy()
        finally:
            engine.busy = 0
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
