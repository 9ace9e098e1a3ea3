"""A graph's own number: equal graphs have equal ones, in every process.

Equal means what `text.show` shows: ops, types, attributes, constants, names, lines, how inputs lie,
which state an output becomes, and the extents with the values seen. This says the same in a
quarter of the time, as it is asked at each first call of a step.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from graphc.ir.graph import Graph, Value
from graphc.ir.sizes import unknowns
from graphc.ir.symbols import Symbol
from graphc.ir.text import show_attrs


def fingerprint(graph: Graph, *more: str) -> str:
    """Hex digits; `more` is what else the answer depends on."""
    values = graph.values()
    numbers = {v: k for k, v in enumerate(values)}
    shown: dict[Any, str] = {}  # types, by identity, and places are shared by many values

    def text(x: Any, key: Any) -> str:
        if (found := shown.get(key)) is None:
            found = shown[key] = str(x)
        return found

    def row(v: Value) -> str:
        what = repr(v.const) if v.op is None else v.op.name
        args = [numbers[a] for a in v.args]
        attrs = ""
        if v.attrs:
            plain = {k: fingerprint(a) if isinstance(a, Graph) else a for k, a in v.attrs.items()}
            attrs = show_attrs(plain)
        kind, where = text(v._spec, id(v._spec)), text(v.where, v.where)
        return f"{v.name}\t{kind}\t{what}\t{args}\t{attrs}\t{where}"

    def place(v: Value | None) -> int:
        return -1 if v is None else numbers[v]

    symbols = set(symbols_of(graph))
    head = (
        graph.name,
        list(map(place, graph.inputs)),
        graph.roles,
        list(map(place, graph.outs)),
        list(map(place, graph.targets)),
        [(numbers[v], tuple(order)) for v, order in graph.orders.items()],
        sorted((s.name, s.role, s.hint, s.least) for s in symbols),
    )
    state = hashlib.blake2b(digest_size=32)
    for part in (*more, repr(head), *map(row, values)):
        data = part.encode("utf-8", "surrogatepass")
        state.update(len(data).to_bytes(8, "little") + data)
    return state.hexdigest()


def symbols_of(graph: Graph) -> Iterator[Symbol]:
    """Of its sizes, inputs first. How many trips a loop has, no shape may know."""
    for v in graph.inputs:
        yield from unknowns(v.shape)
    for v in graph.values():
        if v.op is not None and v.op.kind == "loop":
            yield from unknowns((v.attrs["trips"],))
            yield from symbols_of(v.attrs["body"])
