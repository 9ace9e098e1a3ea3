"""PyTorch's options of `compile`, accepted in their meaning or refused with the list."""

from __future__ import annotations

from typing import Any

import pytest

import graphc
from graphc import nn
from graphc.errors import InvalidArgument, InvalidType
from graphc.frontend.step.compiled import CompiledFunction


def double(x: graphc.Tensor) -> graphc.Tensor:
    return x * 2


@pytest.mark.parametrize(
    "options",
    [
        {"fullgraph": True},
        {"fullgraph": False},
        {"mode": "max-autotune"},
        {"mode": "reduce-overhead", "fullgraph": True},
        {"backend": "inductor"},
        {"options": None},
        {"dynamic": None},
    ],
    ids=str,
)
def test_accepted(options: dict[str, Any]) -> None:
    for step in (graphc.compile(double, **options), graphc.compile(**options)(double)):
        assert isinstance(step, CompiledFunction)
        assert step(graphc.ones(3)).tolist() == [2, 2, 2]


@pytest.mark.parametrize("options", [{"disable": True}, {"backend": "eager"}], ids=str)
def test_plain_calls(options: dict[str, Any]) -> None:
    assert graphc.compile(double, **options) is double
    net = nn.Linear(2, 2)
    assert graphc.compile(net, **options) is net and "_compiled" not in vars(net)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mode": "fast"}, "pass one of None, 'default'"),
        ({"backend": "tvm"}, "'inductor', 'eager'"),
        ({"fullgraph": 1}, "False, True"),
        ({"options": {"max_autotune": True}}, "pass one of None"),
        ({"dynamics": True}, "the options are fullgraph, dynamic"),
        ({"on_limit": "stop"}, "'warn', 'raise'"),
        ({"grads": "none"}, "'keep', 'drop'"),
    ],
    ids=str,
)
def test_refused_with_the_list(options: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        graphc.compile(double, **options)
    assert text in str(refused.value)


def sizes_compiled(dynamic: bool | None, *shapes: tuple[int, ...]) -> int:
    step = graphc.compile(double, dynamic=dynamic)
    for shape in shapes:
        assert step(graphc.ones(*shape)).shape == shape
    programs: int = step.stats.programs
    return programs


def test_dynamic() -> None:
    rows, columns = ((2, 3), (4, 3), (5, 3)), ((2, 3), (2, 4), (2, 5), (6, 7))
    assert sizes_compiled(None, *rows) == 1 and sizes_compiled(None, *columns) == 2
    assert sizes_compiled(True, *rows) == 1 and sizes_compiled(True, *columns) == 1
    assert sizes_compiled(False, *rows) == 3 and sizes_compiled(False, *columns) == 4


def test_what_is_pytorchs_own_is_refused_with_the_fix() -> None:
    torch = pytest.importorskip("torch")
    with pytest.raises(InvalidType, match="build it from"):
        graphc.compile(torch.nn.Linear(2, 2))
    with pytest.raises(InvalidType, match="from_numpy"):
        graphc.compile(double)(torch.ones(2))
