"""Corners of shapes and numbers, against PyTorch: values, dtypes, shapes and gradients."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc

torch: Any = pytest.importorskip("torch")
NAN = math.nan
CORNERS: dict[str, Callable[[Any], Any]] = {
    "gather of 0-d": lambda T: T.tensor(2.0).gather(0, T.tensor([0])),
    "gather of 0-d at 0-d": lambda T: T.tensor(2.0).gather(0, T.tensor(0)),
    "index_fill of 0-d": lambda T: T.tensor(2.0).index_fill(0, T.tensor([0]), T.tensor(3.0)),
    "diff never": lambda T: T.diff(T.ones(2, 3), 0, 0, T.ones(1, 3), T.ones(1, 3)),
    "prelu of 0-d": lambda T: T.nn.functional.prelu(T.tensor(-2.0), T.tensor([0.5])),
    "rank of nothing": lambda T: T.linalg.matrix_rank(T.ones(0, 0)),
    "ranks of nothing": lambda T: T.linalg.matrix_rank(T.ones(2, 0, 3)),
    "slogdet of NaN": lambda T: T.stack(
        list(T.linalg.slogdet(T.tensor([[NAN, 1.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])))
    ),
    "bools without elements": lambda T: T.ones(2, 0).bool() @ T.ones(0, 3).bool(),
    "signs of zero remainders": lambda T: (
        1 / T.tensor([8.0, -8.0, 0.0, -0.0]).remainder(T.tensor([[4.0], [-4.0], [-float("inf")]]))
    ),
    "zeta's pole": lambda T: T.special.zeta(T.tensor([1.0, 1.0, 0.5]), T.tensor([0.0, -1.0, 1.0])),
    "zeta below zero": lambda T: T.special.zeta(
        T.tensor([2.0, 3.0, 3.0, 7.0, 20.0, 2.0, 2.5, 3.0], dtype=T.float64),
        T.tensor([-0.5, -1.25, -100.5, -7.999, -1e-3, -0.9999, -0.5, -2.0], dtype=T.float64),
    ),
    "i0": lambda T: T.tensor([-0.5, 2.0]).i0() + T.tensor([-0.5, 2.0]).i0_() + T.i0(T.ones(2)),
    "linspace to infinity": lambda T: T.cat([T.linspace(0, math.inf, n) for n in (1, 2, 3, 4, 5)]),
    "nan_to_num of its own": lambda T: T.tensor([NAN, 1.0, math.inf]).nan_to_num(
        1e300, posinf=-0.0
    ),
    "bytes far apart": lambda T: T.isclose(
        T.tensor([248, 3], dtype=T.uint8), T.tensor([255, 9], dtype=T.uint8), rtol=0.1
    ),
    "unravelled bytes": lambda T: T.unravel_index(T.tensor([5], dtype=T.uint8), (4, 5))[1],
    "addr of bools": lambda T: T.addr(
        *(T.ones(*n, dtype=T.bool) for n in ((2, 2), (2,), (2,))), beta=0, alpha=2
    ),
}
SLOPES: dict[str, Callable[[Any, Any], Any]] = {
    name: lambda T, x, name=name: getattr(T.special, name)(x) for name in ("i0", "i0e", "i1", "i1e")
} | {"pdist": lambda T, x: T.nn.functional.pdist(x[:1, None])}


@pytest.mark.parametrize("name", CORNERS)
def test_corner(name: str) -> None:
    theirs = CORNERS[name](torch)
    for call in (CORNERS[name], graphc.compile(CORNERS[name])):
        mine = call(graphc)
        assert mine.dtype.long_name == str(theirs.dtype).removeprefix("torch.")
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), 1e-6, strict=True)


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_near_nothing(name: str) -> None:
    found = []
    for T in (graphc, torch):
        x = T.tensor([0.0, 1e-300, -1e-10, 3.0, -30.0], dtype=T.float64, requires_grad=True)
        SLOPES[name](T, x).sum().backward()
        found.append(x.grad.numpy())
    np.testing.assert_allclose(*found, 1e-12, 0)
