"""Tables of optimizers and of buffers: dicts of state whose changes each call of a compiled step
makes again.

A tensor that a step finds in a slot and leaves another for stands in a place that is rebound, as an
attribute's does (`rebound.py`). All else that it changed in a table (a new slot, a counter, a slot
that is gone) is changed again after each call.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from graphc.frontend.step.python import effects
from graphc.frontend.step.python.effects import Argument, Itself
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.stores import arguments, given_to, set_item
from graphc.frontend.step.steptrace import StepTrace
from graphc.frontend.table import Changed, changing
from graphc.frontend.tensor import Tensor


def spend(trace: StepTrace) -> None:
    """Where the step has run its backward, what it leaves in a table has no history any more."""
    for changed in trace.slots if trace.grads else ():
        for key, x in changed.table.items():
            if isinstance(x, Tensor) and x.is_traced and x.requires_grad:
                dict.__setitem__(changed.table, key, x.detach())


def settle(trace: StepTrace, reads: Reads) -> None:
    """When the step has run: have each call change the tables."""
    made = reads.made()
    for changed in trace.slots:  # which gets longer on the way
        for _, value in _new(changed):
            if type(value) is dict and id(value) in made:
                changing(value, {})
    tables = [changed.table for changed in trace.slots]
    for changed in trace.slots:
        _repeat(trace, reads, changed, made - set(map(id, tables)))
    trace.slots.clear()  # a plan keeps the trace, not what was in the tables


def _new(changed: Changed) -> list[tuple[Any, Any]]:
    return [(k, v) for k, v in changed.table.items() if v is not changed.before.get(k)]


def _repeat(trace: StepTrace, reads: Reads, changed: Changed, made: set[int]) -> None:
    """Have each call set and remove what the step did; not what a guard has found there."""
    table, before = changed
    path = arguments(trace).get(id(table))  # of one that each call passes
    owner = Itself(table) if path is None else Argument(path)
    for key in [k for k in before if k not in table]:
        effects.repeat(trace, partial(_drop, key=key), ((owner,), {}))
    for key, value in table.items():
        place = ("item", id(table), key)
        if key in before and before[key] is value and place not in reads.written:
            continue
        given = given_to(trace, value, made)
        effects.repeat(trace, partial(set_item, key=key), ((owner, given), {}))


def _drop(table: dict[Any, Any], key: Any) -> None:
    table.pop(key, None)
