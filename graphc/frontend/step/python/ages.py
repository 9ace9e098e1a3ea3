"""Which objects a step made itself: they are the youngest, unless something older holds them."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any


def youngest() -> dict[int, Any]:
    """What was made since the collector looked last, by id."""
    return {id(x): x for x in gc.get_objects(generation=0)}


def held_by(roots: Iterable[Any], young: dict[int, Any]) -> set[int]:
    """Of the young ones, those that lead from what a cache or table keeps beyond the step."""
    pending = [x for root in roots for x in (root, *gc.get_referents(root))]
    found = {id(x) for x in pending}
    while pending:
        for x in gc.get_referents(pending.pop()):
            if id(x) in young and id(x) not in found:
                found.add(id(x))
                pending.append(x)
    return found
