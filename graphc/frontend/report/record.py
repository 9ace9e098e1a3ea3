"""What a report holds, collected into one table of plain data; the page shows nothing else.

Texts are split into rows and each distinct row is kept once; a row's provenance is a number in
`wheres`, so that the page can mark, for any line, value, kernel or buffer, what became of it and
what it came from. A `where` knows the calls that led to it (`stacks`), innermost first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from graphc.frontend.report.facts import Facts, Row
from graphc.frontend.report.files import Files
from graphc.frontend.step.inspect.explanation import Recompile
from graphc.frontend.step.inspect.inspection import Stage, Unit, run_of
from graphc.frontend.step.inspect.profile import Limits, Run
from graphc.frontend.step.inspect.written import TraceStage, written
from graphc.ir.graph import Graph, Where
from graphc.ir.kernel import Kernel
from graphc.ir.program import Program, Slot
from graphc.ir.shares import shares_of
from graphc.ir.text import escaped, parse_where
from graphc.ir.text import ops as count_ops
from graphc.ir.work import work_of

VERSION = 1


class Numbering:
    """A number for each distinct row, its text and place, in order of first use."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, int], int] = {}

    def __call__(self, thing: tuple[str, int]) -> int:
        return self.ids.setdefault(thing, len(self.ids))


def record(units: Sequence[Unit], told: Facts) -> Row:
    """The whole table."""
    recorder = Recorder()
    shown = [recorder.unit(u, run_of(u, told.runs)) for u in units]
    guards = [(what, value, recorder.file(path), line) for what, value, path, line in told.guards]
    recompiles = [recorder.recompile(r) for r in told.recompiles]
    peaks = told.peaks
    return {
        "version": VERSION,
        "name": told.name,
        "numbers": told.numbers,
        "environment": told.environment,
        "units": shown,
        "recompiles": recompiles,
        "guards": guards,
        "sizes": list(told.sizes),
        "peaks": None if peaks is None else _peaks(peaks),
        **recorder.tables(),
    }


def _peaks(p: Limits) -> Row:
    rates = {"flops": p.flops, "bytes": p.bytes, "levels": p.levels}
    return {"machine": p.machine, "threads": p.threads, **rates}


class Recorder:
    """Collects rows, places and files of all units into shared tables."""

    def __init__(self) -> None:
        self.rows = Numbering()  # text and place
        self.files = Files()
        self._wheres: dict[str, int] = {}
        self._places: list[list[Any]] = []

    def tables(self) -> Row:
        return {
            "rows": [text for text, _ in self.rows.ids],
            "row_where": [where for _, where in self.rows.ids],
            "wheres": self._places,
            "stacks": list(self.files.stacks),
            "files": self.files.rows(),
        }

    def where(self, unit: Unit, text: str) -> int:
        """The number of a provenance as it stands in a text; -1 for none."""
        if not text:
            return -1
        found = self._wheres.get(text)
        if found is None:
            found = self._wheres[text] = len(self._places)
            where = parse_where(text)
            stack = unit.stack(where) or _alone(where)
            self._places.append([*where, self.files.stack(stack)])
        return found

    def text(self, unit: Unit, text: str) -> list[int]:
        """A text as numbers of rows."""
        return [self.rows(self._row(unit, line)) for line in text.rstrip("\n").split("\n")]

    def _row(self, unit: Unit, line: str) -> tuple[str, int]:
        """A row's provenance stands behind the last `#`."""
        left, mark, right = line.rpartition(" # ")
        if not mark or not left.strip() or left.lstrip().startswith("//"):
            return line, -1
        return left.rstrip(), self.where(unit, right.strip())

    def file(self, path: str) -> int:
        return self.files.path(path) if path else -1

    def recompile(self, r: Recompile) -> Row:
        at = self.file(r.change.file), r.line
        return {"what": r.argument, "old": r.old, "new": r.new, "at": at, "ms": r.ms, "fix": r.fix}

    # ---- one program ---------------------------------------------------------------------------

    def unit(self, unit: Unit, run: Run | None) -> Row:
        kernels = unit.kernels()
        number = {k.key(): i for i, k in enumerate(kernels)}
        program = unit.program if run is None else run.program
        row = {i: n for n, trips in enumerate(program.rows()) for i in trips}
        notes = dict(zip((k.key() for k in kernels), (why for _, why in unit.ends())))
        return {
            "name": unit.name,
            "device": unit.device,
            "codes": unit.codes,
            "stages": [self._stage(unit, s) for s in unit.stages],
            "values": self._values(unit),
            "kernels": [self._kernel(unit, k, notes[k.key()]) for k in kernels],
            "launches": self._launches(unit, program, number, run),
            "slots": [self._slot(unit, *s, row) for s in unit.kinds(program.buffers())],
            "blocks": unit.blocks,
            "commit": row.get(program.commit, len(program.rows())),
            "arena": program.arena_bytes,
            "bound": program.bound_bytes,
        }

    def _stage(self, unit: Unit, stage: Stage) -> Row:
        graph = getattr(stage, "graph", None)
        if isinstance(stage, TraceStage):
            graph = written(stage.graph)
        ops = count_ops(graph) if isinstance(graph, Graph) else None
        rows = self.text(unit, stage.text())
        return {
            "name": stage.name, "level": stage.level, "why": stage.why, "ms": stage.wall_ms,
            "ops": ops, "rows": rows,
        }  # fmt: skip

    def _values(self, unit: Unit) -> list[list[Any]]:
        """Each value of any stage once: label, place, who made it, and what it reads."""
        found: dict[str, list[Any]] = {}
        for stage in unit.stages:
            graph = getattr(stage, "graph", None)
            for v in graph.values() if isinstance(graph, Graph) else ():
                if v.name not in found:
                    at = self.where(unit, escaped(str(v.where)))
                    found[v.name] = [v.name, at, v.made_by, [a.name for a in v.args]]
        return list(found.values())

    def _kernel(self, unit: Unit, kernel: Kernel, note: str) -> Row:
        text = unit.show_kernel(kernel).rpartition("}")[0] + "}"  # the note is shown beside it
        return {
            "name": kernel.name, "kind": kernel.kind, "note": note,
            "plan": unit.code(kernel, "plan") if unit.device == "cpu" else "",
            "rows": self.text(unit, text),
        }  # fmt: skip

    def _launches(
        self, unit: Unit, program: Program, number: dict[str, int], run: Run | None
    ) -> list[Row]:
        """All trips of a loop as one."""
        work, rows = work_of(program), []
        owner = {s.name: s.within or s.name for s in program.slots}
        for trips in program.rows():
            x, w = program.launches[trips[0]], work[trips[0]].times(len(trips))
            s = None if run is None else sum(run.seconds[i] for i in trips)
            parts = {self.where(unit, at): part for at, part in shares_of(x).items()}
            sides = list(zip(x.slots, x.kernel.buffers, strict=True))
            rows.append({
                "kernel": number[x.kernel.key()],
                "values": x.members,
                "reads": [owner[name] for name, b in sides if "r" in b.access],
                "writes": [owner[name] for name, b in sides if "w" in b.access],
                "times": len(trips),
                "sizes": x.sizes, "scalars": [repr(c) for c in x.scalars],
                "barrier": x.barrier, "s": s,
                "flops": w.flops, "read": w.read_bytes, "written": w.written_bytes,
                "shares": [[at, round(part, 5)] for at, part in parts.items()],
            })  # fmt: skip
        return rows

    def _slot(self, unit: Unit, s: Slot, kind: str, row: Mapping[int, int]) -> list[Any]:
        live = row.get(s.first, s.first), row.get(s.last, s.last)
        return [
            s.name, str(s.spec), s.space, s.index, s.size_bytes, *live, kind,
            self.where(unit, escaped(s.where)),
        ]  # fmt: skip


def _alone(where: Where) -> tuple[tuple[str, int, str], ...]:
    """A place whose calls nobody noted."""
    return ((where.file, where.line, where.scope),) if where.file else ()


def code_of(units: Iterable[Unit], wanted: Callable[[Unit, Kernel, str], bool]) -> list[Row]:
    """For each unit the code of its kernels, by level, of what is `wanted`; kernel by kernel, as a
    level may be made from the one before."""
    return [_code_of(unit, wanted) for unit in units]


def _code_of(unit: Unit, wanted: Callable[[Unit, Kernel, str], bool]) -> Row:
    found: dict[str, list[str]] = {level: [] for level in unit.codes}
    for k in unit.kernels():
        for level, texts in found.items():
            texts.append(unit.code(k, level) if wanted(unit, k, level) else "")
    return found
