"""pipeline: the order of the compiler, with the reason for each place in it.

`compile_graph` runs the list; verifying, timing, dumping and bisecting are done here, never in a
pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from graphc import config
from graphc.ir import kernel_text, program_text, text
from graphc.ir.graph import Graph
from graphc.ir.kernel import Kernel
from graphc.ir.program import Assumption, CheckSite, Program
from graphc.ir.rewrite import with_bodies
from graphc.ir.sizes import HINTS
from graphc.ir.verify import verify
from graphc.ir.verify_kernel import verify_kernel
from graphc.ir.verify_program import verify_program
from graphc.passes.attention import attention
from graphc.passes.check_indices import check_indices
from graphc.passes.decompose import decompose
from graphc.passes.foresee import foresee
from graphc.passes.fuse import fuse
from graphc.passes.group import Group
from graphc.passes.in_place import foreseen, states_of
from graphc.passes.interleaved import interleaved
from graphc.passes.layout import bufferize, layout
from graphc.passes.loops import loops
from graphc.passes.lower import lower
from graphc.passes.nest import Lowered
from graphc.passes.orders import orders_of
from graphc.passes.profile import Profile
from graphc.passes.renewed import marked, renewed
from graphc.passes.repeat import lower_loop, together
from graphc.passes.repeats import Repeats
from graphc.passes.samples import samples
from graphc.passes.schedule import Schedule, schedule
from graphc.passes.simplify import simplify
from graphc.passes.split_reduce import split_reduce
from graphc.passes.unread import unread
from graphc.passes.watch import watch
from graphc.passes.winograd import winograd


class Stage(NamedTuple):
    """One graph pass and the reason for its place in the list."""

    name: str
    function: Callable[[Graph, Profile], Graph]
    why: str


def portable(function: Callable[[Graph], Graph]) -> Callable[[Graph, Profile], Graph]:
    """A pass that is the same for every target."""
    return lambda graph, _: function(graph)


PIPELINE: tuple[Stage, ...] = (
    Stage("loops", loops, "first: what no result needs of a loop, no pass need see"),
    Stage("attention", attention, "early: it knows the chain as it was traced"),
    Stage(
        "check_indices",
        portable(check_indices),
        "before simplify, which moves what it adds into place",
    ),
    Stage("simplify", portable(simplify), "early: fewer values for every later pass"),
    Stage("unread", portable(unread), "after simplify, while derivatives are as they were traced"),
    Stage("decompose", decompose, "after simplify, which undoes concat and fold where it can"),
    Stage("tidy", portable(simplify), "decompose writes pads, slices and reshapes that cancel"),
    Stage("interleaved", interleaved, "after tidy, which cleans the parts; layout pads the whole"),
    Stage("samples", samples, "before layout, which asks how the images of convolutions lie"),
    Stage("layout", layout, "before fuse, which has to see the stores that layout asks for"),
    Stage("winograd", winograd, "after layout, which says how the inputs of convolutions lie"),
    Stage("bufferize", bufferize, "after layout, which changes how values would lie"),
    Stage("split_reduce", split_reduce, "after layout: it cuts along memory order"),
    Stage("foresee", foresee, "last: it asks where every value would lie, and fuse counts on it"),
)


WHOLE = Stage("autodiff", portable(lambda g: g), "the whole step as traced")


@dataclass(frozen=True)
class StageRecord:
    """What one stage of the dump shows: its text, made when asked, and how long it took."""

    name: str
    level: str  # "graph", "kernel" or "program"
    why: str
    wall_ms: float
    text: Callable[[], str]
    graph: Graph | None = None


@dataclass(frozen=True)
class Compiled:
    """A program for the sizes seen, its schedule for others, and how both came about."""

    program: Program
    schedule: Schedule
    kernels: tuple[Lowered, ...]
    stages: tuple[StageRecord, ...]


Watch = Callable[[Stage, Graph], None]


def run_passes(
    graph: Graph, stages: Sequence[Stage], profile: Profile, watch: Watch | None = None
) -> Graph:
    """Apply `stages` in order, verifying after each where GRAPHC_VERIFY says so."""
    with graph.in_passes():
        for stage in stages:
            graph = _by_stage(stage, graph, profile)
            if config.verify_graphs():
                verify(graph, stage.name)
            if watch is not None:
                watch(stage, graph)
    return graph


def _by_stage(stage: Stage, graph: Graph, profile: Profile) -> Graph:
    """The stage applied, to the bodies of loops as well; what it makes says so."""
    builder = graph.builder
    with nullcontext() if builder is None else builder.by(stage.name):
        graph = stage.function(graph, profile)

    def in_body(body: Graph) -> Graph:
        """Of exact products: a trip would round its weights each time anew."""
        return _by_stage(stage, body, replace(profile, narrow=0))

    return with_bodies(graph, in_body)


Made = Callable[[Kernel], None]


def compile_graph(
    graph: Graph,
    profile: Profile,
    stages: Sequence[Stage] = PIPELINE,
    made: Made | None = None,
) -> Compiled:
    """The program of a traced graph (derivatives and updates already in it) for a target.

    `made` is told of kernels that the program will have, each as soon as it is lowered."""
    with graph.in_passes():
        return _compile_graph(graph, profile, stages, made)


def _compile_graph(
    graph: Graph, profile: Profile, stages: Sequence[Stage], made: Made | None
) -> Compiled:
    count = len(stages) + 4  # with trace, autodiff, fuse and memory
    derived_ms = 1e3 * graph.builder.derived if graph.builder else 0.0
    records = [_graph_record(WHOLE, 2, count, derived_ms, graph, None)]
    for number, stage in enumerate(stages, 3):
        start, before = time.perf_counter(), graph
        graph = run_passes(graph, [stage], profile)
        wall_ms = 1e3 * (time.perf_counter() - start)
        records.append(_graph_record(stage, number, count, wall_ms, graph, before))
    start = time.perf_counter()
    # Tests change kernels once all are known, so of a checked step none is begun before.
    lowered, checks = lower_graph(graph, profile, made=None if profile.check else made)
    assumed: tuple[Assumption, ...] = ()
    if profile.check:
        lowered, assumed = watch(graph, lowered, checks, profile.check)
    fused = time.perf_counter()
    scheduled = replace(schedule(graph, lowered, checks, profile), assumed=assumed)
    program = scheduled.at(HINTS)
    done = time.perf_counter()
    if config.verify_graphs():
        for kernel in program.kernels():
            verify_kernel(kernel)
        verify_program(program)
    records += program_records(program, 1e3 * (fused - start), 1e3 * (done - fused))
    return Compiled(program, scheduled, tuple(lowered), tuple(records))


def program_records(program: Program, fuse_ms: float, memory_ms: float) -> list[StageRecord]:
    """The stages behind the graph passes."""
    return [
        StageRecord("fuse", "kernel", "values grouped into loop nests", fuse_ms,
                    lambda: "\n\n".join(map(kernel_text.show, program.kernels()))),
        StageRecord("memory", "program", "launches in order, buffers placed", memory_ms,
                    lambda: program_text.show(program)),
    ]  # fmt: skip


def _graph_record(
    stage: Stage, number: int, of: int, ms: float, graph: Graph, before: Graph | None
) -> StageRecord:
    def show() -> str:
        return text.show(graph, text.title(stage.name, number, of, ms, graph, before))

    return StageRecord(stage.name, "graph", stage.why, ms, show, graph)


def lower_graph(
    graph: Graph, profile: Profile, checks: list[CheckSite] | None = None, made: Made | None = None
) -> tuple[list[Lowered], list[CheckSite]]:
    """Fuse, and lower each group; a loop's body is scheduled on its own.

    `made` hears of kernels as the schedule will most likely leave them."""
    states = states_of(graph)
    anew = renewed(graph, profile)
    fusion, orders = fuse(graph, profile), orders_of(graph, profile)
    checks = [] if checks is None else checks
    repeats = Repeats(fusion, orders)

    def lowered(group: Group) -> Lowered:
        if group.kind != "loop":
            make = partial(lower, group, fusion, orders, checks, profile)
            return repeats.lowered(group, make)
        body = group.members[0].attrs["body"]
        return lower_loop(
            group, fusion, orders, schedule(body, *lower_graph(body, profile, checks), profile)
        )

    kernels = []
    for group in together(fusion.groups):
        kernel = marked(lowered(group).noted(fusion.note(group)), anew)
        if made is not None and kernel.writes_something() and kernel.repeat is None:
            made(foreseen(kernel, states))
        kernels.append(kernel)
    return kernels, checks
