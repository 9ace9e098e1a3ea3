"""testing.make_tensor: bounds, layouts and refusals as PyTorch has them."""

from __future__ import annotations

from typing import Any

import pytest

import graphc
from graphc.errors import InvalidArgument
from graphc.testing import make_tensor

BOUNDS: dict[Any, tuple[float, float]] = {
    graphc.float32: (-9, 9),
    graphc.bfloat16: (-9, 9),
    graphc.float64: (-9, 9),
    graphc.int8: (-9, 9),
    graphc.int64: (-9, 9),
    graphc.uint8: (0, 9),
    graphc.bool: (0, 1),
}


@pytest.mark.parametrize("dtype", BOUNDS, ids=str)
def test_elements_are_within_the_usual_bounds(dtype: Any) -> None:
    x = make_tensor(40, 50, dtype=dtype, device="cpu")
    assert x.dtype is dtype and x.shape == (40, 50) and x.is_contiguous()
    values = x.double()
    low, high = BOUNDS[dtype]
    assert low <= values.min().item() <= low + 0.2 and high - 0.2 <= values.max().item() <= high


def test_options() -> None:
    x = make_tensor((3, 4), dtype=graphc.float32, device="cpu", noncontiguous=True)
    assert x.stride() == (8, 2) and x.storage_offset() == 1
    x = make_tensor(2, 3, 4, 5, dtype=graphc.float32, device="cpu",
                    memory_format=graphc.channels_last)  # fmt: skip
    assert x.is_contiguous(memory_format=graphc.channels_last)
    x = make_tensor(200, dtype=graphc.int32, device="cpu", low=0, high=2, exclude_zero=True)
    assert (x == 1).all()
    x = make_tensor(9, dtype=graphc.float32, device="cpu", low=2, high=3, requires_grad=True)
    assert x.requires_grad and x.is_leaf and ((x >= 2) & (x <= 3)).all()
    assert make_tensor((), dtype=graphc.float64, device="cpu").shape == ()
    x = make_tensor(99, dtype=graphc.int8, device="cpu", low=-1000, high=1000)
    assert x.min().item() < -60 and x.max().item() > 60


@pytest.mark.parametrize(
    "options",
    [
        {"low": 3, "high": 2},
        {"low": float("nan")},
        {"low": 300, "dtype": "uint8"},
        {"low": 1, "high": 1, "dtype": "int8"},
        {"requires_grad": True, "dtype": "int64"},
        {"noncontiguous": True, "memory_format": "channels_last"},
    ],
    ids=str,
)
def test_refused_as_by_pytorch(options: dict[str, Any]) -> None:
    torch: Any = pytest.importorskip("torch")
    for T, error in ((graphc, InvalidArgument), (torch, ValueError)):
        given = {"dtype": "float32"} | options
        for name in ("dtype", "memory_format"):
            if name in given:
                given[name] = getattr(T, given[name])
        with pytest.raises(error):
            T.testing.make_tensor(3, 4, device="cpu", **given)
