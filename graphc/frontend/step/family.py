"""Families: what one trace and its code give for all sizes of the arguments.

A `Family` holds a capture, the guards of the Python state that it read, and its compiled parts. An
`Entry` is a family at given sizes: a plan bound to memory, and the way of its results to tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from graphc import config
from graphc.frontend.places import Place
from graphc.frontend.step.alike import outline
from graphc.frontend.step.backward import Backward, CompiledNode, SpentNode, Split
from graphc.frontend.step.capture import Capture
from graphc.frontend.step.finiteness import Kind
from graphc.frontend.step.inspect.dump import dump
from graphc.frontend.step.inspect.inspection import Unit
from graphc.frontend.step.inspect.profile import Limits, Run
from graphc.frontend.step.native import Native, Template
from graphc.frontend.step.plan import Plan
from graphc.frontend.step.python import effects
from graphc.frontend.step.python.guards import Change
from graphc.frontend.step.python.sets import Guards
from graphc.frontend.step.python.words import Words
from graphc.frontend.step.results import Results
from graphc.frontend.step.sizes import Openness
from graphc.frontend.step.sources import kinds_of
from graphc.frontend.tensor import Tensor
from graphc.ir.graph import Graph, Value
from graphc.ir.rewrite import at_sizes
from graphc.ir.sizes import Evaluation
from graphc.ir.symbols import Fixed
from graphc.ir.types import Array

if TYPE_CHECKING:
    from graphc.passes.profile import Profile

PLAN_BYTES = 8000  # of an entry beside its programs, as `tracemalloc` sees it


class Backend(Protocol):
    """What turns a graph into a program; `compile.py` has the native one."""

    @property
    def profile(self) -> Profile:
        """What passes decide by for its target."""
        ...

    def on(self, place: Place) -> Backend:
        """The one that compiles for the device whose memory this is."""
        ...

    def checking(self, kind: Kind) -> Backend:
        """One whose kernels test what they store, for `compile(check=...)`. Raises Exactly."""
        ...

    def build(self, graph: Graph, trace_ms: float) -> tuple[Unit, Template]: ...
    def split(self, joint: Graph, gradients: int, cotangents: Sequence[Value]) -> Split:
        """The forward and the backward part of a graph that holds both."""
        ...

    def timing(self) -> AbstractContextManager[Sequence[Run]]:
        """Inside, the launches of each run are timed, and noted in the list."""
        ...

    def peaks(self, device: str = "cpu") -> Limits | None:
        """What a device can do at most, where that has been measured."""
        ...

    def counts(self) -> tuple[int, int]:
        """Kernels compiled, and kernels found on disk, since the process began."""
        ...


class Family:
    """A traced call and its code, which serve all sizes that the trace allows."""

    def __init__(
        self, taken: Capture, guards: Guards, leaves: Sequence[Tensor], backend: Backend, ms: float
    ) -> None:
        """`ms`: how long tracing took. Raises `Fixed` where passes need a size as a number."""
        self.taken, self.guards, self.outline = taken, guards, outline(taken)
        self.shapes = [x.spec.shape for x in leaves]
        self.units: list[Unit] = []
        self._backend, self._trace_ms = backend.on(taken.trace.place), ms
        self._templates: dict[Graph, Template] = {}
        self.split: Split | None = None
        self.graph = taken.graph
        if taken.joint is not None:
            joint = taken.joint
            self.split = self._backend.split(taken.graph, joint.count, joint.cotangents)
            self.graph = self.split.forward
        self._templates[self.graph] = self._build(self.graph)

    def __del__(self) -> None:
        """No `weakref.finalize`, which would hold the trace, and by it what holds this."""
        if taken := getattr(self, "taken", None):
            taken.trace.take_apart()

    def _build(self, graph: Graph, backward: bool = False) -> Template:
        unit, template = self._backend.build(graph, self._trace_ms)
        stacks = graph.builder.stacks if graph.builder else {}
        kinds = kinds_of(self.taken, graph)
        name = f"{unit.name} backward" if backward else unit.name
        unit = replace(unit, name=name, stacks=stacks, state_kinds=kinds, backward=backward)
        self.units.append(unit)
        if folder := config.dump_dir():
            dump(unit, folder)
        return template

    def native(self, graph: Graph, sizes: Evaluation) -> Native:
        """The program of `graph`, the forward or the backward part, for these sizes."""
        backward = graph is not self.graph
        try:
            if graph not in self._templates:
                self._templates[graph] = self._build(graph, backward)
            if self.taken.pattern.extents.met(sizes.of):
                return self._templates[graph].at(sizes)
        except Fixed:  # the backward part, compiled later, needs what the forward did not
            pass
        return self._build(at_sizes(graph, sizes), backward).at(sizes)

    def misfit(
        self, leaves: Sequence[Tensor], names: Sequence[str], openness: Openness
    ) -> list[Change]:
        """Why these sizes need another trace."""
        return self.taken.pattern.misfit(self.shapes, leaves, names, openness)

    def at(self, leaves: Sequence[Tensor], spare: dict[Tensor, Tensor]) -> Entry | None:
        """The entry for the sizes of these arguments, if they are among those it serves."""
        sizes = self.taken.pattern.sizes(leaves)
        return None if sizes is None else Entry(self, sizes, spare)


class Entry:
    """A family at given sizes: its plan and its results."""

    def __init__(self, family: Family, sizes: Evaluation, spare: dict[Tensor, Tensor]) -> None:
        taken = family.taken
        self.sizes = sizes
        self.family, self.guards = family, family.guards
        self.backward: Backward | None = None
        if family.split is not None and taken.joint is not None:
            self.backward = Backward(taken, taken.joint, family.split, family.native, sizes)
        native = family.native(family.graph, sizes)
        self.plan = Plan(taken, family.graph, native, spare, sizes)
        self.results = Results(
            taken.tree, self.plan.out_types, taken.returned, sizes, taken.rebound
        )
        self.has_effects = bool(taken.trace.effects)
        result, given = taken.tree if self.has_effects else (taken.tree, ())
        self.hands_on = effects.names_any(result)  # what is older than the step
        self._named = effects.named_in(taken.tree)
        self._nested = effects.nested(given)
        self._shows = effects.shows_values(result)
        self.spent = SpentNode(taken.name, taken.no_gradients)
        self.words = Words()
        self.used = self.kept_bytes = 0  # as `budget` has seen last

    @property
    def units(self) -> list[Unit]:
        return self.family.units

    @property
    def table_bytes(self) -> int:
        """About what it keeps for its sizes alone, results of earlier calls aside."""
        backward = self.backward.table_bytes if self.backward is not None else 0
        return PLAN_BYTES + self.plan.native.table_bytes + backward

    def fits(self, leaves: Sequence[Tensor]) -> bool:
        return self.guards.hold() and self.plan.fits(leaves)

    def run(self, leaves: Sequence[Tensor], call: effects.Call = ((), {})) -> Any:
        outs, grads, scalars = self.plan.run(leaves)
        return self.finished(leaves, outs, grads, scalars, call)

    def finished(
        self,
        leaves: Sequence[Tensor],
        outs: Sequence[Array],
        grads: Sequence[Tensor],
        scalars: Any,
        call: effects.Call,
    ) -> Any:
        """What a call gives whose program has run, and what it does besides."""
        result, slots = self.results.fill(leaves, outs, grads)
        if slots:
            self.record(slots, leaves, outs, scalars)
        given: Sequence[Any] = ()
        if self.has_effects:
            result, given = result
        passed = effects.passed(self._named, given, call) if self._named else {}
        if self.has_effects:
            actions = self.family.taken.trace.after_commit
            values = effects.run(actions, given, passed, self._nested)
            if self._shows:
                result = effects.resolved(result, values)
        if self.hands_on:
            result = effects.of_call(result, passed)
        return result

    def record(
        self, slots: Sequence[Tensor], leaves: Sequence[Tensor], outs: Any, scalars: Any
    ) -> None:
        """Put the call on the tape."""
        if self.backward is None:
            for out in slots:
                out.set_history(self.spent)
            return
        node = CompiledNode(self.backward, leaves, outs, scalars)
        for slot, out in enumerate(slots):
            out.set_history(node, slot)
