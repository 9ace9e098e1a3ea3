"""Type promotion against torch: all dtypes, with and without dimensions, and Python numbers."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import graphc
from graphc.ir.types import DTYPES

torch: Any = pytest.importorskip("torch")

NAMES = [d.long_name for d in DTYPES.values()]
NUMBERS = [True, 3, 1.5]


def name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


def pair(dtype: str, shape: tuple[int, ...]) -> tuple[Any, Any]:
    ours = graphc.ones(shape, dtype=getattr(graphc, dtype))
    return ours, torch.ones(shape, dtype=getattr(torch, dtype))


@pytest.mark.parametrize("a", NAMES)
def test_result_type_of_tensors(a: str) -> None:
    for b, s, t in itertools.product(NAMES, [(), (2,)], [(), (2,)]):
        (x, u), (y, v) = pair(a, s), pair(b, t)
        want = name(torch.result_type(u, v))
        assert graphc.result_type(x, y).long_name == want, (a, s, b, t)
        if (a, b) != ("bool", "bool"):
            assert (x * y).dtype.long_name == want
    assert all(
        graphc.promote_types(getattr(graphc, a), getattr(graphc, b)).long_name
        == name(torch.promote_types(getattr(torch, a), getattr(torch, b)))
        for b in NAMES
    )


@pytest.mark.parametrize("number", NUMBERS, ids=str)
def test_result_type_with_numbers(number: Any) -> None:
    for a, s in itertools.product(NAMES, [(), (2,)]):
        x, u = pair(a, s)
        assert graphc.result_type(x, number).long_name == name(torch.result_type(u, number))
        assert graphc.result_type(number, x).long_name == name(torch.result_type(number, u))


@pytest.mark.parametrize("a", NAMES)
def test_functions_give_the_dtypes_of_torch(a: str) -> None:
    x, u = pair(a, (2,))
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
    for T in (graphc, torch):
        with pytest.raises(IndexError):
            bad(T)
