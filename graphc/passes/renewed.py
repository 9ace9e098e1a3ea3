"""renewed: which operands of contractions are state that the program writes anew.

A processor may still hold in its own cache what it wrote there in the last step, which decides who
takes which tiles. It is said when a kernel is lowered, not when the order is known: it is part of
the kernel's text, and from then on the kernel is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc.ir.graph import Graph, Value
from graphc.ir.sizes import HINTS
from graphc.passes.nest import Lowered
from graphc.passes.profile import Profile


def renewed(graph: Graph, profile: Profile) -> dict[Value, Value]:
    """State small enough to stay in a cache, and what it becomes, if a kernel makes that."""
    kept = set(graph.inputs)
    pairs = zip(graph.outs, graph.targets, strict=True)
    return {
        state: out
        for out, state in pairs
        if state is not None and out not in kept and _bytes(state) < profile.renewed
    }


def _bytes(v: Value) -> int:
    return v.spec.at(HINTS).size_bytes


def marked(k: Lowered, states: Mapping[Value, Value]) -> Lowered:
    """The same, with those of its operands marked that another kernel renews."""
    if k.kernel.kind != "contract":
        return k
    own = set(k.writes)
    buffers = tuple(
        replace(b, renewed=True) if v in states and states[v] not in own else b
        for v, b in zip(k.buffers, k.kernel.buffers, strict=True)
    )
    if buffers == k.kernel.buffers:
        return k
    return replace(k, kernel=replace(k.kernel, buffers=buffers))
