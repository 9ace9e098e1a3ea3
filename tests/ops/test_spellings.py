"""Keywords and error classes that a program written for torch relies on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc

KEYWORDS: dict[str, Callable[[Any, Any], Any]] = {
    "max": lambda T, x: x.max(other=x.flip(0)),
    "min": lambda T, x: T.min(x, other=x.flip(0)),
    "broadcast_to": lambda T, x: x.broadcast_to(size=(2, 3)),
    "broadcast_to_sizes": lambda T, x: x.broadcast_to(2, 3),
    "broadcast_to_function": lambda T, x: T.broadcast_to(x, size=(2, 3)),
}
NOT_IMPLEMENTED: dict[str, Callable[[Any], Any]] = {
    "abs": lambda T: T.tensor([True]).abs(),
    "floor": lambda T: T.tensor([True]).floor(),
    "frac": lambda T: T.tensor([1]).frac(),
    "softmax": lambda T: T.tensor([1]).softmax(0),
    "log_softmax": lambda T: T.tensor([1]).log_softmax(0),
    "bitwise_not": lambda T: T.bitwise_not(T.tensor([1.0])),
    "cholesky": lambda T: T.linalg.cholesky(T.ones(2, 2, dtype=T.float16)),
    "svd": lambda T: T.linalg.svd(T.ones(2, 2, dtype=T.float16)),
}


def namespaces() -> list[Any]:
    return [pytest.importorskip("torch"), graphc]


@pytest.mark.parametrize("name", KEYWORDS)
def test_keywords(name: str) -> None:
    theirs, ours = [KEYWORDS[name](T, T.tensor([1.0, 5.0, 2.0])).tolist() for T in namespaces()]
    assert ours == theirs


def test_a_dimension_or_another_tensor() -> None:
    for T in namespaces():
        with pytest.raises(TypeError):
            T.ones(2).max(0, other=T.ones(2))


@pytest.mark.parametrize("name", NOT_IMPLEMENTED)
def test_dtypes_that_are_not_implemented(name: str) -> None:
    for T in namespaces():
        with pytest.raises(NotImplementedError):
            NOT_IMPLEMENTED[name](T)
