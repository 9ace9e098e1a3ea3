"""Programs found whole on disk, and their stages, which are made once somebody asks for one."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from graphc.ir.graph import Graph
from graphc.ir.program import Program
from graphc.passes.pipeline import (
    PIPELINE,
    WHOLE,
    StageRecord,
    compile_graph,
    program_records,
)
from graphc.passes.profile import Profile


class Passes:
    """What the passes make of a graph, run when first asked."""

    def __init__(self, graph: Graph, profile: Profile) -> None:
        self._graph, self._profile = graph, profile

    @cached_property
    def records(self) -> dict[str, StageRecord]:
        return {s.name: s for s in compile_graph(self._graph, self._profile).stages}


@dataclass(frozen=True, slots=True)
class LateStage:
    """A graph stage of a program that no pass had to be run for."""

    name: str
    why: str
    passes: Passes = field(repr=False)
    wall_ms: float = 0.0
    level: str = "graph"

    @property
    def graph(self) -> Graph | None:
        return self.passes.records[self.name].graph

    def text(self) -> str:
        return self.passes.records[self.name].text()


def late_stages(
    graph: Graph, profile: Profile, program: Program, ms: float
) -> tuple[LateStage | StageRecord, ...]:
    """The stages of a graph's program; `ms` is what finding it took."""
    passes = Passes(graph, profile)
    derived_ms = 1e3 * graph.builder.derived if graph.builder else 0.0
    graphs = [LateStage(WHOLE.name, WHOLE.why, passes, derived_ms)]
    graphs += [LateStage(s.name, s.why, passes) for s in PIPELINE]
    return (*graphs, *program_records(program, 0.0, ms))
