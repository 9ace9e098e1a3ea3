"""Views that together are all of a tensor: one node on the tape, whose derivative joins theirs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import graphc

T = graphc.Tensor
CUTS: dict[str, tuple[Callable[[T], Sequence[T]], str]] = {
    "chunk": (lambda x: x.chunk(3, 1), "SplitBackward0"),
    "split": (lambda x: x.split([1, 3, 2], 1), "SplitBackward0"),
    "split by a size": (lambda x: x.split(4, -1), "SplitBackward0"),
    "unbind": (lambda x: x.unbind(1), "UnbindBackward0"),
}


def leaf() -> T:
    return graphc.arange(24.0).reshape(4, 6).requires_grad_()


def cut_by_index(parts: Sequence[T], x: T) -> list[T]:
    """The same parts, each by an index of its own."""
    found, at = [], 0
    for part in parts:
        wide = part.dim() == 2
        found.append(x[:, at : at + part.shape[1]] if wide else x[:, at])
        at += part.shape[1] if wide else 1
    return found


def loss_of(parts: Sequence[T]) -> T:
    return sum((k + 1) * (p * p * p).sum() for k, p in enumerate(parts))  # type: ignore[return-value]


@pytest.mark.parametrize("name", CUTS)
@pytest.mark.parametrize("used", [slice(None), slice(1, 2)])
def test_gradients_are_those_of_each_part_alone(name: str, used: slice) -> None:
    cut, label = CUTS[name]
    x, y = leaf(), leaf()
    parts = cut(x * 1)
    assert {p.grad_fn.name() for p in parts if p.grad_fn is not None} == {label}
    assert len({p.grad_fn for p in parts}) == 1
    loss_of(parts[used]).backward()
    loss_of(cut_by_index(parts, y * 1)[used]).backward()
    assert x.grad is not None and y.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), y.grad.numpy())


@pytest.mark.parametrize("name", CUTS)
def test_second_derivatives(name: str) -> None:
    def twice(parts: Callable[[T], Sequence[T]]) -> Any:
        x = leaf()
        (g,) = graphc.autograd.grad(loss_of(parts(x * 1)), x, create_graph=True)
        g.pow(2).sum().backward()
        return x.grad

    cut = CUTS[name][0]
    expected = twice(lambda x: cut_by_index(cut(x.detach()), x))
    np.testing.assert_allclose(twice(cut).numpy(), expected.numpy(), rtol=1e-6)


def test_writes_through_a_part_are_seen_by_the_others_of_the_whole() -> None:
    found = []
    for cut in (lambda x: x.chunk(2, 1), lambda x: (x[:, :3], x[:, 3:])):
        x = leaf()
        y = x * 1
        a, b = cut(y)
        a.mul_(3.0)
        ((y * y).sum() + (a * b).sum()).backward()
        assert x.grad is not None
        found.append(x.grad.tolist())
    assert found[0] == found[1]


def test_parts_of_what_needs_no_gradient_are_views() -> None:
    x = graphc.zeros(2, 4)
    a, b = x.chunk(2, 1)
    assert a.grad_fn is None and b.is_leaf
    a.fill_(1.0)
    assert x.tolist() == [[1.0, 1.0, 0.0, 0.0]] * 2
    y = x.requires_grad_()
    with graphc.no_grad():
        assert y.chunk(2, 1)[0].grad_fn is None
