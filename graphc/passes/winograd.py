"""winograd: which convolutions are computed by Winograd's algorithm, said in the graph.

Input: a laid-out Graph. Output: the same in which dense 3x3 convolutions (forward, or a data
gradient, which is one, too) have `winograd=4` where that is sooner done: tiles of 4 by 4 outputs,
36 products for each pair of channels where the plain sum has 144.

Shapes decide, and whether the step changes the weights: if so it sees batches, else it may serve
single samples, whose few tiles must not cost more than the plain sum. The batch itself has no say,
so a row has the same bits in any. A convolution that a program wants summed as written says
`winograd=0` from the start (`set_float32_matmul_precision("highest")`).
"""

from __future__ import annotations

from math import prod

from graphc.ir.graph import Graph, Value
from graphc.ir.ops import OPS
from graphc.ir.rewrite import rebuild
from graphc.ir.types import Shape, bf16, f32
from graphc.ir.winograd import POINTS, SIZE, TAPS
from graphc.passes.group import is_free
from graphc.passes.orders import Orders, orders_of
from graphc.passes.profile import Profile, Winograd


def winograd(graph: Graph, profile: Profile) -> Graph:
    """Say so where it pays."""
    likes = profile.winograd
    if likes is None:
        return graph
    orders = orders_of(graph, profile)
    written = {t for t in graph.targets if t is not None}

    def visit(v: Value) -> Value:
        if v.op is not OPS["conv"] or "winograd" in v.attrs or not _takes(v, orders, likes):
            return v
        forward = v.args[1].shape[2:] == (TAPS, TAPS)  # or a data gradient
        served = forward and _base(v.args[1]) not in written
        places = v.shape[2:] if forward else v.args[1].shape[2:]
        rate = likes.rate if v.args[0].spec.dtype is f32 else likes.narrow_rate
        if not _pays(places, 1 if served else likes.samples, likes.tiles, rate):
            return v
        return v.builder.emit(v.op, v.args, {**v.attrs, "winograd": SIZE})

    return rebuild(graph, visit)


def _takes(v: Value, orders: Orders, likes: Winograd) -> bool:
    """Whether it is a dense 3x3 convolution of enough channels, which lie innermost.

    A weight gradient is known by its x, whose channels are dimension 0; its taps are its outputs.
    """
    x, w = v.args
    attrs = v.attrs
    steps = {*attrs["stride"], *attrs["lhs_dilation"], *attrs["rhs_dilation"]}
    steps |= {attrs.get("groups", 1), attrs.get("batch_groups", 1)}
    if steps != {1} or v.spec.dtype not in (f32, bf16) or len(v.shape) != 4:
        return False
    inner = orders.innermost(x)
    taps, places, depth = (w.shape, v.shape, 1) if inner == 1 else (v.shape, w.shape, 0)
    sizes = (*taps[2:], *places[2:], x.shape[depth], w.shape[0])
    if inner > 1 or not all(isinstance(n, int) for n in sizes) or taps[2:] != (TAPS, TAPS):
        return False
    stored = not any(n for pair in attrs["padding"] for n in pair)
    channels = x.shape[depth], w.shape[0]
    fits = all(n and n % likes.run == 0 for n in channels)
    return stored and fits and min(places[2:]) >= SIZE


def _pays(places: Shape, samples: int, least: int, rate: float) -> bool:
    """Whether there are so few products that the transforms are worth it."""
    tiles = samples * prod(-(-n // SIZE) for n in places)
    plain = samples * prod(places) * TAPS * TAPS
    return plain * rate > max(tiles, least) * POINTS * POINTS


def _base(v: Value) -> Value:
    """What is under movement, and under a copy in a narrower type."""
    while v.op is OPS["cast"] or (v.op is not None and v.op.kind == "movement" and is_free(v)):
        v = v.args[0]
    return v
