"""Chains of movement over a buffer as one address, and those that have none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from graphc.ir.ops import OPS
from graphc.passes.view import NotAffine, View, move, splits_only, stored

Step = tuple[str, dict[str, Any]]

CHAINS: dict[str, tuple[tuple[int, ...], list[Step]]] = {
    "turned": ((2, 3), [("transpose", {"perm": (1, 0)})]),
    "cut": ((5, 4), [("slice", {"start": (1, 0), "stop": (5, 4), "step": (2, 1)})]),
    "split": ((6, 2), [("transpose", {"perm": (1, 0)}), ("reshape", {"shape": (2, 3, 2)})]),
    "repeated": ((1, 3), [("expand", {"shape": (4, 3)}), ("flip", {"axes": (1,)})]),
    "padded": ((3, 2), [("pad", {"low": (1, 0), "high": (2, 1)}),
                        ("transpose", {"perm": (1, 0)})]),
    "windows": ((7,), [("pad", {"low": (1,), "high": (1,)}),
                       ("unfold", {"axis": 0, "size": 3, "step": 2, "dilation": 1})]),
    "merged": ((2, 3, 4), [("reshape", {"shape": (6, 4)}), ("reshape", {"shape": (24,)})]),
}  # fmt: skip


def seen(view: View, buffer: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """What a view shows of a buffer, point by point."""
    out = np.zeros(view.shape, buffer.dtype)
    for at in np.ndindex(*view.shape):
        inside = all(
            g.lo <= g.form.offset + sum(a * b for a, b in zip(at, g.form.strides)) < g.hi
            for g in view.guards
        )
        if inside:
            place = view.address.offset + sum(a * b for a, b in zip(at, view.address.strides))
            out[at] = buffer[place]
    return out


@pytest.mark.parametrize("name", CHAINS)
def test_a_view_shows_what_its_movement_means(name: str) -> None:
    shape, chain = CHAINS[name]
    x = np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)
    view, want = stored(shape, tuple(range(len(shape)))), x
    for op, attrs in chain:
        view, want = move(view, op, attrs), OPS[op].evaluate(want, **attrs)
    np.testing.assert_array_equal(seen(view, x.ravel()), want)


@pytest.mark.parametrize("chain", [
    [("transpose", {"perm": (1, 0)}), ("reshape", {"shape": (6,)})],
    [("pad", {"low": (0, 1), "high": (0, 0)}), ("reshape", {"shape": (8,)})],
    [("slice", {"start": (0, 0), "stop": (2, 2), "step": (1, 1)}), ("reshape", {"shape": (4,)})],
], ids=["turned", "padded", "cut"])  # fmt: skip
def test_merged_dimensions_without_an_address(chain: list[Step]) -> None:
    view = stored((2, 3), (0, 1))
    with pytest.raises(NotAffine):
        for op, attrs in chain:
            view = move(view, op, attrs)


@pytest.mark.parametrize(("old", "new", "wanted"), [
    ((6, 2), (2, 3, 2), True),
    ((6, 2), (6, 1, 2), True),
    ((1, 6), (6,), True),
    ((3, 2), (6,), False),
    ((3, 4), (2, 6), False),
    ((0, 4), (0,), True),
])  # fmt: skip
def test_reshapes_of_any_strides(old: tuple[int, ...], new: tuple[int, ...], wanted: bool) -> None:
    assert splits_only(old, new) is wanted
