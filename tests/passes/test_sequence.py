"""The order of kernels: as traced, or so that less memory is in use at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from graphc.passes.sequence import sequence


def kernel(number: int, phase: str = "bw") -> Any:
    """A kernel of one value, of which the order asks when and for what it was traced."""
    return SimpleNamespace(
        members=[SimpleNamespace(number=number, where=SimpleNamespace(phase=phase))]
    )


def test_what_passes_made_late_does_not_keep_gradients_alive() -> None:
    """g0 -> g1 -> g2, and of each a sum, whose number is one that a pass gave."""
    kernels = [kernel(10), kernel(90), kernel(11), kernel(91), kernel(12), kernel(92)]
    after: list[set[int]] = [{1, 2}, set(), {3, 4}, set(), {5}, set()]
    touched: list[set[Any]] = [{"g0"}, {"g0", "s0"}, {"g0", "g1"}, {"g1", "s1"}, {"g1", "g2"},
                               {"g2", "s2"}]  # fmt: skip
    weights: dict[Any, int] = dict.fromkeys(("g0", "g1", "g2"), 1000)
    assert sequence(kernels, after, touched, weights) == [0, 2, 1, 4, 3, 5]
    assert sequence(kernels, after, touched, {}) == [0, 2, 4, 1, 3, 5]  # nothing to gain


def test_an_optimizer_kernel_goes_once_its_gradient_is_there() -> None:
    kernels = [kernel(1), kernel(2), kernel(50, "opt"), kernel(3)]
    after: list[set[int]] = [{1}, {2, 3}, set(), set()]
    touched: list[set[Any]] = [{"a"}, {"a", "g"}, {"g"}, {"b"}]
    assert sequence(kernels, after, touched, {"a": 8, "g": 8, "b": 8}) == [0, 1, 2, 3]  # type: ignore[dict-item]


def test_a_kernel_that_needs_more_than_it_frees_waits_for_its_turn() -> None:
    kernels = [kernel(1), kernel(2), kernel(3)]
    touched: list[set[Any]] = [{"a"}, {"a", "large"}, {"a", "b"}]
    after: list[set[int]] = [{1, 2}, set(), set()]
    weights: dict[Any, int] = {"a": 8, "large": 100, "b": 2}
    assert sequence(kernels, after, touched, weights) == [0, 1, 2]
