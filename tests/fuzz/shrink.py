"""Make a failing graph small: keep one output, move outputs up to operands, cut operands off."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from graphc.ir.graph import Graph, Value, topological
from graphc.ir.interpret import constant, evaluate
from graphc.ir.types import Array

Fails = Callable[[Graph, list[Array]], bool]
Case = tuple[Graph, list[Array]]
MOST_TRIES = 200


def shrink(graph: Graph, inputs: list[Array], fails: Fails) -> Case:
    """A smaller graph that still fails; each step keeps the first smaller one that does."""
    case, tries = (graph, inputs), 0
    smaller = _smaller(*case)
    while tries < MOST_TRIES and (candidate := next(smaller, None)) is not None:
        tries += 1
        if fails(*candidate):
            case = candidate
            smaller = _smaller(*case)
    return case


def _smaller(graph: Graph, inputs: list[Array]) -> Iterator[Case]:
    env = dict(zip(graph.inputs, inputs, strict=True))
    for v in graph.values():
        if v.const is not None:
            env[v] = constant(v)
        elif v.op is not None:
            env[v] = evaluate(v.op, [env[a] for a in v.args], v.attrs, v.spec)
    if len(graph.outs) > 1:
        for v, target in zip(graph.outs, graph.targets):
            yield _cut(graph, [v], [target], env, None)
            yield _cut(graph, [v], [None], env, None)
        for k in range(len(graph.outs)):
            rest = [n for n in range(len(graph.outs)) if n != k]
            yield _cut(
                graph, [graph.outs[n] for n in rest], [graph.targets[n] for n in rest], env, None
            )
    if graph.outs[0].op is not None:
        for a in graph.outs[0].args:
            if a.const is None:
                yield _cut(graph, [a, *graph.outs[1:]], [None, *graph.targets[1:]], env, None)
    for v in graph.values():
        if v.op is not None and v not in graph.outs:
            yield _cut(graph, graph.outs, graph.targets, env, v)


def _cut(
    graph: Graph,
    outs: list[Value] | tuple[Value, ...],
    targets: list[Value | None] | tuple[Value | None, ...],
    env: dict[Value, Array],
    off: Value | None,
) -> Case:
    """The graph of `outs`, with `off` turned into an input of the value it has."""
    new: dict[Value, Value] = {}
    builder = graph.inputs[0].builder
    if off is not None:
        new[off] = builder.input("cut", off.spec)
        env = {**env, new[off]: env[off]}
    for v in topological(outs):
        if v in new or v.op is None:
            new.setdefault(v, v)
            continue
        new[v] = builder.emit(v.op, [new[a] for a in v.args], v.attrs)
    kept = tuple(new[v] for v in outs)
    leaves = {v for v in topological(kept) if v.is_input} | {t for t in targets if t is not None}
    roles = dict(zip(graph.inputs, graph.roles))
    states = {t for t in targets if t is not None}
    ordered = sorted(leaves, key=lambda v: v.number)
    role_of = {
        v: "state" if v in states else "scalar" if roles.get(v) == "scalar" else "arg"
        for v in ordered
    }
    small = Graph(graph.name, tuple(ordered), tuple(role_of.values()), kept, tuple(targets))
    return small, [env[v] for v in ordered]
