"""checkpoint: the same numbers as without, less memory, and errors where it cannot run again."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.utils.checkpoint import checkpoint, checkpoint_sequential


def net() -> Any:
    graphc.manual_seed(0)
    return nn.Sequential(
        *(m for k in range(4) for m in (nn.Linear(3, 3), nn.Dropout(0.3), nn.Tanh()))
    )


def gradients(run: Any, wrap: Any = lambda f: f) -> Any:
    module, x = net(), graphc.tensor(np.arange(6.0).reshape(2, 3) / 7, dtype=graphc.float32)
    x.requires_grad_()

    @wrap
    def step(x: Any) -> Any:
        loss = (run(module, x) ** 2).sum()
        loss.backward()
        return loss

    graphc.manual_seed(5)
    loss = step(x)
    return [
        loss.item(),
        graphc.rand(1).item(),
        x.grad.numpy(),
        *(p.grad.numpy() for p in module.parameters()),
    ]


@pytest.mark.parametrize(
    "run",
    [
        lambda m, x: checkpoint(m, x, use_reentrant=False),
        lambda m, x: checkpoint_sequential(m, 3, x, use_reentrant=False),
        lambda m, x: checkpoint(lambda a, *, b: m(b["x"] + a * 0), x, b={"x": x}),
        lambda m, x: checkpoint(lambda y: checkpoint(m[6:], m[:6](y)), x),
    ],
    ids=["whole", "sequential", "keywords", "nested"],
)
@pytest.mark.parametrize("wrap", [lambda f: f, graphc.compile], ids=["eager", "compiled"])
def test_gradients_and_random_numbers_are_those_without(run: Any, wrap: Any) -> None:
    expected, found = gradients(lambda m, x: m(x)), gradients(run, wrap)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=1e-7)


def test_what_the_function_made_is_freed_before_backward() -> None:
    seen: list[Any] = []

    def f(x: Any) -> Any:
        y = x.exp()
        seen.append(weakref.ref(y.storage))
        return (y * y).sin()

    x = graphc.ones(3, requires_grad=True)
    kept, dropped = f(x), checkpoint(f, x)
    gc.collect()
    assert seen[0]() is not None and seen[1]() is None
    (g,) = graphc.autograd.grad(dropped.sum(), x)
    (h,) = graphc.autograd.grad(kept.sum(), x)
    np.testing.assert_array_equal(g.numpy(), h.numpy())


def test_second_derivatives_and_a_second_backward() -> None:
    x = graphc.tensor([0.5, 2.0], requires_grad=True)
    y = checkpoint(lambda a: a**3 * a.exp(), x).sum()
    (g,) = graphc.autograd.grad(y, x, create_graph=True)
    (h,) = graphc.autograd.grad(g.sum(), x)
    v = x.detach().numpy()
    np.testing.assert_allclose(h.numpy(), (v**3 + 6 * v**2 + 6 * v) * np.exp(v), rtol=1e-5)
    z = checkpoint(lambda a: a.exp(), x).sum()
    z.backward()
    with pytest.raises(RuntimeError, match="second time"):
        z.backward()


def test_errors() -> None:
    x = graphc.ones(2, requires_grad=True)
    y = x * 2
    z = checkpoint(lambda a: a.exp(), y)
    y.add_(1)
    with pytest.raises(RuntimeError, match="changed in place"):
        z.sum().backward()
    paths = [lambda a: a.exp(), lambda a: a.sin() * a]
    z = checkpoint(lambda a: paths.pop(0)(a), x)
    with pytest.raises(RuntimeError, match="another path"):
        z.sum().backward()
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(graphc.exp, x, determinism_check="all")


def test_without_gradients_it_is_a_call() -> None:
    calls: list[int] = []
    with graphc.no_grad():
        out = checkpoint(lambda a: calls.append(1) or a * 2, graphc.ones(2))
    assert out.tolist() == [2.0, 2.0] and calls == [1]


@pytest.mark.parametrize("wrap", [lambda f: f, graphc.compile], ids=["eager", "compiled"])
def test_contexts_surround_the_first_run_and_the_second(wrap: Any) -> None:
    seen: list[str] = []

    @contextlib.contextmanager
    def noted(name: str) -> Iterator[None]:
        seen.append(name)
        yield
        seen.append(f"end of {name}")

    def contexts() -> Any:
        return noted("first"), noted("second")

    def run(module: Any, x: Any) -> Any:
        return checkpoint(module, x, use_reentrant=False, context_fn=contexts, early_stop=False)

    expected, found = gradients(lambda m, x: m(x)), gradients(run, wrap)
    np.testing.assert_allclose(found[2], expected[2], rtol=2e-6)
    ran_again = ["second", "end of second"] if wrap is not graphc.compile else []
    assert seen == ["first", "end of first", *ran_again]


@pytest.mark.parametrize("options", [{"debug": True}, {"b": 1}, {"context_fn": lambda: None}])
def test_what_the_reentrant_kind_never_took(options: Any) -> None:
    with pytest.raises(ValueError, match="use_reentrant=False"):
        checkpoint(lambda a, **rest: a, graphc.ones(1), use_reentrant=True, **options)


def test_tools_around_checkpoints() -> None:
    tools = graphc.utils.checkpoint
    x = graphc.ones(2).requires_grad_()
    with tools.set_checkpoint_early_stop(False), tools.set_checkpoint_debug_enabled(True):
        y = tools.checkpoint(lambda x: x.exp(), x, use_reentrant=False,
                             context_fn=tools.noop_context_fn)  # fmt: skip
    y.sum().backward()
    assert x.grad is not None and graphc.equal(x.grad, x.exp())
    a, b, c = tools.detach_variable((x.exp(), graphc.ones(1), 3))
    assert a.requires_grad and a.is_leaf and not b.requires_grad and c == 3
    with pytest.raises(RuntimeError, match="Only tuple of tensors"):
        tools.detach_variable([x])
    tools.check_backward_validity([b, a])
    with pytest.warns(UserWarning, match="None of the inputs"):
        tools.check_backward_validity([b])
