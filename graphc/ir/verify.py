"""The invariants of a Graph, checked after every pass.

Each check is a generator of complaints; `verify` raises the first, naming the row as dumps show it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from graphc.errors import GraphcError, InternalError
from graphc.ir.graph import Graph, Value
from graphc.ir.rewrite import bodies_of
from graphc.ir.text import row
from graphc.ir.types import TensorSpec

ROLES = frozenset({"arg", "state", "scalar"})


def verify(graph: Graph, stage: str = "") -> None:
    """Raise InternalError unless `graph` is well formed; `stage` is named as the culprit."""
    for body in bodies_of(graph):
        verify(body, stage)
    for complaint in (*_signature(graph), *_values(graph)):
        after = f" after {stage}" if stage else ""
        raise InternalError(f"ill-formed graph {graph.name}{after}: {complaint}")


def _signature(graph: Graph) -> Iterator[str]:
    """Roles and targets fit the inputs and outputs."""
    if len(graph.roles) != len(graph.inputs):
        yield f"{len(graph.inputs)} inputs have {len(graph.roles)} roles"
    if len(graph.targets) != len(graph.outs):
        yield f"{len(graph.outs)} outputs have {len(graph.targets)} targets"
    yield from (f"unknown role {r!r}" for r in graph.roles if r not in ROLES)
    yield from (f"{v.name} is no input" for v in graph.inputs if not v.is_input)
    yield from (f"{n} is declared {k} times" for n, k in _repeated(graph.inputs))
    written = [t for t in graph.targets if t is not None]
    yield from (f"state {n} is written {k} times" for n, k in _repeated(written))
    states = {v for v, role in zip(graph.inputs, graph.roles) if role == "state"}
    for v, target in zip(graph.outs, graph.targets):
        if target is not None and target not in states:
            yield f"target {target.name} is no state input"
        if target is not None and target.spec != v.spec:
            yield f"state {target.name}: {target.spec} becomes {v.name}: {v.spec}"


def _repeated(values: Sequence[Value]) -> Iterator[tuple[str, int]]:
    return ((n, k) for n, k in Counter(v.name for v in values).items() if k > 1)


def _values(graph: Graph) -> Iterator[str]:
    """Leaves are declared, arguments come before their uses, types follow from the ops."""
    declared = set(graph.inputs)
    labels: dict[str, Value] = {}
    for v in graph.values():
        if labels.setdefault(v.name, v) is not v:
            yield f"two values are called {v.name}: {row(v).strip()}"
        if v.is_input and v not in declared:
            yield f"{v.name} is read but not declared"
        if v.op is None:
            continue
        if any(a.number >= v.number for a in v.args):
            yield f"an argument is made after its use: {row(v).strip()}"
        if isinstance(inferred := _inferred(v), str):
            yield f"{row(v).strip()}: {inferred}"
        elif inferred != v.spec:
            yield f"{row(v).strip()}: the op gives {inferred}"


def _inferred(v: Value) -> TensorSpec | str:
    """The type that follows from the op, or why none does."""
    assert v.op is not None
    try:
        return v.op.infer(*(a.spec for a in v.args), **v.attrs)
    except GraphcError as e:
        return e.what
