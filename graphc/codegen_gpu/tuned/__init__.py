"""Configurations that were the fastest of those measured, as JSON by architecture.

`benchmarks/gpu_tune.py` measures them, and writes the file of the GPU that it ran on.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@cache
def tuned(arch: str) -> dict[str, dict[str, Any]]:
    """By template, then by what it is for; empty where nothing was measured."""
    file = FOLDER / f"{arch}.json"
    found: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else {}
    return found
