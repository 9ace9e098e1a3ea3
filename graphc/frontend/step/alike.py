"""Whether two traces of one call came to the same: then one plan serves both.

What a trace read may have changed without mattering; a plan is right again if the graph is equal,
value for value, and its inputs, outputs and host actions belong to the very same objects.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from types import FunctionType, MethodType
from typing import Any, NamedTuple

from graphc.errors import InvalidType
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.noted import Effect, Input
from graphc.frontend.step.capture import Capture, Gradient, Joint
from graphc.frontend.step.python.beforehand import Beforehand, Part
from graphc.frontend.step.python.effects import Itself
from graphc.frontend.step.python.guards import Same
from graphc.frontend.step.python.standing import Standing
from graphc.frontend.step.signature import PLAIN, part, rebuilt
from graphc.frontend.tensor import Tensor
from graphc.frontend.told import Told
from graphc.ir.graph import Graph, Value
from graphc.ir.rewrite import graphs_of
from graphc.ir.symbols import Unknown
from graphc.ir.text import show_attrs

NAMED = (Itself, HostValue, Unknown)


class Outline(NamedTuple):
    """What of a capture decides its plan."""

    graph: Graph
    inputs: list[Input]
    actions: list[Callable[[], object]]
    tree: Any
    gradients: list[Gradient]
    joint: Joint | None
    fixed: dict[int, Tensor]
    rebound: list[Standing]
    error: object
    conditions: list[str]  # on extents


def outline(taken: Capture) -> Outline:
    conditions = [*map(str, taken.pattern.extents.conditions.values())]
    return Outline(
        taken.graph, taken.inputs, taken.trace.after_commit, taken.tree, taken.gradients,
        taken.joint, taken.fixed, taken.rebound, taken.no_gradients, conditions,
    )  # fmt: skip


def alike(a: Outline, b: Outline) -> bool:
    """Whether the plan of one serves the other."""
    try:
        return _ends(a) == _ends(b) and _equal_graphs(a.graph, b.graph)
    except InvalidType:  # an array among what is returned
        return False


def _ends(x: Outline) -> Hashable:
    tensors: list[Tensor] = []
    j = x.joint
    joint = None if j is None else (
        j.count, len(j.cotangents), tuple(map(_leaf, j.leaves)), tuple(j.args), tuple(j.given)
    )  # fmt: skip
    return (
        part(rebuilt(x.tree, _named, NAMED), tensors), tuple(map(Same, tensors)),
        joint, x.error is None, tuple(x.conditions),
        tuple((i.role, _of_state(i) if i.role == "state" else _token(i.getter), i.order)
              for i in x.inputs),
        tuple(r.token() for r in x.rebound),
        tuple(map(_token, x.actions)),
        tuple((Same(g.tensor), g.arg, g.index, g.adds) for g in x.gradients),
        tuple((k, Same(t)) for k, t in x.fixed.items()),
    )  # fmt: skip


def _leaf(x: Tensor | Standing) -> Hashable:
    return x.token() if isinstance(x, Standing) else Same(x)


def _of_state(i: Input) -> Hashable:
    return i.rebound if i.rebound >= 0 else Same(i.storage)


def _named(x: Itself | HostValue | Unknown) -> Hashable:
    if isinstance(x, Unknown):  # sizes of two traces are equal by name
        return "size", type(x), str(x)
    return ("computed", x.number) if isinstance(x, HostValue) else x.token()


def _token(f: Any, inside: tuple[Any, ...] = ()) -> Any:
    """Equal for functions that do the same to the same objects; `inside`: functions that lead to
    this, which may lead back to one of them."""
    of = partial(_token, inside=inside)
    if isinstance(f, Effect):
        return "effect", of(f.action), f.number, f.result
    if isinstance(f, partial):
        given = [*f.args, *f.keywords, *f.keywords.values()]
        return "partial", of(f.func), *map(of, given)
    if isinstance(f, Beforehand):
        return "before", of(f.token())
    if isinstance(f, Part):
        return "part", f.row
    if type(f) in (tuple, list):
        return type(f), *map(of, f)
    if isinstance(f, Told):
        return "told", of(f.get)
    if isinstance(f, MethodType):
        return "method", f.__func__, Same(f.__self__)
    if isinstance(f, FunctionType) and not any(f is g for g in inside):
        cells = [c.cell_contents for c in f.__closure__ or ()]
        held = [_token(x, (*inside, f)) for x in (*cells, *(f.__defaults__ or ()))]
        return "function", f.__code__, *held
    if isinstance(f, PLAIN):
        return type(f), f
    return (float, repr(f)) if isinstance(f, float) else Same(f)


def _equal_attrs(v: Value, w: Value) -> bool:
    mine, others = graphs_of(v), graphs_of(w)
    if _shown(v) != _shown(w):
        return False
    return all(_equal_graphs(a, others[k]) for k, a in mine.items())


def _shown(v: Value) -> str:
    """All that an op is told, but the graphs that it runs have no numbers."""
    return show_attrs(v.attrs)


def _equal_graphs(a: Graph, b: Graph) -> bool:
    mine, others = a.values(), b.values()
    if len(mine) != len(others) or a.roles != b.roles or len(a.outs) != len(b.outs):
        return False
    of = dict(zip(mine, others))
    for v, w in of.items():
        if v.op is not w.op or str(v.spec) != str(w.spec) or repr(v.const) != repr(w.const):
            return False  # extents of two traces are equal by name
        if [of[x] for x in v.args] != list(w.args) or not _equal_attrs(v, w):
            return False
    ends = zip((*a.inputs, *a.outs), (*b.inputs, *b.outs), strict=True)
    if any(of[v] is not w for v, w in ends):
        return False
    targets = [None if t is None else of[t] for t in a.targets]
    return all(t is u for t, u in zip(targets, b.targets, strict=True))
