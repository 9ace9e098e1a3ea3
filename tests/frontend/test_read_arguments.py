"""Integers among the arguments: a few values are a program each, many are read at each call."""

from __future__ import annotations

from typing import Any

import pytest

import graphc

pytestmark = pytest.mark.usefixtures("uncollected")


def test_a_number_of_the_loop_that_says_when_to_step() -> None:
    """`if (i + 1) % 3 == 0`: had a program for each i."""
    w = graphc.nn.Parameter(graphc.zeros(2))
    opt = graphc.optim.SGD([w], lr=1.0)

    @graphc.compile
    def step(i: int, x: Any) -> Any:
        (w * x).sum().backward()
        if (i + 1) % 3 == 0:
            opt.step()
            opt.zero_grad()
        return w.detach().sum() + i

    found = [step(i, graphc.ones(2)).item() for i in range(15)]
    assert found == [-6.0 * ((i + 1) // 3) + i for i in range(15)]
    assert step.stats.programs <= 7  # of 3 values, and of each answer with and without gradients


def test_as_a_factor_an_exponent_a_text_and_a_size() -> None:
    def step(i: int, x: Any, k: Any) -> Any:
        texts = f"{i:03d}", str(i), isinstance(i, int)
        return x * i, k + i, x / (1 - 0.5**i), k // (i + 1), texts, i

    compiled = graphc.compile(step)
    x, k = graphc.tensor([0.5, -1.25]), graphc.arange(3)
    for i in (1, 2, 3, 4, 5, 6, -3, 1 << 40):
        found, expected = compiled(i, x, k), step(i, x, k)
        for a, b in zip(found[:4], expected[:4], strict=True):
            assert a.dtype == b.dtype and a.tolist() == b.tolist()
        assert found[4:] == expected[4:] and type(found[5]) is int
    assert compiled.stats.programs == 4
    wide = 1 << 70
    assert compiled(True, x, k)[0].tolist() == x.tolist()
    assert graphc.compile(lambda i: i + 1)(wide) == wide + 1

    @graphc.compile
    def sized(n: int) -> Any:
        return graphc.ones(n).sum()

    assert [sized(n).item() for n in range(1, 8)] == [float(n) for n in range(1, 8)]


def test_a_mode_of_two_values_stays_a_part_of_the_signature() -> None:
    @graphc.compile
    def step(x: Any, mode: int) -> Any:
        return (x * 2 if mode else x).sum()

    x = graphc.ones(2)
    for k in range(8):
        assert step(x, k % 2).item() == 2.0 * (1 + k % 2)
    assert step.stats.programs == 2
    for _ in range(4):
        step(x, 1)
    assert step._latch is not None
