"""group: what fusion produces. One `Group` is one kernel; a `Fusion` is all of them.

A group computes its members over a domain, some dimensions of which its reductions take away.
Where a member stands in the domain is its `Level`: a permutation of its dimensions for what is
computed at every point (nearly always the identity), or `KEPT` for what is computed once per kept
point.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Kind
from graphc.ir.types import Shape
from graphc.passes.orders import Orders, reduced_source
from graphc.passes.view import Form, View, move, row_major, slice_, stored

ALONE = frozenset(("attention", "loop", "routine", "scatter"))  # kinds that nothing else joins
KEPT: Literal["kept"] = "kept"
Level = Shape | Literal["kept"]
Chain = tuple[Value, ...]  # movement ops from the inside out


@dataclass(eq=False)
class Group:
    """The values of one kernel."""

    domain: Shape
    kind: Kind
    bit: int  # this group in the masks of `fuse`
    members: list[Value] = field(default_factory=list)
    levels: dict[Value, Level] = field(default_factory=dict)
    reduced: frozenset[int] = frozenset()
    outputs: list[Value] = field(default_factory=list)

    @property
    def kept_shape(self) -> Shape:
        """The domain with its reduced dimensions of size 1."""
        return tuple(1 if k in self.reduced else n for k, n in enumerate(self.domain))

    def name(self) -> str:
        """Ops in order, then the module that most of them come from."""
        words = [v.op.name for v in self.members if v.op is not None]
        scopes = [v.where.scope for v in self.members if v.where.scope]
        scope = max(scopes, key=scopes.count) if scopes else ""
        text = "_".join(words[:4]) + (f"_{len(words) - 4}more" if len(words) > 4 else "")
        clean = "".join(c if c.isalnum() or c in "._" else "_" for c in scope)
        return f"{text}__{clean}" if clean else text

    def looped(self) -> frozenset[int]:
        """The dimensions whose points run one after another."""
        if self.kind == "contract":
            return frozenset()  # its sums are partial ones of parallel points
        if self.kind != "scatter":
            return self.reduced
        (v,) = self.outputs
        rank = len(v.args[1].shape) if is_op(v, "scatter_add") else 1
        return frozenset(range(v.attrs["axis"], v.attrs["axis"] + rank))

    def place(self, v: Value) -> Form:
        """The row-major number of the element of `v` at each point of the domain."""
        level = self.levels[v]
        if level == KEPT:
            return Form(used(row_major(self.kept_shape), self.kept_shape))
        steps = row_major(v.shape)
        return Form(used(tuple(steps[k] for k in level), self.domain))

    def order(self, orders: Orders) -> Shape:
        """The domain's dimensions, outermost first, as the first full output lies in memory."""
        full = [v for v in self.outputs or self.members if self.levels[v] != KEPT]
        v = full[0] if full else self.members[0]
        level = self.levels[v]
        if level == KEPT or len(level) != len(self.domain):
            return orders(operands(v)[0])
        return tuple(level.index(k) for k in orders(v))

    def loop_order(self, orders: Orders) -> Shape:
        """As `order`, but positions are counted over reduced dimensions in their own order."""
        order = self.order(orders)
        if not any(finds_place(v) for v in self.members):
            return order
        reduced = iter(sorted(self.reduced))
        return tuple(next(reduced) if k in self.reduced else k for k in order)


def finds_place(v: Value) -> bool:
    """Whether v is a position among the values that it reduces."""
    return v.op is not None and v.op.position


def same_call(v: Value, groups: Sequence[Group], apart: bool = False) -> Group | None:
    """The kernel of attention that v is another result of; the gradient of the queries may have to
    stay `apart`."""
    if v.op is None or v.op.kind != "attention":
        return None
    for g in reversed(groups):
        if g.kind != "attention":
            continue
        first = g.members[0]
        others = apart and is_op(first, "attention_dq") != is_op(v, "attention_dq")
        if (first.args, first.attrs) == (v.args, v.attrs) and not others:
            return g
    return None


def used(strides: Shape, shape: Shape) -> Shape:
    """Strides that move: a dimension of size 1 has none."""
    return tuple(0 if n == 1 else s for s, n in zip(strides, shape))


class Part(NamedTuple):
    """A value that is computed right into its place in another one."""

    whole: Value
    start: Shape
    step: Shape


@dataclass(frozen=True, slots=True)
class Fusion:
    """The groups, the values that have buffers, and which of those are part of another."""

    groups: tuple[Group, ...]
    materialised: frozenset[Value]
    parts: Mapping[Value, Part]
    note: Callable[[Group], str]  # why a group ends where it ends, made when asked

    def home(self, v: Value, orders: Orders) -> View:
        """Where a materialised value or an input lies in its buffer."""
        return place_of(v, self.parts, orders)


def place_of(v: Value, parts: Mapping[Value, Part], orders: Orders) -> View:
    """Where the elements of `v` lie in its buffer; of what has none, which numbers they are."""
    if v.const is not None:
        return View(v.shape, Form((0,) * len(v.shape)))
    if v.op is not None and v.op.kind == "source":
        return numbered(v)
    part = parts.get(v)
    if part is None:
        return stored(v.shape, orders(v))
    whole = stored(part.whole.shape, orders(part.whole))
    stop = tuple(a + (n - 1) * s + 1 for n, a, s in zip(v.shape, part.start, part.step))
    return slice_(whole, start=part.start, stop=stop, step=part.step)


def numbered(v: Value) -> View:
    """The number that a source makes each of its elements of."""
    if is_op(v, "iota"):
        return View(v.shape, Form(tuple(int(k == v.attrs["axis"]) for k in range(len(v.shape)))))
    return View(v.shape, Form(row_major(v.shape)))


def parts_of(graph: Graph) -> dict[Value, Part]:
    """The parts of every `assemble`."""
    return {
        part: Part(v, start, step)
        for v in graph.values()
        if is_op(v, "assemble")
        for part, start, step in zip(v.args, v.attrs["starts"], v.attrs["steps"], strict=True)
    }


# ---- questions about values --------------------------------------------------------------------


def is_op(v: Value, name: str) -> bool:
    return v.op is not None and v.op.name == name


def is_reduce(v: Value) -> bool:
    return v.op is not None and v.op.kind == "reduce"


def is_free(v: Value) -> bool:
    """Computed nowhere and stored nowhere: inputs, constants, sources and movement."""
    return v.op is None or v.op.kind == "source" or (v.op.kind == "movement" and not v.op.stores)


def pads_with_more(v: Value) -> bool:
    """Whether `v` is a pad by something that no guarded load gives."""
    return (
        v.op is not None and v.op.name == "pad" and repr(float(v.attrs.get("value", 0.0))) != "0.0"
    )


def operands(v: Value) -> tuple[Value, ...]:
    """What a kernel reads to compute v."""
    return (reduced_source(v)[0],) if is_reduce(v) else v.args


def moved(view: View, chain: Iterable[Value]) -> View:
    """The view through movement ops."""
    for m in chain:
        assert m.op is not None
        view = move(view, m.op.name, m.attrs)
    return view


def same_memory(v: Value, some: Shape, other: Shape) -> bool:
    """Whether two orders put every element of v in the same place."""
    wide = [[k for k in order if v.shape[k] > 1] for order in (some, other)]
    return wide[0] == wide[1]


def squeezed(shape: Shape) -> Shape:
    """The dimensions that are not 1."""
    return tuple(n for n in shape if n != 1)
