"""split_reduce: a long sum into few outputs becomes two, so that all threads have work.

sum over (n, h, w) of x => sum over n of (sum over (h, w) of x), n being the outermost dimension in
memory. The first sum reduces in the layout that x already has, and what else is computed at the
points of x can share its loops: a contraction's tiles, above all (`statistics.py`). A long vector
is cut into chunks instead. Neither depends on the number of threads; nor does the choice depend on
n, the batch: another batch must not need other kernels.
"""

from __future__ import annotations

from math import prod

from graphc.ir import sugar as P
from graphc.ir.graph import Graph, Value
from graphc.ir.rewrite import rebuild
from graphc.ir.sizes import typical
from graphc.ir.symbols import TYPICAL
from graphc.ir.types import Shape
from graphc.passes.group import is_reduce
from graphc.passes.orders import Orders, orders_of, reduced_source
from graphc.passes.profile import Profile
from graphc.passes.statistics import in_tiles


def split_reduce(graph: Graph, profile: Profile) -> Graph:
    """Split every long reduction into few outputs."""
    orders = orders_of(graph, profile)

    def visit(v: Value) -> Value:
        if not is_reduce(v) or v.op is None or not v.op.combine:
            return v
        tiles = in_tiles(v, orders, profile) if v.op.combine == "add" else None
        return _split(v, orders, profile) if tiles is None else tiles

    return rebuild(graph, visit)


def _split(v: Value, orders: Orders, profile: Profile) -> Value:
    found = _split_over(_looking_through(v), orders, profile)
    return v if found is None else found


def _looking_through(v: Value) -> Value:
    """The same reduction of what a reshape before it has merged."""
    source, axes = reduced_source(v)
    if v.op is None or source is v.args[0]:
        return v
    w = v.builder.emit(v.op, (source,), {"axes": axes})
    return w if w.spec == v.spec else v


def _split_over(v: Value, orders: Orders, profile: Profile) -> Value | None:
    """Only what lies within the outermost dimension that is summed decides: dimensions around it
    may be the batch, and a row's sum has the same bits in any, be it an extent or a number."""
    (x,) = v.args
    axes = v.attrs["axes"]
    order = orders(x)
    lead = _leading_run(order, axes)
    if not lead or _outputs(x.shape, order, axes) > profile.max_outputs:
        return None
    outer = lead[0]
    row = prod(typical(x.shape[k]) for k in order[order.index(outer) + 1 :])
    if row >= profile.min_row:
        return _row_sums(v, outer)
    if row >= profile.wide_row:
        return None
    chunks = max(d for d in range(1, profile.max_chunks + 1) if x.shape[outer] % d == 0)
    if row * typical(x.shape[outer]) < profile.min_elements or chunks == 1:
        return None
    return _chunk_sums(v, outer, chunks)


def _outputs(shape: Shape, order: Shape, axes: Shape) -> int:
    """How many a reduction has, of as many rows as a batch has typically."""
    counts = (TYPICAL["batch"] if k == order[0] else typical(n) for k, n in enumerate(shape))
    return prod(n for k, n in enumerate(counts) if k not in axes)


def _row_sums(v: Value, outer: int) -> Value | None:
    """Reduce everything but `outer`, then `outer`."""
    (x,) = v.args
    assert v.op is not None
    inner = tuple(k for k in v.attrs["axes"] if k != outer)
    if not inner:
        return None
    partial = v.builder.emit(v.op, (x,), {"axes": inner})
    at = sum(1 for k in range(outer) if k not in inner)
    return v.builder.emit(v.op, (partial,), {"axes": (at,)})


def _chunk_sums(v: Value, outer: int, chunks: int) -> Value:
    """Cut `outer` into chunks; reduce within each, then reduce the chunks."""
    (x,) = v.args
    assert v.op is not None
    n = x.shape[outer]
    grid = P.reshape(x, (*x.shape[:outer], chunks, n // chunks, *x.shape[outer + 1 :]))
    inner = tuple(k if k < outer else k + 1 for k in v.attrs["axes"])
    partial = v.builder.emit(v.op, (grid,), {"axes": inner})
    at = sum(1 for k in range(outer) if k not in inner)
    return v.builder.emit(v.op, (partial,), {"axes": (at,)})


def _leading_run(order: tuple[int, ...], axes: tuple[int, ...]) -> list[int]:
    """The first run of reduced dimensions in memory order."""
    run: list[int] = []
    for k in order:
        if k in axes:
            run.append(k)
        elif run:
            break
    return run
