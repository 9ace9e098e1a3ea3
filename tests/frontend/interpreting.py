"""A test double for the native back end: runs a captured graph with the interpreter, on the very
addresses that a native program would get."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import graphc
from graphc import Tensor
from graphc.frontend.eager.rows import FAST
from graphc.frontend.step.compiled import CompiledFunction
from graphc.frontend.step.inspect.inspection import Unit
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import interpret
from graphc.ir.program import Program
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import HINTS, Evaluation
from graphc.ir.text import parse, show
from graphc.ir.types import Array, TensorSpec
from graphc.ir.verify import verify
from graphc.passes.partition import Split, partition
from tests.targets import CPU


def array_at(address: int, spec: TensorSpec) -> Array:
    """The row-major array of `type` at an address."""
    buffer = (ctypes.c_char * spec.size_bytes).from_address(address)
    return np.frombuffer(buffer, spec.dtype.numpy).reshape(spec.shape)


def reversed_at(address: int, spec: TensorSpec) -> Array:
    """The same, where the last dimension is outermost in memory."""
    return array_at(address, TensorSpec(spec.dtype, spec.shape[::-1])).T


class InterpretedNative:
    """An executable whose code is the graph itself."""

    def __init__(self, graph: Graph, reversed: bool) -> None:
        self.graph = graph
        self.reversed = reversed  # state has to lie with its last dimension outermost
        self.runs = 0
        self.binds = 0
        self.done = False
        self.interrupt = ""  # "before" or "after": raise KeyboardInterrupt there, once
        self._state: list[int] = []
        self._scalars: Any = ()

    @property
    def orders(self) -> list[tuple[int, ...]]:
        axes = [tuple(range(len(v.shape))) for v in self.graph.states()]
        return [a[::-1] for a in axes] if self.reversed else axes

    @property
    def table_bytes(self) -> int:
        return 0

    def bind_state(self, pointers: Sequence[int]) -> None:
        self.binds += 1
        self._state = list(pointers)

    @property
    def program(self) -> Program:
        """None that is compiled: it assumes nothing of state."""
        return Program(self.graph.name, (), (), 0, (), 0, 0)

    def doubt(self) -> None:
        """It assumes nothing of state."""

    def run(self, args: Sequence[int], outs: Sequence[int] = (), scalars: Any = ()) -> None:
        self.runs += 1
        self.done = False
        if self._interrupted("before"):
            raise KeyboardInterrupt
        graph = self.graph
        given = {"arg": iter(args), "state": iter(self._state), "scalar": iter(scalars)}
        arrays = []
        for v, role in zip(graph.inputs, graph.roles):
            cell = next(given[role])
            if role == "scalar":
                arrays.append(np.array(cell, v.spec.dtype.numpy))
            else:
                turn = self.reversed and role == "state"
                arrays.append(reversed_at(cell, v.spec) if turn else array_at(cell, v.spec))
        where = {v: a for v, a in zip(graph.inputs, arrays)}
        results = [np.array(r) for r in interpret(graph, *arrays, rows=FAST)]
        free = iter(outs)
        for v, target, r in zip(graph.outs, graph.targets, results):
            to = array_at(next(free), v.spec) if target is None else where[target]
            to[...] = r
        self.done = True
        if self._interrupted("after"):
            raise KeyboardInterrupt

    def settle(self) -> None:
        """Nothing is left."""

    def watch(self, words: Any) -> bool:
        self._words = words
        return True

    def again(self, pointers: Sequence[int], scalars: Any = ()) -> bool:
        now = [ctypes.c_int64.from_address(place).value for place, _ in self._words.tolist()]
        if now != self._words[:, 1].tolist():
            return False
        self._scalars = scalars or self._scalars
        count = self.graph.targets.count(None)
        self.run(pointers[count:], pointers[:count], self._scalars)
        return True

    def latch(self, cells: Mapping[str, int], keep: object) -> None:
        return None

    def _interrupted(self, when: str) -> bool:
        if self.interrupt != when:
            return False
        self.interrupt = ""
        return True


@dataclass
class GraphStage:
    """The only stage there is."""

    graph: Graph
    wall_ms: float = 0.0
    name: str = "trace"
    why: str = "as traced"
    level: str = "graph"

    def text(self) -> str:
        return show(self.graph)


@dataclass
class InterpretedTemplate:
    """A graph with extents; `at` gives it sizes."""

    graph: Graph
    backend: InterpretingBackend

    def at(self, sizes: Evaluation) -> InterpretedNative:
        native = InterpretedNative(at_sizes(self.graph, sizes), self.backend.reversed)
        self.backend.natives.append(native)
        return native


class InterpretingBackend:
    """Builds nothing, checks everything: each graph is verified and must survive its text."""

    def __init__(self) -> None:
        self.natives: list[InterpretedNative] = []
        self.reversed = False  # for programs built from now on
        self.profile = CPU

    def on(self, place: object) -> InterpretingBackend:
        return self

    def build(self, graph: Graph, trace_ms: float) -> tuple[Unit, InterpretedTemplate]:
        verify(graph)
        here = at_sizes(graph, HINTS)
        assert show(parse(show(here))) == show(here)
        native = InterpretedTemplate(graph, self)
        program = Program(graph.name, (), (), 0, (), 0, 0)
        unit = Unit(graph.name, (GraphStage(graph),), program, str, lambda k, level: "")
        return unit, native

    def split(self, joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
        return partition(joint, gradients, cotangents)

    def counts(self) -> tuple[int, int]:
        return 0, 0


def compiled(function: Callable[..., Any], **options: Any) -> CompiledFunction:
    return CompiledFunction(function, InterpretingBackend(), **options)


def data(*shape: int, seed: int = 0, grad: bool = False) -> Tensor:
    array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return graphc.from_numpy(array).requires_grad_(grad)


def programs(step: CompiledFunction) -> int:
    return step.stats.programs
