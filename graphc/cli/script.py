"""Run a person's script in this process, with graphc in torch's place."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from graphc.standin import install_as_torch


def run_script(script: Path, arguments: Sequence[str]) -> None:
    """As `python script arguments`, to its end or its `sys.exit`."""
    install_as_torch()
    sys.argv = [str(script), *arguments]
    sys.path.insert(0, str(script.resolve().parent))
    runpy.run_path(str(script), run_name="__main__")
