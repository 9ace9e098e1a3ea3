"""A machine's measured peaks: what `graphc doctor --measure` found, kept beside the kernels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from graphc.runtime.disk_cache import default_dir

FILE = "peaks.json"


@dataclass(frozen=True, slots=True)
class Peaks:
    """Of `threads` threads of `machine` together: float32 operations and bytes, each a second."""

    machine: str
    threads: int
    flops: float
    bytes: float

    def floor(self, flops: int, size_bytes: int) -> float:
        """The seconds that no program on this machine can beat."""
        return max(flops / self.flops, size_bytes / self.bytes)


def save(peaks: Peaks) -> Path:
    """Keep them; returns where."""
    path = default_dir() / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(peaks), indent=1))
    return path


def load() -> Peaks | None:
    """Those of this machine's last measurement; None where there was none that can be read."""
    try:
        return Peaks(**json.loads((default_dir() / FILE).read_text()))
    except (OSError, ValueError, TypeError):
        return None
