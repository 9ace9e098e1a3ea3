"""Products and convolutions of float32 that are too large for NumPy: programs of one op, compiled
once for their types.

Whether one is decided by its shape alone, so a call repeated gives the same bits. float64 stays
with NumPy: what compiled code is checked against shares no code with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod

import numpy as np

from graphc.ir.ops import OPS, Attrs, Op
from graphc.ir.types import Array, TensorSpec, f32

# Floating-point operations of which compiled code is worth it. Products: from where NumPy's BLAS
# would wake threads of its own, which keep spinning on the cores that ours need. Convolutions: from
# where NumPy takes milliseconds.
LARGE: Mapping[str, int] = {"dot": 1 << 19, "conv": 1 << 22}

Runner = Callable[[Op, Sequence[Array], Attrs, TensorSpec], Array]
RUNNERS: list[Runner] = []  # the last one serves; whoever has a compiler adds it


def compiled(name: str, x: Array, y: Array, attrs: Attrs) -> Array | None:
    """x and y contracted by compiled code, or None where it is not worth any."""
    if not RUNNERS or x.dtype != np.float32 or y.dtype != np.float32:
        return None
    op = OPS[name]
    spec = op.infer(TensorSpec(f32, x.shape), TensorSpec(f32, y.shape), **attrs)
    if 2 * prod(spec.shape) * _terms(name, x, y, attrs) < LARGE[name]:
        return None
    return RUNNERS[-1](op, (x, y), attrs, spec)


def _terms(name: str, x: Array, y: Array, attrs: Attrs) -> int:
    """How many products an element of the result is the sum of."""
    summed = y.shape[1:] if name == "conv" else [x.shape[i] for i, _ in attrs["contract"]]
    return prod(summed)
