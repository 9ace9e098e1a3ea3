"""Reverse-mode differentiation: one walk, for the eager tape and for the tape of a trace.

A `Node` is one recorded operation: where each input's cotangent goes (`edges`) and how to compute
it (`pull`). Nodes are numbered in order of making, so the walk takes the highest number first and
needs neither recursion nor a count of readers. It is generic over `Sugar`: on concrete tensors it
computes, on traced ones it extends the graph, and recorded itself it gives second derivatives.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from graphc.errors import AutogradError, InvalidType
from graphc.ir.builder import At, Builder
from graphc.ir.graph import NOWHERE, Where
from graphc.ir.ops import Attrs, Op
from graphc.ir.sugar import Sugar
from graphc.ir.types import TensorSpec
from graphc.passes.vjp_rules import AGAIN, NOT_DIFFERENTIABLE, READS, VJP

Cotangents = Sequence[Any]  # a tensor, or None for zero
Hook = Callable[[Any], Any]

_numbers = itertools.count(1)


def next_number() -> int:
    """A number that later nodes exceed and earlier ones do not."""
    return next(_numbers)


class Typed(Sugar):
    """Stands for an operand of which a rule reads only the type; nothing is kept alive."""

    __slots__ = ("_spec",)

    def __init__(self, spec: TensorSpec) -> None:
        self._spec = spec

    @property
    def spec(self) -> TensorSpec:
        return self._spec


class Node:
    """One recorded operation with `count` outputs."""

    __slots__ = ("__weakref__", "count", "edges", "hooks", "kept", "label", "number", "where")

    def __init__(self, name: str, edges: Sequence[Edge | None], count: int = 1) -> None:
        self.label = name
        self.edges = edges
        self.count = count
        self.number = next_number()
        self.hooks: list[tuple[int, Hook]] | None = None
        self.kept: list[tuple[int, Hook]] | None = None  # see what the hooks have made of it
        self.where: Where | None = None

    def pull(self, cotangents: list[Any]) -> Cotangents:
        """From the cotangents of the outputs, those of the inputs, one for each edge."""
        raise NotImplementedError

    def saves(self) -> bool:
        """Whether it keeps tensors that `release` drops."""
        return False

    def release(self) -> None:
        """Drop what was saved; a later `pull` raises."""

    def name(self) -> str:
        """As PyTorch would call it."""
        words = "".join(w[:1].upper() + w[1:] for w in self.label.split("_"))
        return f"{words}Backward0"

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """Where the gradients of the operands go on."""
        return tuple((None, 0) if e is None else e for e in self.edges)

    def __repr__(self) -> str:
        return f"<{self.name()}>"


Edge = tuple[Node, int]  # a node and which of its outputs


def differentiable(op: Op) -> bool:
    return op.name not in NOT_DIFFERENTIABLE


@cache
def needs(op: Op, wanted: tuple[bool, ...]) -> tuple[list[bool], bool]:
    """Which operands, and whether the output, the rules for the wanted operands read."""
    rules = READS[op.name]
    if op.variadic:  # its one rule serves every operand and reads types alone
        return [False] * len(wanted), False
    inputs, output = [False] * len(wanted), False
    for reads, want in zip(rules, wanted):
        if want:
            output = output or 0 in reads
            for k in reads:
                if k:
                    inputs[k - 1] = True
    return inputs, output


def pull_op(
    op: Op, wanted: Sequence[bool], g: Any, z: Any, args: Sequence[Any], attrs: Attrs,
    again: bool = False,
) -> list[Any]:  # fmt: skip
    """The cotangents of the wanted operands of `z = op(*args)`; `again`: they have derivatives."""
    rules = AGAIN.get(op.name, VJP[op.name]) if again else VJP[op.name]
    if op.variadic:  # its one rule is told which operand it differentiates
        one = rules[0]
        assert one is not None, "a variadic op's one rule differentiates every operand"
        return [
            one(g, z, *args, argument=k, **attrs) if want else None for k, want in enumerate(wanted)
        ]
    return [
        rule(g, z, *args, **attrs) if want and rule is not None else None
        for rule, want in zip(rules, wanted, strict=True)
    ]


def backpropagate(
    roots: Iterable[tuple[Edge, Any]],
    wanted: Iterable[Edge] = (),
    *,
    everything: bool = True,
    keep: bool = False,
    ends: Container[Node] = (),
    at: Callable[[Node], AbstractContextManager[None]] | None = None,
    check: Callable[[Node, Cotangents], None] | None = None,
    instead: Callable[[list[Node], set[Node]], Mapping[Node, Node]] | None = None,
) -> dict[Edge, Any]:
    """Walk from `roots` with their cotangents; returns the cotangents that arrive at `wanted`.

    Unless `everything`, only nodes from which a wanted edge can be reached are pulled. Nodes forget
    what they saved once pulled, unless `keep`. At `ends` the walk ends: another one, which gets
    what arrives there, calls their hooks and pulls them. `at` gives provenance to what a pull
    builds; `check` sees each node with the cotangents it has pulled. `instead` is asked, given the
    roots and the nodes wanted, which nodes others stand for, that pull right to what lies further
    back.
    """
    roots, targets = list(roots), set(wanted)
    stand_ins: Mapping[Node, Node] = {}
    if instead is not None:
        stand_ins = instead([edge[0] for edge, _ in roots], {n for n, _ in targets})
    useful = None if everything else _leading_to([e for e, _ in roots], {n for n, _ in targets})
    arrivals = _Arrivals(useful)
    found: dict[Edge, Any] = {}

    def visit(node: Node, cotangents: list[Any]) -> None:
        for hooks in (node.hooks, node.kept):
            if hooks and node not in ends:
                _run_hooks(hooks, cotangents)
        if targets:
            for slot in range(node.count):
                if (node, slot) in targets:
                    found[node, slot] = cotangents[slot]
        if node in ends or (not node.edges and not everything):
            return  # a leaf: only backward() accumulates into .grad
        source = stand_ins.get(node, node)
        pulled = source.pull(cotangents)
        if check is not None:
            check(node, pulled)
        for edge, g in zip(source.edges, pulled):
            arrivals.add(edge, g)
        if source is not node and not keep:
            source.release()

    for root, g in roots:
        arrivals.add(root, g)
    for node, cotangents in arrivals:
        if at is None or node.where is None:
            visit(node, cotangents)
        else:
            with at(node):
                visit(node, cotangents)
        if not keep and (node.edges or everything):
            node.release()
    return found


def traced_by(builder: Builder) -> Callable[[Node], At]:
    """What a trace says of the values that pulls build: of the backward, of which op, and where."""

    def at(node: Node) -> At:
        where = node.where or NOWHERE
        return builder.at(where._replace(phase="bw"), node.label)

    return at


class _Arrivals:
    """Cotangents on their way: those that arrive at one place are summed. Iterating gives the
    latest node first, which by then has all of its own; others are added meanwhile."""

    def __init__(self, useful: Container[Node] | None) -> None:
        self._useful = useful  # None: every node
        self._slots: dict[Node, list[Any]] = {}
        self._queue: list[tuple[int, Node]] = []

    def add(self, edge: Edge | None, g: Any) -> None:
        if edge is None or g is None or (self._useful is not None and edge[0] not in self._useful):
            return
        node, slot = edge
        slots = self._slots.get(node)
        if slots is None:
            slots = self._slots[node] = [None] * node.count
            heapq.heappush(self._queue, (-node.number, node))
        slots[slot] = g if slots[slot] is None else slots[slot] + g

    def __iter__(self) -> Iterator[tuple[Node, list[Any]]]:
        while self._queue:
            node = heapq.heappop(self._queue)[1]
            yield node, self._slots.pop(node)


def _run_hooks(hooks: list[tuple[int, Hook]], cotangents: list[Any]) -> None:
    for slot, hook in tuple(hooks):  # a hook may remove itself or others
        g = cotangents[slot]
        replaced = None if g is None else hook(g)
        if replaced is None:
            continue
        if not isinstance(replaced, Sugar):
            raise InvalidType(f"a hook returned {replaced!r}, not a tensor"[:200])
        if replaced.spec != g.spec:
            raise AutogradError(f"a hook has changed a gradient {g.spec} into {replaced.spec}")
        cotangents[slot] = replaced


def _leading_to(roots: Sequence[Edge], targets: set[Node]) -> set[Node]:
    """The nodes on a path from `roots` to `targets`."""
    seen: set[Node] = set()
    stack = [node for node, _ in roots]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(e[0] for e in node.edges if e is not None)
    useful: set[Node] = set()
    for node in sorted(seen, key=lambda n: n.number):
        if node in targets or any(e is not None and e[0] in useful for e in node.edges):
            useful.add(node)
    return useful


def already_freed(name: str) -> AutogradError:
    return AutogradError(
        f"backward through {name} a second time, after its saved tensors were freed",
        fix="pass retain_graph=True to the first backward()",
    )
