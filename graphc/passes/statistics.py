"""statistics: sums over the places of a contraction's result, written so that its tiles find them.

    sum over (n, h, w) of x  =>  sum over n of (sum over (h, w) of x)

`fuse` then takes the inner sum into the contraction's kernel (`Kernel.partials`), whose tiles hold
the channels side by side, and no pass over x is left. Batch norm sums distances from one element
of x, which a tile does not know before another has found it. They are sums of x and x*x, too:

    sum(x - k)    =>  sum(x) - n*k
    sum((x-k)^2)  =>  sum(x*x) - k*(sum(x) + sum(x-k))

in float64, where x*x is exact for float32: what cancels costs (mean / deviation)^2 * 1e-16, less
than x itself was rounded by.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Value
from graphc.ir.sizes import typical
from graphc.ir.types import Shape, f32, f64
from graphc.passes.group import is_op
from graphc.passes.orders import Orders
from graphc.passes.profile import Profile


class Shifted(NamedTuple):
    """A sum of distances x - k, or of their squares; `k` is the same wherever the sum goes."""

    x: Value
    k: Value
    squared: bool


def in_tiles(v: Value, orders: Orders, profile: Profile) -> Value | None:
    """The sum `v` as one of partial sums that the tiles of a contraction can find, if it is."""
    (x,) = v.args
    axes, order = v.attrs["axes"], orders(x)
    inner = tuple(k for k in axes if k != order[0])
    if len(inner) == len(axes) or not tiled(x, inner, orders, profile):
        return None
    if not _from_tiles(x, profile):
        return None
    shifted = _shifted(x, axes, profile)
    if shifted is None:
        return _of_parts(x, inner, order[0])
    wide, k = P.cast(shifted.x, f64), P.cast(P.reshape(shifted.k, v.shape), f64)
    total = _of_parts(wide, inner, order[0])
    count = v.builder.constant(prod(x.shape[a] for a in axes), total.spec)
    distances = (total / count - k) * count  # so that k is read where the total is made
    if not shifted.squared:
        return P.cast(distances, f32)
    squares = _of_parts(wide * wide, inner, order[0])
    return P.cast(squares - k * (total + distances), f32)


def tiled(x: Value, inner: Shape, orders: Orders, profile: Profile) -> bool:
    """Whether a contraction's tiles could sum their result `x` over the dimensions `inner`.

    Each sum needs enough points, in a number that all batches share, and the innermost dimension,
    whose points are the lanes of a tile, stays, as does the outermost, whose points are shared out:
    one point of it, a single image, would leave all but one thread without tiles.
    """
    least, order = profile.partial_reductions, orders(x)
    if not least or len(order) < 3 or x.spec.dtype not in (f32, f64):
        return False
    points, lanes = [x.shape[k] for k in inner], x.shape[order[-1]]
    if order[0] in inner or order[-1] in inner or any(map(is_unknown, (lanes, *points))):
        return False
    return typical(x.shape[order[0]]) > 1 and lanes > 1 and prod(points) >= max(least, 2)


def sums_products(v: Value, profile: Profile) -> bool:
    """Whether a contraction adds up floats as written, several in a known number, and pads none
    where padding is stored, whose tiles know no other."""
    if v.attrs.get("winograd", 0):
        return False  # its tiles are of another kind
    x, w = v.args
    if is_op(v, "conv") and w.shape[1] > 1:
        groups = v.attrs.get("groups", 1) * v.attrs.get("batch_groups", 1)
        if groups == w.shape[0] > 1:
            return False  # a channel from several of its own each: tiles have no lanes for these
    summed = w.shape[1:] if is_op(v, "conv") else [x.shape[a] for a, _ in v.attrs["contract"]]
    pads = any(map(any, v.attrs.get("padding", ())))
    if any(map(is_unknown, summed)) or (pads and profile.stored_halo):
        return False
    return prod(summed) > 1 and v.spec.dtype.is_floating_point


def _of_parts(x: Value, inner: Shape, outer: int) -> Value:
    """sum over `outer` of (sum over `inner` of x)"""
    return P.sum(P.sum(x, inner), (outer - sum(k < outer for k in inner),))


def _from_tiles(x: Value, profile: Profile) -> bool:
    """Whether x may be computed where a contraction's result is."""
    seen: set[Value] = set()
    stack = [x]
    while stack:
        u = stack.pop()
        if u.op is None or u in seen or u.shape != x.shape:
            continue
        seen.add(u)
        if u.op.kind == "contract" and sums_products(u, profile):
            return True
        if u.op.kind == "elementwise":
            stack.extend(u.args)
    return False


def _shifted(v: Value, axes: Shape, profile: Profile) -> Shifted | None:
    """x - k or its square, where k is an element of x for each sum."""
    squared = is_op(v, "mul") and v.args[0] is v.args[1]
    d = v.args[0] if squared else v
    if not is_op(d, "sub") or d.spec.dtype is not f32:
        return None
    x, shift = d.args
    if not is_op(shift, "expand") or any(shift.args[0].shape[a] != 1 for a in axes):
        return None
    k = shift.args[0]
    if any(k.shape[a] != n for a, n in enumerate(x.shape) if a not in axes):
        return None
    return Shifted(x, k, squared) if _element_of(k, x) and _from_tiles(x, profile) else None


def _element_of(k: Value, x: Value) -> bool:
    while k.op is not None and k.op.kind == "movement" and k is not x:
        k = k.args[0]
    return k is x
