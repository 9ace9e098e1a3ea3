"""Run a script while looking: which steps it compiled, and what each run of them took."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from graphc.cli.script import run_script
from graphc.frontend.step.inspect.measured import Measured
from graphc.frontend.step.inspect.profile import Limits, Run
from graphc.frontend.step.inspect.seen import seeing
from graphc.frontend.step.native_backend import native
from graphc.runtime import peaks


class Watched(NamedTuple):
    """What a script did."""

    steps: list[Measured]
    runs: Sequence[Run]
    peaks: Limits | None


def watched(script: Path, arguments: Sequence[str]) -> Watched:
    """Run it as `graphc run` does, to its end or its `sys.exit`."""
    tally = native().tally()
    with seeing() as steps:
        try:
            run_script(script, arguments)
        except SystemExit as e:
            if e.code:
                raise
    return Watched([s for s in steps if s.ran], tally.means(), peaks.load())
