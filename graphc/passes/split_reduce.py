"""split_reduce: a long sum into few outputs becomes two, so that all threads have work.

sum over R of x[.., R, ..] => sum over chunks of (sum within a chunk). The number of chunks depends
on the shape alone, so the bits do not depend on the number of threads. Whether to split does not
depend on the outermost extent, which is the batch: another batch must not need other kernels.
"""

from __future__ import annotations

from math import prod

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value
from graphc.ir.rewrite import rebuild
from graphc.passes.order import Orders

SPLITTABLE = frozenset({"sum", "prod", "max", "min"})
MIN_ROW = 1 << 10  # elements for each step of the outermost dimension: less is done by one thread
MIN_ELEMENTS = 1 << 20  # where there is no inner dimension
MAX_OUTPUTS = 4096  # above this the outputs alone give enough parallel work
MAX_CHUNKS = 32


def split_reduce(graph: Graph) -> Graph:
    """Split every long reduction into few outputs."""
    orders = Orders(graph)

    def visit(v: Value) -> Value:
        if v.op is None or v.op.name not in SPLITTABLE:
            return v
        return _split(v, orders)

    return rebuild(graph, visit)


def _split(v: Value, orders: Orders) -> Value:
    (x,) = v.args
    axes = v.attrs["axes"]
    order = orders(x)
    lead = _leading_run(order, axes)
    if not lead or v.type.numel > MAX_OUTPUTS:
        return v
    row = x.type.numel // max(x.shape[lead[0]], 1)
    if row < MIN_ROW and x.type.numel < MIN_ELEMENTS:
        return v
    length = prod(x.shape[k] for k in lead)
    chunks = max(d for d in range(1, MAX_CHUNKS + 1) if length % d == 0)
    if chunks == 1:
        return v
    return _two_sums(v, order, lead, chunks, length)


def _leading_run(order: tuple[int, ...], axes: tuple[int, ...]) -> list[int]:
    """The first run of reduced dimensions in memory order."""
    run: list[int] = []
    for k in order:
        if k in axes:
            run.append(k)
        elif run:
            break
    return run


def _two_sums(v: Value, order: tuple[int, ...], lead: list[int], chunks: int, length: int) -> Value:
    """Reshape the run in memory order to [chunks, rest], fold the rest, then the chunks."""
    (x,) = v.args
    axes, name = v.attrs["axes"], "" if v.op is None else v.op.name
    at = order.index(lead[0])
    outer, inner = order[:at], order[at + len(lead) :]
    flat = P.transpose(x, order)
    shape = (*(x.shape[k] for k in outer), chunks, length // chunks, *(x.shape[k] for k in inner))
    grid = P.reshape(flat, shape)
    folded = [at + 1, *(at + 2 + n for n, k in enumerate(inner) if k in axes)]
    folded += [n for n, k in enumerate(outer) if k in axes]
    partial = v.builder.apply(name, grid, axes=tuple(sorted(folded)))
    kept_outer = [k for k in outer if k not in axes]
    total = v.builder.apply(name, partial, axes=(len(kept_outer),))
    kept = [*kept_outer, *(k for k in inner if k not in axes)]
    back = tuple(kept.index(k) for k in sorted(kept))
    return P.transpose(total, back)
