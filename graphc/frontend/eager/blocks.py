"""Blocks: attention's operations of a list that read the same, as one compiled program.

The result and its rows' statistics come of one pass over the scores, and so do the gradients of
queries, keys and values; none stores the matrix of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from graphc.frontend.eager.groups import Group, Runner
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value

MAKERS: list[Callable[[Graph], Runner]] = []  # the last one serves: who has a compiler


class Block(NamedTuple):
    """What it reads from outside, and what it gives."""

    given: tuple[Value, ...]
    wanted: tuple[Value, ...]


def in_block(v: Value) -> bool:
    return v.op is not None and v.op.kind == "attention"


def source(a: Value, known: Mapping[Value, int]) -> Value:
    """What an operand repeats, or itself."""
    while a.op is not None and a.op.name == "expand" and a not in known:
        a = a.args[0]
    return a


def blocked(
    listed: Sequence[Value | Group], reads: Mapping[Value, list[Any]]
) -> list[Value | Group | Block]:
    """The lines with those that make a block together in place of the first."""
    found: dict[Any, list[Value]] = {}
    made: list[Any] = []
    for x in listed:
        if isinstance(x, Group) or not in_block(x):
            made.append(x)
            continue
        members = found.setdefault((x.args, *sorted(x.attrs.items())), [])
        members.append(x)
        if len(members) == 1:
            made.append(members)
    return [
        Block(tuple(dict.fromkeys(reads[x[0]])), tuple(x)) if isinstance(x, list) else x
        for x in made
    ]


def graph_of(block: Block) -> Graph:
    """A block as a graph of its own."""
    builder = Builder()
    known = {v: builder.input(f"x{k}", v.spec) for k, v in enumerate(block.given)}
    inputs = tuple(known.values())

    def seen(a: Value) -> Value:
        if a not in known and a.const is not None:
            known[a] = builder.constant(a.const, a.spec)
        elif a not in known:
            assert a.op is not None, "what a block reads is given, or repeats what is"
            known[a] = builder.emit(a.op, [*map(seen, a.args)], a.attrs)
        return known[a]

    outs = tuple(seen(v) for v in block.wanted)
    return Graph("block", inputs, ("arg",) * len(inputs), outs, (None,) * len(outs))
