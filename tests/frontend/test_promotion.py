"""Type promotion against torch: all dtypes, with and without dimensions, and Python numbers."""

from __future__ import annotations

import itertools
import json
import warnings
from typing import Any

import pytest

import graphc
from graphc.ir.types import DTYPES
from tests.frontend.promotion_table import CODES, FILE, table

NAMES = [d.long_name for d in DTYPES.values()]
STORED = json.loads(FILE.read_text())


def name(dtype: Any) -> str:
    return str(dtype).split(".")[-1]


def test_every_cell_is_as_stored() -> None:
    """promotion.json is PyTorch's; no torch is needed to hold graphc to it."""
    ours = table(graphc)
    assert {op for op in STORED if STORED[op] != ours[op]} == set()
    assert len(STORED["result_type"]) == 23 and set(STORED["div"][0]) <= set(CODES)


def test_the_stored_cells_are_what_torch_gives() -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert table(torch) == STORED


def test_promote_types_and_can_cast() -> None:
    torch = pytest.importorskip("torch")
    for a, b in itertools.product(NAMES, NAMES):
        ours, theirs = ([getattr(T, n) for n in (a, b)] for T in (graphc, torch))
        assert name(graphc.promote_types(*ours)) == name(torch.promote_types(*theirs))
        assert graphc.can_cast(*ours) == torch.can_cast(*theirs), (a, b)


@pytest.mark.parametrize("a", NAMES)
def test_functions_give_the_dtypes_of_torch(a: str) -> None:
    torch = pytest.importorskip("torch")
    x, u = (T.ones((2,), dtype=getattr(T, a)) for T in (graphc, torch))
    for f in ("sum", "prod", "exp", "sqrt", "sigmoid", "abs", "square", "any", "mean", "neg"):
        try:
            want = name(getattr(u, f)().dtype)
        except RuntimeError:
            with pytest.raises((RuntimeError, TypeError)):
                getattr(x, f)()
            continue
        assert getattr(x, f)().dtype.long_name == want, f
    for g in (lambda v: v / v, lambda v: v // v, lambda v: v / 2, lambda v: v**2, lambda v: v == v):
        try:
            want = name(g(u).dtype)
        except RuntimeError:
            continue
        assert g(x).dtype.long_name == want


def test_integers_wrap_and_floats_round_as_in_torch() -> None:
    torch = pytest.importorskip("torch")
    for make in (
        lambda T: T.tensor([250, 3], dtype=T.uint8) + 300,
        lambda T: T.tensor([250, 3], dtype=T.uint8) + T.tensor([10, 20], dtype=T.uint8),
        lambda T: T.tensor([100, -100], dtype=T.int8) * 2,
        lambda T: T.tensor([-7, 7, 7]) // 2,
        lambda T: T.tensor([-7, 7, 7]) % T.tensor([3, -3, 3]),
        lambda T: T.tensor([-7, 7]).fmod(3),
        lambda T: T.div(T.tensor([-7, 7, 8]), 2, rounding_mode="trunc"),
        lambda T: T.tensor([-(2**63), 5]) // -1,
        lambda T: T.tensor([-(2**63), 5]).abs(),
        lambda T: T.tensor([1, 2]) << T.tensor([70, 3]),
        lambda T: T.tensor([-8, 8]) >> T.tensor([70, 1]),
        lambda T: T.tensor([True, False]) + T.tensor([True, True]),
        lambda T: T.tensor([0.0, 1.0, float("nan")]) ** 0,
        lambda T: T.tensor([3, 4]) ** 2,
        lambda T: T.tensor([1.5, 2.5, -0.5]).round(),
        lambda T: T.tensor([1, 2]).masked_fill(T.tensor([True, False]), 1.5),
    ):
        ours, theirs = make(graphc), make(torch)
        assert ours.dtype.long_name == name(theirs.dtype)
        assert str(ours.tolist()) == str(theirs.tolist())


@pytest.mark.parametrize(
    "bad",
    [
        lambda T: T.tensor([True]) - T.tensor([True]),
        lambda T: T.tensor([1, 2]) ** -1,
        lambda T: T.tensor([1, 2]) // 0,
        lambda T: T.tensor([1, 2]) % 0,
        lambda T: T.tensor([1, 2]).mean(),
        lambda T: T.tensor([1.0]) & T.tensor([1.0]),
        lambda T: T.tensor([1, 2]).add_(1.5),
        lambda T: T.tensor([1, 2]).add_(T.ones(3, 2, dtype=T.int64)),
        lambda T: -T.tensor([True]),
        lambda T: T.zeros(2, 3) @ T.zeros(2, 3),
        lambda T: T.zeros(2) + T.zeros(3),
        lambda T: T.zeros(2, 3).view(4),
        lambda T: T.zeros(2, 3).t().view(6),
        lambda T: T.zeros(0).max(),
    ],
)
def test_what_torch_refuses_raises_runtime_error(bad: Any) -> None:
    torch = pytest.importorskip("torch")
    for T in (graphc, torch):
        with pytest.raises(RuntimeError):
            bad(T)


@pytest.mark.parametrize(
    "bad",
    [
        lambda T: T.zeros(2)[2],
        lambda T: T.zeros(2)[0, 0],
        lambda T: T.zeros(())[0],
        lambda T: T.zeros(2).sum(3),
        lambda T: T.zeros(2, 0).argmax(1),
        lambda T: T.zeros(2, 0).max(1),
        lambda T: T.zeros(3)[T.tensor([3])],
    ],
)
def test_what_torch_cannot_index_raises_index_error(bad: Any) -> None:
    torch = pytest.importorskip("torch")
    for T in (graphc, torch):
        with pytest.raises(IndexError):
            bad(T)
