"""One call of a user's function as a graph: what goes in, what comes out, and where it belongs.

The function runs once with stand-ins for its tensor arguments. What it returns becomes a tree of
`Output`s, what it does to `.grad` a list of `Gradient`s. Gradients of what it returns are traced
too where a later `backward()` may ask for them, so that the graph holds both directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from graphc.errors import AutogradError, TracerLeak, Untraceable, raised_at
from graphc.frontend.fused import attentions
from graphc.frontend.geometry import shown_strides
from graphc.frontend.hostvalue import Carried, Settled
from graphc.frontend.layouts import is_dense, order_of
from graphc.frontend.modes import no_grad
from graphc.frontend.noted import Input
from graphc.frontend.step.finiteness import watched
from graphc.frontend.step.python import arrays, beforehand, effects
from graphc.frontend.step.python.draws import python_draws, refuse_draws
from graphc.frontend.step.python.numbers import HostNumber
from graphc.frontend.step.python.observers import Inlined
from graphc.frontend.step.python.rebound import choose, release
from graphc.frontend.step.python.standing import Standing
from graphc.frontend.step.python.stores import handed_on
from graphc.frontend.step.signature import alike, rebuilt
from graphc.frontend.step.sizes import Openness, Pattern
from graphc.frontend.step.steptrace import SharedArgument, StepTrace
from graphc.frontend.storage import Storage
from graphc.frontend.tape import edge_of, freed_with
from graphc.frontend.tensor import Tensor
from graphc.frontend.views import Chain
from graphc.ir import sugar as P
from graphc.ir.graph import NOWHERE, Graph, Value, topological
from graphc.ir.ops import OPS
from graphc.ir.sizes import Evaluation
from graphc.ir.symbols import Fixed
from graphc.ir.types import Shape, i64
from graphc.passes.autodiff import backpropagate, traced_by

Check = Literal["nan", "finite"] | None
Watching = Callable[[], AbstractContextManager[None]]  # goes around the user's code


@dataclass(frozen=True, eq=False, slots=True)
class Output:
    """Where a returned traced tensor comes from, seen through `views`.

    `index` numbers the outputs of the graph ("out"), the arguments ("arg"), the new gradients
    ("grad") or the places that the step rebinds ("place"); `storage` is a state's ("state"), seen
    through `tensor` if it is attached to one that requires grad. `slot` numbers those with a
    history. `itself`: the argument object, no alias. `kind`: the class of a new one.
    """

    source: str
    index: int
    views: Chain = ()
    storage: Storage | None = None
    requires_grad: bool = False
    slot: int = -1
    itself: bool = False
    tensor: Tensor | None = None
    kind: type[Tensor] = Tensor

    def at(self, sizes: Evaluation) -> Output:
        """The same for given sizes of the extents."""
        if not self.views:
            return self
        views = tuple((op, {k: sizes(a) for k, a in attrs.items()}) for op, attrs in self.views)
        return replace(self, views=views)


Layout = tuple[Shape, Shape]  # memory order and strides, both () for row-major ones

TRANSPOSE = OPS["transpose"]
NONE, DROP = -1, -2  # as the index of a gradient


@dataclass(frozen=True, eq=False, slots=True)
class Gradient:
    """What the step leaves in `.grad`: a new value, the `index`-th of such, or NONE or DROP.

    `tensor` is concrete, or None where it is argument `arg`. An argument comes without its `.grad`
    into the trace: what it has at the call is added to (`adds`) unless the step cleared it.
    """

    tensor: Tensor | None
    arg: int
    index: int = NONE
    adds: bool = False

    def owner(self, leaves: Sequence[Tensor]) -> Tensor:
        return self.tensor if self.tensor is not None else leaves[self.arg]


def layout_of(t: Tensor) -> Layout:
    """How eager code would show a result, where that leaves no gaps."""
    shape, strides = t.spec.shape, shown_strides(t)
    if not strides or not is_dense(shape, strides):
        return (), ()
    return order_of(shape, strides), strides


@dataclass(slots=True)
class Joint:
    """The backward part of a graph: `count` last outputs are cotangents of `leaves` and `args`."""

    count: int
    cotangents: list[Value]
    leaves: list[Tensor | Standing]  # concrete tensors that receive gradients, or their places
    args: list[int]  # arguments that do, after the leaves
    given: list[bool]  # whether a path leads to each of leaves and args
    sharing: list[frozenset[int]]  # which cotangents' backward is done for after that of each


@dataclass(slots=True)
class Capture:
    """A traced call. Inputs of `graph` are `inputs`, then a state for each new gradient."""

    name: str
    graph: Graph
    inputs: list[Input]
    tree: Any  # what the function returned, with an Output for each tensor; and what Effects get
    returned: list[Layout]  # of the first outputs of the graph, which are returned tensors
    trace: StepTrace
    fixed: dict[int, Tensor]  # arguments that are state of this plan, by position
    pattern: Pattern  # the shapes of the arguments
    rebound: list[Standing]  # places that the step rebinds, by number
    gradients: list[Gradient] = field(default_factory=list)
    joint: Joint | None = None
    no_gradients: AutogradError | None = None  # why the results have none

    @property
    def orders(self) -> dict[int, Shape]:
        """In which memory order arguments are read that lie in another than row-major."""
        given = ((i.storage, i.order) for i in self.inputs if i.order)
        return {self.trace.stand_ins[s]: order for s, order in given if s is not None}


def capture(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    leaves: Sequence[Tensor],
    names: Sequence[str],
    name: str,
    openness: Openness | None = None,
    drop_grads: bool = False,
    check: Check = None,
    watching: Watching = nullcontext,
    failing: int = -1,
) -> Capture:
    """Trace one call. Nothing concrete has changed when it returns or raises.

    `openness` says which sizes are extents, and learns which cannot be. `failing`: the number of a
    test that the values of this call do not meet.
    """
    openness = openness or Openness()
    known = openness.copy()
    fixed: dict[int, Tensor] = {}
    inlined: list[Any] = []
    carried: list[Any] = []
    settled: list[Any] = []
    while True:
        pattern = Pattern(leaves, openness, fixed, names)
        made = _Capturing(leaves, names, name, fixed, pattern, drop_grads, check)
        try:
            made.trace.inlined, made.trace.carried, made.trace.settled = inlined, carried, settled
            made.trace.failing = failing
            return made.run(function, args, kwargs, watching)
        except SharedArgument as shared:
            of = leaves[shared.index]
            fixed.update((k, x) for k, x in enumerate(leaves) if alike(of, x))
        except Inlined as found:
            inlined.append(found.hook)
        except Carried as found:
            carried.append(found.place)
        except Settled as found:
            settled.append(found.place)
        except Fixed as needed:
            openness.note(pattern, needed)
        except Exception as e:
            if places := {*made.trace.foreseen.values()}.difference(settled):
                settled += places  # what takes no number that only a call knows has it as it is
                continue
            if not pattern.places or made.trace.refused is e:
                openness.take(known)
                raise
            # With literal sizes it either does not fail, or says what they are.
            why = f"{type(e).__name__} was raised while sizes were unknown"
            failed = Fixed(pattern.places, why, where=raised_at(e))
            failed.__cause__ = e
            openness.note(pattern, failed)


class _Capturing:
    """The making of one Capture."""

    def __init__(
        self,
        leaves: Sequence[Tensor],
        names: Sequence[str],
        name: str,
        fixed: dict[int, Tensor],
        pattern: Pattern,
        drop_grads: bool,
        check: Check = None,
    ) -> None:
        self.leaves, self.names, self.name, self.fixed = leaves, names, name, fixed
        self.pattern = pattern
        self.drop_grads, self.check = drop_grads, check
        self.trace = StepTrace()
        self.outs: list[Tensor] = []  # returned tensors that are new, one for each output
        self.layouts: list[Layout] = []  # of each of them
        self.made: dict[Storage, int] = {}
        self.given: list[Tensor] = []  # what stands for each argument
        self.gradients: list[Gradient] = []
        self.new_grads: list[tuple[Tensor, Tensor]] = []
        self.roots: list[Tensor] = []  # returned tensors with a history
        self.root_grads: list[Tensor] = []  # gradients of their sum, for Joint

    def run(
        self,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        watching: Watching,
    ) -> Capture:
        trace = self.trace
        with trace.activate():
            stand_ins = self.given = self._arguments()
            order = iter(stand_ins)

            def stand_in(x: Tensor | HostNumber) -> Any:
                return beforehand.of_call(trace, x) if isinstance(x, HostNumber) else next(order)

            given = rebuilt(tuple(args), stand_in, (Tensor, HostNumber))
            named = rebuilt(dict(kwargs), stand_in, (Tensor, HostNumber))
            trace.given = given, named
            drawn = python_draws()
            with watching():
                result = trace.result = function(*given, **named)
            if trace.refused is not None:
                raise trace.refused
            refuse_draws(drawn)
            trace.check_histories()
            arrays.check(trace)
            trace.keep_flags()
            self._note_gradients(stand_ins)
            trace.note_leaves()
            result = handed_on(trace, result)
            effects.hooks_changed(trace)
            effects.drop_unused(trace, result)
            choose(trace, result)
            effects.renumber(trace, result)
            given = effects.carried_out(trace)
            tree = self._noted((result, given) if given else result)
            self.layouts = [layout_of(t) for t in self.outs]
            joint, error = None, None
            try:
                joint = None if trace.grads else self._joint(stand_ins)
            except AutogradError as e:  # as in eager, it is an error once backward is called
                error = e
            graph = self._graph(joint)
            at = {r.traced: r.number for r in trace.places}
            rebound = release(trace)
            if joint is not None:
                joint.leaves = [rebound[at[x]] if x in at else x for x in joint.leaves]
        self.pattern.extents.tracing = False
        return Capture(
            self.name, graph, trace.inputs, tree, self.layouts, trace, self.fixed, self.pattern,
            rebound, self.gradients, joint, error,
        )  # fmt: skip

    def _arguments(self) -> list[Tensor]:
        """A stand-in for each tensor argument; the same one for the same memory."""
        made: list[Tensor] = []
        for k, x in enumerate(self.leaves):
            twin = next((j for j in range(k) if alike(self.leaves[j], x)), None)
            if k in self.fixed:
                self.trace.passed.add(x.storage)
                made.append(x)
                continue
            if twin is not None:
                made.append(made[twin])
                continue
            stand_in = self.trace.argument(x, self.names[k], self.pattern.specs[k])
            self.trace.stand_ins[stand_in.storage] = k
            self.trace.owners[x.storage] = k
            made.append(stand_in)
        return made

    # ---- what comes out ------------------------------------------------------------------------

    def _noted(self, result: Any) -> Any:
        """The returned tree with an Output in place of each tensor."""
        tensors: list[Tensor] = []
        rebuilt(result, tensors.append)
        shared = [t.storage for t in tensors]
        return rebuilt(result, lambda t: self._output(t, shared.count(t.storage) > 1))

    def _output(self, t: Tensor, shared: bool) -> Output | Tensor:
        trace, storage = self.trace, t.storage
        if (place := trace.rebound.get(storage)) is not None:
            views = t.views[len(place.traced.views) :]
            itself = t is place.traced
            return Output("place", place.number, views, None, t.requires_grad, itself=itself)
        if not t.is_traced:
            k = next((k for k, x in self.fixed.items() if x is t), -1)
            return t if k < 0 else Output("arg", k, itself=True)
        if storage in trace.stand_ins:
            k = trace.stand_ins[storage]
            itself, kind = t is self.given[k], type(t)
            return Output("arg", k, t.views, None, t.requires_grad, itself=itself, kind=kind)
        grads = [g.storage for _, g in self.new_grads]
        if storage in grads:
            return Output("grad", grads.index(storage), t.views)
        if storage.array is not None:
            base = t._base if t.requires_grad else None
            views = t.views[len(base.views) :] if base is not None else t.views
            flag, kind = t.requires_grad, type(t)
            return Output("state", -1, views, storage, flag, tensor=base, kind=kind)
        if storage.trace is not trace:
            raise TracerLeak(f"{t.spec} was made in another compiled step, which has ended")
        if t.views and not shared:
            return self._new(t, ())
        return self._new(t, t.views, _base_of(t))

    def _new(self, t: Tensor, views: Chain, base: Tensor | None = None) -> Output:
        """A new output for `t`, or for the base that it and other outputs are views of."""
        index = self.made.get(t.storage) if base is not None else None
        if index is None:
            index = len(self.outs)
            self.outs.append(t if base is None else base)
            if base is not None:
                self.made[t.storage] = index
        slot = -1
        if t.grad_fn is not None:
            self.roots.append(t)
            slot = len(self.roots) - 1
        return Output("out", index, views, None, t.requires_grad, slot, kind=type(t))

    # ---- gradients -----------------------------------------------------------------------------

    def _note_gradients(self, stand_ins: Sequence[Tensor]) -> None:
        """Sort what the step left in `.grad`."""
        arg_of = {id(t): k for k, t in enumerate(stand_ins)}
        for x, g in self.trace.grads.items():
            tensor = None if x.is_traced else x
            if tensor is None and id(x) not in arg_of:
                continue  # a value of the step, gone with it
            arg = arg_of.get(id(x), -1)
            if g is None:
                self.gradients.append(Gradient(tensor, arg))
            elif g.is_traced and self.drop_grads and tensor is not None:
                self.gradients.append(Gradient(tensor, arg, DROP))
            elif g.is_traced:
                adds = tensor is None and x not in self.trace.cleared
                self.gradients.append(Gradient(tensor, arg, len(self.new_grads), adds))
                self.new_grads.append((x, g))
            elif g is not x._grad:
                raise Untraceable(
                    f"the step makes an outside tensor the gradient of `{x.storage.name}`",
                    fix="assign a clone() of it, or assign it outside the compiled function",
                )

    def _joint(self, stand_ins: Sequence[Tensor]) -> Joint | None:
        """Trace the gradients of what is returned, with cotangents as further arguments."""
        trace, roots = self.trace, self.roots
        if not roots:
            return None
        args = [k for k in trace.stand_ins.values() if stand_ins[k].requires_grad]
        leaves = list(trace.leaves)
        wanted = [edge_of(x) for x in (*leaves, *(stand_ins[k] for k in args))]
        seeds = [trace.builder.input(f"grad_out{k}", t.spec, NOWHERE) for k, t in enumerate(roots)]
        starts = [(edge_of(t), trace.wrap(v)) for t, v in zip(roots, seeds)]
        sharing = freed_with([e[0] for e, _ in starts if e is not None])
        with no_grad(), trace.builder.deriving():
            found = backpropagate(
                [(e, g) for e, g in starts if e is not None],
                [e for e in wanted if e is not None],
                everything=False,
                ends={e[0] for x in leaves if (e := edge_of(x)) is not None},
                at=traced_by(trace.builder),
                instead=attentions,
            )
        grads = [found.get(e) if e is not None else None for e in wanted]
        self.root_grads = [g for g in grads if g is not None]
        given = [g is not None for g in grads]
        return Joint(len(self.root_grads), seeds, [*leaves], args, given, sharing)

    # ---- the graph -----------------------------------------------------------------------------

    def _graph(self, joint: Joint | None) -> Graph:
        """Returned tensors, written states, new gradients, then gradients for a later backward."""
        trace = self.trace
        made = [i.value for i in trace.inputs]
        written_args = {s for s in trace.written if s in trace.stand_ins}
        self._check_writes(written_args)
        roles = ["state" if i.storage in written_args else i.role for i in trace.inputs]
        by_storage = {i.storage: i for i in trace.inputs}
        outs = [self._stored(t, order) for t, (order, _) in zip(self.outs, self.layouts)]
        targets: list[Value | None] = [None] * len(outs)
        for s in trace.written:
            last = trace.last(by_storage[s])
            if last is not by_storage[s].value:
                outs.append(last)
                targets.append(by_storage[s].value)
        for x, g in self.new_grads:
            label = f"{x.storage.name or 'state'}.grad"
            slot = trace.builder.input(label, g.spec, NOWHERE)
            made.append(slot)
            roles.append("state")
            outs.append(trace.value(g))
            targets.append(slot)
        if self.check is not None:
            trace.checks |= dict.fromkeys(watched(self._seen(outs), self.check))
        unread = self._unread_checks(outs)
        outs += unread
        targets += [None] * len(unread)
        if joint is not None:
            made += joint.cotangents
            roles += ["arg"] * len(joint.cotangents)
            outs += [trace.value(g) for g in self.root_grads]
            targets += [None] * joint.count
        return Graph(self.name, tuple(made), tuple(roles), tuple(outs), tuple(targets))

    def _seen(self, outs: Sequence[Value]) -> list[Value]:
        """What `check` looks at: all but gradients that a GradScaler skips a step for."""
        trace, judged = self.trace, self.trace.judged
        grads = {*trace.gradients_seen, *(g for _, g in self.new_grads)}
        skipped = {trace.value(g) for g in grads if g.storage in judged}
        skipped |= {trace.current[s] for s in trace.written if s in judged}
        seen = [*outs, *(trace.value(g) for g in trace.gradients_seen)]
        return [v for v in seen if v not in skipped]

    def _unread_checks(self, outs: Sequence[Value]) -> list[Value]:
        """A number for each check that none of `outs` needs: what no caller sees raises, too."""
        read, found = set(topological(outs)), []
        for v in reversed(self.trace.checks):
            later = bool(self.roots) and v.where.phase == "bw"  # in the second program, if at all
            if v not in read and not later:
                found.append(P.sum(P.cast(v, i64), tuple(range(len(v.shape)))))
                read.update(topological(found[-1:]))
        return found

    def _stored(self, t: Tensor, order: Shape) -> Value:
        """What the program stores for a returned tensor: its elements in their memory order."""
        value = self.trace.value(t)
        return self.trace.builder.emit(TRANSPOSE, (value,), {"perm": order}) if order else value

    def _check_writes(self, written: set[Storage]) -> None:
        """Memory that is written and that another argument shows, otherwise, is state: all views of
        it are then of one input. A history, which tells of one view alone, is in the way."""
        for s in written:
            k = self.trace.stand_ins[s]
            x = self.leaves[k]
            others = [y for y in self.leaves if y.storage is x.storage and not alike(x, y)]
            if any(y.grad_fn is not None for y in (x, *others) if others):
                raise Untraceable(
                    f"the step writes argument `{self.names[k]}`, whose memory another one shows "
                    "with a history",
                    fix="pass a clone() of one, or write outside the compiled function",
                )
            if others:
                raise SharedArgument(k)
            if apart(k, self.leaves):
                raise Untraceable(
                    f"the step writes argument `{self.names[k]}`, whose memory, NumPy's, another "
                    "argument has, too",
                    fix="make one tensor of the array, and pass views of that",
                )


def apart(k: int, leaves: Sequence[Tensor]) -> bool:
    """Whether another argument reaches into the memory of the k-th, and no storage tells so: they
    were made of one array of NumPy's."""
    mine, x = leaves[k].storage, leaves[k].array
    if type(x) is not np.ndarray:
        return False
    arrays = (y.array for y in leaves if y.storage is not mine)
    return any(type(y) is np.ndarray and np.may_share_memory(x, y) for y in arrays)


def _base_of(t: Tensor) -> Tensor:
    """The tensor that shows all the memory of `t`, which may be `t`."""
    if not t.views:
        return t
    base: Tensor = t.alias()
    base.views, base._spec = (), t.storage.spec
    return base
