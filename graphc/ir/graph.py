"""Graph: tensor SSA. A `Value` is the op that defines it; there is no mutation and no list of ops.

Values are made only by a `Builder`, never the same one twice, so identity is structure. A graph is
pure: state comes in as inputs of role "state" and leaves as outputs with a target.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from graphc.ir.ops import Op
from graphc.ir.sizes import passes, scopes_of
from graphc.ir.sugar import Sugar
from graphc.ir.types import Scalar, Shape, TensorSpec

if TYPE_CHECKING:
    from graphc.ir.builder import Builder


class Where(NamedTuple):
    """Provenance: phase ("" forward, "bw", "opt"), the user's file and line, and module path."""

    phase: str = ""
    file: str = ""
    line: int = 0
    scope: str = ""

    def __str__(self) -> str:
        words = (self.phase, f"{self.file}:{self.line}" if self.file else "", self.scope)
        return " ".join(w for w in words if w)


NOWHERE = Where()
NUMBER = attrgetter("number")  # of a value
Stack = tuple[tuple[str, int, str], ...]  # path, line and function of each frame, innermost first


@dataclass(frozen=True, eq=False, slots=True)
class Value(Sugar):
    """One SSA value: an op over values, a constant (`const`), or an input (neither)."""

    name: str
    _spec: TensorSpec
    builder: Builder = field(repr=False)
    op: Op | None = None
    args: tuple[Value, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)
    const: Scalar | None = None
    where: Where = NOWHERE
    number: int = 0  # order of making, which is a topological order
    made_by: str = ""  # the stage, and the rule in it, that made it; "" as traced

    @property
    def spec(self) -> TensorSpec:
        return self._spec

    @property
    def shape(self) -> Shape:
        return self._spec.shape

    @property
    def is_input(self) -> bool:
        return self.op is None and self.const is None

    def emit(self, op: Op, *args: Value | Scalar, **attrs: Any) -> Value:
        return self.builder.emit(op, args, attrs)

    def full(self, value: Scalar, spec: TensorSpec) -> Value:
        return self.builder.constant(value, spec)

    def __bool__(self) -> bool:
        raise TypeError("a Value has no truth value; compare with `is`")

    def __add__(self, y: Value | Scalar) -> Value:
        return self.builder.apply("add", self, y)

    def __sub__(self, y: Value | Scalar) -> Value:
        return self.builder.apply("sub", self, y)

    def __mul__(self, y: Value | Scalar) -> Value:
        return self.builder.apply("mul", self, y)

    def __truediv__(self, y: Value | Scalar) -> Value:
        return self.builder.apply("div", self, y)

    def __neg__(self) -> Value:
        return self.builder.apply("neg", self)

    def __radd__(self, y: Scalar) -> Value:
        return self.builder.apply("add", self, y)

    def __rsub__(self, y: Scalar) -> Value:
        return self.builder.apply("sub", y, self)

    def __rmul__(self, y: Scalar) -> Value:
        return self.builder.apply("mul", self, y)

    def __rtruediv__(self, y: Scalar) -> Value:
        return self.builder.apply("div", y, self)


@dataclass(frozen=True, eq=False, slots=True)
class Graph:
    """A pure function: its meaning is `interpret`, its text is `text.show`.

    `roles[i]` of `inputs[i]` is "arg" (an argument of the call), "state" (a discovered tensor that
    outlives the step) or "scalar" (a host number read at each call). `targets[i]` is the state
    input that `outs[i]` becomes, or None where it is returned. `orders` names the state inputs that
    do not lie row-major in memory, with their dimensions outermost first.
    """

    name: str
    inputs: tuple[Value, ...]
    roles: tuple[str, ...]
    outs: tuple[Value, ...]
    targets: tuple[Value | None, ...]
    orders: Mapping[Value, Shape] = field(default_factory=dict)
    _values: list[Value] = field(default_factory=list, init=False, repr=False)
    facts: dict[Any, Any] = field(default_factory=dict, init=False, repr=False)

    def values(self) -> list[Value]:
        """Everything the outputs need and every input, arguments first; not to be changed."""
        if not self._values:
            self._values.extend(topological((*self.inputs, *self.outs)))
        return self._values

    @property
    def builder(self) -> Builder | None:
        """What its values are made by; None of a graph without any."""
        return next((v.builder for v in (*self.inputs, *self.outs)), None)

    def in_passes(self) -> AbstractContextManager[None]:
        """Inside, passes may ask about the extents of this graph."""
        scopes = self.facts.get(passes)
        if scopes is None:
            scopes = self.facts[passes] = scopes_of(v.shape for v in self.values())
        return passes(scopes)

    def with_outs(self, outs: Iterable[Value]) -> Graph:
        """Other outputs over the same inputs: `facts`, which passes find out, hold there too."""
        graph = replace(self, outs=tuple(outs))
        object.__setattr__(graph, "facts", self.facts)
        return graph

    def states(self) -> list[Value]:
        """The inputs of role "state", in order."""
        return [v for v, role in zip(self.inputs, self.roles, strict=True) if role == "state"]


def topological(outs: Iterable[Value]) -> list[Value]:
    """Every value `outs` need in order of making; no recursion, so depth is no limit."""
    seen: set[Value] = set()
    stack = list(outs)
    while stack:
        v = stack.pop()
        if v not in seen:
            seen.add(v)
            stack.extend(v.args)
    return sorted(seen, key=NUMBER)


def depending(roots: set[Value], outs: Iterable[Value]) -> set[Value]:
    """What `outs` need that is computed from `roots`, and they."""
    found = set(roots)
    for v in topological(outs):
        if any(a in found for a in v.args):
            found.add(v)
    return found


def uses(graph: Graph) -> dict[Value, list[Value]]:
    """Who reads each value, in order; an output's use by the caller is not listed."""
    readers: dict[Value, list[Value]] = {v: [] for v in graph.values()}
    for v in graph.values():
        for a in dict.fromkeys(v.args):
            readers[a].append(v)
    return readers
