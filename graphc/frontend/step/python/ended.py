"""What is found out when a step has run while it was traced, in this order.

Nothing is watched any more, for what this calls may be a user's: an `__eq__`, a `__getattribute__`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from graphc.frontend import trace as tracing
from graphc.frontend.step.python import counts, rebound, settled
from graphc.frontend.step.python.observers import Inlined, touched
from graphc.frontend.step.python.reads import Reads
from graphc.frontend.step.python.stores import check_registered, forget_cached
from graphc.frontend.step.python.tables import settle, spend
from graphc.frontend.step.steptrace import StepTrace


@contextmanager
def settling(reads: Reads) -> Iterator[None]:
    """Inside, a step runs; then its places, tables, stores and counts are made each call's."""
    trace = tracing.active()
    if trace is not None:
        trace.setting, trace.wrote = reads.set_mode, reads.wrote
        trace.stored, trace.watched = reads.stores.attribute, True
    try:
        yield
        check_registered(reads)
        if isinstance(trace, StepTrace):
            counts.foresee(trace, reads)
            spend(trace)
            rebound.find(trace, reads)
            settle(trace, reads)
    finally:
        counts.put_back(reads)
        reads.stores.undo(reads)
        settled.drop(reads)
        counts.repeat_counts(reads)
        forget_cached(reads.notes)
        _check_deferred(reads)
    reads.stores.check(reads)
    if trace is not None:  # a plan keeps it, not all that it met
        trace.setting = trace.wrote = trace.stored = None


def _check_deferred(reads: Reads) -> None:
    """Raise `Inlined` if the step looks at what a hook that waits for its end may change."""
    for hook in getattr(tracing.active(), "deferred", ()):
        if touched(hook).meets(*reads.places()):
            raise Inlined(hook)
