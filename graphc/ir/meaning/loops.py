"""Loops: a body, a graph of its own, once for each trip.

The body's inputs are what is carried, a slice of each stacked operand, and what stays the same; it
gives what is carried on, and results of the trip. A value of kind "loop" is one result of all: what
is carried after the `last` trip, the `trail` of what was carried (what came into the trips and what
went out), or the `stack` of a result of the trips. A loop whose trips a condition counts is one
value, what is carried in the end, packed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from graphc.ir.types import Array


def loop(
    *args: Array,
    body: Any,
    carried: int,
    sliced: int,
    trips: int,
    reverse: bool,
    gives: str,
    index: int,
    by: Callable[..., list[Array]] | None = None,
) -> Array:
    """Trips from the first slice to the last, or the other way round; a slice's results stand
    where it stands. `by` interprets the body."""
    from graphc.ir.interpret import interpret

    run = by or interpret
    state, stacked, same = list(args[:carried]), args[carried:][:sliced], args[carried + sliced :]
    trail, found = [np.array(a) for a in state[index : index + 1]], []
    for k in reversed(range(trips)) if reverse else range(trips):
        outs = run(body, *state, *(x[k] for x in stacked), *same)
        state = outs[:carried]
        if gives == "stack":
            found.append(outs[carried + index])
        else:
            trail.append(state[index])
    if gives == "last":
        return trail[-1]
    rows = found if gives == "stack" else trail
    return np.stack(rows[::-1] if reverse else rows)


def while_loop(
    *args: Array, holds: Any, body: Any, carried: int, by: Callable[..., list[Array]] | None = None
) -> Array:
    """What is carried when `holds` first gives False, packed; both graphs read it and what stays
    the same. `by` interprets them."""
    from graphc.ir.interpret import interpret

    run = by or interpret
    state, same = list(args[:carried]), args[carried:]
    while run(holds, *state, *same)[0]:
        state = run(body, *state, *same)[:carried]
    return packed(state)


def packed(arrays: Sequence[Array]) -> Array:
    """Arrays of any types as one vector of float64, one behind the other and every bit kept: int64
    as two halves, first all that are high."""
    parts: list[Array] = []
    for a in arrays:
        wide = a.dtype == np.int64
        parts += [a >> HALF, a & (1 << HALF) - 1] if wide else [a]
    return np.concatenate([np.ravel(p).astype(np.float64) for p in parts])


HALF = 32  # bits, of an int64 that is packed
