"""Run a script while looking: which steps it compiled, and what each run of them took."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from graphc.frontend.step.compile import native
from graphc.frontend.step.measured import Measured
from graphc.frontend.step.profile import Limits, Run
from graphc.frontend.step.seen import seeing
from graphc.runtime import peaks
from graphc.standin import install_as_torch


class Watched(NamedTuple):
    """What a script did."""

    steps: list[Measured]
    runs: Sequence[Run]
    peaks: Limits | None


def watched(script: Path, arguments: Sequence[str]) -> Watched:
    """Run it as `graphc run` does, to its end or its `sys.exit`."""
    install_as_torch()
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    tally = native().tally()
    with seeing() as steps:
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as e:
            if e.code:
                raise
    return Watched([s for s in steps if s.ran], tally.means(), peaks.load())
