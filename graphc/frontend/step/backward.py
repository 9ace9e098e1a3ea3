"""The second program of a compiled forward: its backward, compiled when first asked for.

The forward program returns what the backward reads; a `CompiledNode` on the tape holds that and
runs the backward program when the gradient walk of an eager `backward()` reaches it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from graphc.errors import AutogradError, Untraceable
from graphc.frontend.laid import as_lying
from graphc.frontend.modes import modes
from graphc.frontend.places import place_of
from graphc.frontend.step.capture import Capture, Joint
from graphc.frontend.step.memory import Copies, address, fitting, row_major
from graphc.frontend.step.native import Native
from graphc.frontend.step.python.standing import Standing
from graphc.frontend.step.sources import OldGradient, Sources, State
from graphc.frontend.storage import Storage
from graphc.frontend.tape import edge_of
from graphc.frontend.tensor import Tensor, fresh
from graphc.ir.graph import Graph, Value
from graphc.ir.sizes import Evaluation
from graphc.ir.types import Array, Scalar
from graphc.passes.autodiff import Cotangents, Node, already_freed


class Part(Protocol):
    """The backward of some outputs: `inputs` and `outs` number those of the whole that it has."""

    @property
    def graph(self) -> Graph: ...
    @property
    def inputs(self) -> list[int]: ...
    @property
    def outs(self) -> list[int]: ...


class Split(Protocol):
    """A joint graph in two: see `passes/partition.py`."""

    @property
    def forward(self) -> Graph: ...
    @property
    def backward(self) -> Graph: ...
    @property
    def saved(self) -> tuple[Value, ...]: ...
    def part(self, slots: frozenset[int]) -> Part: ...


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
        self.joint = joint
        self._build, self._sizes = build, sizes
        self._place = capture.trace.place
        self._part = split.part
        self._natives: dict[frozenset[int], Native] = {}
        self._lock = threading.Lock()
        self._saved = split.saved
        self._types = [v.spec.at(sizes) for v in split.backward.inputs]
        self._results = [v.spec.at(sizes) for v in split.backward.outs]
        self._roles = split.backward.roles[: len(split.saved)]
        sources = Sources(capture, split.forward, sizes)
        self._args = _numbered(split.forward, "arg", list(zip(sources.args, sources.arg_orders)))
        self._states = _numbered(split.forward, "state", sources.states)
        self._getters = _numbered(split.forward, "scalar", sources.getters)
        outs = [v for v, t in zip(split.forward.outs, split.forward.targets) if t is None]
        self._outs = {v: k for k, v in enumerate(outs)}

    @property
    def table_bytes(self) -> int:
        """What its programs keep for these sizes alone."""
        return sum(native.table_bytes for native in list(self._natives.values()))

    def inputs(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """The tensors that receive gradients."""
        own = (x.value() if isinstance(x, Standing) else x for x in self.joint.leaves)
        return [*own, *(leaves[k] for k in self.joint.args)]

    def keep(
        self, leaves: Sequence[Tensor], outs: Sequence[Array], scalars: Sequence[Scalar]
    ) -> list[Kept | Scalar]:
        """What the backward program reads of this call, in the order of its inputs."""
        kept: list[Kept | Scalar] = []
        for v, role in zip(self._saved, self._roles):
            if role == "scalar":
                kept.append(scalars[self._getters[v]])
            elif v in self._outs:
                kept.append(Kept(outs[self._outs[v]], None, 0))
            elif role == "state":
                kept.append(_kept_state(self._states[v]))
            else:
                leaf, order = self._args[v]
                x = leaves[leaf]
                assert x.array is not None
                array = place_of(x.array).row_major(as_lying(x.array, order))
                kept.append(Kept(array, x.storage, x.storage.version))
        return kept

    def reads(self, slots: frozenset[int]) -> set[int]:
        """Which of them the backward of these outputs reads."""
        return set(self._part(slots).inputs)

    def run(
        self, kept: Sequence[Kept | Scalar | None], cotangents: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """The gradients that exist in the whole; None for those that no cotangent leads to."""
        slots = frozenset(k for k, g in enumerate(cotangents) if g is not None)
        part = self._part(slots)
        with self._lock:
            native = self._natives.get(slots)
            if native is None:
                native = self._natives[slots] = self._build(part.graph, self._sizes)
            arrays = self._run(native, part, [*kept, *cotangents])
        results: list[Tensor | None] = [None] * len(self._results)
        for k, a in zip(part.outs, arrays):
            results[k] = fresh(a, self._results[k])
        return results

    def _run(
        self, native: Native, part: Part, given: Sequence[Kept | Tensor | Scalar | None]
    ) -> list[Array]:
        by_role: dict[str, list[Array]] = {"arg": [], "state": []}
        scalars: list[Scalar] = []
        for k, role in zip(part.inputs, part.graph.roles, strict=True):
            x = given[k]
            if isinstance(x, Kept | Tensor):
                a = fitting(x.array, self._types[k])
                if role == "arg":
                    a = row_major(a, self._types[k], self._place)
                by_role[role].append(a)
            else:
                assert x is not None
                scalars.append(x)
        types = [self._results[k] for k in part.outs]
        results = [self._place.empty(t.shape, t.dtype.numpy) for t in types]
        copies = Copies(self._place)
        states = [
            copies.usable(a, order)
            for a, order in zip(by_role["state"], native.orders, strict=True)
        ]
        native.bind_state([address(a) for a in states])
        native.run([address(a) for a in by_role["arg"]], [address(a) for a in results], scalars)
        return results


def _kept_state(state: State) -> Kept:
    storage = state.tensor._grad.storage if isinstance(state, OldGradient) else state  # type: ignore[union-attr]  # `fits` asked
    storage = state.value().storage if isinstance(state, Standing) else storage
    assert isinstance(storage, Storage) and storage.array is not None
    return Kept(storage.array, storage, storage.version)


def _numbered(graph: Graph, role: str, sources: Sequence[Any]) -> dict[Value, Any]:
    inputs = [v for v, r in zip(graph.inputs, graph.roles) if r == role]
    return dict(zip(inputs, range(len(inputs)) if role == "scalar" else sources))


class CompiledNode(Node):
    """One call of a compiled forward on the tape of eager tensors."""

    __slots__ = ("_backward", "_kept", "_left", "_pulled")

    def __init__(
        self,
        backward: Backward,
        leaves: Sequence[Tensor],
        outs: Sequence[Array],
        scalars: Sequence[Scalar],
    ) -> None:
        inputs = backward.inputs(leaves)
        count = len(backward.joint.cotangents)
        super().__init__(backward.name, [edge_of(x) for x in inputs], count)
        self._backward = backward
        self._kept: list[Kept | Scalar | None] = [*backward.keep(leaves, outs, scalars)]
        self._left = frozenset(range(count))  # outputs that backward may still start from
        self._pulled: frozenset[int] = frozenset()

    def pull(self, cotangents: list[Any]) -> Cotangents:
        slots = frozenset(k for k, g in enumerate(cotangents) if g is not None)
        if not slots <= self._left:
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
        backward = self._backward
        reads = backward.reads(slots)
        for k, kept in enumerate(self._kept):
            if k in reads and isinstance(kept, Kept):
                self._check_version(kept)
        self._pulled = slots
        results = iter(backward.run(self._kept, cotangents))
        return [next(results) if given else None for given in backward.joint.given]

    def _check_version(self, kept: Kept) -> None:
        storage = kept.storage
        if storage is not None and storage.version != kept.version:
            raise AutogradError(
                f"a tensor needed for the gradient of {self.label}, {storage.spec}, has been "
                f"changed in place: version {storage.version}, expected {kept.version}",
                fix="call backward() before the change, or change a clone()",
            )

    def release(self) -> None:
        """Keep what the outputs need that share nothing with those whose backward has run."""
        sharing = self._backward.joint.sharing
        self._left = self._left.difference(*(sharing[k] for k in self._pulled))
        reads = self._backward.reads(self._left) if self._left else set[int]()
        self._kept = [kept if k in reads else None for k, kept in enumerate(self._kept)]


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
