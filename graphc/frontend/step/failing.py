"""The error of a call whose values do not meet a test of the step's (`python/demands.py`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from graphc.errors import DataDependentBranch
from graphc.frontend.step.family import Entry
from graphc.frontend.step.signature import signature
from graphc.frontend.step.sizes import Openness
from graphc.frontend.tensor import Tensor


def reraise(
    failed: DataDependentBranch,
    entry: Entry | None,
    traced: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> NoReturn:
    """Raise what the user's code raises where a test of `entry` has failed; `traced` traces a call.

    Raises `failed` itself where it was raised while a step was traced, or where the step catches
    what the user's code raises.
    """
    demands = entry.family.taken.trace.demands if entry is not None else []
    if failed.what in demands:
        leaves: list[Tensor] = []
        signature(args, kwargs, leaves)
        number = demands.index(failed.what)
        try:
            traced(args, kwargs, leaves, Openness(dynamic=False), number)
        except BaseException as e:
            e.__context__ = None  # the test that failed says nothing more
            raise
    raise failed
