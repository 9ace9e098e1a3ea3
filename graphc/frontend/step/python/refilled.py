"""What a container holds, and how it gets that back: by Python's methods, whatever its class."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Any

import numpy as np


def _kind(c: Any) -> Any:
    """Python's own class of a container: a subclass may need arguments to be made, and forbid what
    changes it."""
    kinds = (OrderedDict, dict, deque, list, set, np.ndarray)
    return next(k for k in kinds if isinstance(c, k))


def items_of(c: Any) -> Any:
    """What is in it, of tables pairs."""
    kind = _kind(c)
    if kind is np.ndarray:
        return c.copy()
    return list(kind.items(c) if issubclass(kind, dict) else kind.__iter__(c))


def refill(c: Any, kept: Any) -> None:
    """Have it hold what `items_of` has told."""
    kind = _kind(c)
    if kind is np.ndarray:
        c[...] = kept
        return
    kind.clear(c)
    if issubclass(kind, dict):
        for key, value in kept:
            kind.__setitem__(c, key, value)
    elif kind is set:
        set.update(c, kept)
    else:
        kind.extend(c, kept)
