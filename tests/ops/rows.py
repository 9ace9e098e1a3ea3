"""Running a row of the op table: samples, and conversions between NumPy, graphc and torch."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

import graphc
from tests.op_table import Array, OpRow


def samples(row: OpRow, dtype: Any) -> list[Array]:
    """The inputs of a row: the same in each run, other for each row."""
    rng = np.random.default_rng(zlib.crc32(row.name.encode()))
    return [i.sample(rng, dtype) for i in row.inputs]


def tensors(arrays: list[Array], grad: bool) -> list[graphc.Tensor]:
    out = [graphc.tensor(a) for a in arrays]
    return [t.requires_grad_() if grad and t.is_floating_point() else t for t in out]


def floats(arrays: list[Array]) -> list[int]:
    return [k for k, a in enumerate(arrays) if a.dtype.kind == "f"]


def weights(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)
