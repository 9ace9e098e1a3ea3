"""Run a Program with the Kernel interpreter: a third opinion beside the Graph and native code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graphc.ir.graph import Graph
from graphc.ir.kernel_interpret import Failure, run_kernel
from graphc.ir.program import Program, Slot
from graphc.ir.types import Array


def run_program(program: Program, graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The outputs of `graph` by its program: inputs in the graph's order, states not modified."""
    memory: dict[tuple[str, int], Array] = {}
    arena = np.full(program.arena_bytes, 0xA5, np.uint8)
    numbers = {"arg": 0, "state": 0, "scalar": 0}
    for array, role in zip(inputs, graph.roles, strict=True):
        order = program.orders[numbers[role]] if role == "state" else range(np.ndim(array))
        memory[role, numbers[role]] = np.array(np.transpose(array, order)).ravel()
        numbers[role] += 1
    slots = {s.name: s for s in program.slots}

    def flat(slot: Slot) -> Array:
        dtype = slot.spec.dtype.numpy
        if slot.space == "arena":
            return arena[slot.index : slot.index + slot.size_bytes].view(dtype)
        if slot.space == "out" and ("out", slot.index) not in memory:
            memory["out", slot.index] = np.zeros(slot.spec.numel, dtype)
        return memory[slot.space, slot.index]

    failures: list[Failure] = []
    for launch in program.launches:
        k = launch.kernel
        buffers = {b.name: flat(slots[s]) for b, s in zip(k.buffers, launch.slots, strict=True)}
        sizes = dict(zip(k.sizes, launch.sizes, strict=True))
        scalars = {a.name: c for a, c in zip(k.scalars, launch.scalars, strict=True)}
        run_kernel(k, buffers, sizes, scalars, failures)
    assert not failures, failures
    returned, states = iter(program.outs), graph.states()
    outs = []
    for v, target in zip(graph.outs, graph.targets, strict=True):
        if target is None:
            outs.append(flat(slots[next(returned)]).reshape(v.shape))
        else:
            k = states.index(target)
            packed = memory["state", k].reshape([v.shape[d] for d in program.orders[k]])
            outs.append(packed.transpose(np.argsort(program.orders[k])))
    return outs
