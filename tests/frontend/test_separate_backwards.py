"""Outputs of one compiled forward, each with its own backward(): what it gives, to whom, and when
there is none any more, as in eager mode."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import Tensor
from graphc.errors import AutogradError
from tests.frontend.interpreting import data

Parts = Callable[[Any, Any, Any], tuple[Any, ...]]
ONCE, KEEP = False, True


def shared(x: Any, w: Any, v: Any) -> tuple[Any, ...]:
    h = (x * w).exp()
    return (h * v).sum(), (h * h).sum()


def shared_but_not_saved(x: Any, w: Any, v: Any) -> tuple[Any, ...]:
    h = x + w
    return (h * h).sum(), (h.exp() * v).sum()


def through_a_product(x: Any, w: Any, v: Any) -> tuple[Any, ...]:
    h = x.reshape(1, 3) @ w.reshape(3, 1)
    return h.tanh().sum(), (h * v).sum(), (x * v).square().sum()


PARTS: dict[str, Parts] = {
    "apart": lambda x, w, v: ((x * w).sum().square(), (x * v).sum().square()),
    "shared": shared,
    "shared_but_not_saved": shared_but_not_saved,
    "through_a_product": through_a_product,
    "infinite": lambda x, w, v: ((x * w).sum(), (w * 0.0).log().sum() + v.sum()),
    "one_in_the_other": lambda x, w, v: (h := (x * w * v).sum().exp(), h * 2.0 + v.sum()),
    "rows": lambda x, w, v: (x * w * w, x / v),
    "nothing_saved": lambda x, w, v: ((x + w).sum(), (w - v).sum()),
}
# Which output's backward, and whether it keeps the graph; "sum" goes from all of them.
ORDERS: dict[str, list[tuple[Any, bool]]] = {
    "forwards": [(0, ONCE), (1, ONCE)],
    "backwards": [(1, ONCE), (0, ONCE)],
    "kept": [(0, KEEP), (1, KEEP), (0, ONCE), (1, ONCE)],
    "kept_then_summed": [(0, KEEP), ("sum", ONCE), (1, ONCE)],
    "summed": [("sum", ONCE)],
    "one_alone": [(1, ONCE)],
}


def gradients(parts: Parts, order: list[tuple[Any, bool]]) -> list[Any]:
    """The gradients after each backward; the error where there was one ends it."""
    w, v = data(3, seed=1, grad=True), data(3, seed=2, grad=True)
    outs = parts(data(3, seed=0), w, v)
    seen: list[Any] = []
    for at, keep in order:
        chosen = outs if at == "sum" else (outs[at],)
        total = sum((t.sum() for t in chosen[1:]), chosen[0].sum())
        try:
            total.backward(retain_graph=keep)
        except AutogradError as e:
            return [*seen, type(e)]
        seen += [None if t.grad is None else t.grad.clone() for t in (w, v)]
    return seen


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", PARTS)
def test_as_in_eager(name: str, order: str) -> None:
    eager = gradients(PARTS[name], ORDERS[order])
    native = gradients(graphc.compile(PARTS[name]), ORDERS[order])
    assert len(eager) == len(native)
    for a, b in zip(eager, native):
        if isinstance(a, Tensor):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)
        else:
            assert a is b


@pytest.mark.parametrize("name", [name for name in PARTS if name != "nothing_saved"])
def test_twice_from_one_output_is_refused(name: str) -> None:
    w, v = data(3, seed=1, grad=True), data(3, seed=2, grad=True)
    outs = graphc.compile(PARTS[name])(data(3), w, v)
    outs[0].sum().backward(retain_graph=True)
    outs[0].sum().backward()
    before = w.grad.tolist()
    with pytest.raises(AutogradError, match="a second time"):
        outs[0].sum().backward()
    assert w.grad.tolist() == before


def test_grad_of_each_output() -> None:
    w, v, x = data(3, seed=1, grad=True), data(3, seed=2, grad=True), data(3)
    a, b = graphc.compile(PARTS["apart"])(x, w, v)
    assert graphc.autograd.grad(a, [w, v], allow_unused=True)[1] is None
    (g,) = graphc.autograd.grad(b, v)
    np.testing.assert_allclose(g.numpy(), (2 * (x * v).sum() * x).detach().numpy(), rtol=1e-5)


def test_a_write_matters_to_the_outputs_that_read_it_alone() -> None:
    w, v = data(3, seed=1, grad=True), data(3, seed=2, grad=True)
    x = data(3)
    step = graphc.compile(lambda x, y, w, v: ((x * w).sum(), (y * v).sum()))
    y = x * 2
    a, b = step(x, y, w, v)
    y.add_(1)
    a.backward()
    with pytest.raises(AutogradError, match="changed in place"):
        b.backward()


def test_what_no_backward_can_need_is_freed() -> None:
    """After the loss, logits that it was made of cannot be gone back from; so nothing is kept."""
    w, v = data(3, seed=1, grad=True), data(3, seed=2, grad=True)
    step = graphc.compile(lambda x, w, v: ((h := (x * w).exp() * v).sum(), h))
    step(data(3), w, v)
    x = data(3)
    shown = weakref.ref(x.storage)
    loss, logits = step(x, w, v)
    del x
    gc.collect()
    assert shown() is not None
    loss.backward()
    gc.collect()
    assert shown() is None and logits.requires_grad
    with pytest.raises(AutogradError, match="a second time"):
        logits.sum().backward()


def test_only_what_arrives_is_computed() -> None:
    step = graphc.compile(PARTS["apart"])
    w, v = data(3, seed=1, grad=True), data(3, seed=2, grad=True)
    for _ in range(3):  # one program for the forward, one for each output's backward
        a, b = step(data(3), w, v)
        a.backward()
        b.backward()
    assert step.explain().programs == 3
