"""What a report tells besides programs; all that a step that is not reported on needs of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from graphc.frontend.step.inspect.explanation import Recompile
from graphc.frontend.step.inspect.profile import Limits, Run

Row = dict[str, Any]


@dataclass(frozen=True)
class Facts:
    """What a step knows besides its programs."""

    name: str
    numbers: Row = field(default_factory=dict)
    environment: Row = field(default_factory=dict)
    recompiles: Sequence[Recompile] = ()
    guards: Sequence[tuple[str, str, str, int]] = ()  # what was read, its value, file, line
    sizes: Sequence[str] = ()
    runs: Sequence[Run] = ()  # of a profiled call
    peaks: Limits | None = None
