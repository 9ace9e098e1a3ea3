"""The first stage of a step as `step.ir("trace")` shows it: the code as it was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from graphc.frontend.step.inspect.inspection import Stage
from graphc.ir import text
from graphc.ir.graph import Graph


@dataclass(frozen=True, slots=True)
class TraceStage:
    """The graph as written: without what derivatives and the optimizer added."""

    graph: Graph
    wall_ms: float
    of: int  # stages
    name: str = "trace"
    why: str = "the code as written, before any derivative"
    level: str = "graph"

    def text(self) -> str:
        graph = written(self.graph)
        return text.show(graph, text.title(self.name, 1, self.of, self.wall_ms, graph))


def with_trace(graph: Graph, trace_ms: float, stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """All stages: tracing took what derivatives, which come next, did not."""
    derived_ms = 1e3 * graph.builder.derived if graph.builder else 0.0
    first = TraceStage(graph, max(0.0, trace_ms - derived_ms), len(stages) + 1)
    return first, *stages


def written(graph: Graph) -> Graph:
    """The part of a step that is no derivative and no update, with the inputs it reads."""
    keep = [
        (v, t) for v, t in zip(graph.outs, graph.targets)
        if not v.where.phase and (t is None or not v.is_input)
    ]  # fmt: skip
    part = Graph(graph.name, (), (), tuple(v for v, _ in keep), tuple(t for _, t in keep))
    used = {*part.values(), *(t for _, t in keep if t is not None)}
    inputs = [(v, r) for v, r in zip(graph.inputs, graph.roles) if r == "arg" or v in used]
    return Graph(
        graph.name, tuple(v for v, _ in inputs), tuple(r for _, r in inputs), part.outs,
        part.targets,
    )  # fmt: skip
