"""The garbage collector, while a step is traced."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

MANY_OBJECTS = 1 << 15  # young ones that a collection takes tens of milliseconds to go through
_found: list[bool] = []  # whether it was running, for each pause that lasts


@contextmanager
def collector_paused() -> Iterator[None]:
    """Tracing makes many objects that all live on: collecting garbage meanwhile costs a quarter.

    If they are very many they are made old here, without a look at any: else the collector goes
    through them all as soon as a next call makes something, which is then as slow as an eighth of a
    trace.
    """
    running = gc.isenabled()
    _found.append(running)
    gc.disable()
    try:
        yield
    finally:
        _found.remove(running)
        if running:
            if gc.get_count()[0] > MANY_OBJECTS:
                _make_old()
            gc.enable()


def as_before() -> None:
    """The step asks whether the collector runs: from here on it does as it did before."""
    if any(_found):
        gc.enable()


def _make_old() -> None:
    """Move all objects to the oldest generation: what is frozen is put there once it thaws."""
    if gc.get_freeze_count():  # somebody's own, which stays frozen
        gc.collect(1)
        return
    gc.freeze()
    gc.unfreeze()
