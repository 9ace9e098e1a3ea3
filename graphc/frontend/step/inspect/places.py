"""What became of one line or module: its rows at each stage, its kernels, buffers, time, memory."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from graphc.errors import InvalidArgument
from graphc.frontend.step.inspect.explanation import sizes_told
from graphc.frontend.step.inspect.inspection import Stage, Unit, phase_of, run_of
from graphc.frontend.step.inspect.predicted import size_text
from graphc.frontend.step.inspect.profile import PHASES, Run
from graphc.frontend.terminal import wrapped
from graphc.ir.graph import Graph, Where
from graphc.ir.kernel import Kernel
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.shares import shares_of
from graphc.ir.text import parse_where, row

LINE = re.compile(r"(.+):(\d+)")
GAP = "  ..."
SHOWN = 12  # kernels, buffers and values of a place that are told
Has = Callable[[str], bool]  # of a provenance as a text shows it


class Text(str):
    """Text that an interactive session shows as it is, and a terminal no wider than itself."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(x for row in self.split("\n") for x in wrapped(row, 4))

    def __repr__(self) -> str:
        return str(self)


def holder(unit: Unit, place: str) -> Has:
    """Whether a provenance belongs to `place`, which is "net.py:12" or a module's path.

    A line that computes nothing itself stands for what it calls.
    """
    if (m := LINE.fullmatch(place)) is None:
        return lambda text: _inside(parse_where(text).scope, place)
    name, line = m[1], int(m[2])
    places = {w: unit.stack(w) for w in _places(unit)}

    def here(path: str, at: int) -> bool:
        return at == line and _named(path, name)

    found = {w[1:] for w in places if here(w.file, w.line)}
    found = {w[1:] for w, s in places.items() if w[1:] in found and (not s or here(*s[0][:2]))}
    found |= {w[1:] for w, s in places.items() if s and here(*s[0][:2])}
    found = found or {w[1:] for w, s in places.items() if any(here(*f[:2]) for f in s)}
    return lambda text: parse_where(text)[1:] in found


def _named(path: str, name: str) -> bool:
    """Whether a file is called so: by its last parts, or whole."""
    return path == name or path.endswith(f"/{name}")


def _inside(scope: str, module: str) -> bool:
    return scope == module or scope.startswith(f"{module}.")


def _places(unit: Unit) -> set[Where]:
    """Every provenance of any value, whatever its phase."""
    graphs = (getattr(s, "graph", None) for s in unit.stages)
    return {v.where for g in graphs if isinstance(g, Graph) for v in g.values()}


def stage_at(unit: Unit, name: str, place: str) -> str:
    """Of a stage's text the rows of a place; of kernels and their code, those that work for it."""
    has = holder(unit, place)
    if name in unit.codes or name == "fuse":
        show = unit.show_kernel if name == "fuse" else lambda k: unit.code(k, name)
        return "\n".join(show(k) for k in kernels_at(unit, has))
    lines = unit.text(name).splitlines()
    working = {f"  {i}: launch" for i, _, _ in launches_at(unit.program, has)}
    kept = [_of(line, has) or line.partition(" launch")[0] + " launch" in working for line in lines]
    return "".join(f"{line}\n" for line in gapped(lines, kept))


def found_at(units: Iterable[Unit], name: str, place: str) -> str:
    """`stage_at` of all programs. Raises InvalidArgument if nothing of the place is there."""
    text = "\n".join(stage_at(u, name, place) for u in units)
    if not text.strip():
        raise _nowhere(f"stage {name!r} has nothing of {place!r}")
    return text


def _nowhere(what: str) -> InvalidArgument:
    return InvalidArgument(
        what,
        why="a place is a line as in 'net.py:12', or the path of a module as in 'layer2.0'",
        fix="step.ir() shows the places of all values, behind their rows",
    )


def _of(line: str, has: Has) -> bool:
    left, mark, where = line.rpartition(" # ")
    return bool(mark and left.strip()) and has(where.strip())


def gapped(lines: Sequence[str], kept: Sequence[bool]) -> Iterator[str]:
    """The lines that are kept, with a mark where some between are not."""
    last = -1
    for k, line in enumerate(lines):
        if kept[k]:
            if last >= 0 and last < k - 1:
                yield GAP
            yield line
            last = k


def launches_at(program: Program, has: Has) -> list[tuple[int, Launch, float]]:
    """Number, launch and share of its work, of those that work for a place."""
    found = []
    for i, x in enumerate(program.launches):
        if part := sum(p for w, p in shares_of(x).items() if has(w)):
            found.append((i, x, part))
    return found


def kernels_at(unit: Unit, has: Has) -> list[Kernel]:
    return list({x.kernel.key(): x.kernel for _, x, _ in launches_at(unit.program, has)}.values())


def told(units: Iterable[Unit], place: str, runs: Sequence[Run], limit: int | None = SHOWN) -> str:
    """All that is known of a place, of each kind of thing `limit` at most, the dearest first.

    Raises InvalidArgument if nothing was traced there.
    """
    parts = [text for u in units if (text := _told(u, place, run_of(u, runs), limit))]
    if not parts:
        raise _nowhere(f"nothing was traced at {place!r}")
    return "\n\n".join([*_source(units, place), *parts])


def _source(units: Iterable[Unit], place: str) -> list[str]:
    """The line itself, of each file of that name that runs something there."""
    if (m := LINE.fullmatch(place)) is None:
        return []
    line = int(m[2])
    frames = {f[:2] for u in units for stack in u.stacks.values() for f in stack}
    paths = sorted(path for path, at in frames if at == line and _named(path, m[1]))
    texts = dict.fromkeys(linecache.getline(path, line).strip() for path in paths)
    return [f"{place}  {text}" for text in texts if text]


def _told(unit: Unit, place: str, run: Run | None, limit: int | None) -> str:
    has = holder(unit, place)
    graphs: list[Stage] = [s for s in unit.stages if s.level == "graph"]
    last = getattr(graphs[-1], "graph", None)
    computed = [v for v in last.values() if v.op] if isinstance(last, Graph) else []
    values = [v for v in computed if has(str(v.where))]
    program = unit.program if run is None else run.program
    launches = launches_at(program, has)
    slots = [s for s in program.buffers() if s.where and has(s.where)]
    if not (values or launches or slots):
        return ""
    lists = (  # what, where all of it is, and its rows
        (f"kernels: {len(launches)}", "fuse", _slowest(launches, run)),
        (f"buffers: {len(slots)}", "memory", [_slot(*s) for s in unit.kinds(_largest(slots))]),
        (f"values: {len(values)} after {graphs[-1].name}", graphs[-1].name, [*map(row, values)]),
    )
    return "\n".join(
        [
            f"{unit.name}: {_cost(launches, run)}{_held(program, slots)} at the peak",
            *_phases(launches, run),
            *(line for title, stage, rows in lists
              for line in (title, *_some(rows, limit, f'step.ir("{stage}", where="{place}")'))),
        ]
    )  # fmt: skip


def _some(rows: Sequence[str], limit: int | None, rest: str) -> list[str]:
    """The first rows, and where the others are."""
    if limit is None or len(rows) <= limit + 1:  # one more is as long as to say so
        return [*rows]
    return [*rows[:limit], f"  ... {len(rows) - limit} more: {rest}, or limit=None here"]


At = tuple[int, Launch, float]  # a launch's number, itself, and the share of it for a place


def _phases(launches: Sequence[At], run: Run | None) -> list[str]:
    """What forward, backward and update take of it."""
    groups: dict[str, list[At]] = {}
    for at in launches:
        groups.setdefault(phase_of(at[1].kernel), []).append(at)
    if run is None or len(groups) < 2:
        return []
    parts = [f"{PHASES.get(phase, phase)} {_ms(group, run):.3f} ms in {len(group)}"
             for phase, group in groups.items()]  # fmt: skip
    return [f"launches: {', '.join(parts)}"]


def _ms(launches: Iterable[At], run: Run) -> float:
    return 1e3 * sum(part * run.seconds[i] for i, _, part in launches)


def _slowest(launches: Sequence[At], run: Run | None) -> list[str]:
    """Launches by the time that they take for a place; in their order where that is not known."""
    if run is not None:
        launches = sorted(launches, key=lambda at: -_ms([at], run))
    return [_launch(at, run) for at in launches]


def _largest(slots: Iterable[Slot]) -> list[Slot]:
    return sorted(slots, key=lambda s: -s.size_bytes)


def _cost(launches: Sequence[At], run: Run | None) -> str:
    if run is None:
        return "not profiled, "
    own, whole = _ms(launches, run), 1e3 * sum(run.seconds)
    return f"{own:.3f} of {whole:.3f} ms ({own / whole if whole else 0:.1%}), "


def _held(program: Program, slots: Sequence[Slot]) -> str:
    """Bytes of these that are live when the arena is fullest."""
    arena = [s for s in program.buffers() if s.space == "arena"]
    live = [sum(s.size_bytes for s in arena if s.first <= i <= s.last) for i, _ in
            enumerate(program.launches)] or [0]  # fmt: skip
    peak = live.index(max(live))
    held = {
        (s.space, s.index): s.size_bytes
        for s in slots
        if s.space != "arena" or s.first <= peak <= s.last
    }
    return size_text(sum(held.values()))


def _launch(at: At, run: Run | None) -> str:
    number, launch, part = at
    ms = "" if run is None else f"{_ms([at], run):9.3f} ms"
    first, _, more = sizes_told(launch.kernel.note).partition("; ")
    why = f"  // {first}{'; ...' if more else ''}" if first else ""
    return f"  {number:>4}{ms} {part:6.1%} of {launch.kernel.name}{why}"


def _slot(s: Slot, kind: str) -> str:
    at = f"arena+0x{s.index:04x}" if s.space == "arena" else f"{s.space} {s.index}"
    return (
        f"  %{s.name}: {s.spec} {size_text(s.size_bytes)} {kind} at {at} live {s.first}..{s.last}"
    )
