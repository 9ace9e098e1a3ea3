"""The log of recompiles: a line for each, a warning at the third trace of one signature."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable, Sequence

from graphc.frontend.step.guards import Change
from graphc.frontend.step.inspection import Recompile

THIRD = 3
log = logging.getLogger("graphc.recompiles")


class Recompiles:
    """Counts and tells the traces of one compiled function."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._traces: Counter[Hashable] = Counter()

    def note(self, key: Hashable, why: Sequence[Change], ms: float) -> list[Recompile]:
        """The rows for `explain` of a call that was traced, told in the log."""
        rows = [Recompile(change, ms) for change in why]
        self._traces[key] += 1
        if rows:
            text = "; ".join(map(str, rows))
            log.info("`%s` is traced again: %s", self._name, text)
            if self._traces[key] == THIRD:
                log.warning("`%s` is traced a third time for one signature: %s", self._name, text)
        return rows
