"""Rewriting: rebuild a graph bottom-up, with named rules written as pairs of expressions.

A rule is right when no input tells its sides apart, signed zeros, infinities and NaN included;
`tests/passes/test_rules.py` proves that for every rule on special values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from graphc.ir.builder import Builder
from graphc.ir.extent import is_unknown
from graphc.ir.graph import Graph, Value
from graphc.ir.ops import OPS, Op
from graphc.ir.sizes import Evaluation
from graphc.ir.types import Scalar, TensorSpec, bool_

Visit = Callable[[Value], Value]


def rebuild(graph: Graph, visit: Visit) -> Graph:
    """Replace each value bottom-up; `visit` sees it with its arguments already replaced."""
    new: dict[Value, Value] = {}
    for v in graph.values():
        args = v.args
        for a in args:
            if new[a] is not a:
                args = tuple([new[a] for a in args])
                break
        new[v] = v if v.op is None else replaced(v, args, visit)
    return graph.with_outs(new[v] for v in graph.outs)


def replaced(v: Value, args: tuple[Value, ...], visit: Visit) -> Value:
    """`v` over new arguments, then visited, with the provenance of `v` and a name after its."""
    builder = v.builder
    since, before = builder.mark(), builder.here
    builder.here = v.where
    try:
        w = visit(v if args is v.args or args == v.args else builder.again(v, args))
    finally:
        builder.here = before
    return w if w is v else builder.heir(w, v, since)


def graphs_of(v: Value) -> dict[str, Graph]:
    """The attributes of a value that are graphs."""
    return {k: a for k, a in v.attrs.items() if isinstance(a, Graph)} if v.attrs else {}


def bodies_of(graph: Graph) -> list[Graph]:
    """The graphs that its values run, each once."""
    return list(dict.fromkeys(b for v in graph.values() for b in graphs_of(v).values()))


def with_bodies(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with its loops' bodies changed; what a routine runs stays."""
    loops = (v for v in graph.values() if v.op is not None and v.op.kind == "loop")
    new = {body: change(body) for body in dict.fromkeys(v.attrs["body"] for v in loops)}
    if all(b is a for a, b in new.items()):
        return graph

    def visit(v: Value) -> Value:
        if v.op is None or v.op.kind != "loop":
            return v
        return v.builder.emit(v.op, v.args, {**v.attrs, "body": new[v.attrs["body"]]})

    return rebuild(graph, visit)


def at_sizes(graph: Graph, sizes: Evaluation) -> Graph:
    """The graph with numbers for its extents, in a builder of its own."""
    builder = Builder(graph.builder)
    new: dict[Value, Value] = {}
    bodies = {b: at_sizes(b, sizes) for b in bodies_of(graph)}
    for v in graph.values():
        spec, label = v.spec.at(sizes), v.name.removeprefix("%")
        with builder.at(v.where):
            if v.op is not None:
                attrs = {
                    k: bodies[a] if isinstance(a, Graph) else sizes(a) for k, a in v.attrs.items()
                }
                new[v] = builder.emit(v.op, [new[a] for a in v.args], attrs, v.name)
            elif v.const is not None:
                new[v] = builder.constant(sizes(v.const), spec, v.name)
            else:
                new[v] = builder.input(label, spec, v.where)
    return Graph(
        graph.name,
        tuple(new[v] for v in graph.inputs),
        graph.roles,
        tuple(new[v] for v in graph.outs),
        tuple(None if t is None else new[t] for t in graph.targets),
        {new[v]: order for v, order in graph.orders.items()},
    )


@dataclass(frozen=True, eq=False, slots=True)
class Pattern:
    """The shape of a value: a named hole when `op` is None, else an op over patterns."""

    op: Op | None = None
    args: tuple[Pattern | Scalar, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""

    def __add__(self, y: Pattern | Scalar) -> Pattern:
        return node("add", self, y)

    def __sub__(self, y: Pattern | Scalar) -> Pattern:
        return node("sub", self, y)

    def __mul__(self, y: Pattern | Scalar) -> Pattern:
        return node("mul", self, y)

    def __truediv__(self, y: Pattern | Scalar) -> Pattern:
        return node("div", self, y)

    def __neg__(self) -> Pattern:
        return node("neg", self)

    def match(self, v: Value, found: dict[str, Value]) -> bool:
        """True when `v` has this shape; fills `found` with what each hole stands for."""
        if self.op is None:
            return found.setdefault(self.name, v) is v
        if v.op is not self.op or v.attrs != self.attrs:
            return False
        return all(_match_argument(p, a, found) for p, a in zip(self.args, v.args, strict=True))

    def build(self, found: Mapping[str, Value], like: Value) -> Value:
        """The value this pattern describes, holes filled from `found`."""
        if self.op is None:
            return found[self.name]
        args = [_build_argument(p, found, like) for p in self.args]
        return like.builder.emit(self.op, args, self.attrs)


def _build_argument(p: Pattern | Scalar, found: Mapping[str, Value], like: Value) -> Value | Scalar:
    if isinstance(p, Pattern):
        return p.build(found, like)
    if isinstance(p, bool):
        return like.builder.constant(p, TensorSpec(bool_, like.shape))
    return p


def _match_argument(p: Pattern | Scalar, v: Value, found: dict[str, Value]) -> bool:
    if isinstance(p, Pattern):
        return p.match(v, found)
    if v.const is None or is_unknown(v.const):
        return False
    # By text: `x + -0.0` must not match `x + 0.0`.
    return repr(v.const) == repr(type(v.const)(p))


def node(name: str, *args: Pattern | Scalar, **attrs: Any) -> Pattern:
    """A pattern for the op called `name`."""
    return Pattern(OPS[name], args, attrs)


def hole(name: str) -> Pattern:
    return Pattern(name=name)


class Rule(NamedTuple):
    """A named rewrite between expressions that agree bit for bit."""

    name: str
    before: Pattern
    after: Pattern


def apply_rules(v: Value, rules: Sequence[Rule]) -> Value:
    """The first rule that matches, applied; `v` itself when none does."""
    for rule in rules:
        if rule.before.op is v.op:
            found: dict[str, Value] = {}
            if rule.before.match(v, found):
                with v.builder.by(rule.name):
                    return rule.after.build(found, like=v)
    return v
