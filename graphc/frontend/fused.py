"""Derivatives of what several recorded operations compute together, in a trace.

Attention is written as a chain of operations whose own derivatives need the matrix of weights. The
walk back is told here of each such chain that nobody looks into: the node of its last product then
pulls by the derivative of the op `attention`, right to the queries, keys and values. The chain is
recognised by what it computes (`passes/attention.py`); a graph pass then puts the op in its place
in the forward, too. Where a mask or scale wants a gradient, where a hook or another reader sees the
weights, and where the gradients are to be differentiated again, all stays as recorded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

from graphc.frontend.modes import modes
from graphc.frontend.places import HOST
from graphc.frontend.tape import OpNode, unchanged
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.ir.graph import Value
from graphc.ir.ops import OPS
from graphc.ir.sugar import transpose
from graphc.ir.types import bool_, f32
from graphc.passes.attention import Match, match
from graphc.passes.autodiff import Cotangents, Edge, Node, pull_op
from graphc.passes.vjp_rules import inverse


class Attention(Node):
    """Stands for the chain that ends in `last`: its edges are those of q, k and v."""

    __slots__ = ("inner", "last", "match", "trace")

    def __init__(
        self,
        trace: Trace,
        found: Match,
        last: OpNode,
        inner: list[OpNode],
        edges: list[Edge | None],
    ) -> None:
        super().__init__("attention", edges)
        self.trace, self.match, self.last, self.inner = trace, found, last, inner

    def pull(self, cotangents: list[Tensor]) -> Cotangents:
        found, trace = self.match, self.trace
        for node in (*self.inner, self.last):
            _intact(node)
        where = self.last.where
        with trace.builder.at(where if where is not None else trace.builder.where()):
            z = found.emit()
        g = trace.value(cotangents[0])
        wanted = [e is not None for e in self.edges]
        pulled = pull_op(
            OPS["attention"], [*wanted, False, False, False], g, z, found.args, found.attrs
        )
        turned = zip(pulled, found.perms)
        return [None if d is None else trace.wrap(transpose(d, inverse(p))) for d, p in turned]

    def release(self) -> None:
        for node in self.inner:
            node.release()


def attentions(roots: list[Node], wanted: set[Node]) -> Mapping[Node, Node]:
    """The stand-ins of the last nodes of attention, on the way back from `roots`."""
    trace = modes.trace
    if trace is None:
        return {}
    readers = _readers(roots)
    seen = wanted.union(roots)
    found: dict[Node, Node] = {}
    for node in readers:
        if isinstance(node, OpNode) and node.op is OPS["dot"]:
            stand_in = _attention(trace, node, readers, seen)
            if stand_in is not None:
                found[node] = stand_in
    return found


LARGE = 1 << 19  # floating-point operations from which on eager mode has attention as one op
FEW = 8  # queries; fewer read memory once, however computed, and beside a cache of keys that grows


def as_one(z: Value) -> tuple[Value, Match] | None:
    """The op for attention that is large, and what it stands for. Its rows' statistics, which a
    derivative reads, are made with it."""
    found = match(z)
    if found is None or z.spec.dtype is not f32:
        return None
    q, k, v, *_ = (a.spec.shape for a in found.args)
    if q[-2] < FEW or 2 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1]) < LARGE:
        return None
    made = found.emit()
    z.builder.emit(OPS["attention_lse"], found.args, found.attrs)
    return made, found


def _readers(roots: list[Node]) -> dict[Node, list[Node]]:
    """Every node on the way back, with those that send it cotangents."""
    found: dict[Node, list[Node]] = {node: [] for node in roots}
    stack = list(found)
    while stack:
        node = stack.pop()
        for edge in node.edges:
            if edge is not None:
                if edge[0] not in found:
                    found[edge[0]] = []
                    stack.append(edge[0])
                found[edge[0]].append(node)
    return found


def _attention(
    trace: Trace, last: OpNode, readers: Mapping[Node, list[Node]], seen: set[Node]
) -> Attention | None:
    values = _values(trace, last)
    if values is None or None in values or last.restore is not None or last.edges[0] is None:
        return None
    whole = trace.builder.emit(last.op, [v for v in values if v is not None], last.attrs)
    found = match(whole) if has_code(trace, whole) else None
    inner = None if found is None else _inner(trace, last, found)
    if found is None or inner is None:
        return None
    product = inner[-1]
    edges: list[Edge | None] = []
    for edge, scaled in zip(product.edges, found.scaled, strict=True):
        if scaled and edge is not None:
            if not isinstance(edge[0], OpNode) or edge[0].op is not OPS["mul"]:
                return None
            inner.append(edge[0])
            edge = edge[0].edges[0]
        edges.append(edge)
    chain = {*inner, last}
    for node in inner:
        if node.hooks or node.kept or node in seen or node.restore is not None:
            return None
        if not chain.issuperset(readers[node]):
            return None
    queries = edges[::-1] if found.swapped else edges
    return Attention(trace, found, last, inner, [*queries, last.edges[1]])


def has_code(trace: Trace, z: Value) -> bool:
    """A CPU has no such kernel of half types."""
    return trace.place is not HOST or not z.spec.dtype.is_half


def _inner(trace: Trace, last: OpNode, found: Match) -> list[OpNode] | None:
    """The nodes between the two products and the first one, which comes last; None if they lead
    anywhere else."""
    product, added = found.product, found.args[3].spec.dtype is not bool_
    first: OpNode | None = None
    inner: list[OpNode] = []
    stack = [edge[0] for edge in last.edges[:1] if edge is not None]
    met = set(stack)
    while stack:
        node = stack.pop()
        if not isinstance(node, OpNode):
            return None
        if node.op is product.op and _computes(trace, node, product, whole=added):
            if first is not None:
                return None
            first = node
            continue
        if not any(node.edges):
            return None
        inner.append(node)
        for edge in node.edges:
            if edge is not None and edge[0] not in met:
                met.add(edge[0])
                stack.append(edge[0])
    return None if first is None else [*inner, first]


def _computes(trace: Trace, node: OpNode, product: Value, whole: bool) -> bool:
    """Whether the node is that product, as far as it has kept operands; all of them if `whole`,
    as it is where what is added to the scores may be a product as well."""
    values = _values(trace, node)
    if values is None or node.attrs != product.attrs or not any(v is not None for v in values):
        return False
    if whole and None in values:
        return False
    return all(v is None or v is a for v, a in zip(values, product.args, strict=True))


def _values(trace: Trace, node: OpNode) -> list[Value | None] | None:
    """The operands that a node has kept, None for others; None if it keeps none of this trace."""
    if node.operands is None:
        return None
    found: list[Value | None] = []
    for x in node.operands:
        if isinstance(x, tuple) and x[0].storage.version == x[1]:
            found.append(trace.value(x[0]))
        else:
            found.append(None)
    return found


def _intact(node: OpNode) -> None:
    """Raise if what the node needs was written since."""
    for tensor, version in _kept(node):
        unchanged(node.label, tensor, version)


def _kept(node: OpNode) -> Iterator[tuple[Tensor, int]]:
    kept = [x for x in node.operands or () if isinstance(x, tuple)]
    yield from kept if node.output is None else [*kept, node.output]
