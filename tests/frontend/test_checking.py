"""The check of GRAPHC_VERIFY passes what is right and bites on what is wrong."""

from __future__ import annotations

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import InternalError
from graphc.frontend.step.inspect.checking import check, difference
from graphc.ir.interpret import interpret
from graphc.ir.text import parse

GRAPH = """// graphc 1  f
graph(%x: f32[3], %i: i64[2]) {
  %1: f32[3] = mul %x %x
  %2: i64[2] = add %i %i
  return %1, %2
}
"""


def test_equal_stages_and_programs_pass() -> None:
    graph = parse(GRAPH)
    check(graph, [("same", parse(GRAPH))], lambda inputs: interpret(graph, *inputs))


@pytest.mark.parametrize("old, new", [("mul %x %x", "add %x %x"), ("add %i %i", "mul %i %i")])
def test_a_wrong_stage_is_named(old: str, new: str) -> None:
    graph, wrong = parse(GRAPH), parse(GRAPH.replace(old, new))
    with pytest.raises(InternalError, match="fold changes the meaning of f"):
        check(graph, [("fold", wrong)], lambda inputs: interpret(graph, *inputs))


def test_a_wrong_program_is_named() -> None:
    graph = parse(GRAPH)
    with pytest.raises(InternalError, match="the compiled program"):
        check(graph, [], lambda inputs: [a * 0 for a in interpret(graph, *inputs)])


def test_difference() -> None:
    a = np.array([1.0, np.nan, 2.0], np.float32)
    assert difference(a, a, 0.0) == 0.0
    assert difference(a, np.array([1.0, 1.0, 2.0], np.float32), 0.0) == np.inf
    assert difference(np.array([1]), np.array([2]), 0.0) == np.inf
    assert difference(np.zeros(2), np.full(2, 1e-9), floor=1.0) < 1e-8


def test_a_compiled_step_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    w = graphc.ones(3, requires_grad=True)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        loss = (graphc.rand(3) * w * x).exp().sum()
        loss.backward()
        with graphc.no_grad():
            w.sub_(w.grad)
        return loss

    step(graphc.ones(3))
    assert w.grad is not None


def test_a_step_with_indices_into_one_element_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    step = graphc.compile(lambda x: nn.functional.interpolate(x, scale_factor=2, mode="bilinear"))
    assert step(graphc.ones(2, 3, 1, 1)).equal(graphc.ones(2, 3, 2, 2))


def test_a_step_with_winograd_convolutions_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_VERIFY", "1")
    graphc.manual_seed(0)
    net = nn.Conv2d(32, 32, 3, padding=1)
    optimizer = optim.SGD(net.parameters(), lr=0.1)

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = net(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    step(graphc.randn(4, 32, 12, 12))
    assert "winograd" in step.ir("winograd")
