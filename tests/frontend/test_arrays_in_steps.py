"""Tensors that a compiled step makes of NumPy's arrays, whose memory eager code shares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import Untraceable

TABLE = np.arange(3, dtype=np.float32)
ONE = graphc.ones(3)


def made_inside(x: Any) -> Any:
    """As PointNet's transform has it."""
    eye = np.eye(3).flatten().astype(np.float32)
    return x + graphc.from_numpy(eye).view(3, 3).repeat(2, 1)[3]


def of_a_global(x: Any) -> Any:
    return x * graphc.from_numpy(TABLE) + graphc.as_tensor(TABLE)


@pytest.mark.parametrize("step", [made_inside, of_a_global])
def test_its_elements_are_those_of_the_call(step: Any) -> None:
    compiled = graphc.compile(step)
    for k in (0, 5):
        TABLE[:] = np.arange(3) + k
        assert graphc.equal(compiled(ONE), step(ONE))


def written_later(x: Any) -> Any:
    z = np.zeros(3, np.float32)
    t = graphc.from_numpy(z)
    z[1] = 7
    return x + t


def written_later_by_another_name(x: Any) -> Any:
    z = np.zeros(3, np.float32)
    t = graphc.as_tensor(z)
    z[1] = 7
    return x + t


def through_the_tensor(x: Any) -> Any:
    t = graphc.from_numpy(TABLE)
    t += 1
    return x + t


WRITTEN: list[Callable[[Any], Any]] = [
    written_later, written_later_by_another_name, through_the_tensor,
]  # fmt: skip


@pytest.mark.parametrize("step", WRITTEN, ids=lambda f: f.__name__)
def test_a_write_that_the_other_would_not_show_is_refused(step: Any) -> None:
    before = TABLE.copy()
    with pytest.raises(Untraceable, match="share their memory"):
        graphc.compile(step)(ONE)
    np.testing.assert_array_equal(TABLE, before)
