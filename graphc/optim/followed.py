"""Optimizers of a user's own inside a compiled step.

Their `step` is any Python over `state` and `param_groups`. In a trace it runs once: what it found
there is compared at each call (a counter that moves traces anew), what it left there is set after
each call, and a traced tensor among it becomes state of the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from graphc.frontend import trace as tracing
from graphc.frontend.api.creation import zeros
from graphc.frontend.modes import no_grad
from graphc.frontend.step.guards import SIMPLE, Content, Same
from graphc.frontend.tensor import Tensor

Table = dict[Any, Any]
Kept = list[tuple[Table, Table]]  # tables and what they hold


@contextmanager
def followed(optimizer: Any) -> Iterator[None]:
    """Around a `step` that graphc does not know."""
    trace = tracing.active()
    if trace is None:
        yield
        return
    before = _kept(optimizer)
    if trace.first(optimizer, _filling(before)):  # guarded as it was when the step began
        tracing.guard(partial(_seen, optimizer))
    trace.follows = True
    yield
    trace.follows = False
    with no_grad():
        _apply(optimizer, {id(table): items for table, items in before})
    tracing.after_commit(_filling(_kept(optimizer)))


def _tables(optimizer: Any) -> list[Table]:
    slots = [x for x in optimizer.state.values() if isinstance(x, dict)]
    return [optimizer.state, *slots, *optimizer.param_groups]


def _kept(optimizer: Any) -> Kept:
    return [(table, dict(table)) for table in _tables(optimizer)]


def _filling(kept: Kept) -> Callable[[], None]:
    """What gives the tables their content again."""

    def fill() -> None:
        for table, items in kept:
            table.clear()
            table.update(items)

    return fill


def _seen(optimizer: Any) -> Content:
    """All that a step may read: numbers by value, else which object it is."""
    items = [x for table in _tables(optimizer) for pair in table.items() for x in pair]
    return Content(type(optimizer), tuple(_compared(x) for x in items))


def _compared(x: Any) -> Any:
    if isinstance(x, SIMPLE):
        return type(x), repr(x)
    if isinstance(x, tuple | list):
        return Content(type(x), tuple(map(_compared, x)))
    return Same(x)


def _apply(optimizer: Any, before: dict[int, Table]) -> None:
    """Give traced slots memory that stays: what they had there before, or new."""
    for table in _tables(optimizer):
        old = before.get(id(table), {})
        for key, value in table.items():
            if isinstance(value, Tensor) and value.is_traced:
                table[key] = _memory(old.get(key), value)
                table[key].copy_(value)


def _memory(old: Any, like: Tensor) -> Tensor:
    if isinstance(old, Tensor) and not old.is_traced and not old.views and old.spec == like.spec:
        return old
    with tracing.paused():
        return zeros(like.shape, dtype=like.dtype, device=like.device)
