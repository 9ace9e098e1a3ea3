"""Operators of a user's own that no trace can follow: a compiled step runs them between kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc import Tensor, nn
from graphc.errors import AutogradError, DataDependentBranch, ShapeMismatch, Untraceable
from graphc.ir.text import parse, show

custom_op = graphc.library.custom_op


@custom_op("test_opaque::sine", mutates_args=())
def sine(x: Tensor, by: float, text: str = "", more: list[int] | None = None) -> Tensor:
    """As PyTorch's tutorial has it, through NumPy."""
    return graphc.from_numpy(np.sin(x.numpy() * by).astype(np.float32) + sum(more or [0]))


@sine.register_fake
def _(x: Tensor, by: float, text: str = "", more: list[int] | None = None) -> Tensor:
    return graphc.empty_like(x)


sine.register_autograd(
    lambda ctx, g: (g * (ctx.saved_tensors[0] * 2).cos() * 2, None, None, None),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
)


def test_numpy_code_is_part_of_a_step() -> None:
    def step(x: Tensor) -> Tensor:
        return sine(x * 1.5, 2.0, more=[1, 2]).square().sum()

    compiled = graphc.compile(step)
    for n in (3, 3, 5, 4):
        x = graphc.linspace(0, 1, n).requires_grad_()
        y = x.detach().clone().requires_grad_()
        a, b = compiled(x), step(y)
        a.backward()
        b.backward()
        assert x.grad is not None and y.grad is not None
        np.testing.assert_allclose(a.item(), b.item(), rtol=1e-6)
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=1e-5)
    assert compiled.stats.programs == 2  # of the first size, and of any


@custom_op("test_opaque::grouped", mutates_args=())
def grouped(x: Tensor, w: Tensor, ends: Tensor) -> Tensor:
    """Rows by experts, as models of mixed experts have it."""
    out, start = x.new_zeros(x.shape[0], w.shape[2]), 0
    for i, end in enumerate(ends.tolist()):
        if start == end:
            continue
        graphc.mm(x[start:end], w[i], out=out[start:end])
        start = end
    return out


@custom_op("test_opaque::grouped_backward", mutates_args=())
def grouped_backward(x: Tensor, w: Tensor, ends: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    dx, dw, start = graphc.zeros_like(x), graphc.zeros_like(w), 0
    for i, end in enumerate(ends.tolist()):
        if start != end:
            dx[start:end] = g[start:end] @ w[i].T
            dw[i] = x[start:end].T @ g[start:end]
        start = end
    return dx, dw


grouped.register_fake(lambda x, w, ends: x.new_empty(x.shape[0], w.shape[2]))
grouped_backward.register_fake(lambda x, w, ends, g: (graphc.empty_like(x), graphc.empty_like(w)))


def _keep(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.ends = inputs[2]


def _gradients(ctx: Any, g: Tensor) -> Any:
    return (*grouped_backward(*ctx.saved_tensors, ctx.ends, g), None)


grouped.register_autograd(_gradients, setup_context=_keep)


def test_experts_train_by_a_loop_over_their_counts() -> None:
    """Their counts change from call to call; the program is one."""
    nets = []
    for compiled in (False, True):
        graphc.manual_seed(0)
        gate, w = nn.Linear(4, 3), nn.Parameter(graphc.randn(3, 4, 4) * 0.5)
        opt = graphc.optim.SGD([*gate.parameters(), w], lr=0.1)

        def step(x: Tensor, gate: Any = gate, w: Any = w, opt: Any = opt) -> Tensor:
            opt.zero_grad()
            scores, chosen = gate(x).softmax(-1).max(-1)
            chosen, perm = chosen.sort()
            ends = (chosen[:, None] <= graphc.arange(3)).sum(0)
            y = grouped(x[perm], w, ends) * scores[perm][:, None]
            loss = (y - 1).square().mean()
            loss.backward()
            opt.step()
            return loss

        run = graphc.compile(step) if compiled else step
        batches = [graphc.sin(graphc.arange(20.0) * (k + 1)).reshape(5, 4) for k in range(4)]
        nets.append([run(x).item() for x in batches])
        if compiled:
            assert run.stats.programs == 1
            assert "= opaque " in run.ir("trace")
    np.testing.assert_allclose(*nets, rtol=1e-5)


@custom_op("test_opaque::double", mutates_args=())
def double(x: Tensor) -> Tensor:
    return x * 2


double.register_fake(lambda x: x)


def test_what_can_be_traced_is() -> None:
    step = graphc.compile(lambda x: double(x) + 1)
    assert step(graphc.ones(2)).tolist() == [3, 3]
    assert "= opaque " not in step.ir("trace")


def test_types_of_results_are_kept() -> None:
    @custom_op("test_opaque::types", mutates_args=())
    def types(x: Tensor) -> list[Tensor]:
        n = x.sum().item()
        return [graphc.tensor([n]).long() * (1 << 40), x > n / 8, x.bfloat16()]

    types.register_fake(
        lambda x: [
            graphc.empty(1, dtype=graphc.int64),
            graphc.empty_like(x, dtype=graphc.bool),
            x.bfloat16(),
        ]
    )
    x = graphc.arange(4.0)
    for a, b in zip(types(x), graphc.compile(types)(x), strict=True):
        assert a.dtype is b.dtype and graphc.equal(a, b)


def test_the_text_of_such_a_graph_parses_back() -> None:
    step = graphc.compile(lambda x: sine(x, 2.0, "a b", [3]))
    step(graphc.ones(2))
    text = step.ir("trace")
    assert "= opaque " in text and show(parse(text)).splitlines()[1:] == text.splitlines()[1:]


def lying(x: Tensor) -> Tensor:
    return x[:1] if x.tolist() else x


def test_a_fake_that_lies_is_told() -> None:
    op = custom_op("test_opaque::lying", lying, mutates_args=())
    op.register_fake(lambda x: x)
    with pytest.raises(ShapeMismatch, match=r"gives float32\[1\], where its fake gives"):
        graphc.compile(op)(graphc.ones(3))


def test_what_is_refused() -> None:
    op = custom_op("test_opaque::no_fake", lying, mutates_args=())
    with pytest.raises((DataDependentBranch, AutogradError)):
        graphc.compile(op)(graphc.ones(1))
    op.register_fake(lambda x: x[:1])
    x = graphc.ones(3, requires_grad=True)
    y = graphc.compile(op)(x)
    with pytest.raises(AutogradError, match="derivative of test_opaque::no_fake"):
        y.sum().backward()
    by = custom_op("test_opaque::by", lambda x, by: x * by(x.tolist()), mutates_args=())
    by.register_fake(lambda x, by: x)
    with pytest.raises(Untraceable, match="is given"):
        graphc.compile(lambda x: by(x, sum))(graphc.ones(1))
