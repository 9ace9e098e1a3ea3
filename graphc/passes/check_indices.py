"""check_indices: every index that becomes an address is in range, by proof or by a check.

Input: any graph. Output: the same, but an index of "index" ops that `ir/ranges.py` cannot bound
by the length of its axis goes through `check_index` first. The public functions check what users
pass, under their own names, and clamp the rest, so nothing is left to do here: this pass is what
makes that a fact, for code that is yet to be written too. An axis of length 0 has no number that is
in range: what reads there reads a zero that is put there, and reports.
"""

from __future__ import annotations

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value
from graphc.ir.ranges import Range, Ranges
from graphc.ir.rewrite import replaced


def check_indices(graph: Graph) -> Graph:
    """Check what is not known to be in range."""
    ranges = Ranges()
    if not any(unproven(v, ranges) for v in graph.values()):
        return graph
    new: dict[Value, Value] = {}
    for v in graph.values():
        if v.op is None:
            new[v] = v
            continue
        args = tuple(new[a] for a in v.args)
        with v.builder.at(v.where):
            args = _checked(v, args) if unproven(v, ranges) else args
            new[v] = replaced(v, args, lambda w: w)
    return graph.with_outs(new[v] for v in graph.outs)


def unproven(v: Value, ranges: Ranges) -> bool:
    """Whether `v` takes an address from an index that may be out of range."""
    if v.op is None or v.op.kind != "index" or not v.args[1].spec.numel or not v.spec.numel:
        return False
    return not ranges[v.args[1]].within(Range(0, _length(v) - 1))


def _length(v: Value) -> int:
    assert v.op is not None
    length: int = v.attrs["length"] if v.op.scatters else v.args[0].shape[v.attrs["axis"]]
    return length


def _checked(v: Value, args: tuple[Value, ...]) -> tuple[Value, ...]:
    """The arguments of `v` with a checked index."""
    assert v.op is not None
    table, index = args
    index = P.apply("check_index", index, bound=_length(v), what=v.op.name)
    if not _length(v):
        one = tuple(int(k == v.attrs["axis"]) for k in range(len(table.shape)))
        table = P.pad(table, (0,) * len(one), one)
    return table, index
