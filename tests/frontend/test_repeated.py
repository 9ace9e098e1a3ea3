"""Update rules in a compiled step: one run for all operands of a type, and the same graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.frontend import update as updates
from graphc.frontend.update import update

SHAPES = ((3, 4), (5,), (3, 4), (3, 4), (5,), ())
Rule = Callable[..., Any]
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.1, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.1, weight_decay=0.1),
    "maximize": lambda p: optim.Adam(p, lr=0.1, maximize=True),
}


def descent(p: Any, g: Any, rate: Any) -> Any:
    return p - g * rate, None


def with_a_buffer(p: Any, g: Any, rate: Any) -> Any:
    buffer = p * rate + g
    return p - buffer, buffer


def updated(
    rule: Rule, grads: Callable[[Any], Any], rate: Any, shapes: Any = SHAPES, **options: bool
) -> tuple[Any, Any, list[int]]:
    """Parameters after a compiled and after an eager step, and the runs of the rule in a trace."""
    calls: list[int] = []

    def inside(*args: Any) -> Any:
        calls.append(len(args))
        return rule(*args)

    marked, rng = update(inside, **options), np.random.default_rng(0)
    first = [graphc.tensor(rng.standard_normal(n).astype(np.float32)) for n in shapes]

    def step(params: Any) -> None:
        with graphc.no_grad():
            for p in params:
                new = marked(p, grads(p), rate)
                p.copy_(new[0] if new[1] is None else new[0] * new[1])

    compiled, eager = ([x.clone() for x in first] for _ in range(2))
    graphc.compile(lambda: step(compiled))()
    traced = calls.copy()
    step(eager)
    return compiled, eager, traced


@pytest.mark.parametrize(
    ("rule", "grads", "runs"),
    [
        (descent, lambda p: p * 2, 3),
        (with_a_buffer, lambda p: p * 2, 3),
        (descent, lambda p: p, 6),  # both operands are one value
        (lambda p, g, r: (p, g * r), lambda p: p * 2, 6),  # an operand is a result
        (descent, lambda p: (p * 2).flip(0) if p.dim() == 1 else p * 2, 3),
        (descent, lambda p: p.expand(2, *p.shape)[0], 6),  # views
    ],
)
def test_a_rule_runs_once_for_operands_of_a_type(rule: Rule, grads: Rule, runs: int) -> None:
    compiled, eager, traced = updated(rule, grads, 0.25)
    assert len(traced) == runs
    for a, b in zip(compiled, eager, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("rule", [descent, with_a_buffer])
def test_a_rule_of_single_elements_runs_once_for_shapes_of_a_rank(rule: Rule) -> None:
    """But for shapes of a single element, to which nothing is repeated."""
    shapes = ((3, 4), (2, 7), (1, 1), (1, 4), (5,), (9,), (1,), (2, 7))
    compiled, eager, traced = updated(rule, lambda p: p * 2, 0.25, shapes, single=True)
    assert len(traced) == 4
    for a, b in zip(compiled, eager, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_a_rule_that_sums_is_not_one_of_single_elements() -> None:
    """Whatever it is called: its values tell."""
    shapes = ((3, 4), (2, 7), (3, 4))
    compiled, eager, traced = updated(
        lambda p, g, r: (p - g.sum() * r, None), lambda p: p * 2, 0.25, shapes, single=True
    )
    assert len(traced) == 2
    for a, b in zip(compiled, eager, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_what_a_rule_is_told_is_part_of_what_it_gave() -> None:
    rates = (0.5, 0.25, 0.5, -0.0, 0.0, 1)
    calls = []

    @update
    def rule(p: Any, g: Any, rate: Any) -> Any:
        calls.append(rate)
        return p - g * rate

    params = [graphc.ones(4) for _ in rates]

    @graphc.compile
    def step() -> None:
        with graphc.no_grad():
            for p, rate in zip(params, rates):
                p.copy_(rule(p, p * 2, rate))

    step()
    assert list(map(repr, calls)) == ["0.5", "0.25", "-0.0", "0.0", "1"]
    assert [float(p[0]) for p in params] == [0.0, 0.5, 0.0, 1.0, 1.0, -1.0]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_graph_is_that_of_the_rule_as_written(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the number of each value, and the lines and modules that they come from."""
    shown = []
    for as_written in (False, True):
        if as_written:
            monkeypatch.setattr(updates, "repeated", lambda _, rule, args, single: rule(*args))
        graphc.manual_seed(0)
        sizes = ((6, 6), (6, 6), (6, 5), (5, 1), (1, 6))
        net = nn.Sequential(*(nn.Linear(*size) for size in sizes), nn.BatchNorm1d(6))
        optimizer = OPTIMIZERS[name](net.parameters())

        @graphc.compile
        def step(x: Any, net: Any = net, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), x)
            loss.backward()
            optimizer.step()
            return loss

        step(graphc.ones(4, 6))
        shown.append(step.ir("trace").splitlines()[1:])  # the first says how long it took
    assert shown[0] == shown[1]
