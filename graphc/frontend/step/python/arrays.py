"""Arrays of NumPy's that a step makes tensors of, which in eager code share their memory.

In a trace such a tensor is a constant, with the elements that the array has then: NumPy runs once.
That is right as long as neither is written while the other may still be looked at.
"""

from __future__ import annotations

import numpy as np

from graphc.errors import Untraceable
from graphc.frontend.trace import Trace

FIX = "write it before from_numpy(), or clone() the tensor first"


def check(trace: Trace) -> None:
    """Raise where a step has written an array, or a tensor of one, behind the other's back."""
    for array, then, tensor in trace.arrays:
        if not np.array_equal(array, then, equal_nan=array.dtype.kind in "fc"):
            raise Untraceable(
                f"the step writes an array of NumPy's after it has made {tensor.spec} of it",
                why="the two share their memory, and a compiled step has the elements as they were",
                fix=FIX,
            )
        if tensor.storage.version:
            raise Untraceable(
                f"the step writes {tensor.spec}, which it has made of an array of NumPy's",
                why="the two share their memory, and the array would not show what is written",
                fix=FIX,
            )
