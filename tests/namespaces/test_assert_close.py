"""`testing.assert_close` passes and fails where PyTorch's does, with its classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import graphc

CALLS: dict[str, tuple[Callable[[Any], Any], type[Exception] | None, str]] = {
    "same": (lambda T: (T.ones(2), T.ones(2)), None, ""),
    "near": (lambda T: (T.ones(2), T.ones(2) + 1e-6), None, ""),
    "far": (lambda T: (T.ones(2), T.zeros(2)), AssertionError, "Mismatched elements: 2 / 2"),
    "double": (
        lambda T: (T.ones(2).double(), T.ones(2).double() + 1e-6),
        AssertionError,
        "close",
    ),
    "half": (lambda T: (T.ones(2).half(), T.ones(2).half() * 1.0005), None, ""),
    "shape": (lambda T: (T.ones(2), T.ones(3)), AssertionError, "shape"),
    "dtype": (lambda T: (T.ones(2), T.ones(2).double()), AssertionError, "dtype"),
    "ints": (lambda T: (T.tensor([1, 2]), T.tensor([1, 3])), AssertionError, "not equal"),
    "nan": (lambda T: (T.tensor([float("nan")]),) * 2, AssertionError, "close"),
    "inf": (lambda T: (T.tensor([float("inf")]),) * 2, None, ""),
    "numbers": (lambda T: (1.0, 1.0 + 1e-8), None, ""),
    "number_types": (lambda T: (1, 1.0), AssertionError, "types do not match"),
    "lists": (lambda T: ([T.ones(1), 2], (T.ones(1), 2)), None, ""),
    "list_item": (lambda T: ([T.ones(1)], [T.zeros(1)]), AssertionError, r"\[0\]"),
    "lengths": (lambda T: ([1], [1, 2]), AssertionError, "length"),
    "keys": (lambda T: ({"a": 1}, {"b": 1}), AssertionError, "keys"),
    "values": (lambda T: ({"a": T.ones(1)}, {"a": T.zeros(1)}), AssertionError, "'a'"),
    "none": (lambda T: (None, None), None, ""),
    "text": (lambda T: ("a", "a"), TypeError, "comparison pair"),
    "mixed": (lambda T: (T.ones(1), [1.0]), TypeError, "comparison pair"),
}  # fmt: skip


def outcome(T: Any, make: Callable[[Any], Any], **options: Any) -> Exception | None:
    try:
        T.testing.assert_close(*make(T), **options)
    except Exception as e:
        return e
    return None


@pytest.mark.parametrize("name", CALLS)
def test_outcome(name: str) -> None:
    make, error, says = CALLS[name]
    mine = outcome(graphc, make)
    assert (mine is None) == (error is None)
    if error is not None:
        with pytest.raises(error, match=says):
            raise mine  # type: ignore[misc]  # not None
    torch = pytest.importorskip("torch")
    theirs = outcome(torch, make)
    assert (theirs is None) == (error is None) and isinstance(theirs, error or type(None))


def test_options() -> None:
    x, nan = graphc.ones(2), graphc.tensor([float("nan")])
    graphc.testing.assert_close(x, x + 0.1, rtol=0, atol=0.2)
    graphc.testing.assert_close(nan, nan, equal_nan=True)
    graphc.testing.assert_close(x, x.double(), check_dtype=False)
    with pytest.raises(ValueError, match="no atol"):
        graphc.testing.assert_close(x, x, rtol=1.0)
    with pytest.raises(AssertionError, match="mine"):
        graphc.testing.assert_close(x, x + 1, msg="mine")
    with pytest.raises(AssertionError, match="see: Tensor-likes"):
        graphc.testing.assert_close(x, x + 1, msg=lambda text: f"see: {text}")
