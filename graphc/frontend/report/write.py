"""Write a report: collect what is known of some programs, choose whose assembly to make, one file.

Assembly costs its compiler's time again, so a report holds that of the kernels that take longest;
where nothing was measured, of those that compute and move most.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from graphc.frontend.report.facts import Facts
from graphc.frontend.report.page import page
from graphc.frontend.report.record import code_of, record
from graphc.frontend.report.saved import save
from graphc.frontend.step.inspect.inspection import Stats, Unit, run_of
from graphc.frontend.step.inspect.predicted import memory_of
from graphc.frontend.step.inspect.profile import Run
from graphc.ir.kernel import Kernel
from graphc.ir.work import work_of

ASSEMBLED = 24  # kernels
SLOW_LEVELS = ("asm",)


def write(path: str | Path, units: Sequence[Unit], told: Facts, every: bool = False) -> Path:
    """The report of these programs; `every`: with the assembly of all kernels."""
    slow = None if every else _longest(units, told.runs)

    def wanted(unit: Unit, kernel: Kernel, level: str) -> bool:
        return level not in SLOW_LEVELS or slow is None or kernel.key() in slow

    text = page(record(units, told), code_of(units, wanted))
    path = Path(path)
    save(path, text)
    return path


def _longest(units: Iterable[Unit], runs: Sequence[Run]) -> set[str]:
    """The keys of the kernels whose assembly is made."""
    cost: dict[str, float] = {}
    for unit in units:
        run = run_of(unit, runs)
        program = unit.program if run is None else run.program
        guessed = [float(w.flops + w.bytes) for w in work_of(program)]
        for x, n in zip(program.launches, guessed if run is None else run.seconds):
            cost[x.kernel.key()] = cost.get(x.kernel.key(), 0.0) + n
    return set(sorted(cost, key=lambda key: -cost[key])[:ASSEMBLED])


def numbers(units: Iterable[Unit], *stats: Stats) -> dict[str, Any]:
    """What a report says at its top, besides what the page counts for itself."""
    found: dict[str, Any] = {"peak_bytes": memory_of(u.part() for u in units).peak_bytes}
    names = "compiles", "programs", "kernels_compiled", "cache_hits", "compile_seconds"
    return found | {name: sum(getattr(s, name) for s in stats) for name in names if stats}


def environment() -> dict[str, str]:
    """The machine and versions, as a bug report needs them."""
    return {
        "graphc": getattr(sys.modules.get("graphc"), "__version__", "?"),
        "Python": platform.python_version(),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
    }
