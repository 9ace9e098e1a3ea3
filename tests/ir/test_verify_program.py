"""`verify_program` accepts what planning makes and names what is wrong with anything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from graphc.errors import InternalError
from graphc.ir.builder import Builder
from graphc.ir.graph import Value
from graphc.ir.program import Program
from graphc.ir.types import i64
from graphc.ir.verify_program import verify_program
from graphc.passes.pipeline import compile_graph
from tests.passes.graphs import CASES, Case, make
from tests.targets import CPU


def step(b: Builder, x: Value, w: Value, i: Value) -> tuple[Value, ...]:
    """A check, two products through the arena, and an update of the state w."""
    rows = b.apply("gather", x, i, axis=0)
    y = b.apply("dot", b.apply("dot", rows, w, batch=(), contract=((1, 0),)), w, batch=(),
                contract=((1, 0),))  # fmt: skip
    g = b.apply("dot", y, y, batch=(), contract=((0, 0),))
    return y, w - g


CASE = Case("step", step, ((6, 8), (8, 8), (8,)), 0, (2,), (1,))
PROGRAM = compile_graph(make(CASE), CPU).program
ARENA = [s.name for s in PROGRAM.slots if s.space == "arena"]
STATE = next(s.name for s in PROGRAM.slots if s.space == "state")
(OUT,) = PROGRAM.outs
FIRST, LAST = PROGRAM.launches[0], PROGRAM.launches[-1]
WAITS = next(n for n, launch in enumerate(PROGRAM.launches) if launch.barrier)


@pytest.mark.parametrize("case", [CASE, *CASES], ids=lambda c: c.name)
def test_what_planning_makes_is_well_formed(case: Case) -> None:
    verify_program(compile_graph(make(case), CPU).program)


def slot(name: str, **changes: Any) -> Program:
    slots = [replace(s, **changes) if s.name == name else s for s in PROGRAM.slots]
    return replace(PROGRAM, slots=tuple(slots))


def launch(n: int, **changes: Any) -> Program:
    launches = list(PROGRAM.launches)
    launches[n] = replace(launches[n], **changes)
    return replace(PROGRAM, launches=tuple(launches))


def place(name: str) -> int:
    return next(s.index for s in PROGRAM.slots if s.name == name)


def dtype_of(name: str) -> Any:
    return next(s.spec for s in PROGRAM.slots if s.name == name)


WRONG = {
    "is declared 2 times": replace(PROGRAM, slots=(*PROGRAM.slots, PROGRAM.slots[0])),
    "q is returned and no slot": replace(PROGRAM, outs=("q",)),
    "commit 99 is beyond": replace(PROGRAM, commit=99),
    "arguments, not": launch(0, sizes=(*FIRST.sizes, 1)),
    "which is no slot": launch(0, slots=("q", *FIRST.slots[1:])),
    "does not hold f32": slot(ARENA[-1], spec=replace(dtype_of(ARENA[-1]), dtype=i64)),
    "no place of": slot(ARENA[0], index=place(ARENA[0]) + 4),
    f"no place of {PROGRAM.arena_bytes - 64} bytes": replace(
        PROGRAM, arena_bytes=PROGRAM.arena_bytes - 64
    ),
    "overlap while both live": replace(
        PROGRAM,
        slots=tuple(replace(s, index=0, first=0, last=9) if s.name in ARENA else s
                    for s in PROGRAM.slots),
    ),
    "which lives": slot(ARENA[0], last=-1),
    "before it is written": replace(
        PROGRAM, launches=PROGRAM.launches[1:], commit=PROGRAM.commit - 1
    ),
    "which is of arg": slot(OUT, space="arg"),
    "before the commit point": replace(PROGRAM, commit=len(PROGRAM.launches)),
    "may fail behind the commit point": replace(PROGRAM, commit=0),
    "does not wait at a barrier": launch(WAITS, barrier=False),
    "is returned unwritten": replace(
        PROGRAM, slots=(*PROGRAM.slots, replace(PROGRAM.slots[0], name="z", space="out")),
        outs=("z",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("complaint", WRONG)
def test_ill_formed(complaint: str) -> None:
    with pytest.raises(InternalError) as e:
        verify_program(WRONG[complaint])
    assert complaint in e.value.what and "step" in e.value.what


def test_the_runner_verifies_both_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where GRAPHC_VERIFY says so."""
    seen: list[object] = []
    monkeypatch.setattr("graphc.passes.pipeline.verify_kernel", seen.append)
    monkeypatch.setattr("graphc.passes.pipeline.verify_program", seen.append)
    compiled = compile_graph(make(CASE), CPU)
    assert seen == [*compiled.program.kernels(), compiled.program]
    monkeypatch.setenv("GRAPHC_VERIFY", "0")
    compile_graph(make(CASE), CPU)
    assert len(seen) == len(compiled.program.kernels()) + 1
