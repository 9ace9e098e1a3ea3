"""order: how each value would lie in memory, outermost dimension first.

Orders start at convolutions (channels innermost) and at `contiguous`, and spread: an elementwise
value lies as its largest operand does, movement carries the order along. Nothing here changes a
graph; `layout` and `lower` ask.
"""

from __future__ import annotations

from collections.abc import Callable

from graphc.ir.graph import Graph, Value
from graphc.ir.sizes import typical
from graphc.ir.types import Shape
from graphc.passes.profile import Profile
from graphc.passes.view import reshape_groups


def orders_of(graph: Graph, profile: Profile) -> Orders:
    """The orders of the values of `graph`, shared by all graphs over the same inputs."""
    key = Orders, profile.weight_order, profile.few_outputs, profile.run
    known = graph.facts.get(key)
    if known is None:
        known = graph.facts[key] = Orders(graph, profile)
    assert isinstance(known, Orders)
    return known


class Orders:
    """Memory orders of values, computed on demand and remembered."""

    def __init__(self, graph: Graph, profile: Profile) -> None:
        self.profile = profile
        self._states = frozenset(graph.states())
        self._given = graph.orders
        self._order: dict[Value, Shape] = {}
        self._weight: dict[Value, int] = {}

    def __call__(self, v: Value) -> Shape:
        """The dimensions of `v`, outermost in memory first."""
        if v not in self._order:
            for u in _unknown(v, self._order):
                self._order[u] = self._infer(u)
                self._weight[u] = self._weigh(u)
        return self._order[v]

    def innermost(self, v: Value) -> int:
        """The dimension whose elements are neighbours; size-1 dimensions do not count."""
        order = self(v)
        return next((k for k in reversed(order) if v.shape[k] > 1), order[-1] if order else 0)

    def _infer(self, v: Value) -> Shape:
        if v.op is None:
            return self._given.get(v, identity(v))
        rule = RULES.get(v.op.name) or KIND_RULES.get(v.op.kind)
        return rule(self, v) if rule is not None else identity(v)

    def _weigh(self, v: Value) -> int:
        """Elements of real data behind a value; what is broadcast has no say in the order."""
        if v.op is None:
            return 0 if v.const is not None else typical(v.spec.numel)
        if v.op.kind == "source":
            return 0
        if v.op.kind in ("movement", "elementwise"):
            heaviest = max((self._weight[a] for a in v.args), default=0)
            return min(heaviest, typical(v.spec.numel))
        return typical(v.spec.numel)


def identity(v: Value) -> Shape:
    return tuple(range(len(v.shape)))


def _unknown(v: Value, known: dict[Value, Shape]) -> list[Value]:
    """Values to compute before `v`, arguments first."""
    seen: set[Value] = set()
    stack = [v]
    while stack:
        u = stack.pop()
        if u not in seen and u not in known:
            seen.add(u)
            stack.extend(u.args)
    return sorted(seen, key=lambda u: u.number)


def _elementwise(orders: Orders, v: Value) -> Shape:
    """As the heaviest operand; a state tensor of the full shape decides, since it cannot move."""
    best, most = identity(v), -1
    for a in v.args:
        if a in orders._states and a.shape == v.shape:
            return orders(a)
        weight, order = orders._weight[a], orders(a)
        if weight > most or (weight == most and best == identity(v)):
            best, most = order, weight
    return best


def _transpose(orders: Orders, v: Value) -> Shape:
    place = {old: new for new, old in enumerate(v.attrs["perm"])}
    return tuple(place[k] for k in orders(v.args[0]))


def _same(orders: Orders, v: Value) -> Shape:
    return orders(v.args[0])


def _contiguous(orders: Orders, v: Value) -> Shape:
    return tuple(v.attrs.get("order", ())) or identity(v)


def _unfold(orders: Orders, v: Value) -> Shape:
    """The window dimension stands just outside the innermost one, unless that is its own axis."""
    order = orders(v.args[0])
    new = len(order)
    if order[-1] == v.attrs["axis"]:
        return (*order, new)
    return (*order[:-1], new, order[-1])


def _reshape(orders: Orders, v: Value) -> Shape:
    """Runs of dimensions that split or merge lie together, where the first of them lies."""
    (a,) = v.args
    return merge_order(orders(a), a.shape, v.shape)[1]


def merge_order(order: Shape, old: Shape, new: Shape) -> tuple[Shape, Shape]:
    """The order nearest to `order` in which a reshape is a view, and the order of its result.

    Dimensions of size 1 may be padded or repeated later, so they stay beside their neighbours.
    """
    if 0 in new:
        return tuple(range(len(old))), tuple(range(len(new)))
    groups = reshape_groups(old, new)
    place = {k: n for n, k in enumerate(order)}
    wide = [g for g in groups if any(old[k] > 1 for k in g[0])]
    wide.sort(key=lambda g: min(place[k] for k in g[0] if old[k] > 1))
    sides = ([k for g in wide for k in g[n]] for n in (0, 1))
    before, after = (
        _with_units(dims, shape) for dims, shape in zip(sides, (old, new), strict=True)
    )
    return before, after


def _with_units(order: list[int], shape: Shape) -> Shape:
    for k in range(len(shape)):
        if k not in order:
            order.insert(order.index(k - 1) + 1 if k else 0, k)
    return tuple(order)


def _reduce(orders: Orders, v: Value) -> Shape:
    axes = reduced_axes(v)
    kept = [k for k in range(len(v.args[0].shape)) if k not in axes]
    number = {k: n for n, k in enumerate(kept)}
    return tuple(number[k] for k in orders(v.args[0]) if k in number)


def reduced_axes(v: Value) -> Shape:
    """The dimensions a reduce op takes away."""
    return v.attrs["axes"] if "axes" in v.attrs else (v.attrs["axis"],)


def reduced_source(v: Value) -> tuple[Value, Shape]:
    """What a reduce op reads, before a reshape that only merged the dimensions it reduces.

    max over 4 of reshape(x, [N, 4]) is max over (2, 2) of x [N, 2, 2]: no copy is needed.
    """
    (x,) = v.args
    axes = reduced_axes(v)
    if x.op is None or x.op.name != "reshape":
        return x, axes
    source = x.args[0]
    reduced: list[int] = []
    for olds, news in reshape_groups(source.shape, x.shape):
        whole = all(k in axes for k in news)
        if not whole and (len(olds), len(news)) != (1, 1):
            return x, axes
        reduced += olds if whole else []
    return (source, tuple(reduced)) if reduced else (x, axes)


def looks_through(v: Value) -> bool:
    """Whether v is a reduction that reads what a reshape has merged."""
    reduces = v.op is not None and v.op.kind == "reduce"
    return reduces and reduced_source(v)[0] is not v.args[0]


def _conv(orders: Orders, v: Value) -> Shape:
    """Output channels innermost; a weight gradient [C, O, *K] lies as its weight.

    It is known by its x, whose channels are dimension 0 and innermost.
    """
    channels, outputs, *window = v.shape
    samples = v.attrs.get("samples")
    if samples == 0:
        return (1, *range(2, len(v.shape)), 0)
    if samples == 1 or (orders.innermost(v.args[0]) == 0 and v.args[0].shape[0] > 1):
        turned, dims = {0: 1, 1: 0}, orders.profile.weight_dims((outputs, channels, *window))
        return tuple(turned.get(k, k) for k in dims)
    return (0, *range(2, len(v.shape)), 1)


def _gather(orders: Orders, v: Value) -> Shape:
    """As the table: the numbers' dimensions stand where the axis does that they choose from."""
    table, index = v.args
    axis, rank = v.attrs["axis"], len(index.shape)
    there: dict[int, Shape] = {k: (k + rank - 1 if k > axis else k,) for k in identity(table)}
    there[axis] = tuple(range(axis, axis + rank))
    return tuple(n for k in orders(table) for n in there[k])


def _scatter_add(orders: Orders, v: Value) -> Shape:
    """As what is added: the axis stands where the first of its numbers' dimensions does."""
    x, index = v.args
    axis, rank = v.attrs["axis"], len(index.shape)
    last = axis + rank - 1
    there = {k: axis if axis <= k <= last else k - (rank - 1) * (k > last) for k in identity(x)}
    return tuple(dict.fromkeys([*(there[k] for k in orders(x)), axis]))


RULES: dict[str, Callable[[Orders, Value], Shape]] = {
    "transpose": _transpose,
    "expand": _same,
    "slice": _same,
    "pad": _same,
    "flip": _same,
    "unfold": _unfold,
    "reshape": _reshape,
    "contiguous": _contiguous,
    "take_along": _same,
    "put_along": _same,
    "gather": _gather,
    "scatter_add": _scatter_add,
    "assemble": _elementwise,
    "conv": _conv,
}


def _attention(orders: Orders, v: Value) -> Shape:
    """A result's rows lie as those of the operand that it is like, each row side by side."""
    like = {"attention_dk": 1, "attention_dv": 2}.get(v.op.name if v.op else "", 0)
    rank = len(v.shape)
    if rank < len(v.args[like].shape):
        return identity(v)
    return (*(k for k in orders(v.args[like]) if k != rank - 1), rank - 1)


KIND_RULES: dict[str, Callable[[Orders, Value], Shape]] = {
    "elementwise": _elementwise,
    "attention": _attention,
    "reduce": _reduce,
}
