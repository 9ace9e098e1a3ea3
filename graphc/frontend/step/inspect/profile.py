"""profile: where the time of a compiled step goes, launch by launch, and by line, module and phase.

The clock is read at each launch while somebody looks, and not otherwise. Launches follow each other
without a gap: waiting at a barrier belongs to the launch before it. What else a call takes (Python,
handing over arguments, waking threads, what lies between two programs) is a row of its own, so rows
sum to the call. A launch's work (floating point operations, bytes moved at least) is known from its
kernel, so each row also says how near to the machine's measured peaks it came, where `graphc doctor
--measure` has been run.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle
from pathlib import Path
from typing import NamedTuple, Protocol

from graphc.errors import InvalidArgument
from graphc.frontend import notebook, terminal
from graphc.ir.graph import Where
from graphc.ir.kernel import Dot, Kernel, Reduce, Store
from graphc.ir.program import Program
from graphc.ir.text import parse_where
from graphc.ir.work import Work, work_of

PHASES = {"": "forward", "bw": "backward", "opt": "optimizer"}
OUTSIDE = "(outside)"
NAME = 20  # of a row's name at least, before a table loses a column
ROUND = 4  # calls, of which the last is profiled
ENOUGH = 4  # profiles that tell how much they vary
NOTCH = 1.57  # of the quartiles' distance: where a median is, to 95 % (McGill, Tukey, Larsen 1978)


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

    @property
    def threads(self) -> Sequence[Sequence[float]]:
        """Of each thread, when it began each launch and when the last one ended, in seconds from
        the run's begin; none where launches alone were timed."""
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
    @property
    def levels(self) -> dict[str, float]:
        """Bytes a second, by cache."""
        ...

    def floor(self, flops: int, size_bytes: int) -> float: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One launch, or several that were put together under one `name`."""

    name: str
    seconds: float
    work: Work
    calls: int = 1
    floor: float = 0.0  # seconds that no program can beat; 0 where no peaks were measured

    def __str__(self) -> str:
        rates = f"{self.gflops:.1f} GFLOP/s, {self.gbytes:.1f} GB/s"
        return f"{self.name or '-'}: {self.ms:.3f} ms in {self.calls} launches, {rates}"

    @property
    def ms(self) -> float:
        """Milliseconds."""
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
    """One launch of a profiled run: which, what it computed, and when, in seconds; `spans` are each
    thread's begin and end."""

    kernel: str
    where: Where
    begin: float
    row: Row
    spans: Sequence[tuple[float, float]]


class Beside(NamedTuple):
    """Calls that were not profiled, each next to one that was."""

    seconds: float  # of one in the middle
    residual: float  # by how much, of the plain calls around it, a profile's sum is more
    error: float  # of the residual: what the machine's noise leaves open
    profiles: int


KEYS: dict[str, Callable[[Launched], str]] = {
    "launch": lambda x: x.row.name,
    "kernel": lambda x: x.kernel,
    "line": lambda x: f"{x.where.file}:{x.where.line}" if x.where.file else "",
    "module": lambda x: x.where.scope,
    "phase": lambda x: PHASES.get(x.where.phase, x.where.phase),
}


SORTS: dict[str, Callable[[Row], float]] = {
    "self_cpu_time_total": lambda r: r.seconds,
    "cpu_time_total": lambda r: r.seconds,
    "cpu_time": lambda r: r.seconds / max(1, r.calls),
    "count": lambda r: r.calls,
    "flops": lambda r: r.work.flops,
}


class Averages(list[Row]):
    """As `torch.profiler` gives them: a kernel calls nothing, so all of its time is its own."""

    def table(self, sort_by: str | None = None, row_limit: int = 100) -> str:
        """Columns and order as PyTorch's; `sort_by` is a name of SORTS.

        Raises InvalidArgument for another column.
        """
        key = SORTS.get(sort_by or "self_cpu_time_total")
        if key is None:
            raise InvalidArgument(f"sort_by={sort_by!r:.50}: there are {', '.join(SORTS)}")
        rows = sorted(self, key=key, reverse=True)[: row_limit if row_limit >= 0 else None]
        total = sum(r.seconds for r in self)
        width = max([len("Name"), *(len(r.name) for r in rows)])
        heads = "Self CPU %", "Self CPU", "CPU total", "CPU time avg", "# of Calls", "Total GFLOPs"
        line = "  ".join(["-" * width, *("-" * 12 for _ in heads)])
        shown = ["  ".join([f"{'Name':>{width}}", *(f"{h:>12}" for h in heads)])]
        for r in rows:
            times = (_time(x) for x in (r.seconds, r.seconds, r.seconds / max(1, r.calls)))
            cells = f"{r.seconds / total if total else 0:.2%}", *times, str(r.calls)
            cells = *cells, f"{r.work.flops / 1e9:.3f}"
            shown.append("  ".join([f"{r.name:>{width}}", *(f"{c:>12}" for c in cells)]))
        return "\n".join(
            [line, shown[0], line, *shown[1:], line, f"Self CPU time total: {_time(total)}"]
        )


def _time(seconds: float) -> str:
    """As PyTorch writes it."""
    for size, unit in ((1.0, "s"), (1e-3, "ms")):
        if seconds >= size:
            return f"{seconds / size:.3f}{unit}"
    return f"{seconds * 1e6:.3f}us"


@dataclass(frozen=True)
class Profile:
    """Where the time of a call went: its launches, in order, and what is outside of them. Prints as
    a table of kernels; `by` gives other tables. All rows together are the call."""

    runs: tuple[Run, ...] = field(repr=False)
    limits: Callable[[], Limits | None] = field(repr=False)  # looked up when asked for, as well
    result: object = field(default=None, repr=False)  # of the call that was profiled
    call_seconds: float = 0.0  # of the whole call; 0 where only launches were timed
    beside: Beside | None = None  # calls that were not profiled, where some took turns with it

    @cached_property
    def peaks(self) -> Limits | None:
        """The machine's, where they were measured."""
        return self.limits()

    @property
    def measured(self) -> bool:
        """Whether the machine's peaks are known."""
        return self.peaks is not None

    @cached_property
    def launches(self) -> tuple[Launched, ...]:
        """Each launch of the call; made when asked for, so that a profiled call takes no longer."""
        return tuple(_launched(self.runs, self.peaks))

    @property
    def launch_seconds(self) -> float:
        """Seconds in launches."""
        return sum(run.calls * sum(run.seconds) for run in self.runs)

    @property
    def outside_seconds(self) -> float:
        """Seconds of the call in no launch; 0 where only launches were timed."""
        return max(0.0, self.call_seconds - self.launch_seconds)

    @property
    def seconds(self) -> float:
        """Seconds of the whole call."""
        return self.launch_seconds + self.outside_seconds

    @property
    def ms(self) -> float:
        """Milliseconds of the whole call."""
        return 1e3 * self.seconds

    def by(self, key: str) -> list[Row]:
        """Rows put together by "launch", "kernel", "line", "module" or "phase", slowest first.

        What is outside of launches is a row of no calls, of no line and of no module.

        Raises InvalidArgument for another key.
        """
        if key not in KEYS:
            raise InvalidArgument(f"by({key!r:.50}): there are {', '.join(KEYS)}")
        groups: dict[str, list[Row]] = {}
        for x in self.launches:
            groups.setdefault(KEYS[key](x), []).append(x.row)
        if self.outside_seconds:
            groups[OUTSIDE] = [Row(OUTSIDE, self.outside_seconds, Work(), 0)]
        return sorted((_sum(name, rows) for name, rows in groups.items()), key=lambda r: -r.seconds)

    def table(self, key: str = "kernel", limit: int = 20) -> str:
        """The slowest rows as text, and what the others come to.

        Columns: ms, share of the call, calls, GFLOP/s, GB/s and the floor's share of the time; on
        a narrow terminal the first of these.
        """
        rows = self.by(key)
        shown = rows[:limit]
        if rest := rows[limit:]:
            shown.append(_sum(f"{len(rest)} others", rest))
        columns = _fitting()
        head = " ".join(c.name.rjust(c.width) for c in columns)
        lines = [f"{head}  {key}", *(self._line(row, columns) for row in shown)]
        below = [x for row in (*self._totals(), *self._hint()) for x in terminal.wrapped(row, 4)]
        return "\n".join([*map(terminal.clipped, lines), *below])

    def _repr_html_(self) -> str:
        """The slowest kernels, in a notebook."""
        rows = [(f"{r.ms:.3f}", r.calls, f"{r.gflops:.1f}", f"{r.gbytes:.1f}", r.name)
                for r in self.by("kernel")[:20]]  # fmt: skip
        head = "ms", "calls", "GFLOP/s", "GB/s", "kernel"
        return notebook.table(f"{self.ms:.3f} ms in {len(self.launches)} launches", head, rows)

    def _line(self, r: Row, columns: Sequence[Column]) -> str:
        cells = " ".join(c.cell(self, r).rjust(c.width) for c in columns)
        return f"{cells}  {r.name or '-'}"

    def _totals(self) -> list[str]:
        """What the rows come to, and how far that is from calls that were not profiled."""
        count = sum(run.calls * len(run.seconds) for run in self.runs)
        told = [f"{1e3 * self.launch_seconds:9.3f} {'':6} {count:5d}  all launches"]
        if self.outside_seconds:
            told.append(f"{self.ms:9.3f} {'':12}  the call: {self.outside_seconds * 1e3:.3f} of it "
                        "outside launches (Python, arguments, waking threads)")  # fmt: skip
        if self.beside is not None:
            seconds, residual, error, count = self.beside
            told.append(f"{1e3 * seconds:9.3f} {'':12}  a call that is not profiled; residual "
                        f"{residual:+.1%} ± {error:.1%}, the median of {count}")  # fmt: skip
        return told

    def _hint(self) -> list[str]:
        hint = "peaks are not measured: run `python -m graphc doctor --measure` once"
        return [] if self.measured else [hint]

    def __str__(self) -> str:
        return self.table()

    def key_averages(self) -> Averages:
        """Rows by kernel, with the names and the table of PyTorch's profiler."""
        return Averages(self.by("kernel"))

    def chrome_trace(self, path: str | Path) -> None:
        """Write the launches, on each thread that ran them, as a trace that Perfetto and
        chrome://tracing read."""
        events = [
            {
                "name": x.kernel, "ph": "X", "pid": 0, "tid": thread, "ts": 1e6 * begin,
                "dur": 1e6 * (end - begin),
                "args": {"launch": x.row.name, "where": str(x.where), "flops": x.row.work.flops,
                         "bytes": x.row.work.bytes},
            }
            for x in self.launches for thread, (begin, end) in enumerate(x.spans)
        ]  # fmt: skip
        Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}))


class Column(NamedTuple):
    """Of a table of rows."""

    name: str
    width: int
    cell: Callable[[Profile, Row], str]


COLUMNS = (
    Column("ms", 9, lambda p, r: f"{r.ms:.3f}"),
    Column("share", 6, lambda p, r: f"{r.seconds / p.seconds if p.seconds else 0:.1%}"),
    Column("calls", 5, lambda p, r: str(r.calls)),
    Column("GFLOP/s", 8, lambda p, r: f"{r.gflops:.1f}"),
    Column("GB/s", 7, lambda p, r: f"{r.gbytes:.1f}"),
    Column("of peak", 7, lambda p, r: f"{r.share_of_peak:.0%}" if p.measured else "-"),
)


def _fitting() -> Sequence[Column]:
    """As many columns as leave room for a name."""
    room = terminal.columns()
    counts = range(len(COLUMNS), 1, -1)
    fits = (
        n for n in counts if room is None or room >= NAME + sum(c.width + 1 for c in COLUMNS[:n])
    )
    return COLUMNS[: next(fits, 1)]


def _sum(name: str, rows: Sequence[Row]) -> Row:
    work = Work()
    for r in rows:
        work = work.plus(r.work)
    seconds, floor = sum(r.seconds for r in rows), sum(r.floor for r in rows)
    return Row(name, seconds, work, sum(r.calls for r in rows), floor)


def profile_of(runs: Iterable[Run], peaks: Limits | None, result: object = None) -> Profile:
    """The launches of all runs, one after another."""
    return Profile(tuple(runs), lambda: peaks, result)


def _launched(runs: Iterable[Run], peaks: Limits | None) -> Iterator[Launched]:
    now = 0.0
    for run in runs:
        begun, work = now, work_of(run.program)
        first = {k: row[0] for row in run.program.rows() for k in row}  # of all trips of a loop
        for k, (launch, seconds) in enumerate(zip(run.program.launches, run.seconds, strict=True)):
            floor = peaks.floor(work[k].flops, work[k].bytes) if peaks else 0.0
            name = f"{run.program.name}[{first[k]}] {launch.kernel.name}"
            n = run.calls
            row = Row(name, n * seconds, work[k].times(n), n, n * floor)
            spans = [(begun + t[k], begun + t[k + 1]) for t in run.threads]
            alone = [(now, now + row.seconds)]
            yield Launched(launch.kernel.name, where_of(launch.kernel), now, row, spans or alone)
            now += row.seconds


def in_turns(
    batches: Iterable[object],
    plain: Callable[[object], float],
    profiled: Callable[[object], Profile],
) -> Profile:
    """Call `plain`, which gives its seconds, and `profiled` in turns. The profile in the middle, by
    its time, beside the calls before and after: a machine that slows down meanwhile slows all."""
    plains: list[float] = []
    profiles: list[Profile] = []
    for k, batch in zip(cycle(range(ROUND)), batches):
        if k == ROUND - 1:
            profiles.append(profiled(batch))
        else:
            plains.append(plain(batch))
    if not profiles:
        raise InvalidArgument(
            f"profile_over: fewer than {ROUND} batches",
            why="of each four, three are called as always and one is profiled",
            fix=f"give {ROUND} at least; some dozens tell more",
        )
    off = [_residual(p, plains[(ROUND - 1) * k :][: 2 * (ROUND - 1)])
           for k, p in enumerate(profiles)]  # fmt: skip
    middle = sorted(profiles, key=lambda p: p.seconds)[len(profiles) // 2]
    beside = Beside(statistics.median(plains), statistics.median(off), _error(off), len(profiles))
    return replace(middle, beside=beside)


def _residual(profile: Profile, around: Sequence[float]) -> float:
    return profile.seconds / statistics.median(around) - 1


def _error(found: Sequence[float]) -> float:
    """By how much, about, the median of others that are spread like these would differ."""
    if len(found) < ENOUGH:
        return math.inf
    low, _, high = statistics.quantiles(found, n=4)
    return float(NOTCH * (high - low) / math.sqrt(len(found)))


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
