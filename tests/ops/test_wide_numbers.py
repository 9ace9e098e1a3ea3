"""Numbers that do not fit 64 bits or the dtype they are for: refused as PyTorch does, or as it
computes with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc

WIDE = (2**64, -(2**63) - 1, 10**30)
Function = Callable[[Any, Any], Any]

OPERANDS: dict[str, Function] = {
    "add": lambda T, v: T.ones(2) + v,
    "rsub": lambda T, v: v - T.ones(2),
    "integers": lambda T, v: T.ones(2, dtype=T.int8) * v,
    "bools": lambda T, v: T.ones(2, dtype=T.bool) + v,
    "halves": lambda T, v: T.ones(2, dtype=T.float16) / v,
    "pow": lambda T, v: T.ones(2) ** v,
    "compared": lambda T, v: T.ones(2, dtype=T.int64) < v,
    "bits": lambda T, v: T.ones(2, dtype=T.int32) & v,
    "floor_divide": lambda T, v: T.ones(2, dtype=T.int64) // v,
    "clamp": lambda T, v: T.ones(2).clamp(max=v),
    "where": lambda T, v: T.where(T.ones(2) > 0, T.ones(2), v),
    "masked_fill": lambda T, v: T.ones(2).masked_fill(T.ones(2) > 0, v),
    "full": lambda T, v: T.full((2,), v),
    "full of floats": lambda T, v: T.full((2,), v, dtype=T.float32),
    "fill_": lambda T, v: T.ones(2).fill_(v),
    "index_fill": lambda T, v: T.ones(2).index_fill(0, T.tensor([0]), v),
    "alpha": lambda T, v: T.ones(2).add(T.ones(2), alpha=v),
    "value": lambda T, v: T.ones(2).addcmul(T.ones(2), T.ones(2), value=v),
    "arange": lambda T, v: T.arange(v, v + 2),
    "result_type": lambda T, v: T.result_type(T.ones(2), v),
}

# A number, and what takes no such.
REFUSED: list[tuple[Any, Function]] = [
    (300, lambda T, v: T.ones(2, dtype=T.int8).clamp(max=v)),
    (2**63, lambda T, v: T.ones(2, dtype=T.int64).clamp(min=v)),
    (1e300, lambda T, v: T.ones(2).clamp(-v, v)),
    (1e300, lambda T, v: T.ones(2).index_fill(0, T.tensor([0]), v)),
    (1e300, lambda T, v: T.ones(2).scatter(0, T.tensor([0]), v)),
    (1e300, lambda T, v: T.ones(2).add(T.ones(2), alpha=v)),
    (1e300, lambda T, v: T.ones(2, dtype=T.int64).addcmul(*[T.ones(2).long()] * 2, value=v)),
    (1e300, lambda T, v: T.nn.functional.pad(T.ones(2), (1, 1), value=v)),
    (1e300, lambda T, v: T.zeros(2).uniform_(0, v)),
    (float("inf"), lambda T, v: T.zeros(2).uniform_(0, v)),
    (2**63, lambda T, v: T.ones(2, dtype=T.bool) + v),
    (2**63, lambda T, v: T.ones(2, dtype=T.int64) ** v),
    (2**63, lambda T, v: T.arange(v)),
    (1e300, lambda T, v: T.where(T.ones(2) > 0, T.ones(2), v)),
    (1e300, lambda T, v: T.where(T.ones(2) > 0, v, 1.0)),
    (300, lambda T, v: T.ones(2).byte().where(T.ones(2) > 0, v)),
    (1e300, lambda T, v: T.ones(2).lerp(T.zeros(2), v)),
    (1e300, lambda T, v: T.linspace(0, v, 3)),
    (-1e300, lambda T, v: T.logspace(v, 0, 3)),
    (1e300, lambda T, v: T.nn.functional.leaky_relu(T.ones(2), v)),
    (1e300, lambda T, v: T.nn.functional.elu(T.ones(2), v)),
    (1e300, lambda T, v: T.nn.functional.celu(T.ones(2), v)),
    (1e300, lambda T, v: T.nn.functional.threshold(T.ones(2), v, 0.0)),
    (1e300, lambda T, v: T.nn.functional.threshold(T.ones(2), 0.0, v)),
    (1e300, lambda T, v: T.nn.functional.hardshrink(T.ones(2), v)),
    (1e300, lambda T, v: T.nn.functional.softshrink(T.ones(2), v)),
    (1e300, lambda T, v: T.nn.functional.softplus(T.ones(2), v)),
    (1e300, lambda T, v: T.nn.functional.softplus(T.ones(2), 1.0, v)),
]

TAKEN: list[tuple[Any, Function]] = [
    (1e30, lambda T, v: T.where(T.ones(2) > 1, T.ones(2).half(), v)),
    (10**30, lambda T, v: T.tensor(v, dtype=T.float64)),
    (-(10**30), lambda T, v: T.tensor([v, 1], dtype=T.float16)),
    (2**64, lambda T, v: T.tensor([[v, 0.5]], dtype=T.bool)),
    (2**63, lambda T, v: T.ones(2, dtype=T.int64) + v),
    (2**64 - 1, lambda T, v: T.ones(2, dtype=T.int8) * v),
    (1e300, lambda T, v: T.ones(2) * v),
    (2**64, lambda T, v: T.nn.functional.pad(T.ones(2), (1, 1), value=v)),
]


@pytest.mark.parametrize("name", OPERANDS)
def test_an_integer_beyond_64_bits_is_no_operand(name: str) -> None:
    torch, f = pytest.importorskip("torch"), OPERANDS[name]
    for v in WIDE:
        with pytest.raises(OverflowError):
            f(torch, v)
        with pytest.raises(OverflowError, match=r"\[GC003\]"):
            f(graphc, v)


@pytest.mark.parametrize("row", range(len(REFUSED)))
def test_what_a_dtype_does_not_hold(row: int) -> None:
    torch, (v, f) = pytest.importorskip("torch"), REFUSED[row]
    with pytest.raises(RuntimeError):
        f(torch, v)
    with pytest.raises(RuntimeError, match=r"\[GC00"):
        f(graphc, v)


@pytest.mark.parametrize("row", range(len(TAKEN)))
def test_what_is_taken_as_pytorch_takes_it(row: int) -> None:
    torch, (v, f) = pytest.importorskip("torch"), TAKEN[row]
    ours, theirs = f(graphc, v), f(torch, v)
    assert ours.tolist() == theirs.tolist()
    assert str(ours.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]


def test_a_seed_has_64_bits_with_a_sign_or_without() -> None:
    assert graphc.manual_seed(2**64 - 1).initial_seed() == 2**64 - 1
    for seed in WIDE:
        with pytest.raises(ValueError, match="64 bits"):
            graphc.manual_seed(seed)
