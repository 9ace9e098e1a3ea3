"""The forms in which backward, grad, hooks and Functions are called, each beside PyTorch's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc

torch: Any = pytest.importorskip("torch")
BOTH = [graphc, torch]
Program = Callable[[Any, Any, Any], Any]


def told(x: Any) -> Any:
    """A result as plain data: values, dtype and whether a gradient would flow."""
    if isinstance(x, tuple | list):
        return [told(v) for v in x]
    if isinstance(x, graphc.Tensor | torch.Tensor):
        return x.tolist(), str(x.dtype).rpartition(".")[2], x.requires_grad
    return x


def function(T: Any, forward: Any, backward: Any) -> Any:
    """A Function of two plain functions."""
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type("Fn", (T.autograd.Function,), members)


def doubled_in_place(ctx: Any, x: Any, result: Callable[[Any], Any]) -> Any:
    ctx.mark_dirty(x)
    return result(x.mul_(2))


def removing(T: Any, x: Any, y: Any) -> Any:
    """A hook takes itself and another one off while they run."""
    seen: list[str] = []
    handles: list[Any] = []

    def first(g: Any) -> Any:
        seen.append("first")
        for h in handles:
            h.remove()
        return g * 2

    handles.append(x.register_hook(first))
    handles.append(x.register_hook(lambda g: seen.append("second")))
    x.sum().backward()
    x.sum().backward()
    return seen, x.grad


def kept(T: Any, x: Any, y: Any) -> Any:
    """retain_grad sees what all hooks make of a gradient, those put on later, too."""
    z = x * 2
    z.register_hook(lambda g: g * 2)
    z.retain_grad()
    z.register_hook(lambda g: g * 3)
    (z * z).sum().backward()
    return z.grad, x.grad, z.retains_grad


def kept_through_a_write(T: Any, x: Any, y: Any) -> Any:
    z = x * 2
    z.retain_grad()
    z.mul_(3)
    (z * z).sum().backward()
    return z.grad, x.grad


def kept_view(T: Any, x: Any, y: Any) -> Any:
    z = x * 2
    v = z[:2]
    v.retain_grad()
    z.mul_(3)
    (v * v).sum().backward()
    return v.grad, x.grad


def middle(T: Any, x: Any, y: Any) -> Any:
    z = x * 2
    (z * 3).sum().backward(inputs=[z])
    return z.grad, z.retains_grad, x.grad


def named(T: Any, x: Any, y: Any) -> Any:
    """Keyword arguments of a Function count as further inputs."""
    F = function(T, lambda ctx, x, k=1: x * k, lambda ctx, g: (g * 3, None))
    F.apply(x, k=3).sum().backward()
    return x.grad, repr(F.apply(x, k=3))


FORMS: list[tuple[str, Program]] = [
    ("parameters", lambda T, x, y: [
        g.shape for m in [T.nn.Linear(3, 2)] for g in T.autograd.grad(m(x).sum(), m.parameters())
    ]),
    ("dict-values", lambda T, x, y: T.autograd.grad((x * y).sum(), {"x": x, "y": y}.values())),
    ("only-inputs", lambda T, x, y: T.autograd.grad((x * y).sum(), x, None, True, True, True)),
    ("wider-gradient", lambda T, x, y: ((x * 2).backward(T.ones(3, dtype=T.float64)), x.grad)),
    ("integer-gradient", lambda T, x, y: ((x * 2).backward(T.tensor([1, 2, 3])), x.grad)),
    ("backward-parameters", lambda T, x, y: (
        (x * y).sum().backward(inputs=(t for t in [y])), x.grad, y.grad)),
    ("materialized", lambda T, x, y: T.autograd.grad(
        (x * x).sum(), (x, y), materialize_grads=True, create_graph=True)),
    ("materialized-rows", lambda T, x, y: T.autograd.grad(
        x * 2, (x, y), (T.eye(3),), is_grads_batched=True, materialize_grads=True)),
    ("hooks-removed-inside", removing),
    ("retained-last", kept),
    ("retained-through-a-write", kept_through_a_write),
    ("retained-view", kept_view),
    ("inputs-in-the-middle", middle),
    ("accumulator", lambda T, x, y: (
        (x * 2).grad_fn.next_functions[0][0].variable is x,
        (x * 2).grad_fn.next_functions[0][0].name())),
    ("function-keywords", named),
    ("saved-variables", lambda T, x, y: T.autograd.grad(function(
        T, lambda ctx, x: (ctx.save_for_forward(x), ctx.save_for_backward(x), x * 1)[2],
        lambda ctx, g: g * ctx.saved_tensors[0]).apply(x).sum(), x)),
]  # fmt: skip

ERRORS: list[tuple[str, type[Exception], Program]] = [
    ("data-no-tensor", TypeError, lambda T, x, y: setattr(x, "data", 3)),
    ("matmul-none", TypeError, lambda T, x, y: x @ None),
    ("linear-none", TypeError, lambda T, x, y: T.nn.Linear(3, 2)(None)),
    ("relu-array", TypeError, lambda T, x, y: T.nn.functional.relu(x.detach().numpy())),
    ("linear-dtype", RuntimeError, lambda T, x, y: T.nn.Linear(3, 2)(x.double())),
    ("state-dtype", TypeError, lambda T, x, y: T.set_rng_state(T.ones(16))),
    ("no-tensor", TypeError, lambda T, x, y: T.autograd.grad(3.0, x)),
    ("number-gradient", TypeError, lambda T, x, y: x.sum().backward(1.0)),
    ("few-gradients", RuntimeError, lambda T, x, y: T.autograd.grad([x, y], x, [T.ones(3)])),
    ("hook-number", TypeError, lambda T, x, y: (x.register_hook(lambda g: 3), x.sum().backward())),
    ("hook-shape", RuntimeError, lambda T, x, y: (
        x.register_hook(lambda g: g[:2]), (x * y).sum().backward())),
    ("hook-dtype", RuntimeError, lambda T, x, y: (
        (z := x * 2).register_hook(lambda g: g.double()), (z * y).sum().backward())),
    ("view-in-no-grad", RuntimeError, lambda T, x, y: T.no_grad()(lambda: x[:2])().mul_(2)),
    ("dirty-not-returned", RuntimeError, lambda T, x, y: function(
        T, lambda ctx, x: doubled_in_place(ctx, x, lambda x: x + 1), None).apply(x * 1)),
    ("gradient-of-no-tensor", RuntimeError, lambda T, x, y: function(
        T, lambda ctx, x, k: x * k, lambda ctx, g: (g, g)).apply(x, 3).sum().backward()),
    ("gradient-no-tensor", RuntimeError, lambda T, x, y: function(
        T, lambda ctx, x: x * 2, lambda ctx, g: 3.0).apply(x).sum().backward()),
    ("function-with-self", RuntimeError, lambda T, x, y: function(T, None, None)()(x)),
]  # fmt: skip


def given(T: Any) -> tuple[Any, Any]:
    return T.tensor([1.0, 2, 3], requires_grad=True), T.tensor([0.0, 2, 4], requires_grad=True)


@pytest.mark.filterwarnings("ignore:.*only_inputs:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize(("name", "program"), FORMS, ids=[f[0] for f in FORMS])
def test_forms(name: str, program: Program) -> None:
    mine, theirs = (told(program(T, *given(T))) for T in BOTH)
    assert mine == theirs


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("T", BOTH, ids=["graphc", "torch"])
@pytest.mark.parametrize(("name", "error", "program"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors(name: str, error: type[Exception], program: Program, T: Any) -> None:
    with pytest.raises(error):
        program(T, *given(T))
