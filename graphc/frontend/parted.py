"""Memory that a tensor gets anew while a step is traced, by `x.data = ...`.

The program writes the new elements where the old ones are. Whatever else in the step shows those
goes on with the value that they had; each call looks who else has them (`step/python/rebound.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from graphc.frontend.storage import is_shared
from graphc.ir.graph import Value

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor
    from graphc.frontend.trace import Trace


class Parted(NamedTuple):
    """A tensor that gets other memory; if the step has written the old one before, what it left
    there; and whether somebody else had the old one when it was traced."""

    tensor: Tensor
    last: Value | None
    shared: bool


def part(trace: Trace, x: Tensor) -> None:
    """Before x gets other memory: what was made of the old one in the step keeps that."""
    storage, value = x.storage, trace.lift(x)
    made = (*trace.aliases, *trace.shows.pop(storage, ()))
    others = [y for y in made if y.storage is storage and y is not x]
    if others:
        kept = trace.wrap(value).storage
        kept.strides = storage.strides
        for y in others:
            y.storage, y.array, y._value = kept, None, None
    if storage not in trace.parted:
        last = value if storage in trace.written else None
        trace.parted[storage] = Parted(x, last, is_shared(x))
