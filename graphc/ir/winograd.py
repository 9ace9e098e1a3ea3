"""Winograd's convolutions F(4x4, 3x3): the matrices, and the transform of weights as an op.

A 4 by 4 tile of a convolution's outputs by 3x3 weights g is A' [(G g G') . (B' d B)] A of the 6 by
6 inputs d under it: 36 products for each pair of channels where the plain sum has 144. The points
are 0, 1, -1, 1/2, -2 and infinity, whose errors are the least for numbers that are cheap to
multiply by. Here is what the weights become, (G g G'), in panels of output channels; back ends do
the rest.
"""

from __future__ import annotations

from fractions import Fraction as Q

import numpy as np

from graphc.errors import ShapeMismatch
from graphc.ir.types import Array, TensorSpec

SIZE = 4  # outputs of a tile along each axis
TAPS = 3
POINTS = SIZE + TAPS - 1  # inputs of a tile along each axis

G = (
    (Q(1), Q(0), Q(0)),
    (Q(1, 3), Q(1, 3), Q(1, 3)),
    (Q(-1, 3), Q(1, 3), Q(-1, 3)),
    (Q(-16, 15), Q(-8, 15), Q(-4, 15)),
    (Q(1, 15), Q(-2, 15), Q(4, 15)),
    (Q(0), Q(0), Q(1)),
)


def products(places: int) -> int:
    """Products for a pair of channels along one axis with so many outputs, by whole tiles."""
    return -(-places // SIZE) * POINTS


def winograd_type(w: TensorSpec, *, panel: int) -> TensorSpec:
    """w [O,C,3,3] -> [O/panel, 36, C, panel]."""
    if len(w.shape) != 4 or w.shape[2:] != (TAPS, TAPS) or w.shape[0] % panel:
        raise ShapeMismatch(f"no panels of {panel} channels of 3x3 weights: {w}")
    return TensorSpec(w.dtype, (w.shape[0] // panel, POINTS * POINTS, w.shape[1], panel))


def winograd(w: Array, *, panel: int) -> Array:
    """G w G' of each pair of channels, in panels of `panel` output channels."""
    g = np.array([[float(x) for x in row] for row in G], w.dtype)
    u = np.einsum("pr,ocrs,qs->pqco", g, w, g)
    u = u.reshape(POINTS * POINTS, w.shape[1], w.shape[0] // panel, panel)
    return np.ascontiguousarray(u.transpose(2, 0, 1, 3))
