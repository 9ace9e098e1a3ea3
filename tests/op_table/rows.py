"""What a row of the op table is: a function over a namespace, its inputs, or its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class In:
    """One tensor input: shape, and the range its samples come from."""

    shape: tuple[int, ...] = (3, 4)
    low: float = -2.0
    high: float = 2.0
    kinks: tuple[float, ...] = ()
    dtype: str = "f"  # f: the floating dtype under test; i: i64; b: bool

    def sample(self, rng: np.random.Generator, dtype: Any) -> Array:
        if self.dtype == "i":
            return rng.integers(int(self.low), int(self.high), self.shape)
        if self.dtype == "b":
            return np.asarray(rng.random(self.shape) < 0.5)
        x = rng.uniform(self.low, self.high, self.shape)
        for k in self.kinks:
            near = np.abs(x - k) < 0.1
            x = np.where(near, k + np.where(x >= k, 0.2, -0.2), x)
        return np.asarray(x, dtype)


@dataclass(frozen=True)
class OpRow:
    """An operation with inputs; `grad` and `second` say which derivatives exist."""

    name: str
    fn: Callable[..., Any]
    inputs: tuple[In, ...] = (In(),)
    grad: bool = True
    second: bool = True
    rtol: float = 1e-12

    def __str__(self) -> str:
        return self.name


POS = In(low=0.3, high=3.0)
SMOOTH = In(kinks=(0.0,))
B = In((1, 4))
COL = In((3, 1))


def unary(name: str, x: In = In(), **options: Any) -> OpRow:  # frozen
    return OpRow(name, lambda T, x: getattr(x, name)(), (x,), **options)


def shape_row(name: str, fn: Callable[..., Any], *inputs: In) -> OpRow:
    return OpRow(name, fn, inputs or (In((2, 3, 4)),))


def conv_row(name: str, x: In, w: In, **options: Any) -> OpRow:
    def fn(T: Any, x: Any, w: Any) -> Any:
        return T.nn.functional.conv2d(x, w, **options)

    return OpRow(name, fn, (x, w), rtol=1e-10)


@dataclass(frozen=True)
class ErrorRow:
    """Inputs an operation refuses: `error` is the built-in class torch raises for them."""

    name: str
    fn: Callable[..., Any]
    error: type[Exception]
    inputs: tuple[In, ...] = (In(),)
    says: str = ""  # what graphc's message must contain: shapes, dtypes, or the argument

    def __str__(self) -> str:
        return self.name
