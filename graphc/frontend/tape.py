"""The tape: nodes recorded on tensors while grad mode is on, eager and traced alike.

A node keeps only the operands its rule reads (`vjp_rules.READS`), each with the version of its
storage, so that a write in between is caught when the gradient is computed.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from graphc.errors import AutogradError, user_location
from graphc.frontend.modes import enable_grad, modes, no_grad, set_grad_enabled
from graphc.frontend.views import Chain, types_along
from graphc.ir.graph import Where
from graphc.ir.ops import Attrs, Op
from graphc.ir.sugar import Sugar
from graphc.ir.types import TensorSpec
from graphc.passes.autodiff import (
    Cotangents,
    Edge,
    Node,
    Typed,
    already_freed,
    backpropagate,
    differentiable,
    needs,
    next_number,
    pull_op,
)

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor

Saved = tuple["Tensor", int]


def unchanged(label: str, tensor: Tensor, version: int) -> Tensor:
    """A saved tensor, if its memory has not been written since."""
    if tensor.storage.version != version:
        raise AutogradError(
            f"a tensor needed for the gradient of {label}, {tensor.spec}, has been "
            f"changed by an in-place operation: version {tensor.storage.version}, "
            f"expected {version}",
            fix="use the out-of-place form, or clone() the tensor before changing it",
        )
    return tensor


class OpNode(Node):
    """A primitive: operands as saved tensors, numbers or bare types; the output if it is read."""

    __slots__ = ("attrs", "op", "operands", "output", "restore")

    def __init__(self, op: Op, edges: Sequence[Edge | None], operands: list[Any], attrs: Attrs):
        super().__init__(op.name, edges)
        self.op = op
        self.attrs = attrs
        self.operands: list[Any] | None = operands
        self.output: Saved | None = None
        self.restore: Callable[[], None] | None = None  # of a checkpoint, brings both back

    def pull(self, cotangents: list[Any]) -> Cotangents:
        if self.restore is not None:
            self.restore()
        if self.operands is None:
            raise already_freed(self.label)
        args = [self._unpack(a) for a in self.operands]
        z = self.output
        if isinstance(z, tuple):
            z = self._unpack(z).alias()
            if modes.grad:
                z.set_history(self)
        wanted = [e is not None for e in self.edges]
        return pull_op(self.op, wanted, cotangents[0], z, args, self.attrs, modes.grad)

    def _unpack(self, saved: Any) -> Any:
        return unchanged(self.label, *saved) if isinstance(saved, tuple) else saved

    def saves(self) -> bool:
        return any(isinstance(a, tuple) for a in self.operands or ()) or self.output is not None

    def release(self) -> None:
        if self.saves():
            self.operands = self.output = None


class RuleNode(Node):
    """An operation that is no primitive: its rule maps output cotangents to input ones."""

    __slots__ = ("rule",)

    def __init__(
        self,
        name: str,
        edges: Sequence[Edge | None],
        rule: Callable[[list[Any]], Cotangents],
        count: int = 1,
    ) -> None:
        super().__init__(name, edges, count)
        self.rule: Callable[[list[Any]], Cotangents] | None = rule

    def pull(self, cotangents: list[Any]) -> Cotangents:
        if self.rule is None:
            raise already_freed(self.label)
        return self.rule(cotangents)


class WholeNode(Node):
    """Several primitives under one rule, which reads the inputs, saved as an OpNode saves them."""

    __slots__ = ("operands", "rule")

    def __init__(
        self,
        name: str,
        inputs: Sequence[Tensor],
        rule: Callable[..., Cotangents],
    ) -> None:
        super().__init__(name, [edge_of(x) for x in inputs])
        self.operands: list[Any] = [(x, x.storage.version) for x in inputs]
        self.rule = rule

    def pull(self, cotangents: list[Any]) -> Cotangents:
        return self.rule(cotangents[0], *[unchanged(self.label, *x) for x in self.operands])


class LeafNode(Node):
    """The end of the tape: adds what arrives to a leaf's `.grad`."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor) -> None:
        super().__init__("AccumulateGrad", ())
        self.tensor = tensor

    def name(self) -> str:
        return f"torch::autograd::{self.label}"

    @property
    def variable(self) -> Tensor:
        """The leaf."""
        return self.tensor

    def __repr__(self) -> str:
        return f"<{self.label}>"

    def pull(self, cotangents: list[Any]) -> Cotangents:
        if not self.tensor.requires_grad:  # no more, since it was used
            return ()
        self.tensor.accumulate_grad(cotangents[0])
        for (hook,) in tuple(self.tensor._after_grad or ()):
            if modes.trace is None:
                hook(self.tensor)
            else:
                modes.trace.told_of_gradient(hook, self.tensor)
        return ()


def edge_of(x: Tensor) -> Edge | None:
    """Where a cotangent of `x` goes; None where no gradient is wanted."""
    if not x.requires_grad:
        return None
    if x._node is not None:
        return x._node, x._slot
    node = x._leaf() if x._leaf is not None else None
    if node is None:
        node = LeafNode(x)
        node.hooks = x._hooks
        node.where = modes.trace.builder.where() if modes.trace is not None else None
        x._leaf = weakref.ref(node)
    return node, 0


class _Saving(threading.local):
    """Who is shown each operation that saves something, of this thread; the last one counts."""

    hooks: tuple[Callable[[OpNode], None], ...] = ()


saving = _Saving()


def record(op: Op, args: Sequence[Any], attrs: Attrs, out: Tensor) -> None:
    """Put `out = op(*args)` on the tape if an operand requires grad."""
    if not out.spec.dtype.is_floating_point or not differentiable(op):
        return
    edges = [edge_of(a) if isinstance(a, Sugar) else None for a in args]  # type: ignore[arg-type]
    if not any(edges):
        return
    reads, reads_output = needs(op, tuple([e is not None for e in edges]))
    operands = []
    for a, read in zip(args, reads):
        if not isinstance(a, Sugar):
            operands.append(a)
        elif read:
            operands.append((a, a.storage.version))  # type: ignore[attr-defined]
        else:
            operands.append(Typed(a.spec))
    node = OpNode(op, edges, operands, attrs)
    if reads_output:
        node.output = (out.alias(), out.storage.version)
    attach(out, node)
    if saving.hooks:
        saving.hooks[-1](node)


def record_rule(
    name: str,
    outs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    rule: Callable[[list[Any]], Cotangents],
) -> None:
    """Put an operation that is no primitive on the tape; `rule` gives a cotangent per input."""
    edges = [edge_of(x) for x in inputs]
    if not modes.grad or not any(edges):
        return
    node = RuleNode(name, edges, rule, len(outs))
    for slot, out in enumerate(outs):
        if out.spec.dtype.is_floating_point:
            attach(out, node, slot)


def record_parts(
    name: str, parts: Sequence[Tensor], x: Tensor, join: Callable[[list[Any]], Any]
) -> None:
    """Put on the tape, as one node, what together is all of x: its derivative joins theirs. That of
    each part alone would be as large as x."""
    specs = [part.spec for part in parts]

    def pull(gs: list[Any]) -> Cotangents:
        some = next(g for g in gs if g is not None)
        return [join([some.full(0.0, s) if g is None else g for g, s in zip(gs, specs)])]

    record_rule(name, parts, (x,), pull)


def with_rule(
    name: str, compute: Callable[..., Tensor], rule: Callable[..., Cotangents], *inputs: Tensor
) -> Tensor:
    """compute(*inputs), whose derivative is `rule`: of the cotangent, of what gives the output, and
    of the inputs. For what has another derivative at some points than the ops it is made of."""
    if not (modes.grad and any(x.requires_grad for x in inputs)):
        return compute(*inputs)
    with no_grad():
        out = compute(*inputs)
    plain, now = out.detach(), out.storage.version

    def back(g: Any, *xs: Tensor) -> Cotangents:
        def output() -> Tensor:  # made again where it is to have a gradient, lest it hold its node
            again = modes.grad
            return with_rule(name, compute, rule, *xs) if again else unchanged(name, plain, now)

        return rule(g, output, *xs)

    attach(out, WholeNode(name, inputs, back))
    return out


def stepwise(out: Tensor, x: Tensor) -> Tensor:
    """`out` itself, which depends on x in steps: the derivative is zero, but there is one."""
    if not (modes.grad and x.requires_grad):
        return out
    before, spec = out, x.spec
    out = out.detach()
    record_rule("step", (out,), (before, x), lambda gs: (gs[0], gs[0].full(0.0, spec)))
    return out


def pulled_again(
    function: Callable[..., Sequence[Tensor]],
    xs: Sequence[Tensor],
    edges: Sequence[Edge | None],
    gs: Sequence[Any],
) -> Cotangents:
    """The cotangents of `xs`, from those of what `function` gives of them, by the function itself:
    one operation at a time, of operands with their history, so that the cotangents have derivatives
    of their own."""
    recorded = modes.grad
    leaves: list[Tensor] = []
    with enable_grad():
        for x, edge in zip(xs, edges, strict=True):
            before: Tensor = x.alias()
            leaf: Tensor = x.alias()
            if edge is not None:
                before.set_history(*edge)
                record_rule("alias", (leaf,), (before,), lambda gs: gs)
            leaves.append(leaf)
        outs = function(*leaves)
    starts = zip(outs, gs, strict=True)
    roots = [(e, g) for x, g in starts if g is not None and (e := edge_of(x)) is not None]
    ends = [None if e is None else edge_of(x) for x, e in zip(leaves, edges)]
    known = [e for e in ends if e is not None]
    with set_grad_enabled(recorded):
        found = backpropagate(roots, wanted=known, everything=False, keep=recorded)
    return [None if e is None else found.get(e) for e in ends]


def attach(out: Tensor, node: Node, slot: int = 0) -> None:
    trace = modes.trace
    if trace is not None and node.where is None:
        node.where = trace.builder.where()
    elif modes.anomaly and node.where is None:
        node.where = Where("", *user_location())
    out.set_history(node, slot)


def chain_history(edge: Edge, chain: Chain, base: TensorSpec) -> Edge:
    """The history of a view, made again from that of its base."""
    types = types_along(chain, base)
    for (op, attrs), spec in zip(chain, types):
        node = OpNode(op, (edge,), [Typed(spec)], attrs)
        if modes.trace is not None:
            node.where = modes.trace.builder.where()
        edge = node, 0
    return edge


def keep_gradient(x: Tensor) -> None:
    """Have the node that defines x now put x's gradient, as its hooks leave it, into `.grad`."""
    node, slot = edge_of(x) or (None, 0)
    assert node is not None, "asked for tensors with a history only"

    def keep(g: Tensor) -> None:
        if x._node is node:  # else x was written in place since
            with no_grad():
                x.accumulate_grad(g.detach())

    node.kept = [*(node.kept or ()), (slot, keep)]


def mark_now() -> int:
    """A number that divides the nodes made so far from those to come."""
    return next_number()


def saved_since(mark: int, outs: Sequence[Tensor]) -> list[OpNode]:
    """The operations made since that led to `outs` and save something, in order."""
    stack = [n for t in outs if (n := t.grad_fn) is not None and n.number > mark]
    seen = set(stack)
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge[0].number > mark and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    saving = (n for n in seen if isinstance(n, OpNode) and n.saves())
    return sorted(saving, key=lambda n: n.number)


def freed_with(roots: Sequence[Node]) -> list[frozenset[int]]:
    """For each root, which ones lead to an operation whose saved tensors its backward frees."""
    saving = [{n for n in _history(root) if n.saves()} for root in roots]
    return [
        frozenset(k for k, other in enumerate(saving) if not mine.isdisjoint(other))
        for mine in saving
    ]


def _history(root: Node) -> set[Node]:
    """The operations that led to `root`, and it."""
    seen, stack = {root}, [root]
    while stack:
        for edge in stack.pop().edges:
            if edge is not None and edge[0] not in seen:
                seen.add(edge[0])
                stack.append(edge[0])
    return seen
