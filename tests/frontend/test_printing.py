"""str() of tensors is PyTorch's, letter by letter, under every print option."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import graphc

torch: Any = pytest.importorskip("torch")

nan, inf = float("nan"), float("inf")

FLAT: list[list[Any]] = [
    [1.0], [1.0, 2.0, 3.0], [1.5, -2.25, 1000.0], [1e-6, 1.0], [1e10, 1.0], [1.0, 2000.0],
    [nan, inf, -1.0], [nan, 0.5], [inf], [nan, nan], [0.0, 0.0], [-0.0, 1.0], [0.0, 1e-5],
    [1e-4, 1.0], [0.5, 1e8], [1e8, 2e8], [1.1e8, 2.0], [123456.0, 1.0], [123.456, 0.001],
    [999.5, 1.0], [1000.5, 1.0], [-inf, 1e9, 2.5], [1e-40, 1.0], [3.4e38, 1.0], [0.1, 0.2, 0.3],
    [1, 200, -3], [True, False], [], [2**62, -(2**62)], [10.0, 100.0, 1000.0, 0.0],
]  # fmt: skip
MADE: list[Callable[[Any], Any]] = [
    lambda T: T.tensor(3.0),
    lambda T: T.tensor(7),
    lambda T: T.tensor(True),
    lambda T: T.tensor(-0.5),
    lambda T: T.tensor(inf),
    lambda T: T.tensor(1e-10),
    lambda T: T.tensor(12345678.0),
    lambda T: T.tensor(nan),
    lambda T: T.zeros(0, 3),
    lambda T: T.zeros(2, 0, dtype=T.float64),
    lambda T: T.zeros(0, dtype=T.int64),
    lambda T: T.zeros(0, 1, requires_grad=True),
    lambda T: T.tensor([[1, 200], [-3, 4]]),
    lambda T: T.zeros(2, 2, 2),
    lambda T: T.arange(24).reshape(2, 3, 2, 2),
    lambda T: T.arange(30.0) / 7,
    lambda T: T.arange(100),
    lambda T: T.arange(2000),
    lambda T: T.arange(1001) * 1000,
    lambda T: (T.arange(4000.0) / 3).reshape(40, 100),
    lambda T: T.arange(4000).reshape(10, 4, 100),
    lambda T: T.arange(2000).reshape(2, 1000) > 5,
    lambda T: T.ones(2, dtype=T.float64),
    lambda T: T.ones(3, 3, dtype=T.int32),
    lambda T: T.ones(2, dtype=T.bfloat16) / 3,
    lambda T: T.ones(2, dtype=T.float16) / 3,
    lambda T: T.ones(2, dtype=T.uint8),
    lambda T: T.ones(2, requires_grad=True),
    lambda T: T.zeros(2, 3, dtype=T.float64, requires_grad=True),
    lambda T: T.arange(11.0, dtype=T.float64, requires_grad=True),
    lambda T: T.arange(12.0, dtype=T.float64, requires_grad=True),
    lambda T: T.arange(13.0, dtype=T.float64, requires_grad=True) + 0.0,
    lambda T: T.arange(16.0).reshape(4, 4).t(),
    lambda T: T.arange(4.0).expand(3, 4),
    lambda T: T.ones(2, requires_grad=True) * 2,
    lambda T: T.ones(2, 2, requires_grad=True).exp(),
    lambda T: T.ones(2, 2, requires_grad=True).sum(),
    lambda T: T.ones(2).shape,
    lambda T: [T.ones(2), T.tensor(1)],
    lambda T: f"{T.tensor(2.5):.3f} {T.tensor(2)} {T.ones(1)}",
]
OPTIONS: list[dict[str, Any]] = [
    {"precision": 2},
    {"threshold": 5},
    {"threshold": 5, "edgeitems": 1},
    {"linewidth": 20},
    {"sci_mode": True},
    {"sci_mode": False},
    {"profile": "short"},
    {"profile": "full"},
    {"precision": 8, "linewidth": 120, "edgeitems": 2, "threshold": 10},
]
WIDE: list[Callable[[Any], Any]] = [
    lambda T: T.arange(40.0) / 3,
    lambda T: T.tensor([1e-6, 1.0]),
    lambda T: T.tensor([1.0, 2000.0]),
    lambda T: T.tensor([1.0, 2.0]),
    lambda T: T.tensor([-0.0, nan]),
    lambda T: (T.arange(40.0) / 3).reshape(8, 5),
    lambda T: T.arange(16).reshape(2, 2, 4),
    lambda T: T.ones(3, dtype=T.float64, requires_grad=True),
]


@pytest.fixture(autouse=True)
def default_options() -> Iterator[None]:
    yield
    for T in (graphc, torch):
        T.set_printoptions(profile="default")


def same(make: Callable[[Any], Any]) -> None:
    assert repr(make(graphc)).replace("graphc.", "torch.") == repr(make(torch))


@pytest.mark.parametrize("values", FLAT, ids=str)
def test_numbers(values: list[Any]) -> None:
    same(lambda T: T.tensor(values))


@pytest.mark.parametrize("k", range(len(MADE)))
def test_tensors(k: int) -> None:
    same(MADE[k])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options(options: dict[str, Any]) -> None:
    for T in (graphc, torch):
        T.set_printoptions(**options)
    for make in WIDE:
        same(make)


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="long"):
        graphc.set_printoptions(profile="long")
