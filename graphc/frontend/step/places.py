"""What became of one line or module: its rows at each stage, its kernels, buffers, time, memory."""

from __future__ import annotations

import linecache
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from graphc.errors import InvalidArgument
from graphc.frontend.step.inspection import Stage, Unit
from graphc.frontend.step.predicted import size_text
from graphc.frontend.step.profile import Run
from graphc.ir.graph import Graph, Where
from graphc.ir.kernel import Kernel
from graphc.ir.program import Launch, Program, Slot
from graphc.ir.shares import shares_of
from graphc.ir.text import parse_where, row

LINE = re.compile(r"(.+):(\d+)")
GAP = "  ..."
Has = Callable[[str], bool]  # of a provenance as a text shows it


class Text(str):
    """Text that an interactive session shows as it is."""

    __slots__ = ()

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
        return at == line and (path == name or path.endswith(f"/{name}"))

    found = {w[1:] for w in places if here(w.file, w.line)}
    found = {w[1:] for w, s in places.items() if w[1:] in found and (not s or here(*s[0][:2]))}
    found |= {w[1:] for w, s in places.items() if s and here(*s[0][:2])}
    found = found or {w[1:] for w, s in places.items() if any(here(*f[:2]) for f in s)}
    return lambda text: parse_where(text)[1:] in found


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


def told(units: Iterable[Unit], place: str, runs: Mapping[str, Run]) -> str:
    """All that is known of a place. Raises InvalidArgument if nothing was traced there."""
    parts = [text for u in units if (text := _told(u, place, runs.get(u.name)))]
    if not parts:
        raise _nowhere(f"nothing was traced at {place!r}")
    return "\n\n".join([*_source(units, place), *parts])


def _source(units: Iterable[Unit], place: str) -> list[str]:
    """The line itself."""
    m = LINE.fullmatch(place)
    paths = {f[0] for u in units for stack in u.stacks.values() for f in stack} if m else set()
    path = next((p for p in sorted(paths) if m and p.endswith(m[1])), "")
    text = linecache.getline(path, int(m[2])).strip() if m and path else ""
    return [f"{place}  {text}"] if text else []


def _told(unit: Unit, place: str, run: Run | None) -> str:
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
    return "\n".join(
        [
            f"{unit.name}: {_cost(launches, run)}{_held(program, slots)} at the peak",
            f"values: {len(values)} after {graphs[-1].name}",
            *map(row, values),
            f"kernels: {len(launches)}",
            *(_launch(i, x, part, run) for i, x, part in launches),
            f"buffers: {len(slots)}",
            *(_slot(unit, s) for s in slots),
        ]
    )


def _cost(launches: Sequence[tuple[int, Launch, float]], run: Run | None) -> str:
    if run is None:
        return "not profiled, "
    seconds, whole = sum(p * run.seconds[i] for i, _, p in launches), sum(run.seconds)
    return f"{1e3 * seconds:.3f} of {1e3 * whole:.3f} ms ({seconds / whole:.1%}), "


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


def _launch(i: int, x: Launch, part: float, run: Run | None) -> str:
    ms = "" if run is None else f"{1e3 * part * run.seconds[i]:9.3f} ms"
    why = f"  // {x.kernel.note}" if x.kernel.note else ""
    return f"  {i:>4}{ms} {part:6.1%} of {x.kernel.name}{why}"


def _slot(unit: Unit, s: Slot) -> str:
    at = f"arena+0x{s.index:04x}" if s.space == "arena" else f"{s.space} {s.index}"
    kind = unit.kind(s)
    return (
        f"  %{s.name}: {s.spec} {size_text(s.size_bytes)} {kind} at {at} live {s.first}..{s.last}"
    )
