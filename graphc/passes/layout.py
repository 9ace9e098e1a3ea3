"""layout: convolutions read what lies well in memory, said in the graph itself.

Input: a decomposed Graph. Output: a Graph with the same meaning in which
  - every convolution input is stored channels-innermost and, where the profile wants that, already
    padded, so its inner loops have no borders: x => contiguous(pad(x)) made once, as wide as its
    widest reader needs, and every reader of x reads the inside of it. The kernel that computes x
    writes the halo as it goes, or, if that is a contraction, x right into its place (`halo.py`);
    If the convolutions say so (`samples.py`) samples lie innermost instead;
  - every convolution weight lies as the profile says, for a CPU [*K, C, O], output channels
    innermost, or [O, *K, C] of few outputs: a state tensor for good (`Graph.orders`), anything
    else in a packed copy. Gradients of weights read activations that already lie so, and are
    computed in the order of their weight.
`bufferize` then gives every output a row-major buffer of its own, as the caller expects it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from operator import add
from typing import NamedTuple

from graphc.ir import sugar as P
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Graph, Value
from graphc.ir.ops import OPS
from graphc.ir.rewrite import rebuild
from graphc.ir.sizes import typical
from graphc.ir.types import Shape
from graphc.passes.group import is_free, parts_of, same_memory
from graphc.passes.halo import framed
from graphc.passes.orders import Orders, identity, orders_of
from graphc.passes.profile import Profile


class Widths(NamedTuple):
    """The most padding that any reader of a base wants, how it then lies, and the first of them."""

    low: list[int]
    high: list[int]
    order: Shape
    reader: Value


def layout(graph: Graph, profile: Profile) -> Graph:
    """Choose how weights lie, then pad and pack convolution operands."""
    return _Layout(replace(graph, orders=weight_orders(graph, profile)), profile).run()


# ---- weights -----------------------------------------------------------------------------------


def weight_orders(graph: Graph, profile: Profile) -> dict[Value, Shape]:
    """Convolution weights that are state lie as the profile says, with all state tied to them; so
    do states beside the images of convolutions, as those do.

    Tied are momenta and gradients: whatever an elementwise update reads or writes together with the
    weight. So the update runs where the weight gradient is computed, in the order it is computed.
    """
    states = set(graph.states())
    read = (_uncast(v.args[1]) for v in graph.values() if v.op is OPS["conv"])
    weights = [w for w in read if w in states]
    orders, tied = dict(graph.orders), _tied(graph, states)
    lying: dict[tuple[int, int], Shape] = {}  # by what is tied and the number of dimensions

    def lies(state: Value, order: Shape) -> None:
        if lying.get((tied[state], len(order))) != order:
            lying[tied[state], len(order)] = order
            alike = (v for v in states if tied[v] == tied[state] and len(v.shape) == len(order))
            orders.update(dict.fromkeys(alike, order))

    for w in weights:
        lies(w, profile.weight_dims(w.shape))
    if weights:
        seen = Orders(replace(graph, orders=orders), profile)
        for s, wanted in _broadcast(graph, states - orders.keys()).items():
            if s not in orders and (order := wanted(seen)) != identity(s):
                lies(s, order)
    return orders


def _tied(graph: Graph, states: Iterable[Value]) -> dict[Value, int]:
    """The number of each state's group: those that updates tie, directly or through leaves that
    they share."""
    ties: dict[Value, list[Value]] = {s: [] for s in states}
    for out, target in zip(graph.outs, graph.targets, strict=True):
        if target is not None:
            for leaf in _update_leaves(out):
                ties.setdefault(leaf, []).append(target)
                ties[target].append(leaf)
    tied: dict[Value, int] = {}
    for number, first in enumerate(ties):
        stack = [first]
        while stack:
            v = stack.pop()
            if v not in tied:
                tied[v] = number
                stack += ties[v]
    return tied


def _uncast(w: Value) -> Value:
    """A weight itself, of which a convolution may read a copy in a narrower type."""
    while w.op is OPS["cast"]:
        w = w.args[0]
    return w


def _broadcast(graph: Graph, states: set[Value]) -> dict[Value, Callable[[Orders], Shape]]:
    """States that meet larger values elementwise, and how they would lie beside the first of them:
    a layer norm's gain [C, H, W] beside images that convolutions want channels innermost."""
    at: dict[Value, tuple[Value, Shape]] = {}  # of what broadcasts: the state, where its dims are
    found: dict[Value, Callable[[Orders], Shape]] = {}
    for v in graph.values():
        if v in states and sum(is_unknown(n) or n > 1 for n in v.shape) > 1:
            at[v] = v, identity(v)
        if v.op is None:
            continue
        for a in v.args:
            if a not in at:
                continue
            s, dims = at[a]
            if v.op.name in ("expand", "reshape"):
                moved = dims if v.op.name == "expand" else _among_units(a.shape, v.shape, dims)
                if moved is not None:
                    at[v] = s, moved
            elif v.op.kind == "elementwise" and typical(v.spec.numel) > typical(s.spec.numel):
                found.setdefault(s, partial(_order_beside, v, dims))
    return found


def _among_units(old: Shape, new: Shape, dims: Shape) -> Shape | None:
    """Where dimensions are after a reshape, if that inserts or drops dimensions of size 1 alone."""
    before, after = ([k for k, n in enumerate(shape) if n != 1] for shape in (old, new))
    if [old[k] for k in before] != [new[k] for k in after]:
        return None
    place = dict(zip(before, after, strict=True))
    return tuple(place.get(k, -1) for k in dims)


def _order_beside(v: Value, dims: Shape, orders: Orders) -> Shape:
    """Dimensions that are at `dims` of `v`, in the order of those; the others stay in front."""
    place = {k: n for n, k in enumerate(orders(v))}
    return tuple(sorted(range(len(dims)), key=lambda k: place.get(dims[k], -1)))


def _update_leaves(out: Value) -> set[Value]:
    """What an elementwise update of a state reads of the state's shape."""
    seen: set[Value] = set()
    leaves: set[Value] = set()
    stack = [out]
    while stack:
        v = stack.pop()
        if v in seen or v.shape != out.shape or v.const is not None:
            continue
        seen.add(v)
        if v.op is not None and v.op.kind == "elementwise":
            stack.extend(v.args)
        else:
            leaves.add(v)
    return leaves


# ---- convolution operands ----------------------------------------------------------------------


class _Layout:
    """One walk over the graph; `new` maps old values, `padded` a base to its padded twin."""

    def __init__(self, graph: Graph, profile: Profile) -> None:
        self.graph = graph
        self.profile = profile
        self.orders = orders_of(graph, profile)
        self.widths = _widest_padding(graph, profile)
        self.new: dict[Value, Value] = {}
        self.padded: dict[Value, Value] = {}

    def run(self) -> Graph:
        for v in self.graph.values():
            since = v.builder.mark()
            with v.builder.at(v.where):
                self.new[v] = w = v.builder.heir(self._visit(v), v, since)
            if v in self.widths:  # what is an input has no line: its first reader has
                with v.builder.at(v.where if v.op else self.widths[v].reader.where):
                    self.new[v] = self._widened(v, w)
        return self.graph.with_outs(self.new[v] for v in self.graph.outs)

    def _visit(self, v: Value) -> Value:
        if v.op is None:
            return v
        if v.op.name == "conv":
            return self._conv(v)
        args = tuple(self.new[a] for a in v.args)
        return v if args == v.args else v.builder.again(v, args)

    def _widened(self, v: Value, w: Value) -> Value:
        """Store `w` padded and channels-innermost; what others see is the inside."""
        low, high, order = map(tuple, self.widths[v][:3])
        if not any((*low, *high)) and (self.orders(w) == order or w.shape[order[-1]] == 1):
            return w
        whole = framed(w, low, high)
        if whole is None or self.orders(whole) != order:
            whole = w.builder.apply("contiguous", P.pad(w, low, high), order=order)
        self.padded[v] = whole
        stop = tuple(a + n for a, n in zip(low, w.shape))
        return P.slice(whole, low, stop)

    def _conv(self, v: Value) -> Value:
        assert v.op is not None
        x = self._operand(v)
        halo = stored(v, self.profile)
        dims = self.profile.weight_dims(v.args[1].shape)
        if base_of(v, halo).perm[1] == 0:  # of a gradient: not a weight but images
            dims = self.profile.side_dims(len(v.shape))
            if dims[-1] == 0:  # samples lie outermost
                dims = (1, *(k for k in dims if k != 1))
        w, samples = self.new[v.args[1]], v.attrs.get("samples")
        if samples is None:
            w = self._packed(w, dims)
        elif samples == 1:  # else they are broadcast, however they lie
            w = self._packed(w, (0, *range(2, len(v.shape)), 1), runs=False)
        sides = zip(v.attrs["padding"], halo, strict=True)
        padding = tuple((0, 0) if kept else side for side, kept in sides)
        return v.builder.emit(v.op, (x, w), {**v.attrs, "padding": padding})

    def _operand(self, v: Value) -> Value:
        """The padded input of convolution `v`, cut from its base's padded twin."""
        reading = base_of(v, stored(v, self.profile))
        whole = self.padded.get(reading.base)
        if whole is None:
            return self.new[v.args[0]]
        origin, shape = self.widths[reading.base].low, reading.base.shape
        start = tuple(o - a for o, a in zip(origin, reading.low))
        stop = tuple(o + n + b for o, n, b in zip(origin, shape, reading.high))
        return P.transpose(P.slice(whole, start, stop), reading.perm)

    def _packed(self, w: Value, perm: Shape, runs: bool = True) -> Value:
        """The channels that `perm` has innermost, or whole `runs` of the other ones.

        The second is how a data gradient finds the weights that the forward reads; the kernel
        turns them while it copies a panel to the cache, which costs less than a pass of its own.
        """
        inner = self.orders.innermost(w)
        if inner == perm[-1] or w.shape[perm[-1]] == 1:
            return w
        if (
            inner < 2
            and not is_unknown(w.shape[perm[-1]])
            and w.shape[inner] % self.profile.run == 0
        ):
            return w
        packed = w.builder.apply("contiguous", P.transpose(w, perm))
        back = tuple(perm.index(k) for k in range(len(perm)))
        return P.transpose(packed, back)


class Reading(NamedTuple):
    """A convolution input as its base, padded by `low` and `high` (negative: cut), permuted."""

    base: Value
    perm: Shape
    low: Shape
    high: Shape

    def order(self, samples_last: bool) -> Shape:
        """The base's dimensions: samples, places, channels; or channels, places, samples.

        A weight gradient reads what the forward read with samples and channels exchanged, so which
        is which is not told by the places they have: samples are outermost, wherever they are.
        """
        samples, channels, *places = self.perm
        if channels == 0:
            samples, channels = channels, samples
        ends = (channels, samples) if samples_last else (samples, channels)
        return (ends[0], *places, ends[1])


def stored(conv: Value, profile: Profile) -> tuple[bool, ...]:
    """Whether the padding along each place is stored around what a convolution reads.

    Not above and below the image of few channels' where the zeros are many: the loop over the rows
    of a window has bounds instead, and meets none. (A weight gradient sums over places in chunks,
    and wants them whole.)
    """
    halo = [profile.stored_halo] * (len(conv.shape) - 2)
    if profile.stored_halo and _may_be_bounded(conv, profile):
        places = range(len(halo) if _has_lanes(conv, profile) else 1)
        halo[: len(places)] = [_zeros(conv, k) < profile.many_zeros for k in places]
    return tuple(halo)


def _has_lanes(conv: Value, profile: Profile) -> bool:
    """Whether samples lie innermost and are enough for the lanes, without places beside them."""
    at = conv.attrs.get("samples")
    return at is not None and typical(conv.args[0].shape[at]) >= profile.run


def _may_be_bounded(conv: Value, profile: Profile) -> bool:
    """Whether it is a plain convolution of few channels, and no gradient of a weight."""
    x, w = conv.args
    steps = (
        conv.attrs[k][0] for k in ("stride", "rhs_dilation", "lhs_dilation") if k in conv.attrs
    )
    groups = (conv.attrs.get(k, 1) for k in ("groups", "batch_groups"))
    plain = {*steps, *groups} == {1}
    known = not any(map(is_unknown, (*conv.shape[1:3], x.shape[2], *w.shape)))
    if not plain or not known or len(w.shape) < 4 or w.shape[2] == 1:
        return False
    few = min(w.shape[:2]) < profile.run and math.prod(w.shape[1:]) <= profile.bounded_terms
    return few and base_of(conv, (True,) * (len(w.shape) - 2)).perm[0] == 0


def _zeros(conv: Value, k: int) -> float:
    """The share of products along a place that are with padding, of a plain window."""
    size, taps = (a.shape[2 + k] for a in conv.args)
    low: int = conv.attrs["padding"][k][0]
    places = range(conv.shape[2 + k])
    inside = sum(max(0, min(taps, low + size - k) - max(0, low - k)) for k in places)
    return 1 - inside / max(1, len(places) * taps)


def base_of(conv: Value, halo: Sequence[bool]) -> Reading:
    """The value under transposes, cuts and zeros around it that the convolution reads; `halo`: with
    its padding along those places."""
    v = conv.args[0]
    perm = identity(v)
    padding = list(zip(conv.attrs["padding"], halo, strict=True))
    low = (0, 0, *(a * kept for (a, _), kept in padding))
    high = (0, 0, *(b * kept for (_, b), kept in padding))
    while v.op is not None:
        (u, *_) = v.args or (v,)
        if v.op.name == "transpose":
            back = tuple(v.attrs["perm"].index(k) for k in range(len(perm)))
            perm = tuple(v.attrs["perm"][k] for k in perm)
            low, high = (tuple(side[k] for k in back) for side in (low, high))
        elif v.op.name == "slice" and all(s == 1 for s in v.attrs["step"]):
            start = v.attrs["start"]
            behind = tuple(n - b for n, b in zip(u.shape, v.attrs["stop"]))
            cut = (*zip(start, low), *zip(behind, high))
            if any(c and p for c, p in cut):
                break  # zeros stand where the base has data
            low = tuple(p - c for p, c in zip(low, start))
            high = tuple(p - c for p, c in zip(high, behind))
        elif any(halo) and _pads_places(v, perm):
            low, high = (
                tuple(map(add, side, v.attrs[k])) for side, k in ((low, "low"), (high, "high"))
            )
        else:
            break
        v = u
    return Reading(v, perm, low, high)


def _pads_places(v: Value, perm: Shape) -> bool:
    """Whether `v` is zeros around the places of an image, as a causal convolution's are written:
    no other padding than a convolution's own."""
    if v.op is None or v.op.name != "pad" or v.attrs["value"] != 0:
        return False
    sides = v.attrs["low"], v.attrs["high"]
    return not any(is_unknown(n) for side in sides for n in side) and not any(
        side[k] for side in sides for k in perm[:2]
    )


def _widest_padding(graph: Graph, profile: Profile) -> dict[Value, Widths]:
    """For each base that a convolution reads, the most padding any reader wants."""
    widths: dict[Value, Widths] = {}
    for v in graph.values():
        if v.op is OPS["conv"]:
            reading = base_of(v, stored(v, profile))
            none = [0] * len(reading.perm)
            first = Widths(none, none.copy(), reading.order("samples" in v.attrs), v)
            most = widths.setdefault(reading.base, first)
            most.low[:] = map(max, most.low, reading.low)
            most.high[:] = map(max, most.high, reading.high)
    return widths


def bufferize(graph: Graph, profile: Profile) -> Graph:
    """Give each output a row-major buffer of its own, and each part of an `assemble` one owner.

    Movement is stored now and then, since each step lengthens every address behind it.
    """
    graph = _bufferize_movement(graph, profile.max_movement)
    return _bufferize_outputs(_bufferize_parts(graph, profile), profile)


def _bufferize_movement(graph: Graph, most: int) -> Graph:
    steps: dict[Value, int] = {}  # of movement since something was stored

    def visit(v: Value) -> Value:
        if v.op is not None and v.op.kind == "movement" and is_free(v):
            steps[v] = steps.get(v.args[0], 0) + 1
            if steps[v] > most:
                return v.builder.apply("contiguous", v)
        return v

    return rebuild(graph, visit)


def _bufferize_outputs(graph: Graph, profile: Profile) -> Graph:
    orders, taken, outs = orders_of(graph, profile), set(parts_of(graph)), []
    for v, target in zip(graph.outs, graph.targets, strict=True):
        free = is_free(v) or (v.op is not None and v.op.kind == "loop")
        order = identity(v) if target is None else graph.orders.get(target, identity(v))
        while free or v in taken or not same_memory(v, orders(v), order):
            since, was = v.builder.mark(), v
            with v.builder.at(v.where):
                v = v.builder.apply("contiguous", v, order=order)
            v.builder.heir(v, was, since)
            free = False
        taken.add(v)
        outs.append(v)
    return graph.with_outs(outs)


def _whole(v: Value) -> bool:
    """Whether `v` is made as an array of its own."""
    return v.op is not None and v.op.kind in ("routine", "loop")


def _bufferize_parts(graph: Graph, profile: Profile) -> Graph:
    """A part has to be computed, and to stand in one place only; else it is copied there."""
    orders, owned = orders_of(graph, profile), set(graph.outs)
    latest: dict[tuple[Value, Shape], Value] = {}  # the last of the copies of a part

    def visit(v: Value) -> Value:
        if v.op is None or v.op.name != "assemble":
            return v
        parts = []
        for part in v.args:
            if is_free(part) or part.op is v.op or _whole(part):
                part = part.builder.apply("contiguous", part, order=orders(v))
            key = part, orders(v)
            part = latest.get(key, part)
            while part in owned:
                part = part.builder.apply("contiguous", part, order=orders(v))
            latest[key] = part
            owned.add(part)
            parts.append(part)
        return v.builder.emit(v.op, parts, v.attrs)

    return rebuild(graph, visit)
