"""Split a joint graph into a forward and a backward program: a min-cut says what to save.

In: a graph whose last outputs are gradients, computed from some inputs called cotangents. Out: a
forward graph that also returns what is saved, and a backward graph from saved values and
cotangents to gradients. Both compute what the joint graph does, bit for bit.

Elementwise and movement values may be computed again; contractions, reductions and gathers may
not. An arg or state input costs nothing to keep, because it exists anyway, unless the forward
writes it. The cheapest set of values (in bytes) that cuts everything the backward reads from the
inputs is saved. Source: the min-cut partitioner of AOTAutograd (He and Yu, 2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value, depending, topological
from graphc.ir.rewrite import replaced
from graphc.ir.sizes import typical
from graphc.passes.unread import unread

RECOMPUTABLE = frozenset({"elementwise", "movement"})


class Part(NamedTuple):
    """`graph` reads and gives these of what the whole backward does, by their numbers."""

    graph: Graph
    inputs: list[int]
    outs: list[int]


@dataclass(frozen=True, slots=True)
class Split:
    """`saved[i]`, a value of the forward graph, is `backward.inputs[i]`; cotangents come after."""

    forward: Graph
    backward: Graph
    saved: tuple[Value, ...]
    parts: dict[frozenset[int], Part] = field(default_factory=dict)

    def part(self, slots: frozenset[int]) -> Part:
        """The backward of the outputs at `slots` alone."""
        found = self.parts.get(slots)
        if found is None:
            found = self.parts[slots] = _part(self.backward, len(self.saved), slots)
        return found


def partition(joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
    """Split `joint`, whose last `gradients` outputs depend on `cotangents`, the last inputs."""
    with joint.in_passes():
        return _partition(unread(joint), gradients, cotangents)


def _partition(joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
    first = len(joint.outs) - gradients
    backward = _depends_on(joint, set(cotangents))
    written = {t for t in joint.targets if t is not None}
    needed = _read_by(joint.outs[first:], backward)
    saved = cut(needed, written)
    inputs = [v for v in joint.inputs if v not in set(cotangents)]
    made = [v for v in saved if not v.is_input or v in written]
    forward = Graph(
        joint.name,
        tuple(inputs),
        joint.roles[: len(inputs)],
        (*joint.outs[:first], *made),
        (*joint.targets[:first], *(None for _ in made)),
    )
    roles = dict(zip(joint.inputs, joint.roles))
    role = [roles[v] if v.is_input and v not in written else "arg" for v in saved]
    values = [*saved, *cotangents]
    back = _rebuild(joint.name, values, [*role, *("arg" for _ in cotangents)], joint.outs[first:])
    return Split(forward, back, tuple(saved))


def _part(backward: Graph, saved: int, slots: frozenset[int]) -> Part:
    """Without the cotangents that do not arrive, and what is computed from none that do.

    Not with zeros in their place, which infinity would turn into NaN, and which would be gradients
    of what the outputs at `slots` do not depend on.
    """
    seeds = backward.inputs[saved:]
    if len(slots) == len(seeds):
        return Part(backward, list(range(len(backward.inputs))), list(range(len(backward.outs))))
    given = {v for k, v in enumerate(seeds) if k in slots}
    with backward.in_passes():
        new = _arriving(backward, given, _depends_on(backward, set(seeds)))
    outs = [k for k, v in enumerate(backward.outs) if new[v] is not None]
    results = [w for v in backward.outs if (w := new[v]) is not None]
    read = set(topological(results))
    inputs = [k for k, v in enumerate(backward.inputs) if v in read or v in given]
    values, roles = [backward.inputs[k] for k in inputs], [backward.roles[k] for k in inputs]
    return Part(_rebuild(backward.name, values, roles, results), inputs, outs)


def _arriving(backward: Graph, given: set[Value], depends: set[Value]) -> dict[Value, Value | None]:
    """What each value is if the `given` cotangents alone arrive; None where none has."""
    new: dict[Value, Value | None] = {}
    for v in backward.values():
        if v not in depends or v in given:
            new[v] = v
            continue
        args = [new[a] for a in v.args]
        there = [w for w in args if w is not None]
        with v.builder.at(v.where):
            if not any(w is not None for a, w in zip(v.args, args) if a in depends):
                new[v] = None
            elif v.op is not None and v.op.name == "add" and len(there) == 1:
                new[v] = there[0]
            else:
                zeros = (
                    v.builder.constant(0, a.spec) if w is None else w for a, w in zip(v.args, args)
                )
                new[v] = replaced(v, tuple(zeros), lambda w: w)
    return new


def _depends_on(graph: Graph, roots: set[Value]) -> set[Value]:
    """Every value computed from `roots`, and they."""
    return depending(roots, (*graph.inputs, *graph.outs))


def _read_by(outs: Sequence[Value], backward: set[Value]) -> list[Value]:
    """The forward values that backward values or `outs` themselves use; constants are free."""
    used = [a for v in topological(outs) if v in backward for a in v.args]
    read = [v for v in (*used, *outs) if v not in backward and v.const is None]
    return list(dict.fromkeys(read))


def cut(
    needed: Sequence[Value],
    written: set[Value],
    kept: AbstractSet[Value] = frozenset(),
    dearest: float = inf,
) -> list[Value]:
    """The cheapest values from which all of `needed` can be computed again, in order of making.

    An input that is `written` costs something; what is `kept` anyway does not. What costs more
    than `dearest` is not computed again.
    """
    import networkx as nx  # takes a tenth of what importing graphc does, and few steps are split

    flow = nx.DiGraph()
    order = topological(needed)
    for v in order:
        free = (v.is_input and v not in written) or v in kept
        cost = 0 if free else max(typical(v.spec.size_bytes), 1)
        flow.add_edge((v, "in"), (v, "out"), capacity=cost)
        if v.is_input or v in kept or not _recomputable(v) or (v.op and v.op.cost > dearest):
            flow.add_edge("source", (v, "in"))
        for a in v.args:
            flow.add_edge((a, "out"), (v, "in"))
    for v in needed:
        flow.add_edge((v, "out"), "sink")
    if "source" not in flow or "sink" not in flow:
        return []
    algorithm = nx.algorithms.flow.boykov_kolmogorov
    _, (reached, _) = nx.minimum_cut(flow, "source", "sink", flow_func=algorithm)
    return [v for v in order if (v, "in") in reached and (v, "out") not in reached]


def _recomputable(v: Value) -> bool:
    return v.op is None or v.op.kind in RECOMPUTABLE or v.op.kind == "source"


def _rebuild(name: str, inputs: Sequence[Value], roles: list[str], outs: Sequence[Value]) -> Graph:
    """`outs` as a graph of its own over `inputs`, whatever computed those."""
    builder = Builder(inputs[0].builder if inputs else None)
    new = {v: builder.input(v.name.removeprefix("%"), v.spec, v.where) for v in inputs}
    fresh = tuple(new.values())
    for v in _between(inputs, outs):
        with builder.at(v.where):
            if v.op is not None:
                new[v] = builder.emit(v.op, [new[a] for a in v.args], v.attrs, v.name)
            elif v.const is not None:
                new[v] = builder.constant(v.const, v.spec, v.name)
    results = tuple(new[v] for v in outs)
    return Graph(name, fresh, tuple(roles), results, (None,) * len(results))


def _between(inputs: Sequence[Value], outs: Sequence[Value]) -> list[Value]:
    """What `outs` need beyond `inputs`, in order of making."""
    stop, seen, stack = set(inputs), set[Value](), list(outs)
    while stack:
        v = stack.pop()
        if v not in seen and v not in stop:
            seen.add(v)
            stack.extend(v.args)
    return sorted(seen, key=lambda v: v.number)
