"""foresee: operands that no address will reach, known before fusion from how values would lie.

`lower` finds all of them, but after fusing everything, which then begins again. Most are plain:
a reshape of dimensions whose strides do not merge, and a contraction of what is never in memory.
"""

from __future__ import annotations

from graphc.ir.graph import Graph, Value, uses
from graphc.passes.group import is_free, is_reduce, pads_with_more
from graphc.passes.order import Orders, folded_source, merge_order
from graphc.passes.view import NotAffine, View, move, stored


def foresee(graph: Graph, orders: Orders) -> dict[Value, set[Value]]:
    """Readers, and those of their operands that have to be stored."""
    readers, outs = uses(graph), frozenset(graph.outs)
    views: dict[Value, View] = {}  # where movement would look
    missing: dict[Value, set[Value]] = {}
    for v in graph.values():
        if v.op is None:
            continue
        if v.op.kind == "contract":
            if operands := {a for a in v.args if not _has_memory(a)}:
                missing[v] = operands
        elif v.op.kind == "movement" and is_free(v):
            (a,) = v.args
            try:
                views[v] = move(views.get(a) or stored(a.shape, orders(a)), v.op.name, v.attrs)
            except NotAffine:
                views[v] = stored(v.shape, merge_order(orders(a), a.shape, v.shape)[1])
                if v in outs or not all(map(_looks_through, readers[v])):
                    missing[v] = {a}
    return missing


def _has_memory(v: Value) -> bool:
    """Whether what is under the movement is an input or computed."""
    while v.op is not None and v.op.kind == "movement" and is_free(v):
        if pads_with_more(v):
            return False
        v = v.args[0]
    return v.is_input or not is_free(v)


def _looks_through(reader: Value) -> bool:
    """Whether a reduction reads what a reshape has merged."""
    return is_reduce(reader) and folded_source(reader)[0] is not reader.args[0]
