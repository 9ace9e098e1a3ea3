"""loop_panels: matrices that a loop's trips multiply by lie as the trips read them.

A trip has few rows, a batch, so that copying a weight in order costs it as much as its products.
A matrix that no trip changes is copied before the loop: what is summed over comes in rows of
`panel` columns, one panel behind the other, and the products of a trip are a matrix [rows, panels,
columns], which is the same memory as [rows, all columns].
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Graph, Value, uses
from graphc.ir.rewrite import rebuild
from graphc.ir.types import TensorSpec


class Panels(NamedTuple):
    """Inputs of a body that are to lie in panels, and over which dimension products sum each."""

    body: Graph
    summed: dict[int, int]


def in_panels(graph: Graph, panel: int) -> Graph:
    """The graph with such copies before its loops; without, where a target has no panels: 0."""
    found: dict[Graph, Panels] = {}

    def visit(v: Value) -> Value:
        if v.op is None or v.op.kind != "loop" or not panel:
            return v
        body = v.attrs["body"]
        if body not in found:
            found[body] = _over_panels(body, v.attrs["carried"] + v.attrs["sliced"], panel)
        new, summed = found[body]
        if not summed:
            return v
        args = [_copied(a, summed[k], panel) if k in summed else a for k, a in enumerate(v.args)]
        return v.builder.emit(v.op, args, {**v.attrs, "body": new})

    return rebuild(graph, visit)


def _copied(w: Value, summed: int, panel: int) -> Value:
    """[panels, what is summed over, columns]"""
    rest = P.transpose(w, (1 - summed, summed))
    split = P.reshape(rest, (rest.shape[0] // panel, panel, rest.shape[1]))
    return w.builder.apply("contiguous", P.transpose(split, (0, 2, 1)), order=(0, 1, 2))


def _over_panels(body: Graph, own: int, panel: int) -> Panels:
    """The body, whose inputs from `own` on no trip changes, over panels of them."""
    readers, summed = uses(body), {}
    for k, w in enumerate(body.inputs[own:], own):
        dims = {_summed(r, w) for r in readers[w]} if w not in body.outs else {None}
        over = dims.pop() if len(dims) == 1 else None
        if over is not None and _fits(w.shape[1 - over], panel):
            summed[k] = over
    if not summed:
        return Panels(body, summed)
    new: dict[Value, Value] = {}
    for k, over in summed.items():
        w = body.inputs[k]
        spec = TensorSpec(w.spec.dtype, (w.shape[1 - over] // panel, w.shape[over], panel))
        new[w] = w.builder.input(f"{w.name.removeprefix('%')}.panels", spec, w.where)

    def visit(v: Value) -> Value:
        if v.op is None or not any(a in new for a in v.args):
            return v
        ((k, _),) = v.attrs["contract"]
        parts = v.builder.apply("dot", v.args[0], new[v.args[1]], batch=(), contract=((k, 1),))
        return P.reshape(parts, v.shape)

    inputs = tuple(new.get(w, w) for w in body.inputs)
    return Panels(replace(rebuild(body, visit), inputs=inputs), summed)


def _fits(columns: int, panel: int) -> bool:
    return not is_unknown(columns) and columns > panel and columns % panel == 0


def _summed(r: Value, w: Value) -> int | None:
    """The dimension of w, a matrix, over which r sums its products with something else."""
    if r.op is None or r.op.name != "dot" or len(w.shape) != 2 or r.attrs["batch"]:
        return None
    dims = [j for _, j in r.attrs["contract"]]
    return dims[0] if len(dims) == 1 and r.args[1] is w is not r.args[0] else None
