"""A plan: one native program bound to the user's tensors, and what a call does around it.

A call hands over addresses of arguments, results and, where they moved, state; reads the host
scalars; runs; then gives the tensors what the step gave them: new `.grad`, versions, random
positions. Nothing of that happens when the run raises, so a failed step leaves all as it was.

What a plan knows of where its state is has four names (`Bound`):

  NOWHERE  nothing: all state is laid out and bound anew by the next call.
  COPIED   somebody holds state that lies in another order: each call lays out and binds all, too.
  FIXED    the addresses of all that does not move are bound; what moves (arguments that are
           written, gradients) is looked at in each call.
  STEADY   as FIXED, and the gradients are those of the last call, which nobody has looked at.

A call takes NOWHERE and COPIED to COPIED or FIXED (`_bind`), FIXED to STEADY if all that moves is
gradients and it found each in place (`_give_gradients`), STEADY to FIXED if `epoch.gradients` has
moved since (`_look`). From any of them `epoch.places` leads to NOWHERE: a tensor may have got other
memory (`fits`, and `_look` for what moved since). No other way exists.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum, auto

from graphc.frontend import epoch
from graphc.frontend.laid import as_lying
from graphc.frontend.noted import Effect
from graphc.frontend.places import Place, place_of
from graphc.frontend.step.capture import NONE, Capture, Output, apart
from graphc.frontend.step.dropped import DROPPED
from graphc.frontend.step.memory import (
    Copies,
    Copy,
    add,
    address,
    empty,
    fitting,
    give_back,
    intact,
    is_at,
    lies,
    relayout,
    row_major,
)
from graphc.frontend.step.native import Native
from graphc.frontend.step.python.standing import Seen, Standing, seen, writable
from graphc.frontend.step.recycled import Kept, Result
from graphc.frontend.step.signature import rebuilt
from graphc.frontend.step.sources import NewGradient, OldGradient, Sources, State, WrittenArgument
from graphc.frontend.step.steptrace import Shown
from graphc.frontend.storage import Clock, Storage, running
from graphc.frontend.tensor import Tensor
from graphc.ir.graph import Graph
from graphc.ir.sizes import Evaluation
from graphc.ir.types import Array, Scalar, Shape, TensorSpec


class Bound(Enum):
    """What a plan knows of where its state is; the module's text tells the transitions."""

    NOWHERE = auto()
    COPIED = auto()
    FIXED = auto()
    STEADY = auto()


class Plan:
    """A captured call, compiled: run it with the tensors of another call of its signature."""

    def __init__(
        self,
        capture: Capture,
        graph: Graph,
        native: Native,
        spare: dict[Tensor, Tensor],
        sizes: Evaluation,
    ) -> None:
        """`graph` is what `native` runs, for these sizes: the capture's, or its forward part.
        `spare` are gradients that this function's plans have made, by owner, for their memory."""
        sources = Sources(capture, graph, sizes)
        self.states = sources.states
        self.fixed, self.rebound = capture.fixed, capture.rebound
        self.out_types = [v.spec.at(sizes) for v, t in zip(graph.outs, graph.targets) if t is None]
        self.storages = {s for s in self.states if isinstance(s, Storage)}
        self.place = capture.trace.place
        self.kept = Kept()
        self.results = [
            Result(t, k < len(capture.returned), self.place, self.kept)
            for k, t in enumerate(self.out_types)
        ]
        self.args = list(zip(sources.args, sources.arg_specs, sources.arg_orders, strict=True))
        self._specs, self.getters = sources.state_specs, sources.getters
        self.native = native
        self._spare = spare
        self._old_grads = [(x, g, shown) for x, (g, shown) in capture.trace.old_grads.items()]
        self._shown = list(capture.trace.shown.items())
        self.draws = list(capture.trace.draws.items())
        self._has_effects = bool(capture.trace.effects)  # then all actions wait for the results
        self.actions = [a for a in capture.trace.after_commit if not isinstance(a, Effect)]
        self._tensors = [(i.storage, i.tensor) for i in capture.inputs if i.role == "state"]
        self._gradients = capture.gradients
        self._orders = native.orders
        self._note_states(graph)
        self._can_rest = self._only_gradients_move(capture)

    def _note_states(self, graph: Graph) -> None:
        """Which states move from call to call, which are written."""
        targets = {t for t in graph.targets if t is not None}
        inputs = [v for v, role in zip(graph.inputs, graph.roles) if role == "state"]
        written = [s for s, v in zip(self.states, inputs) if v in targets]
        self._written = [s for s in written if isinstance(s, Storage)]
        self._written_others = [s for s in written if isinstance(s, WrittenArgument | OldGradient)]
        self._written_args = [s.arg for s in written if isinstance(s, WrittenArgument)]
        self._moving = [(k, s) for k, s in enumerate(self.states) if not isinstance(s, Storage)]
        self._kept = {s.tensor for s in self.states if isinstance(s, OldGradient)}
        self.standing: dict[Standing, Seen] = {}  # what the last call has left in each place
        self._stood: list[tuple[Standing, Tensor]] = []  # what this one reads or writes there
        self.clock = Clock()  # of the storages that are written
        self.bound = Bound.NOWHERE
        self._pointers: list[int] = []  # of states, as bound
        self.places = -1  # `epoch.places` when tensors were looked at: never, since the trace
        self._gradients_seen = -1  # `epoch.gradients` when they were

    def _only_gradients_move(self, capture: Capture) -> bool:
        """Whether all that moves is gradients of concrete tensors, which only `.grad` shows."""
        sources: set[str] = set()
        rebuilt(capture.tree, lambda o: sources.add(o.source), Output)
        moving = all(isinstance(s, NewGradient | Standing) for _, s in self._moving)
        owned = all(g.tensor is not None and not g.adds for g in self._gradients)
        steady = not (self._has_effects and any(at.written for at in self.rebound))
        return steady and moving and owned and not self._kept and "grad" not in sources

    def _relayout_states(self) -> None:
        """Let state lie as the program wants it; what others hold is copied at each call."""
        tensors = {s: t for s, t in self._tensors if t is not None and t.storage is s}
        pairs = zip(self.states, self._orders)
        fixed = [(s, order) for s, order in pairs if isinstance(s, Storage)]
        for s, order in fixed:
            if s in tensors:
                relayout(tensors[s], order)

    def let_go(self) -> int:
        """Keep nothing of what earlier calls have made; how many bytes that were. Without a lock:
        who takes an array from a ring at the same time holds it."""
        before, self.kept.bytes = self.kept.bytes, 0
        for result in self.results:
            result.ring.clear()
        return before

    # ---- does it fit ---------------------------------------------------------------------------

    def fits(self, leaves: Sequence[Tensor]) -> bool:
        """Whether the relations of memory that the trace relied on hold for these arguments."""
        storages, fixed = self.storages, self.fixed
        for k, x in enumerate(leaves):
            if k in fixed:
                if fixed[k].storage is not x.storage or fixed[k].views != x.views:
                    return False
            elif x.storage in storages:
                return False
        if len(leaves) > 1 and any(apart(k, leaves) for k in self._written_args):
            return False
        if self.rebound and not self._places_fit(leaves):
            return False
        moved = self.places != (places := epoch.places)
        if moved and not all(shown.still(x) for x, shown in self._shown):
            return False
        if self._old_grads and not self._old_grads_fit(leaves, moved):
            return False
        if moved:
            self.places, self.bound = places, Bound.NOWHERE
        return True

    def _places_fit(self, leaves: Sequence[Tensor]) -> bool:
        """Whether what stands in places is memory of its own, as it was in the trace."""
        found = [at.value() for at in self.rebound]
        others = self.storages | {x.storage for x in leaves}
        for at, x in zip(self.rebound, found):
            if not at.fits():
                return False
            if at.first != at.number:
                if found[at.first] is not x:
                    return False
            elif x.storage in others:
                return False
            others.add(x.storage)
        return True

    def _old_grads_fit(self, leaves: Sequence[Tensor], moved: bool) -> bool:
        """Whether the gradients that the step reads are as then, or as good."""
        if not moved and all(x._grad is then for x, then, _ in self._old_grads):
            return True
        if not all(_interchangeable(x._grad, shown) for x, _, shown in self._old_grads):
            return False
        pairs = [
            (x._grad.storage, then.storage)
            for x, _, then in self._old_grads
            if x._grad is not None and then is not None
        ]
        others = self.storages - {then for _, then in pairs} | {x.storage for x in leaves}
        alone = all(now is then or now not in others for now, then in pairs)
        return alone and len({now for now, _ in pairs}) == len({then for _, then in pairs})

    # ---- running -------------------------------------------------------------------------------

    def rests(self) -> bool:
        """Whether nothing has to be looked at while `epoch.moved` and `epoch.gradients` rest."""
        self._look()
        return self.bound is Bound.STEADY or (self.bound is Bound.FIXED and not self._moving)

    def run(self, leaves: Sequence[Tensor]) -> tuple[list[Array], list[Tensor], list[Scalar]]:
        """Run; returns the outputs of the graph, the new gradients and the numbers it read."""
        with running.lock:
            keep: list[Array] = []  # dense copies of arguments, alive while it runs
            rows = [(leaves[k], spec, order) for k, spec, order in self.args]
            args = [address_of(*row, keep, self.place) for row in rows]
            outs = [result.make() for result in self.results]
            scalars = [get() for get in self.getters]
            grads, copies = self._bind(leaves)
            if not (self.clock.whole and self.clock.alone):
                self.native.doubt()
                self.clock.alone = True
            running.programs += 1
            try:
                self.native.run(args, [place for _, place in outs], scalars)
            except BaseException:
                if self.native.done:  # a handler's, after the commit: the step counts
                    self._after(leaves, grads, copies)
                    self._act()
                raise
            finally:
                running.programs -= 1
            self._after(leaves, grads, copies)
            if not self._has_effects:
                self._act()
        return [array for array, _ in outs], grads or [], scalars

    def _bind(self, leaves: Sequence[Tensor]) -> tuple[list[Tensor] | None, Sequence[Copy]]:
        """Tell the program where state is, if any moved. Returns the new gradients' tensors (None:
        as last time, nobody has looked), and the copies that stand in for strided state."""
        self._look()
        if self.bound is Bound.STEADY:
            return None, []
        self._gradients_seen = epoch.gradients
        if self.bound is Bound.FIXED and not self._moving:
            return [], []
        grads: list[Tensor] = []
        self._stood = []
        copies = Copies(self.place)
        pointers = self._pointers.copy()
        if self.bound is not Bound.FIXED:
            self._relayout_states()
            rows = zip(self.states, self._specs, self._orders, strict=True)
            pointers = [_state_address(*row, copies) for row in rows]
            self.bound = Bound.FIXED
        for k, state in self._moving:
            spec, order = self._specs[k], self._orders[k]
            if isinstance(state, NewGradient):
                grads.append(grad := self._gradient(state, order))
                pointers[k] = _storage_address(grad.storage, spec, order, copies)
            elif isinstance(state, Standing):
                x = self._standing(state, spec, order)
                pointers[k] = _storage_address(x.storage, spec, order, copies)
            else:
                pointers[k] = _array_address(_moving_array(state, leaves), spec, order, copies)
        if copies:  # which are gone after the call
            self.bound = Bound.COPIED
        if pointers != self._pointers:
            self.native.bind_state(pointers)
            self._pointers = pointers
        return grads, copies

    def _look(self) -> None:
        """What is known no more, because memory or gradients have moved."""
        if self.places != epoch.places:
            self.bound = Bound.NOWHERE
        elif self.bound is Bound.STEADY and (
            self._gradients_seen != epoch.gradients
            or not all(known.stands_in(at) for at, known in self.standing.items())
        ):
            self.bound = Bound.FIXED

    def _standing(self, at: Standing, spec: TensorSpec, order: Shape) -> Tensor:
        """The tensor of a place, or a copy that is to be written in its stead."""
        x: Tensor = at.value() if at.put is None else writable(at, spec, order, self.place)
        if at.written:
            relayout(x, order)
        self._stood.append((at, x))
        return x

    def _gradient(self, state: NewGradient, order: Shape) -> Tensor:
        """The gradient of last time if only its owner holds it, else new memory."""
        owner = state.gradient.tensor
        if owner is None or owner in self._kept:  # an argument, or its old one is read
            return empty(state.spec, order, self.place)
        grad = self._spare.get(owner)
        usable = grad is not None and intact(grad, state.spec, order)
        if grad is None or not (usable and _alone(grad, owner._grad is grad)):
            grad = empty(state.spec, order, self.place)
            self._spare[owner] = grad
        return grad

    def _after(
        self, leaves: Sequence[Tensor], grads: Sequence[Tensor] | None, copies: Sequence[Copy]
    ) -> None:
        """Give tensors what the step gave them."""
        give_back(copies)
        if grads is not None:
            self._give_places()
        if not self.clock.whole:
            self._wind()
        self.clock.cell.value += 1
        for state in self._written_others:
            _moving_storage(state, leaves).version += 1
        if grads is not None:
            self._give_gradients(leaves, grads)
        for generator, count in self.draws:
            generator.advance(count)

    def _wind(self) -> None:
        """Have the versions of all that is written follow the clock."""
        self.clock.whole = True
        rows = self.standing.items()
        steady = not self._has_effects
        moved = [x.storage for at, x in rows if at.memory or (at.written and steady)]
        for storage in (*self._written, *moved):
            storage.follow(self.clock)

    def _act(self) -> None:
        for action in self.actions:
            action()

    def _give_places(self) -> None:
        """Let places have the copies that were written for them."""
        for at, x in self._stood:
            if at.put is not None and at.value() is not x:
                at.put(x)
            self.standing[at] = known = seen(at.value())
            if at.written and self._has_effects:  # by which another may come to stand there
                x.storage.version += 1
            elif at.memory or at.written:
                known.storage.follow(self.clock)
        self._stood = []

    def _give_gradients(self, leaves: Sequence[Tensor], grads: Sequence[Tensor]) -> None:
        replaced = False
        for gradient in self._gradients:
            owner = gradient.owner(leaves)
            if gradient.index < 0:
                none = None if gradient.index == NONE else DROPPED
                replaced |= owner._grad is not none
                owner._grad = none
                continue
            grad = grads[gradient.index]
            grad.storage.version += 1
            old = owner._grad if gradient.adds else None
            if old is not None and old.array is not None and grad.array is not None:
                add(old.array, grad.array)
                old.storage.version += 1
            elif owner._grad is not grad:
                owner._grad = grad
                grad.storage.adopted = replaced = True
        if replaced:
            epoch.gradients += 1
        elif self._can_rest and self.bound is Bound.FIXED:
            self.bound = Bound.STEADY


def copied_bytes(plan: Plan, leaves: Sequence[Tensor]) -> int:
    """Of arguments that a call copies first, as their elements do not lie in their order."""
    pairs = ((leaves[k].array, order) for k, _, order in plan.args)
    rows = [(a, order or tuple(range(a.ndim))) for a, order in pairs if a is not None]
    return sum(a.nbytes for a, order in rows if not lies(a, order))


def address_of(x: Tensor, spec: TensorSpec, order: Shape, keep: list[Array], place: Place) -> int:
    """Where the elements of an argument are, in `order`, () for row-major, which `spec` is of. The
    signature has compared `x._spec`; a storage has an address once its array was seen to be what
    its own `spec` says."""
    array, storage = x.array, x.storage
    known = storage.address and storage.order == order and storage.spec is x._spec
    if known and array is storage.array and (spec.shape or is_at(fitting(array, spec), place)):
        return storage.address
    lying = array if array is None else as_lying(array, order)
    keep.append(dense := row_major(lying, spec, place))
    at = address(dense)
    if dense is lying and array is storage.array:
        storage.address, storage.order = at, order
    return at


def _storage_address(storage: Storage, spec: TensorSpec, order: Shape, copies: Copies) -> int:
    """Where a storage is that lies in `order`; of another one, where its copy is."""
    known = storage.address and storage.order == order and storage.spec == spec
    if known and (spec.shape or is_at(fitting(storage.array, spec), copies.place)):
        return storage.address
    array = fitting(storage.array, spec)
    used = copies.usable(array, order)
    place = address(used)
    if used is array:
        storage.address, storage.order = place, order
    return place


def _array_address(array: Array, spec: TensorSpec, order: Shape, copies: Copies) -> int:
    return address(copies.usable(fitting(array, spec), order))


def _state_address(state: State, spec: TensorSpec, order: Shape, copies: Copies) -> int:
    """Where a state is that does not move; 0 for those that do."""
    return _storage_address(state, spec, order, copies) if isinstance(state, Storage) else 0


def _moving_storage(state: State, leaves: Sequence[Tensor]) -> Storage:
    if isinstance(state, WrittenArgument):
        return leaves[state.arg].storage
    assert isinstance(state, OldGradient) and state.tensor._grad is not None  # `fits` asked
    return state.tensor._grad.storage


def _moving_array(state: State, leaves: Sequence[Tensor]) -> Array:
    if isinstance(state, WrittenArgument):
        array, order = leaves[state.arg].array, state.order
    else:
        array, order = _moving_storage(state, leaves).array, ()
    assert array is not None
    return as_lying(array, order)


def _interchangeable(now: Tensor | None, then: Shown | None) -> bool:
    """Whether a plan made with one `.grad` serves another."""
    if now is None or then is None:
        return now is None and then is None
    if now.views or then.views:
        return then.still(now)
    return now._spec == then.spec


def _alone(grad: Tensor, owned: bool) -> bool:
    """Whether a gradient's memory is free: nobody but its owner, if at all, holds it.

    The numbers are what `sys.getrefcount` gives then: of the tensor by `spare`, by two frames, by
    the call and by its owner; of its storage by the tensor and the call; of its array by the
    tensor, the storage and the call; of the memory behind it, whose owner is what NumPy's views of
    the array hold, by the array and the call.
    """
    base = place_of(grad.array).base(grad.array) if grad.array is not None else None
    return (
        sys.getrefcount(grad) <= 4 + owned
        and sys.getrefcount(grad.storage) <= 2
        and sys.getrefcount(grad.array) <= 3
        and (base is None or sys.getrefcount(base) <= 3)
    )
