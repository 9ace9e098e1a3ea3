"""The second program of a compiled forward: its backward, compiled when first asked for.

The forward program returns what the backward reads; a `CompiledNode` on the tape holds that and
runs the backward program when the gradient walk of an eager `backward()` reaches it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from graphc.errors import AutogradError, Untraceable
from graphc.frontend.modes import modes
from graphc.frontend.step.capture import Capture, Joint
from graphc.frontend.step.memory import fitting, lies
from graphc.frontend.step.plan import Native
from graphc.frontend.step.sources import OldGradient, Sources, State
from graphc.frontend.storage import Storage, arranged
from graphc.frontend.tape import edge_of
from graphc.frontend.tensor import Tensor, fresh
from graphc.ir.graph import Graph, Value
from graphc.ir.sizes import Evaluation
from graphc.ir.types import Array, Scalar
from graphc.passes.autodiff import Cotangents, Node, already_freed


class Split(Protocol):
    """A joint graph in two: see `passes/partition.py`."""

    @property
    def forward(self) -> Graph: ...
    @property
    def backward(self) -> Graph: ...
    @property
    def saved(self) -> tuple[Value, ...]: ...


class Kept(NamedTuple):
    """A saved array, and the memory it belongs to where a write would spoil it."""

    array: Array
    storage: Storage | None
    version: int


class Backward:
    """What the backward program of a capture reads and gives; `forward` is its other half."""

    def __init__(
        self,
        capture: Capture,
        joint: Joint,
        split: Split,
        build: Callable[[Graph, Evaluation], Native],
        sizes: Evaluation,
    ) -> None:
        self.name = capture.name
        self.forward = split.forward
        self.graph = split.backward
        self.joint = joint
        self._build, self._sizes = build, sizes
        self._native: Native | None = None
        self._lock = threading.Lock()
        self._saved = split.saved
        self._types = [v.spec.at(sizes) for v in joint.cotangents]
        self._results = [v.spec.at(sizes) for v in split.backward.outs]
        self._roles = split.backward.roles[: len(split.saved)]
        sources = Sources(capture, split.forward, sizes)
        self._args = _numbered(split.forward, "arg", sources.args)
        self._states = _numbered(split.forward, "state", sources.states)
        self._getters = _numbered(split.forward, "scalar", sources.getters)
        outs = [v for v, t in zip(split.forward.outs, split.forward.targets) if t is None]
        self._outs = {v: k for k, v in enumerate(outs)}

    def inputs(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """The tensors that receive gradients."""
        return [*self.joint.leaves, *(leaves[k] for k in self.joint.args)]

    def keep(
        self, leaves: Sequence[Tensor], outs: Sequence[Array], scalars: Sequence[Scalar]
    ) -> tuple[list[Kept], list[Scalar]]:
        """What the backward program reads of this call, in the order of its inputs."""
        kept: list[Kept] = []
        numbers: list[Scalar] = []
        for v, role in zip(self._saved, self._roles):
            if role == "scalar":
                numbers.append(scalars[self._getters[v]])
            elif v in self._outs:
                kept.append(Kept(outs[self._outs[v]], None, 0))
            elif role == "state":
                kept.append(_kept_state(self._states[v]))
            else:
                x = leaves[self._args[v]]
                assert x.array is not None
                array = np.ascontiguousarray(x.array)
                kept.append(Kept(array, x.storage, x.storage.version))
        return kept, numbers

    def run(
        self, kept: Sequence[Kept], scalars: Sequence[Scalar], cotangents: Sequence[Tensor]
    ) -> list[Tensor]:
        """The gradients that exist, in order."""
        with self._lock:
            return self._run(kept, scalars, cotangents)

    def _run(
        self, kept: Sequence[Kept], scalars: Sequence[Scalar], cotangents: Sequence[Tensor]
    ) -> list[Tensor]:
        if self._native is None:
            self._native = self._build(self.graph, self._sizes)
        given = [np.ascontiguousarray(fitting(g.array, t)) for g, t in zip(cotangents, self._types)]
        by_role: dict[str, list[Array]] = {"arg": [], "state": []}
        rows = [(v, role) for v, role in zip(self._saved, self._roles) if role != "scalar"]
        for k, (v, role) in zip(kept, rows, strict=True):
            by_role[role].append(fitting(k.array, v.spec.at(self._sizes)))
        results = [np.empty(t.shape, t.dtype.numpy) for t in self._results]
        states = [
            a if lies(a, order) else arranged(a, order)
            for a, order in zip(by_role["state"], self._native.orders, strict=True)
        ]
        self._native.bind_state([place(a) for a in states])
        args = [place(a) for a in (*by_role["arg"], *given)]
        self._native.run(args, [place(a) for a in results], scalars)
        return [fresh(a, t) for a, t in zip(results, self._results)]

    def cotangent(self, slot: int, g: Tensor | None) -> Tensor:
        """What arrived at one output; zeros where nothing did."""
        spec = self._types[slot]
        return fresh(np.zeros(spec.shape, spec.dtype.numpy), spec) if g is None else g


def place(array: Array) -> int:
    return array.__array_interface__["data"][0]  # type: ignore[no-any-return]  # a dict of Any


def _kept_state(state: State) -> Kept:
    storage = state.tensor._grad.storage if isinstance(state, OldGradient) else state  # type: ignore[union-attr]  # `fits` asked
    assert isinstance(storage, Storage) and storage.array is not None
    return Kept(storage.array, storage, storage.version)


def _numbered(graph: Graph, role: str, sources: Sequence[Any]) -> dict[Value, Any]:
    inputs = [v for v, r in zip(graph.inputs, graph.roles) if r == role]
    return dict(zip(inputs, range(len(inputs)) if role == "scalar" else sources))


class CompiledNode(Node):
    """One call of a compiled forward on the tape of eager tensors."""

    __slots__ = ("_backward", "_kept", "_scalars")

    def __init__(
        self,
        backward: Backward,
        leaves: Sequence[Tensor],
        outs: Sequence[Array],
        scalars: Sequence[Scalar],
    ) -> None:
        inputs = backward.inputs(leaves)
        super().__init__(backward.name, [edge_of(x) for x in inputs], len(backward._types))
        self._backward = backward
        self._kept: list[Kept] | None
        self._kept, self._scalars = backward.keep(leaves, outs, scalars)

    def pull(self, cotangents: list[Any]) -> Cotangents:
        kept = self._kept
        if kept is None:
            raise already_freed(self.label)
        if modes.trace is not None:
            raise Untraceable(
                f"backward through `{self.label}`, compiled and run outside this step",
                fix="call it inside the step, where it becomes part of the step's program",
            )
        if modes.grad:
            raise AutogradError(
                f"a second derivative through the compiled `{self.label}`",
                fix="compute it inside the compiled function, or under graphc.disable()",
            )
        for k in kept:
            if k.storage is not None and k.storage.version != k.version:
                raise AutogradError(
                    f"a tensor needed for the gradient of {self.label}, {k.storage.spec}, has been "
                    f"changed in place: version {k.storage.version}, expected {k.version}",
                    fix="call backward() before the change, or change a clone()",
                )
        backward = self._backward
        arrived = [backward.cotangent(slot, g) for slot, g in enumerate(cotangents)]
        results = iter(backward.run(kept, self._scalars, arrived))
        return [next(results) if given else None for given in backward.joint.given]

    def release(self) -> None:
        self._kept = None


class SpentNode(Node):
    """History of a result without gradients: they failed, or the step itself has computed them."""

    __slots__ = ("_error",)

    def __init__(self, name: str, error: AutogradError | None = None) -> None:
        super().__init__(name, [None])
        self._error = error

    def pull(self, cotangents: list[Any]) -> Cotangents:
        if (e := self._error) is not None:
            raise AutogradError(e.what, why=e.reason, fix=e.remedy, where=e.where)
        raise AutogradError(
            f"backward from a result of `{self.label}`, which has run backward itself",
            fix="call backward() on it inside the step, or return it from a step without backward",
        )
