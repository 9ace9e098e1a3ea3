"""Tables of an optimizer: dicts of state whose changes each call of a compiled step makes again.

What a step computes and leaves in a slot becomes state: memory that stays, written by the program.
All else that it changed in a table (a counter, a slot that is gone) is changed again after each
call. The memory is none that anyone but the slot is known to have: else that would change where
eager code leaves the old tensor as it was.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import zeros
from graphc.frontend.modes import no_grad
from graphc.frontend.step import effects
from graphc.frontend.step.effects import Itself
from graphc.frontend.step.reads import Reads
from graphc.frontend.step.steptrace import StepTrace
from graphc.frontend.step.stores import copied
from graphc.frontend.table import MADE, Changed, changing
from graphc.frontend.tensor import Tensor


def settle(trace: StepTrace, reads: Reads) -> None:
    """When the step has run: give slots their memory, and have each call change the tables."""
    if not trace.slots:
        return
    made = reads.made()
    for changed in trace.slots:  # which gets longer on the way
        for _, value in _new(changed):
            if type(value) is dict and id(value) in made:
                changing(value, {})
    tables = [changed.table for changed in trace.slots]
    held = [*reads.stores.given(), *(x for table in tables for x in table.values())]
    taken = [x for x in held if isinstance(x, Tensor)]
    with no_grad():
        for changed in trace.slots:
            for key, value in _new(changed):
                if isinstance(value, Tensor) and value.is_traced:
                    memory = _memory(trace, changed.before.get(key), value, taken)
                    dict.__setitem__(changed.table, key, memory)
                    memory.copy_(value)
    for changed in trace.slots:
        _repeat(trace, reads, changed, made - set(map(id, tables)))
    trace.slots.clear()  # a plan keeps the trace, not what was in the tables


def _new(changed: Changed) -> list[tuple[Any, Any]]:
    return [(k, v) for k, v in changed.table.items() if v is not changed.before.get(k)]


def _repeat(trace: StepTrace, reads: Reads, changed: Changed, made: set[int]) -> None:
    """Have each call set and remove what the step did; not what a guard has found there."""
    table, before = changed
    for key in [k for k in before if k not in table]:
        effects.repeat(trace, partial(_drop, key=key), ((Itself(table),), {}))
    for key, value in table.items():
        place = ("item", id(table), key)
        if key in before and before[key] is value and place not in reads.written:
            continue
        given = value if copied(trace, value, made) and type(value) is not Tensor else Itself(value)
        effects.repeat(trace, partial(_put, key=key), ((Itself(table), given), {}))


def _put(table: dict[Any, Any], value: Any, key: Any) -> None:
    alone = isinstance(value, Tensor) and value.storage in MADE
    table[key] = value
    if alone:
        MADE.add(value.storage)


def _drop(table: dict[Any, Any], key: Any) -> None:
    table.pop(key, None)


def _memory(trace: StepTrace, old: Any, like: Tensor, taken: list[Tensor]) -> Tensor:
    """The tensor that stays in a slot: what is there, if nobody else is known to have it."""
    if isinstance(old, Tensor) and old.storage in MADE and not old.views and old.spec == like.spec:
        others = {x.storage for x in trace.shown if x is not old} | {x.storage for x in taken}
        if old.storage not in others | trace.owners.keys():
            trace.replaced.add(old.storage)
            return old
    with tracing.paused():
        made = zeros(like.shape, dtype=like.dtype, device=like.device)
    MADE.add(made.storage)
    return made
