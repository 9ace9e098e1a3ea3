"""The slices of a tensor in eager mode, for whoever reads all of them: one node, whose derivative
is a stack. That of `x[k]` is as large as x, so that of all slices would take their number squared.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.frontend.api.shapes import stack
from graphc.frontend.modes import modes
from graphc.frontend.tape import record_parts
from graphc.frontend.tensor import Tensor, fresh
from graphc.frontend.whole import watched
from graphc.ir.types import TensorSpec


def unstacked(x: Tensor) -> Sequence[Tensor]:
    """x [T,...] -> `x[k]` for each k; each with memory of its own where no trace or hook looks."""
    array = x.array
    if modes.trace is not None or watched() or array is None:
        return [x[k] for k in range(x.shape[0])]
    spec = TensorSpec(x._spec.dtype, x._spec.shape[1:])
    rows = [fresh(np.array(row, order="C"), spec) for row in array]
    record_parts("unbind", rows, x, stack)
    return rows
