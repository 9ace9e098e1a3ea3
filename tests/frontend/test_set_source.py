"""Tensor.set_: from then on over the memory of another, as in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

import graphc
from graphc.errors import Untraceable


def namespaces() -> list[Any]:
    torch = pytest.importorskip("torch")
    return [torch, graphc]


def test_memory_is_shared_both_ways() -> None:
    for T in namespaces():
        x, y = T.ones(3), T.arange(4.0).reshape(2, 2)
        assert x.set_(y) is x and tuple(x.shape) == (2, 2) and x.data_ptr() == y.data_ptr()
        y[0, 0], x[1, 1] = 9, 7
        assert x.tolist() == y.tolist() == [[9, 1], [2, 7]]
        assert T.ones(3).set_(source=y[1]).tolist() == [2, 7]
        assert T.ones(3).set_().tolist() == []


def test_a_view_leaves_its_base() -> None:
    for T in namespaces():
        x, other = T.ones(4), T.zeros(2)
        view = x[1:]
        view.set_(other).fill_(5)
        assert x.tolist() == [1, 1, 1, 1] and other.tolist() == [5, 5]


def test_a_parameter_takes_it_without_a_gradient() -> None:
    for T in namespaces():
        weight = T.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError):
            weight.set_(T.zeros(2))
        with T.no_grad():
            weight.set_(T.full((3,), 2.0))
        (weight * weight).sum().backward()
        assert weight.grad.tolist() == [4, 4, 4]


def test_what_saved_it_refuses() -> None:
    for T in namespaces():
        x, weight = T.ones(2), T.ones(2, requires_grad=True)
        y = (x * weight).sum()
        x.set_(T.zeros(2))
        with pytest.raises(RuntimeError, match="version"):
            y.backward()


def test_refusals() -> None:
    for T in namespaces():
        with pytest.raises(RuntimeError):
            T.ones(2).set_(T.ones(2).long())
    with pytest.raises(Untraceable, match="set_"):
        graphc.compile(lambda x: graphc.ones(2).set_(x) + 1)(graphc.ones(3))


def test_a_compiled_step_reads_what_is_there_now() -> None:
    x = graphc.ones(3)
    step = graphc.compile(lambda: x * 2)
    assert step().tolist() == [2, 2, 2]
    other = graphc.full((2,), 3.0)
    x.set_(other)
    assert step().tolist() == [6, 6]
    other.fill_(4)
    assert step().tolist() == [8, 8]
