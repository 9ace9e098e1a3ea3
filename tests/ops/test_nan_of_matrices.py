"""A NaN in a matrix is one in its determinant."""

from __future__ import annotations

import math

import pytest

import graphc


@pytest.mark.parametrize("at", [(0, 0), (1, 2), (2, 2)])
def test_determinants(at: tuple[int, int]) -> None:
    x = graphc.eye(3).repeat(2, 1, 1)
    x[(1, *at)] = math.nan
    for found in (graphc.linalg.det(x), graphc.linalg.slogdet(x)[1]):
        assert found.isnan().tolist() == [False, True]
