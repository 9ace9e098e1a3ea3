"""profile: where the time of a compiled step goes, launch by launch, and by line, module and phase.

The clock is read at each launch while somebody looks, and not otherwise. A launch's work (floating
point operations, bytes moved at least) is known from its kernel, so each row also says how near to
the machine's measured peaks it came, where `graphc doctor --measure` has been run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from graphc.errors import InvalidArgument
from graphc.ir.graph import Where
from graphc.ir.kernel import Dot, Kernel, Reduce, Store
from graphc.ir.program import Program
from graphc.ir.text import parse_where
from graphc.ir.work import Work, work_of

PHASES = {"": "forward", "bw": "backward", "opt": "optimizer"}


class Run(Protocol):
    """One run of a program, as a runtime notes it: the seconds of each launch."""

    @property
    def program(self) -> Program: ...
    @property
    def seconds(self) -> Sequence[float]: ...
    @property
    def calls(self) -> int:
        """Of how many runs `seconds` is the mean."""
        ...


class Limits(Protocol):
    """What the machine can do at most; see `runtime.peaks.Peaks`."""

    @property
    def machine(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def flops(self) -> float: ...
    @property
    def bytes(self) -> float: ...

    def floor(self, flops: int, size_bytes: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One launch, or several that were put together under one `name`."""

    name: str
    seconds: float
    work: Work
    calls: int = 1
    floor: float = 0.0  # seconds that no program can beat; 0 where no peaks were measured

    @property
    def ms(self) -> float:
        return 1e3 * self.seconds

    @property
    def gflops(self) -> float:
        """GFLOP/s."""
        return self.work.flops / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def gbytes(self) -> float:
        """GB/s."""
        return self.work.bytes / self.seconds / 1e9 if self.seconds else 0.0

    @property
    def share_of_peak(self) -> float:
        """The floor over the time: 1 is the best that arithmetic and memory allow, more is a cache
        that held what was read; 0 where no peaks were measured."""
        return self.floor / self.seconds if self.seconds else 0.0


class Launched(NamedTuple):
    """One launch of a profiled run: which, what it computed, and when, in seconds."""

    kernel: str
    where: Where
    begin: float
    row: Row


KEYS: dict[str, Callable[[Launched], str]] = {
    "launch": lambda x: x.row.name,
    "kernel": lambda x: x.kernel,
    "line": lambda x: f"{x.where.file}:{x.where.line}" if x.where.file else "",
    "module": lambda x: x.where.scope,
    "phase": lambda x: PHASES.get(x.where.phase, x.where.phase),
}


@dataclass(frozen=True)
class Profile:
    """The launches of one call, in order. Prints as a table of kernels; `by` gives other tables."""

    launches: tuple[Launched, ...]
    measured: bool  # whether the machine's peaks are known
    result: object = field(default=None, repr=False)  # of the call that was profiled
    runs: tuple[Run, ...] = field(default=(), repr=False)

    @property
    def seconds(self) -> float:
        return sum(x.row.seconds for x in self.launches)

    @property
    def ms(self) -> float:
        return 1e3 * self.seconds

    def by(self, key: str) -> list[Row]:
        """Rows put together by "launch", "kernel", "line", "module" or "phase", slowest first."""
        if key not in KEYS:
            raise InvalidArgument(f"by({key!r:.50}): there are {', '.join(KEYS)}")
        groups: dict[str, list[Row]] = {}
        for x in self.launches:
            groups.setdefault(KEYS[key](x), []).append(x.row)
        return sorted((_sum(name, rows) for name, rows in groups.items()), key=lambda r: -r.seconds)

    def table(self, key: str = "kernel", limit: int = 20) -> str:
        """The slowest rows as text, and what the others come to."""
        rows = self.by(key)
        shown = rows[:limit]
        if rest := rows[limit:]:
            shown.append(_sum(f"{len(rest)} others", rest))
        columns = ("ms", 9), ("share", 6), ("calls", 5), ("GFLOP/s", 8), ("GB/s", 7), ("of peak", 7)
        head = " ".join(name.rjust(width) for name, width in columns)
        lines = [self._line(row) for row in shown]
        total = f"{self.ms:9.3f} {'':6} {sum(r.calls for r in rows):5d}  all launches"
        return "\n".join([f"{head}  {key}", *lines, total, *self._hint()])

    def _line(self, r: Row) -> str:
        share = r.seconds / self.seconds if self.seconds else 0.0
        peak = f"{r.share_of_peak:7.0%}" if self.measured else f"{'-':>7}"
        numbers = f"{r.gflops:8.1f} {r.gbytes:7.1f} {peak}"
        return f"{r.ms:9.3f} {share:6.1%} {r.calls:5d} {numbers}  {r.name or '-'}"

    def _hint(self) -> list[str]:
        hint = "peaks are not measured: run `python -m graphc doctor --measure` once"
        return [] if self.measured else [hint]

    def __str__(self) -> str:
        return self.table()

    def chrome_trace(self, path: str | Path) -> None:
        """Write the launches as a trace that Perfetto and chrome://tracing read."""
        events = [
            {
                "name": x.kernel, "ph": "X", "pid": 0, "tid": 0, "ts": 1e6 * x.begin,
                "dur": 1e6 * x.row.seconds,
                "args": {"launch": x.row.name, "where": str(x.where), "flops": x.row.work.flops,
                         "bytes": x.row.work.bytes},
            }
            for x in self.launches
        ]  # fmt: skip
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}))


def _sum(name: str, rows: Sequence[Row]) -> Row:
    work = Work()
    for r in rows:
        work = work.plus(r.work)
    seconds, floor = sum(r.seconds for r in rows), sum(r.floor for r in rows)
    return Row(name, seconds, work, sum(r.calls for r in rows), floor)


def profile_of(runs: Iterable[Run], peaks: Limits | None, result: object = None) -> Profile:
    """The launches of all runs, one after another."""
    runs = tuple(runs)
    found: list[Launched] = []
    now = 0.0
    for run in runs:
        work = work_of(run.program)
        for k, (launch, seconds) in enumerate(zip(run.program.launches, run.seconds, strict=True)):
            floor = peaks.floor(work[k].flops, work[k].bytes) if peaks else 0.0
            name = f"{run.program.name}[{k}] {launch.kernel.name}"
            n = run.calls
            row = Row(name, n * seconds, work[k].times(n), n, n * floor)
            found.append(Launched(launch.kernel.name, where_of(launch.kernel), now, row))
            now += row.seconds
    return Profile(tuple(found), peaks is not None, result, runs)


def print_tally(runs: Sequence[Run], peaks: Limits | None) -> None:
    """What GRAPHC_PROFILE shows at exit, on standard error; nothing where nothing ran."""
    if runs:
        calls = ", ".join(f"{r.program.name}: {r.calls} calls" for r in runs)
        print(f"graphc profile of {calls}\n{profile_of(runs, peaks)}", file=sys.stderr)


def where_of(kernel: Kernel) -> Where:
    """The provenance of what a kernel is about: its sums of products, else its sums, else what it
    stores."""
    if kernel.call is not None:
        return parse_where(kernel.call.where)
    for kind in (Dot, Reduce, Store):
        for s in kernel.statements():
            if isinstance(s, kind) and s.where:
                return parse_where(s.where)
    return Where()
