"""in_place: states that a program overwrites where they lie, and what kernels are told of it.

A kernel's code may depend on which of its buffers are one memory. That is known once all kernels
are in order; `foreseen` says before what nearly always comes of it, so that a kernel is compiled
while others are still lowered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from graphc.ir.graph import Graph, Value
from graphc.ir.kernel import Kernel, Load, Store
from graphc.passes.nest import Lowered


def states_of(graph: Graph) -> dict[Value, Value]:
    """The state that each output becomes which is one's new value."""
    pairs = zip(graph.outs, graph.targets, strict=True)
    return {out: state for out, state in pairs if state is not None}


def foreseen(k: Lowered, states: Mapping[Value, Value]) -> Kernel:
    """The kernel as it will be if each new state overwrites the old one, unless this very kernel
    does not allow it."""
    own = ((out, states[out]) for out in k.writes if out in states)
    return told(k, {out: state for out, state in own if reads_in_place(k, state, out)})


def told(k: Lowered, target: Mapping[Value, Value]) -> Kernel:
    """The kernel told which of its buffers are the same memory, as outputs that it writes overwrite
    their `target`."""
    names = {v: b.name for v, b in zip(k.buffers, k.kernel.buffers, strict=True)}
    alias = {name: names[target[out]] for out, name in names.items() if target.get(out) in names}
    if not alias:
        return k.kernel
    buffers = tuple(replace(b, alias=alias.get(b.name, "")) for b in k.kernel.buffers)
    return replace(k.kernel, buffers=buffers)


def reads_in_place(k: Lowered, state: Value, out: Value) -> bool:
    """Whether the kernel reads of `state` only the element that it writes of `out`, first."""
    names = {v: b.name for v, b in zip(k.buffers, k.kernel.buffers, strict=True)}
    if state not in names:
        return True
    if k.kernel.call is not None or k.kernel.kind == "attention" or k.repeat is not None:
        return False
    touches = [
        (n, s)
        for n, p in enumerate(k.kernel.phases)
        for s in p.body
        if (isinstance(s, Store) and s.buffer == names[out])
        or (isinstance(s, Load) and s.buffer == names[state])
    ]
    phase, last = touches[-1]  # the one store, if all loads come before it
    return isinstance(last, Store) and all(
        n == phase
        and s.at == last.at
        and not s.guards
        and not s.indirect
        and (s is last or isinstance(s, Load))
        for n, s in touches
    )
