"""Sizes that agree by chance: a unit that is broadcast, a batch as large as a weight is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc
import graphc.nn.functional as F
from graphc import Tensor

Shape = tuple[Any, ...]

B = "B"
UNITS: dict[str, tuple[Callable[..., Tensor], tuple[Shape, ...]]] = {
    "expand": (lambda x, c: graphc.cat([c.expand(x.size(0), 1, 8), x], 1), ((B, 3, 8), (1, 1, 8))),
    "repeat": (lambda x, c: graphc.cat([c.repeat(x.size(0), 1, 1), x], 1), ((B, 3, 8), (1, 1, 8))),
    "expand_as": (lambda x, c: c.expand_as(x) + x, ((B, 3, 8), (1, 3, 8))),
    "new dimension": (lambda x, c: c.expand(x.shape[0], 8) + x, ((B, 8), (8,))),
    "add": (lambda x, c: x + c, ((B, 8), (1, 8))),
    "matmul": (lambda x, c: c @ x, ((B, 4, 4), (1, 4, 4))),
    "einsum": (lambda x, c: graphc.einsum("bi,bj->bj", x, c), ((B, 8), (1, 4))),
    "mask": (lambda x, m: F.scaled_dot_product_attention(x, x, x, m), ((B, 2, 8, 4), (1, 1, 8, 8))),
    "convolution": (lambda x, w, b: F.conv2d(x, w, b), ((B, 4, 8, 8), (1, 4, 3, 3), (1,))),
    "in place": (lambda x, c: x.clone().add_(c), ((B, 8), (1, 8))),
    "set": (lambda x, c: graphc.zeros_like(x).copy_(c) + x, ((B, 8), (1, 8))),
}  # fmt: skip


def called(
    function: Callable[..., Tensor], shapes: tuple[Shape, ...], sizes: tuple[int, ...]
) -> Any:
    """The compiled function after calls of these batches, each as in eager mode."""
    step = graphc.compile(function)
    for n in sizes:
        args = [graphc.randn(*(n if k == B else k for k in shape)) for shape in shapes]
        assert graphc.allclose(step(*args), function(*args), rtol=1e-4, atol=1e-5), n
    return step


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_beside_a_batch_needs_no_other_program(name: str) -> None:
    step = called(*UNITS[name], (3, 1, 7, 2, 37))
    assert step.stats.programs == 1 and not step.explain().recompiles


@pytest.mark.parametrize("name", UNITS)
def test_after_a_batch_of_one_there_is_one_more_program(name: str) -> None:
    assert called(*UNITS[name], (1, 2, 3, 64)).stats.programs <= 2


def test_after_a_batch_as_large_as_a_weight_there_is_one_more_program() -> None:
    def loss(x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        return (x @ w - y).square().mean()

    step = called(loss, ((B, 8), (B, 8), (8, 8)), (8, 16, 3, 1, 8, 5))
    assert step.stats.programs == 2
    assert "B: batch" in str(step.explain())


def test_a_batch_whose_number_is_needed_stays_a_number() -> None:
    def rows(x: Tensor, y: Tensor) -> Tensor:
        return sum((x[k] for k in range(x.shape[0])), y.sum())

    step = called(rows, ((B, 4), (B, 4)), (2, 3, 5))
    assert step.stats.programs == 3
    assert all("needs its value" in r.argument for r in step.explain().recompiles)


def test_a_matrix_from_all_to_all_of_a_batch_is_square_in_any() -> None:
    """Its sides are two dimensions, of which one is an extent at first."""

    def pooled(x: Tensor, a: Tensor) -> Tensor:
        return (a @ x).relu() + a.mean(1, keepdim=True)

    assert called(pooled, ((B, 3), (B, B)), (4, 7, 12, 5, 4)).stats.programs == 2
    assert called(lambda a: a + a.T, ((B, B),), (4, 7, 12, 5, 4)).stats.programs == 2


def test_a_size_that_is_compared_is_a_number_for_that_value_alone() -> None:
    step = called(lambda x: x * 2 if x.size(0) == 64 else x + 1, ((B, 3),), (64, 37, 5, 64, 1))
    assert step.stats.programs == 2


def test_explain_says_which_sizes_are_numbers_and_which_line_needs_them() -> None:
    def described(x: Tensor, y: Tensor) -> Tensor:
        text = f"{x.size(0)} rows"
        return x.sum() + y.mean() + len(text)

    step = called(described, ((B, 3), (5, 3)), (4,))
    line = described.__code__.co_firstlineno + 1
    (size,) = [row for row in step.explain().sizes if "`x`" in row]
    assert size == f"dimension 0 of `x` is 4: the text of B needs its value (test_chance.py:{line})"
    assert "B: batch, 5 when traced" in step.explain().sizes


def test_an_error_that_extents_lead_to_is_told_with_its_line() -> None:
    def picky(x: Tensor) -> Tensor:
        if type(x.size(0)) is not int:
            raise ValueError("no plain number")
        return x + 1

    step = called(picky, ((B, 3),), (4, 6))
    line = picky.__code__.co_firstlineno + 2
    why = "ValueError was raised while sizes were unknown"
    assert step.explain().sizes == (f"dimension 0 of `x` is 6: {why} (test_chance.py:{line})",)


def test_an_error_of_a_users_fixes_no_size() -> None:
    """Neither one that the step catches nor one that ends the call."""

    def careful(x: Tensor, bad: bool) -> Tensor:
        try:
            x = x.reshape(-1, 7)
        except RuntimeError:
            x = x.reshape(-1, 3)
        if bad:
            raise ValueError("a bad batch")
        return x.mean(0) / len(x)

    step = graphc.compile(careful)
    for n in (4, 5, 8, 9):
        with pytest.raises(ValueError, match="bad batch"):
            step(graphc.randn(n, 3), True)
        step(graphc.randn(n, 3), False)
    assert step.stats.programs == 1 and not [r for r in step.explain().sizes if "needs" in r]
