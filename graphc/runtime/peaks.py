"""A machine's measured peaks: what `graphc doctor --measure` found, kept beside the kernels."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from graphc.runtime.disk_cache import default_dir

FILE = "peaks.json"  # of the processor; of a GPU there is another


@dataclass(frozen=True, slots=True)
class Peaks:
    """Of `threads` threads (multiprocessors) of `machine` together: operations and bytes a second.

    On a processor of float32, on a GPU of the type that it multiplies fastest here.
    """

    machine: str
    threads: int
    flops: float
    bytes: float  # through memory
    levels: dict[str, float] = field(default_factory=dict)  # bytes a second, by cache
    barrier: float = 0.0  # seconds in which all threads meet

    def floor(self, flops: int, size_bytes: int) -> float:
        """The seconds that no program on this machine can beat."""
        return max(flops / self.flops, size_bytes / self.bytes)


def save(peaks: Peaks, device: str = "cpu") -> Path:
    """Keep them; returns where."""
    path = _path(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(peaks), indent=1))
    return path


def load(device: str = "cpu") -> Peaks | None:
    """Those of the last measurement; None where there was none that can be read."""
    try:
        return Peaks(**json.loads(_path(device).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _path(device: str) -> Path:
    """All GPUs of a machine are taken to be alike."""
    kind = device.partition(":")[0]
    return default_dir() / (FILE if kind == "cpu" else f"{kind}-{FILE}")
