"""One program run natively in every way that must not matter: threads, dirty or private arena."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from graphc.ir.graph import Graph
from graphc.ir.program import Program
from graphc.ir.types import Array
from graphc.passes.memory import place_barriers
from graphc.runtime.cpu.executor import Executable
from graphc.runtime.cpu.threads import get_num_threads, set_num_threads
from tests.program_native import session
from tests.targets import CPU

POISONS = (0xA5, 0xFF)  # 0xFF bytes are NaN in every floating dtype


class Bound(NamedTuple):
    """A program with fresh copies of its inputs, ready to run once."""

    executable: Executable
    graph: Graph
    roles: dict[str, list[Array]]
    outs: list[Array]

    def run(self) -> list[Array]:
        """The outputs of the graph, states included."""
        self.executable.run(
            [a.ctypes.data for a in self.roles["arg"]],
            [a.ctypes.data for a in self.outs],
            [a.item() for a in self.roles["scalar"]],
        )
        fresh, orders = iter(self.outs), self.executable.orders
        states = zip(self.graph.states(), self.roles["state"], orders, strict=True)
        final = {v: a.transpose(np.argsort(o)) for v, a, o in states}
        return [next(fresh) if t is None else final[t] for t in self.graph.targets]


class Native:
    """A compiled program that can be run again and again on the same inputs."""

    def __init__(
        self, program: Program, graph: Graph, inputs: Sequence[Array], checked: bool = False
    ) -> None:
        library, self._engine = session()
        functions = library.functions([launch.kernel for launch in program.launches], checked)
        self._executable = Executable(program, functions, self._engine, checked=checked)
        self._program, self._graph, self._inputs = program, graph, inputs

    def __call__(self, poison: int | None = None) -> list[Array]:
        """The outputs; `poison` is written over the whole arena before."""
        bound = self._bind()
        if poison is not None:
            arena = self._engine.arena
            arena.reserve(id(self._executable), self._program.arena_bytes, self._program.slots)
            if arena.size_bytes:
                ctypes.memset(arena.base, poison, arena.size_bytes)
        return bound.run()

    def _bind(self) -> Bound:
        roles: dict[str, list[Array]] = {"arg": [], "state": [], "scalar": []}
        for array, role in zip(self._inputs, self._graph.roles, strict=True):
            rank = range(np.ndim(array))
            order = self._program.orders[len(roles[role])] if role == "state" else rank
            roles[role].append(_unaligned(np.transpose(array, order)))
        pairs = zip(self._graph.outs, self._graph.targets, strict=True)
        outs = [_unaligned(np.zeros(v.shape, v.spec.dtype.numpy)) for v, t in pairs if t is None]
        self._executable.bind_state([a.ctypes.data for a in roles["state"]])
        return Bound(self._executable, self._graph, roles, outs)


def _unaligned(a: Array) -> Array:
    """A row-major copy at an address that is a multiple of the element size and of nothing more."""
    size = a.dtype.itemsize
    room = np.zeros(a.size * size + CPU.align + size, np.uint8)
    start = -room.ctypes.data % CPU.align + size
    copy = room[start : start + a.size * size].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


def without_reuse(program: Program) -> Program:
    """The same launches with every arena buffer in a place of its own, red zones between."""
    at, unit, slots = 0, program.align, []
    for s in program.slots:
        if s.space == "arena":
            slots.append(dataclasses.replace(s, index=at))
            at += -(-s.size_bytes // unit) * unit + unit
        else:
            slots.append(s)
    launches = place_barriers(program.launches, {s.name: s for s in slots}, program.commit)
    return dataclasses.replace(program, slots=tuple(slots), launches=launches, arena_bytes=at)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = get_num_threads()
    set_num_threads(count)
    try:
        yield
    finally:
        set_num_threads(before)
