"""Items of a container that the step has changed: which of them were there before.

An item is compared at each call as it was when the call began, so what the step finds after it has
changed the container has to be looked for in what that held before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from graphc.frontend.step.python.held import Place, Whole
from graphc.frontend.step.python.stack import MISSING

OWN_ITEM = object()


def stays(c: Any, key: Any, before: Whole, places: Iterable[Place]) -> Any:
    """Under what key an item was there before; MISSING if that depends on more of the container,
    OWN_ITEM for what the step itself put behind all others. `places`: what it set one by one."""
    if isinstance(c, dict):
        return key if before.item(key) is dict.get(c, key, MISSING) else MISSING
    kept, now = before.kept, (*c,)
    grown, length = len(now) - len(kept), len(kept)
    moved = {k for k, x in enumerate(kept[: len(now)]) if x is not now[k]}
    keys = [k for _, of, k in places if of == id(c) and type(k) is int] if length else []
    if grown < 0 or type(key) is not int or not moved <= {k % length for k in keys}:
        return MISSING
    if key >= 0:
        return key if key < length else MISSING
    return OWN_ITEM if -key <= grown else key + grown
