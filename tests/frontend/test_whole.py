"""Functions that eager mode runs as one: the bits and derivatives of one operation at a time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc.autograd.graph import saved_tensors_hooks
from graphc.frontend import whole
from graphc.frontend.api.random import manual_seed
from graphc.frontend.eager import compiled
from graphc.frontend.tape import OpNode

T = graphc.Tensor
CLASSES = graphc.tensor([0, 2, 1, -100, 2])
CALLS: dict[str, tuple[Callable[..., T], tuple[tuple[int, ...], ...]]] = {
    "linear": (F.linear, ((5, 7), (3, 7), (3,))),
    "linear of rank 3": (F.linear, ((2, 5, 7), (3, 7), (3,))),
    "cross_entropy": (lambda x: F.cross_entropy(x, CLASSES, label_smoothing=0.1), ((5, 3),)),
    "nll_loss": (lambda x: F.nll_loss(x, CLASSES, reduction="sum"), ((5, 3),)),
    "conv2d": (lambda x, w, b: F.conv2d(x, w, b, 2, (1, 2)), ((2, 4, 9, 8), (6, 4, 3, 3), (6,))),
    "transposed": (lambda x, w: F.conv_transpose2d(x, w, None, 2), ((2, 4, 5, 5), (4, 3, 2, 2))),
    "layer_norm": (lambda x, w, b: F.layer_norm(x, [6], w, b), ((3, 4, 6), (6,), (6,))),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), ((3, 4, 6), (4,), (4,))),
    "batch_norm": (
        lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
        ((3, 4, 6, 5), (4,), (4,)),
    ),
    "batch_norm by running statistics": (
        lambda x, w, b: F.batch_norm(x, b.detach() + 1, b.detach() * b.detach(), w, b),
        ((3, 4, 6, 5), (4,), (4,)),
    ),
    "gelu": (F.gelu, ((40, 70),)),
    "softmax": (lambda x: F.softmax(x, -1), ((40, 70),)),
    "relu": (F.relu, ((40, 170),)),
    "mean": (lambda x: x.mean(-1, keepdim=True), ((40, 17),)),
    "clamp": (lambda x: x.clamp(-0.5, 0.7), ((40, 170),)),
    "mse_loss": (F.mse_loss, ((5, 3), (5, 3))),
    "bce": (F.binary_cross_entropy_with_logits, ((5, 3), (5, 3))),
    "attention": (F.scaled_dot_product_attention, ((2, 3, 8, 4), (2, 3, 8, 4), (2, 3, 8, 4))),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 2), ((2, 3, 8, 8),)),
}  # fmt: skip


def operands(shapes: tuple[tuple[int, ...], ...]) -> list[T]:
    rng = np.random.default_rng(3)
    arrays = [rng.standard_normal(s).astype(np.float32) for s in shapes]
    arrays[0].flat[0] = -0.0
    return [graphc.from_numpy(a).requires_grad_() for a in arrays]


def step(
    function: Callable[..., T], shapes: tuple[tuple[int, ...], ...]
) -> tuple[list[bytes], Any]:
    xs = operands(shapes)
    y = function(*xs)
    node = y.grad_fn
    y.backward(graphc.sin(y.detach()))
    return [y.detach().numpy().tobytes(), *(x.grad.numpy().tobytes() for x in xs)], node


@pytest.mark.parametrize("name", CALLS)
def test_bits_are_those_of_one_operation_at_a_time(name: str) -> None:
    function, shapes = CALLS[name]
    with saved_tensors_hooks(lambda x: x, lambda x: x):  # are told of each operation
        expected, node = step(function, shapes)
    assert type(node) is OpNode
    for _ in range(2):  # the call that makes the plan, and one that finds it
        got, node = step(function, shapes)
        assert type(node) is whole.Whole and got == expected


def test_the_gradient_of_a_large_mean_is_repeated_not_made() -> None:
    seen: list[Any] = []
    for side in (8, 200):
        x = operands(((side, side),))[0]
        y = x.mean()
        assert (type(y.grad_fn) is whole.Whole) == (side == 8)
        x.register_hook(lambda g: seen.append(g.array.strides))
        y.backward()
    assert seen == [(32, 4), (0, 0)]


def test_what_lies_otherwise_is_laid_row_by_row_first() -> None:
    """A transposed stream of tokens: one node and a copy, not a call for each operation."""

    def step(copied: bool) -> tuple[list[bytes], Any]:
        x, w, b = operands(((3, 6, 50), (6,), (6,)))
        turned = x.transpose(1, 2)
        y = F.layer_norm(turned.contiguous() if copied else turned, [6], w, b)
        node = y.grad_fn
        y.backward(graphc.sin(y.detach()))
        return [t.numpy().tobytes() for t in (y.detach(), x.grad, w.grad, b.grad)], node

    expected, _ = step(copied=True)
    got, node = step(copied=False)
    assert type(node) is whole.Whole and got == expected
    with saved_tensors_hooks(lambda x: x, lambda x: x):
        assert step(copied=False)[0] == expected


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [7, 20])
def test_heads_of_one_product_are_read_as_they_lie(
    length: int, causal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries, keys and values are views of one tensor, turned; longer ones by compiled code."""
    monkeypatch.setattr(compiled, "LARGE_DOT", compiled.LARGE_DOT if length < 20 else 1)

    def step() -> tuple[list[Any], list[Any]]:
        x, w = operands(((4, length, 3 * 4 * 16), (9, 4 * 16)))
        q, k, v = (t.view(4, length, 4, 16).transpose(1, 2) for t in x.chunk(3, -1))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        z = F.linear(y.transpose(1, 2).flatten(2).transpose(0, 1), w)
        nodes = [y.grad_fn, z.grad_fn]
        z.backward(graphc.sin(z.detach()))
        assert x.grad is not None and w.grad is not None
        got = [t.numpy().tobytes() for t in (y.detach(), z.detach(), x.grad, w.grad)]
        return [*got, y.stride(), z.stride()], nodes

    with saved_tensors_hooks(lambda x: x, lambda x: x):
        expected, nodes = step()
    assert OpNode in map(type, nodes)
    for _ in range(4):
        got, nodes = step()
        assert got == expected and {*map(type, nodes)} == {whole.Whole}


def test_a_write_to_what_shares_memory_with_an_operand_is_seen() -> None:
    (x,) = operands(((2, 5, 12),))
    y = x * 1
    q, k, v = y.chunk(3, -1)
    out = F.scaled_dot_product_attention(q, k, v)
    with graphc.no_grad():
        y[0, 0, 0] = 1.0
    with pytest.raises(RuntimeError, match="changed by an in-place operation"):
        out.sum().backward()


@pytest.mark.parametrize("name", ["cross_entropy", "layer_norm", "softmax", "attention"])
def test_second_derivatives(name: str) -> None:
    function, shapes = CALLS[name]

    def twice() -> list[bytes]:
        xs = operands(shapes)
        (g,) = graphc.autograd.grad(function(*xs).sin().sum(), xs[:1], create_graph=True)
        g.sin().sum().backward()
        return [x.grad.numpy() for x in xs if x.grad is not None]

    got = twice()
    with saved_tensors_hooks(lambda x: x, lambda x: x):
        expected = twice()
    assert len(got) == len(expected) >= 1
    for a, b in zip(got, expected):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_statistics_beside_a_result() -> None:
    """They are tensors of their own, without a gradient: writing them changes no derivative."""

    def trained() -> list[bytes]:
        (x,) = operands(((3, 4, 6, 5),))
        mean, var = graphc.zeros(4), graphc.ones(4)
        y = F.batch_norm(x, mean, var, training=True, momentum=1.0)
        mean.add_(1), var.mul_(2)
        y.backward(graphc.sin(y.detach()))
        assert x.grad is not None
        return [t.detach().numpy().tobytes() for t in (y, mean, var, x.grad)]

    with saved_tensors_hooks(lambda x: x, lambda x: x):
        expected = trained()
    for _ in range(2):
        assert trained() == expected


def test_a_norm_keeps_no_copy_of_its_operand() -> None:
    """Of the size of its operand it keeps nothing more, and says so when that is written."""
    (x,) = operands(((3, 4, 6, 5),))
    for norm in (
        lambda x: F.batch_norm(x, None, None, training=True),
        lambda x: F.layer_norm(x, [5]),
    ):
        y = norm(x)
        node = y.grad_fn
        assert type(node) is whole.Whole and node.operands is not None
        assert [a.size for a in node.operands[1:] if a.size >= x.numel()] == []
        with graphc.no_grad():
            x.mul_(2)
        with pytest.raises(RuntimeError, match="changed by an in-place operation"):
            y.sum().backward()


def test_a_step_calls_a_third_of_the_python() -> None:
    """`loss.backward()` of a layer and a loss: 40 primitives, run as four lists."""
    x, w, b = operands(((5, 7), (3, 7), (3,)))

    def run() -> None:
        F.cross_entropy(F.linear(x, w, b), CLASSES).backward()

    def calls() -> int:
        seen = [0]

        def count(frame: Any, event: str, arg: Any) -> None:
            seen[0] += event == "call"

        run()
        sys.setprofile(count)
        try:
            run()
        finally:
            sys.setprofile(None)
        return seen[0]

    few = calls()
    with saved_tensors_hooks(lambda x: x, lambda x: x):
        many = calls()
    assert 3 * few < many


def test_writes_to_what_is_kept_are_seen() -> None:
    x, w, b = operands(((5, 7), (3, 7), (3,)))
    y = F.linear(x, w, b)
    with graphc.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="changed by an in-place operation"):
        y.sum().backward()
    s = F.softmax(x * 1, -1)
    s.add_(1)
    with pytest.raises(RuntimeError, match="changed by an in-place operation"):
        s.sum().backward()
    y = F.linear(x, w, b)
    y.relu_()
    y.sum().backward()  # its own result it does not read


def test_a_second_backward_needs_retain_graph() -> None:
    (x,) = operands(((5, 3),))
    loss = F.cross_entropy(x, CLASSES)
    loss.backward(retain_graph=True)
    loss.backward()
    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()


def test_a_function_that_draws_runs_as_written() -> None:
    q, k, v = operands(((2, 3, 8, 4),) * 3)
    manual_seed(1)
    first, second = (F.scaled_dot_product_attention(q, k, v, dropout_p=0.5) for _ in range(2))
    assert not np.array_equal(first.detach().numpy(), second.detach().numpy())


def test_errors_are_those_of_each_call() -> None:
    (x,) = operands(((5, 3),))
    for _ in range(2):
        with pytest.raises(IndexError):
            F.cross_entropy(x, CLASSES + 7)
        with pytest.raises(ValueError, match="batch_size"):
            F.cross_entropy(x, CLASSES[:2].clone())


@pytest.mark.parametrize("make", [
    lambda ps: graphc.optim.SGD(ps, 0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    lambda ps: graphc.optim.AdamW(ps, 1e-2, amsgrad=True),
])  # fmt: skip
def test_update_rules_keep_their_bits(make: Callable[..., Any]) -> None:
    def trained(each: bool) -> list[bytes]:
        (p,) = operands(((6, 5),))
        optimizer = make([p])
        for k in range(3):
            optimizer.param_groups[0]["lr"] = 0.1 / (k + 1)
            p.grad = p.detach().cos()
            if each:
                with saved_tensors_hooks(lambda x: x, lambda x: x):
                    optimizer.step()
            else:
                optimizer.step()
        slots = [v for v in optimizer.state[p].values() if v is not None]
        return [t.detach().numpy().tobytes() for t in (p, *slots)]

    assert trained(False) == trained(True)
