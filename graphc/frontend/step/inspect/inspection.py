"""What a compiled step tells about itself: stages, differences, kernels, memory, recompiles.

`Inspectable` is the face that compiled functions and modules share; what it shows is the plan that
ran last. Text is made when asked for, never while compiling. What is not there is an error with the
reason, never an empty string.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any, Protocol

from graphc import config
from graphc.errors import InvalidArgument, InvalidState, NotAvailable
from graphc.frontend import notebook
from graphc.frontend.step.inspect.compared import changes
from graphc.frontend.step.inspect.explanation import Explanation, Recompile
from graphc.frontend.step.inspect.predicted import Memory, Part, memory_of, size_text
from graphc.frontend.step.inspect.profile import Run, where_of
from graphc.ir.graph import Stack, Where
from graphc.ir.kernel import Kernel
from graphc.ir.program import Program, Slot
from graphc.ir.work import Work, work_of

CODE_STAGES, GPU_STAGES = ("llvm", "asm"), ("triton", "ptx", "sass")


class Stage(Protocol):
    """One step of the compiler as `passes/pipeline.py` records it."""

    @property
    def name(self) -> str: ...
    @property
    def why(self) -> str: ...
    @property
    def wall_ms(self) -> float: ...
    @property
    def level(self) -> str: ...
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class KernelView:
    """One kernel of a compiled step: its name, and its text at each level below the Program."""

    name: str
    text: str
    _code: Callable[[str], str] = field(repr=False)
    _levels: tuple[str, ...] = field(default=CODE_STAGES, repr=False)
    _device: str = field(default="cpu", repr=False)
    _work: Work = field(default=Work(), repr=False)
    _took: float | None = field(default=None, repr=False)

    def _repr_html_(self) -> str:
        return notebook.text(self.text, self.name)

    @property
    def ms(self) -> float:
        """Milliseconds of a call in all its launches, as last profiled.

        Raises InvalidState if it was not.
        """
        if self._took is None:
            raise InvalidState(f"{self.name} was not profiled", fix="call step.profile first")
        return 1e3 * self._took

    @property
    def flops(self) -> int:
        """Floating-point operations of a call in all its launches."""
        return self._work.flops

    @property
    def bytes(self) -> int:
        """Bytes that these move at least."""
        return self._work.bytes

    @property
    def plan(self) -> str:
        """How the back end lays the loops out: template, vectors, tiles and panels."""
        return self._code("plan")

    def __getattr__(self, name: str) -> Any:
        """Its code at a level of its device: `llvm` and `asm` on a CPU, `triton`, `ptx` and
        `sass` on a GPU."""
        if name in self._levels:
            return self._code(name)
        if name in (*CODE_STAGES, *GPU_STAGES):
            known = " or ".join(f".{level}" for level in self._levels)
            raise NotAvailable(f"no `{name}`: device is {self._device}", fix=f"read {known}")
        raise AttributeError(name)


@dataclass(frozen=True, slots=True)
class Unit:
    """One native program and how it came to be; `code(kernel, level)` is its code at one of
    `codes`. `blocks` says how each kernel is cut into a GPU's programs; `coded` are the keys of
    those that it runs, routines among them. `found`: the disk had it whole. `backward`: the second
    half of a compiled forward."""

    name: str
    stages: tuple[Stage, ...]
    program: Program
    show_kernel: Callable[[Kernel], str]
    code: Callable[[Kernel, str], str]
    stacks: Mapping[tuple[str, int, str], Stack] = field(default_factory=dict)
    state_kinds: tuple[str, ...] = ()
    codes: tuple[str, ...] = CODE_STAGES
    device: str = "cpu"
    blocks: tuple[str, ...] = ()
    coded: frozenset[str] = frozenset()
    found: bool = False
    backward: bool = False

    def part(self) -> Part:
        """What its memory is told from."""
        return Part(self.program, self.backward, self.device == "cpu")

    def stack(self, where: Where) -> Stack:
        """The user's calls that led to what was traced there, innermost first, with full paths."""
        return self.stacks.get(where[1:], ())

    def kinds(self, slots: Iterable[Slot]) -> Iterator[tuple[Slot, str]]:
        """Each with what it holds: of state as `sources.kinds_of` says, "saved" for what the
        forward keeps for the backward, "activation" and "gradient" for what only one of them needs,
        "argument", "result", "number" (read at each call) or "workspace"."""
        phases = [phase_of(x.kernel) for x in self.program.launches]
        for slot in slots:
            yield slot, self._kind(slot, phases[slot.first : slot.last + 1])

    def _kind(self, slot: Slot, phases: Sequence[str]) -> str:
        """`phases`: of the launches while it lives."""
        if slot.space == "state":
            return self.state_kinds[slot.index] if slot.index < len(self.state_kinds) else "buffer"
        if slot.space != "arena":
            return {"arg": "argument", "out": "result", "scalar": "number"}[slot.space]
        if not phases:
            return "workspace"
        if phases[0] == "" and "bw" in phases:
            return "saved"
        return {"": "activation", "bw": "gradient"}.get(phases[0], "workspace")

    def callbacks(self) -> Iterator[str]:
        """The routines that the host runs between the kernels of a GPU."""
        for launch in self.program.launches:
            hosted = launch.kernel.call is not None and launch.kernel.key() not in self.coded
            if self.device != "cpu" and hosted and launch.kernel.call is not None:
                yield f"{launch.kernel.name}: {launch.kernel.call.op} {launch.kernel.call.where}"

    def products(self) -> Iterator[str]:
        """How a CPU multiplies half types: each way, and the kernels that go it."""
        ways: dict[str, list[str]] = {}
        for kernel in self.kernels() if self.device == "cpu" else ():
            if kernel.kind == "contract" and any(b.dtype.is_half for b in kernel.buffers):
                told = re.findall(r"^products: (.+)$", self.code(kernel, "plan"), re.MULTILINE)
                for way in told:
                    ways.setdefault(way, []).append(kernel.name)
        for way, names in ways.items():
            yield f"{way}: {', '.join(names)}"

    def kernels(self) -> list[Kernel]:
        """The distinct kernels, in order of first launch."""
        return list({k.key(): k for k in (x.kernel for x in self.program.launches)}.values())

    def ends(self) -> list[tuple[str, str]]:
        """Each distinct kernel, and why each of its launches ends where it ends."""
        notes: dict[str, list[str]] = {}
        for launch in self.program.launches:
            told = notes.setdefault(launch.kernel.key(), [])
            if launch.kernel.note not in told:
                told.append(launch.kernel.note)
        return [(k.name, "; ".join(notes[k.key()])) for k in self.kernels()]

    def text(self, stage: str) -> str:
        if stage in self.codes:
            return "\n".join(self.code(k, stage) for k in self.kernels())
        return self.stages[self.place(stage)].text()

    def place(self, stage: str) -> int:
        """Where it stands among the stages."""
        names = self.stage_names()
        if stage in names:
            return names.index(stage)
        if stage in (*CODE_STAGES, *GPU_STAGES):
            raise NotAvailable(
                f"no `{stage}`: device is {self.device}", fix=f"read {' or '.join(self.codes)}"
            )
        raise InvalidArgument(f"no stage {stage!r}; there are: {', '.join(names)}")

    def coded_rows(self, level: str) -> Iterator[str]:
        """What became of the kernels at a level of their code, which has no rows of theirs."""
        if kernels := self.kernels():
            yield f"// each kernel became code; kernels[i].{level} is that of one"
        for k in kernels:
            yield f"+  {k.name}: {len(self.code(k, level).splitlines())} lines"

    def stage_names(self) -> tuple[str, ...]:
        return (*(s.name for s in self.stages), *self.codes)


@dataclass(slots=True)
class Stats:
    """Counters of one compiled step; see the table in `ir`'s documentation of each name.

    compiles: times it was lowered to kernels that it did not yet hold; programs: plans held, one a
    signature; kernels: distinct kernels held; kernels_compiled: those LLVM really compiled;
    cache_hits: kernels found on disk; ms: wall time by stage, of the last compile. plans: programs
    at given sizes that are held, of about plan_bytes; plans_dropped: those that became too many;
    programs_found: native programs held that the disk had whole, so that no pass was run.
    """

    compiles: int = 0
    programs: int = 0
    kernels: int = 0
    kernels_compiled: int = 0
    cache_hits: int = 0
    peak_bytes: int = 0
    compile_seconds: float = 0.0
    ms: dict[str, float] = field(default_factory=dict)
    plans: int = 0
    plan_bytes: int = 0
    plans_dropped: int = 0
    programs_found: int = 0


class Inspectable:
    """The questions a compiled function or module answers; see the module's text."""

    stats: Stats
    _recompiles: list[Recompile]

    def _units(self) -> Sequence[Unit]:
        """The programs of the plan that ran last; none before the first call."""
        raise NotImplementedError

    def _sizes(self) -> Sequence[str]:
        """The extents of that plan and their conditions, as text."""
        raise NotImplementedError

    def _plans(self) -> str:
        """How many sizes have a plan, and what these keep in memory."""
        s = self.stats
        most = size_text(config.plan_bytes())
        return f"{s.plans}, {size_text(s.plan_bytes)} of {most}, {s.plans_dropped} dropped"

    def _ready(self) -> Sequence[Unit]:
        units = self._units()
        if not units:
            raise InvalidState(
                "nothing is compiled yet",
                why="a step is compiled by its first call, which tells shapes and dtypes",
                fix="call it once, then ask",
            )
        return units

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that `ir` can show. Raises InvalidState before the first call."""
        return tuple(dict.fromkeys(n for u in self._ready() for n in u.stage_names()))

    def ir(self, stage: str = "memory") -> str:
        """The program after `stage`, as text; for graphs, `ir.text.parse` reads it back.

        Raises InvalidState before the first call, InvalidArgument for a stage that is not there.
        """
        return "\n".join(u.text(stage) for u in self._ready())

    def diff(self, before: str, after: str) -> str:
        """Only what changed from one stage to another, and the stages between that changed it.

        Names of stages as in `stages`, the earlier first. Raises InvalidState before the first
        call, InvalidArgument for another name or order.
        """
        return "\n".join(_unit_diff(u, before, after) for u in self._ready())

    def explain(self) -> Explanation:
        """Programs a call, kernels, peak memory, compile time, recompiles, what is not fused.

        Times are in seconds (`compile_seconds`) or ms (`Recompile.ms`), sizes in bytes. Raises
        InvalidState before the first call.
        """
        units = self._ready()
        kernels = [k for u in units for k in u.kernels()]
        return Explanation(
            name=" + ".join(u.name for u in units),
            programs=len(units),
            kernels=len({k.key() for k in kernels}),
            launches=sum(len(u.program.launches) for u in units),
            peak_bytes=self.memory().peak_bytes,
            compile_seconds=self.stats.compile_seconds,
            recompiles=tuple(self._recompiles),
            unfused=tuple(row for u in units for row in u.ends()),
            callbacks=tuple(row for u in units for row in u.callbacks()),
            sizes=tuple(self._sizes()),
            loops=tuple(row for u in units for row in loops_of(u.program)),
            blocks=tuple(row for u in units for row in u.blocks),
            plans=self._plans(),
            products=tuple(row for u in units for row in u.products()),
            lines={k.name: str(where_of(k)) for k in kernels},
        )

    def memory(self) -> Memory:
        """Predicted peak in bytes, by kind; needs no run.

        Raises InvalidState before the first call.
        """
        return memory_of(u.part() for u in self._ready())

    @property
    def kernels(self) -> tuple[KernelView, ...]:
        """Each kernel once, by its first launch. Raises InvalidState before the first call."""
        return tuple(view for u in self._ready() for view in _views(u, run_of(u, self._runs())))

    def _runs(self) -> Sequence[Run]:
        """Of the last profile."""
        return ()

    def _repr_html_(self) -> str:
        """What is known of it so far."""
        if not self._units():
            return notebook.text("not compiled yet", repr(self))
        facts = self.explain()
        rows = [
            ("programs", facts.programs), ("kernels", facts.kernels), ("launches", facts.launches),
            ("peak memory", size_text(facts.peak_bytes)),
            ("compile time", f"{facts.compile_seconds:.2f} s"),
            ("recompiles", len(facts.recompiles)),
        ]  # fmt: skip
        return notebook.table(repr(self), (), rows)

    def __str__(self) -> str:
        """The last Graph."""
        units = self._units()
        if not units:
            return repr(self)
        graphs = [[s for s in u.stages if s.level == "graph"][-1] for u in units]
        return "\n".join(s.text() for s in graphs)


def device_of(units: Iterable[Unit]) -> str:
    """Where they run: on a GPU, if one of them does."""
    return next((unit.device for unit in units if unit.device != "cpu"), "cpu")


def run_of(unit: Unit, runs: Iterable[Run]) -> Run | None:
    """The profiled run of this program, at whatever sizes: these share its kernels, and a program
    with kernels of the same text has its own."""
    kernels = _kernels(unit.program)
    return next((r for r in runs if _kernels(r.program) == kernels), None)


def _kernels(program: Program) -> list[int]:
    return [id(x.kernel) for x in program.launches]


def _views(unit: Unit, run: Run | None) -> Iterator[KernelView]:
    program = unit.program if run is None else run.program
    work, took = defaultdict[str, Work](Work), defaultdict[str, float](float)
    seconds = run.seconds if run is not None else [0.0] * len(program.launches)
    for launch, own, spent in zip(program.launches, work_of(program), seconds, strict=True):
        key = launch.kernel.key()
        work[key], took[key] = work[key].plus(own), took[key] + spent
    for k in unit.kernels():
        ms = None if run is None else took[k.key()]
        text, code = unit.show_kernel(k), partial(unit.code, k)
        yield KernelView(k.name, text, code, unit.codes, unit.device, work[k.key()], ms)


def phase_of(kernel: Kernel) -> str:
    """Of the step: "" forward, "bw" or "opt"."""
    return where_of(kernel).phase


def loops_of(program: Program) -> Iterator[str]:
    """For each loop, what its trips are."""
    firsts = [row for row in program.rows() if program.launches[row[0]].trip == 0]
    side_by_side = groupby(enumerate(firsts), lambda row: (len(row[1]), row[1][0] - row[0]))
    for (trips, _), group in side_by_side:
        names = [program.launches[row[0]].kernel.name for _, row in group]
        yield f"{program.name}: {trips} trips of {', '.join(names)}"


def _unit_diff(unit: Unit, before: str, after: str) -> str:
    first, last = unit.place(before), unit.place(after)
    if first > last:
        raise InvalidArgument(
            f"diff: {after!r} comes before {before!r}", fix=f'step.diff("{after}", "{before}")'
        )
    passes = [f"// by {s.name}: {s.why}" for s in unit.stages[first + 1 : last + 1]]
    if after in unit.codes:
        rows = [*unit.coded_rows(after)]
    else:
        rows = changes(unit.text(before), unit.text(after), makers_of(unit))
    return "\n".join([f"// {unit.name}: {before} -> {after}", *passes, *rows, ""])


def makers_of(unit: Unit) -> dict[str, str]:
    """The stage and rule that made each value that was not traced."""
    graphs = [s.graph for s in unit.stages if getattr(s, "graph", None) is not None]  # type: ignore[attr-defined]  # just asked
    return {v.name: v.made_by for g in graphs for v in g.values() if v.made_by}
