"""Optimizers of a user's own inside a compiled step.

Their `step` is any Python over `state` and `param_groups`, which is watched as the step's own is.
Slots in a plain dict that it put into `state` keep their memory, as those in the usual tables do.
"""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import Any

from graphc.frontend.table import FOLLOWED, Table, changing


def follow(optimizer: Any) -> None:
    """Before a `step` that graphc does not know; a library's is watched as a user's is."""
    step = inspect.unwrap(type(optimizer).step)
    if isinstance(step, FunctionType):
        FOLLOWED.add(step.__code__)
    for slots in optimizer.state.values():
        if isinstance(slots, dict) and not isinstance(slots, Table):
            changing(slots)
