"""Anomaly detection: backward raises where a gradient turns NaN, and names the forward's line.

Slow, for debugging, and eager only: a compiled step cannot look at its values as it runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np

from graphc.errors import AutogradError, Untraceable
from graphc.frontend.modes import modes
from graphc.passes.autodiff import Node

__all__ = ["detect_anomaly", "is_anomaly_enabled", "set_detect_anomaly"]


def is_anomaly_enabled() -> bool:
    """Whether `detect_anomaly` or `set_detect_anomaly` is on in this thread."""
    return modes.anomaly


class set_detect_anomaly:
    """Turns detection on or off at once; as a context manager, restores it on exit."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self._before = modes.anomaly, modes.check_nan
        modes.anomaly, modes.check_nan = mode, check_nan

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        modes.anomaly, modes.check_nan = self._before


class detect_anomaly:
    """Inside, backward raises RuntimeError for a NaN, with the line whose gradient it is."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._before = modes.anomaly, modes.check_nan

    def __enter__(self) -> Self:
        self._before = modes.anomaly, modes.check_nan
        modes.anomaly, modes.check_nan = True, self._check_nan
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, tb: TracebackType | None
    ) -> None:
        modes.anomaly, modes.check_nan = self._before


def refuse_in_trace() -> None:
    if modes.anomaly and modes.trace is not None:
        raise Untraceable(
            "backward with anomaly detection in a compiled step, which cannot look at its values",
            fix="run the step under graphc.disable(), or turn detection off",
        )


def check(node: Node, gradients: Sequence[Any]) -> None:
    """Raise if what a node gave holds a NaN."""
    at = node.where
    for k, g in enumerate(gradients):
        if g is not None and g.dtype.is_floating_point and np.isnan(g.host()).any():
            raise AutogradError(
                f"Function '{node.name()}' returned nan values in its {k}th output.",
                why="the derivative is not a number there; the line is that of the forward",
                fix="keep the forward's operands away from where its derivative is undefined",
                where=None if at is None else (at.file, at.line, at.scope),
            )
