"""autograd.graph: what is saved for backward, packed and brought back; edges and versions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import graphc
from graphc.autograd import graph


def net(T: Any, x: Any, w: Any) -> Any:
    y = T.tanh(x @ w) * x
    return (y.softmax(-1) * y.exp()).sum()


def gradients(T: Any, **options: Any) -> list[Any]:
    x = T.tensor([[0.5, -1.0], [2.0, 0.1]], dtype=T.float64, requires_grad=True)
    w = T.tensor([[1.0, 0.3], [-0.2, 0.7]], dtype=T.float64, requires_grad=True)
    y = net(T, x, w)
    (gx,) = T.autograd.grad(y, x, create_graph=True, **options)
    (gx * gx).sum().backward()
    return [gx.detach().numpy(), x.grad.numpy(), w.grad.numpy()]


def test_hooks_change_no_gradient_and_see_what_is_saved() -> None:
    plain = gradients(graphc)
    packed: list[graphc.Tensor] = []
    back: list[int] = []

    def pack(x: graphc.Tensor) -> int:
        packed.append(x.clone())
        return len(packed) - 1

    def unpack(k: int) -> graphc.Tensor:
        back.append(k)
        return packed[k]

    with graph.saved_tensors_hooks(pack, unpack):
        found = gradients(graphc)
    assert packed and back and not any(x.requires_grad for x in packed)
    for mine, theirs in zip(found, plain):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    torch = pytest.importorskip("torch")
    for mine, theirs in zip(found, gradients(torch)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)


def test_what_unpack_gives_counts() -> None:
    x = graphc.tensor([2.0, 3.0], requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: t, lambda t: t * 10):
        y = (x * x).sum()
    y.backward()
    assert x.grad is not None and x.grad.tolist() == [40.0, 60.0]
    with graph.saved_tensors_hooks(lambda t: t, lambda t: None):  # type: ignore[arg-type,return-value]
        y = (x * x).sum()
    with pytest.raises(TypeError, match="unpack_hook"):
        y.backward()


def test_hooks_end_with_their_block_and_can_be_refused() -> None:
    seen: list[Any] = []
    x = graphc.ones(2, requires_grad=True)
    with graph.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
        pass
    (x * x).sum().backward()
    assert not seen
    with graph.disable_saved_tensors_hooks("not here"), pytest.raises(RuntimeError, match="not he"):
        graph.save_on_cpu().__enter__()

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        with graph.save_on_cpu():
            return (x * x).sum()

    with pytest.raises(RuntimeError, match="compiled step"):
        step(x)


def test_saved_tensors_may_be_written() -> None:
    x = graphc.tensor([2.0, 3.0], requires_grad=True)
    with graph.allow_mutation_on_saved_tensors():
        y = x.exp().clone()
        z = (y * y).sum()
        with graphc.no_grad():
            y.zero_()
        z.backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), 2 * np.exp([4.0, 6.0]), rtol=1e-5)


def test_a_hook_that_writes_what_it_is_shown_is_refused() -> None:
    x = graphc.ones(2, requires_grad=True)
    with (
        graph.saved_tensors_hooks(lambda t: t.mul_(2), lambda t: t),
        pytest.raises(RuntimeError, match="modifying its input"),
    ):
        x.exp()


def test_save_on_cpu_keeps_gradients() -> None:
    with graph.save_on_cpu(pin_memory=True):
        found = gradients(graphc)
    for mine, theirs in zip(found, gradients(graphc)):
        np.testing.assert_array_equal(mine, theirs)


def test_edges_and_versions() -> None:
    x = graphc.ones(2, requires_grad=True)
    y = x * 2
    edge = graph.get_gradient_edge(y)
    assert edge.node is y.grad_fn and edge.output_nr == 0 and isinstance(edge.node, graph.Node)
    assert graph.get_gradient_edge(x).node is not None
    with pytest.raises(RuntimeError):
        graph.get_gradient_edge(graphc.ones(1))
    with pytest.raises(TypeError):
        graph.get_gradient_edge(3)  # type: ignore[arg-type]
    z = y * y
    graph.increment_version(y)
    with pytest.raises(RuntimeError, match="in-place"):
        z.sum().backward()
