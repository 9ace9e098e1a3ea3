"""`compile(check="nan")` and `"finite"`: a step that stops before it keeps a NaN or an Inf.

What the step returns, its gradients and the state that it writes are looked at by the program
itself, before the commit point. Where one fails, nothing has changed: the same call is computed
again op by op, and the error names the op that made the first bad value of those that led there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from graphc.errors import NotFinite
from graphc.frontend.step.family import Entry
from graphc.frontend.step.finiteness import Kind
from graphc.frontend.step.inputs import inputs_of
from graphc.frontend.step.python.effects import Call
from graphc.frontend.tensor import Tensor
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import evaluate, values_of
from graphc.ir.ops import Op
from graphc.ir.rewrite import at_sizes, graphs_of
from graphc.ir.types import Array


class CheckedRun:
    """Runs an entry in place of `Entry.run`, and explains what a check has found."""

    def __init__(self, entry: Entry, kind: Kind) -> None:
        self._entry, self._kind = entry, kind
        self._run = entry.run
        self.calls = 0

    def __call__(self, leaves: Sequence[Tensor], call: Call) -> Any:
        self.calls += 1
        try:
            return self._run(leaves, call)
        except NotFinite as e:
            raise self._explained(e, leaves) from None

    def _explained(self, error: NotFinite, leaves: Sequence[Tensor]) -> NotFinite:
        graph = at_sizes(self._entry.family.graph, self._entry.sizes)
        values = values_of(graph, inputs_of(self._entry.plan, graph, leaves), _apply)
        flags = [c for v in graph.values() if (c := _watched(v)) is not None]
        found = [v for v in flags if _bad(values[v], self._kind)]
        if not found:
            return error
        at = _inmost(_origin(Found(found[0], graph, values), self._kind), self._kind)
        return _told(at, self.calls)


class Found(NamedTuple):
    """A value of a graph, or of a loop's body, and what all of its values are."""

    v: Value
    graph: Graph
    values: Mapping[Value, Array]


def _watched(v: Value) -> Value | None:
    """What a check of ours looks at."""
    if v.op is None or v.op.name != "check" or v.attrs.get("error") != NotFinite.__name__:
        return None
    source = v.args[0].args[0]  # of `x == x`, or of `abs(x) < inf`
    return source.args[0] if source.op is not None and source.op.name == "abs" else source


def _bad(a: Array, kind: Kind) -> bool:
    if a.dtype.kind in "iub":
        return False
    x = a.astype(np.float64)
    return bool(np.isnan(x).any() if kind == "nan" else not np.isfinite(x).all())


def _apply(v: Value, op: Op, args: list[Array]) -> Array:
    """Checks let everything through, so that all values are known."""
    return args[0] if op.name == "check" else evaluate(op, args, v.attrs, v.spec)


def _origin(found: Found, kind: Kind) -> Found:
    """The first bad value of those that led there: NaNs are followed to where they are made."""
    v, graph, values = found
    while True:
        blamed = [a for a in v.args if _bad(values[a], "nan")]
        if kind == "finite" and not blamed:
            blamed = [a for a in v.args if _bad(values[a], kind) and not _is_meant(a, values)]
        if not blamed:
            return Found(v, graph, values)
        v = min(blamed, key=lambda a: a.number)


def _inmost(found: Found, kind: Kind) -> Found:
    """Of what a loop gave, the value of its body that was bad first, in the first such trip."""
    while graphs_of(found.v) and (inside := _in_trip(found, kind)) is not None:
        found = _origin(inside, kind)
    return found


def _in_trip(found: Found, kind: Kind) -> Found | None:
    """The first bad result of a trip that was given nothing bad."""
    v, _, values = found
    trips: list[Found] = []

    def by(body: Graph, *given: Array) -> list[Array]:
        inside = values_of(body, given, _apply)
        if not trips:
            trips.extend(Found(o, body, inside) for o in body.outs if _bad(inside[o], kind))
        return [np.asarray(inside[o]) for o in body.outs]

    assert v.op is not None
    v.op.evaluate(*(values[a] for a in v.args), **v.attrs, by=by)
    return trips[0] if trips else None


def _is_meant(v: Value, values: Mapping[Value, Array], depth: int = 32) -> bool:
    """Whether an Inf was written as such, like that of a mask, or comes from one that was."""
    parts = v.args if v.op is not None and v.op.name == "where" else (v,)
    if any(a.const in (np.inf, -np.inf) for a in parts):
        return True
    if depth == 0 or _bad(values[v], "nan"):
        return False
    blamed = [a for a in v.args if _bad(values[a], "finite")]
    return bool(blamed) and all(_is_meant(a, values, depth - 1) for a in blamed)


def _told(found: Found, calls: int) -> NotFinite:
    v, graph, values = found
    array = values[v].astype(np.float64)
    count = int(np.isnan(array).sum()) or int(np.isinf(array).sum())
    bad = "NaN" if np.isnan(array).any() else "Inf"
    rows = [_range(a, values[a]) for a in v.args]
    came = "it came in with the call" if v.const is None else "it is written into the step"
    return NotFinite(
        f"{_named(v)} {'gave' if v.op else 'holds'} {bad} in {count} of {array.size} elements of "
        f"{v.spec}{_phase(v, graph)}, at call {calls}",
        why=f"its inputs: {'; '.join(rows)}" if rows else came,
        where=(v.where.file, v.where.line, v.where.scope),
    )


def _named(v: Value) -> str:
    if v.const is not None:
        return f"the constant {v.const}"
    return f"`{v.op.name if v.op is not None else v.name[1:]}`"


def _phase(v: Value, graph: Graph) -> str:
    """Where in the step; of a derivative, with the op that it is of."""
    if v.where.phase == "opt":
        return ", in the update"
    if v.where.phase != "bw":
        return ""
    of = graph.builder.pulled.get(v.name) if graph.builder else None
    return f", in the backward of `{of}`" if of else ", in the backward"


def _range(v: Value, a: Array) -> str:
    if v.const is not None:
        return f"{v.const} {v.spec}"
    x = a.astype(np.float64)
    known = x[~np.isnan(x)]
    ends = f"from {known.min():.4g} to {known.max():.4g}, " if known.size else ""
    return f"{_named(v)} {v.spec} {ends}{int(np.isnan(x).sum())} NaN"
