"""Convolution as matrix products equals the loop over taps that it stands for."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from graphc.ir import contractions
from graphc.ir.types import Array

Attrs = dict[str, Any]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def plain(x: Array, w: Array, a: Attrs) -> Array:
    """contractions.conv, one tap of one output place at a time."""
    groups, parts = a["groups"], a["batch_groups"]
    xd = contractions.dilate(x, a["lhs_dilation"])
    xd = np.pad(xd, ((0, 0), (0, 0), *a["padding"]))
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], a["rhs_dilation"])]
    space = [(n - m) // s + 1 for n, m, s in zip(xd.shape[2:], spans, a["stride"])]
    rows, deep = len(x) // parts, w.shape[1]
    y = np.zeros((rows, len(w), *space), x.dtype)
    for o in range(len(w)):
        part = o // (len(w) // (groups * parts))
        seen = xd[part * rows : (part + 1) * rows] if parts > 1 else xd
        seen = seen[:, part * deep : (part + 1) * deep] if groups > 1 else seen
        for place, tap in product(np.ndindex(*space), np.ndindex(*w.shape[2:])):
            steps = zip(place, a["stride"], tap, a["rhs_dilation"])
            at = tuple(p * s + k * d for p, s, k, d in steps)
            y[(slice(None), o, *place)] += seen[(..., *at)] @ w[(o, slice(None), *tap)]
    return y


ROWS: dict[str, tuple[tuple[int, ...], tuple[int, ...], Attrs]] = {
    "walked by taps": ((3, 4, 9, 8), (3, 4, 3, 2), {}),
    "strided, dilated": ((2, 4, 13, 11), (3, 4, 3, 2), {"stride": (3, 2), "rhs_dilation": (2, 1)}),
    "phases that do not fill": ((2, 4, 10, 7), (2, 4, 3, 3), {"stride": (3, 1)}),
    "many filters": ((2, 2, 9, 8), (40, 2, 3, 3), {"stride": (2, 1)}),
    "padded, spread": ((2, 3, 5, 4), (2, 3, 3, 3), {"padding": ((2, 1), (1, 2)), "lhs": 2}),
    "spread": ((2, 3, 5, 4), (2, 3, 3, 2), {"lhs": 2}),
    "spread beyond the filters": (
        (2, 3, 4, 3),
        (2, 3, 2, 1),
        {"lhs": 3, "padding": ((4, 0), (1, 5))},
    ),
    "spread and more padding": (
        (2, 4, 3, 4),
        (4, 2, 4, 3),
        {"lhs": 2, "padding": ((3, 3), (2, 7)), "groups": 2},
    ),
    "spread to nothing": ((2, 3, 1, 1), (2, 3, 3, 3), {"lhs": 2, "padding": ((2, 2), (1, 1))}),
    "spread, padding alone met": (
        (1, 1, 1, 2),
        (1, 1, 1, 2),
        {"lhs": 3, "padding": ((7, 5), (8, 9))},
    ),
    "spread and strided": ((2, 3, 5, 4), (2, 3, 3, 3), {"lhs": 2, "stride": (2, 1)}),
    "groups": ((2, 6, 7, 6), (9, 2, 3, 2), {"groups": 3, "stride": (2, 1)}),
    "each channel alone": ((2, 4, 7, 6), (4, 1, 3, 3), {"groups": 4}),
    "1x1": ((2, 4, 7, 6), (3, 4, 1, 1), {"stride": (2, 2)}),
    "one axis": ((2, 4, 17), (3, 4, 5), {"stride": (2,), "rhs_dilation": (3,)}),
    "three axes": ((1, 4, 5, 6, 4), (2, 4, 2, 3, 2), {"stride": (2, 1, 1)}),
    "by places": ((3, 4, 9, 8), (5, 4, 7, 6), {}),
    "by places, dilated": ((3, 2, 15, 13), (2, 2, 5, 6), {"rhs_dilation": (3, 2)}),
    "by places, strided": ((3, 2, 12, 9), (2, 2, 6, 6), {"stride": (3, 2)}),
    "few places, many filters": ((3, 4, 5, 4), (9, 4, 4, 3), {}),
    "batch groups": ((6, 2, 9, 8), (6, 2, 7, 6), {"batch_groups": 3}),
    "batch groups, many filters": ((6, 2, 5, 4), (24, 2, 4, 3), {"batch_groups": 3}),
    "no rows": ((0, 4, 9, 8), (3, 4, 3, 2), {}),
    "no channels": ((2, 0, 5, 5), (3, 0, 3, 3), {}),
}


@pytest.mark.parametrize("cached", [1, 200, 1 << 18])
@pytest.mark.parametrize("name", ROWS)
def test_conv_is_the_sum_over_taps(
    name: str, cached: int, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contractions, "CACHED", cached)
    shape, filters, given = ROWS[name]
    rank = len(shape) - 2
    attrs: Attrs = {
        "stride": (1,) * rank,
        "padding": ((0, 0),) * rank,
        "lhs_dilation": (given.get("lhs", 1),) * rank,
        "rhs_dilation": (1,) * rank,
        "groups": 1,
        "batch_groups": 1,
        **{k: v for k, v in given.items() if k != "lhs"},
    }
    x, w = rng.standard_normal(shape), rng.standard_normal(filters)
    got = contractions.conv(x, w, **attrs)
    np.testing.assert_allclose(got, plain(x, w, attrs), rtol=1e-12, atol=1e-12)
