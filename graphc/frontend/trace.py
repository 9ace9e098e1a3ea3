"""Trace: a step recorded as a graph while the user's Python runs once.

A storage that the step touches has a current value: its input at first, and after each write the
functionalised result. Concrete tensors become inputs of role "state" when first touched; nobody
lists them. Nothing concrete changes: gradients, versions and histories that the step gives to
concrete tensors are kept here or put back when the trace ends.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import Any

import numpy as np

from graphc.errors import DataDependentBranch, GraphcError, Untraceable
from graphc.frontend import tensor as tensors
from graphc.frontend.geometry import elementwise_strides, note_view, shown_strides
from graphc.frontend.hostvalue import HostValue, Kind
from graphc.frontend.laid import declared, turned
from graphc.frontend.layouts import lying
from graphc.frontend.modes import modes
from graphc.frontend.noted import Getter, Input, Kept, Pick
from graphc.frontend.origins import origin
from graphc.frontend.parted import Parted, part
from graphc.frontend.places import HOST, Place
from graphc.frontend.reading import leaked
from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor
from graphc.frontend.views import overwrite
from graphc.ir import sugar as P
from graphc.ir.builder import Builder
from graphc.ir.graph import Graph, Value
from graphc.ir.interpret import of_constants
from graphc.ir.ops import Attrs, Op
from graphc.ir.types import Array, DType, Scalar, TensorSpec, bf16, f16, f32, i64


class Trace:
    """One recording; `activate` makes tensors use it, `graph` is its result."""

    def __init__(self) -> None:
        self.builder = Builder()
        self.place: Place = HOST  # where its tensors are
        self.inputs: list[Input] = []
        self.current: dict[Storage, Value] = {}
        self.written: dict[Storage, None] = {}  # concrete ones, in order of the first write
        self.picked: dict[Storage, Pick] = {}
        self.grads: dict[Tensor, Tensor | None] = {}  # .grad of tensors as the step left it
        self.gradients_seen: list[Tensor] = []  # all that were in a .grad on the way
        self.judged: set[Storage] = set()  # gradients for whose infinities a step is skipped
        self.cleared: set[Tensor] = set()  # whose .grad the step set to None on the way
        self.guards: list[tuple[Callable[[], Any], Any]] = []
        self.checks: dict[Value, None] = {}  # what may raise, whether or not it is read
        self.called: dict[Any, None] = {}  # modules whose forward ran
        self.after_commit: list[Any] = []  # host actions after each call, Effects among them
        self.effects: list[Any] = []  # arguments of each Effect
        self.older: dict[int, Any] = {}  # of containers met, by id: what hands them on themselves
        self.result: Any = None  # what the step returns, until it is noted
        self.fresh: set[int] = set()  # of what was met, what the step itself has made
        self.unwritten: dict[Tensor, Tensor] = {}  # copies of state for Effects, and its tensors
        self.deferred: list[Any] = []  # hooks that only look, called after each call
        self.given: Any = ()  # the arguments, whose containers are copies of the call's
        self.listed = False  # whether it becomes a list of NumPy calls (`eager/lines.py`)
        self.watched = False  # whether each instruction of the user's code is seen
        self.texts: list[Any] = []  # of tensors, that f-strings have marks of
        self.host_values = 0  # how many there are
        self.fixed: dict[Value, Array] = {}  # inputs that are the same in each call: Python data
        self.arrays: list[tuple[Array, Array, Tensor]] = []  # of NumPy's, then, as tensors
        self.carried: list[Any] = []  # what the step counts and shows
        self.settled: list[Any] = []  # what the step counts and decides by
        self.foreseen: dict[int, Any] = {}  # by HostValue known before a call, a place it stands at
        self.refused: GraphcError | None = None  # whatever the step makes of it
        self.setting: Callable[[Any, bool], None] | None = None  # is told of train() and eval()
        self.stored: Callable[[Any, str, Any], None] | None = None  # is told of what modules keep
        self.loose: Container[Any] = ()  # lines that read a number at each call
        self.wrote: Callable[[str, Any, Any], None] | None = None  # is told of items of tables
        self.tables: list[Kept] = []  # hooks that the step changes
        self.inlined: list[Any] = []  # hooks that are traced, though they only look
        self.slots: list[Any] = []  # tables of optimizers that the step changes
        self.registries: list[Any] = []  # tables of modules that the step changes, and the lines
        self.followed: list[Any] = []  # tables of such, of which each call finds others in place
        self.rebound: dict[Storage, Any] = {}  # memory of what stood in places that it rebinds
        self.places: list[Any] = []  # all such places, by number
        self.parted: dict[Storage, Parted] = {}  # memory that a tensor gets anew, by `.data`
        self.shows: dict[Storage, list[Tensor]] = {}  # views made inside of concrete memory
        self.draws: dict[Any, int] = {}  # random draws taken by generator
        self.recipes: dict[Hashable, Any] = {}  # of update rules, by what their values depend on
        self._scalars: dict[tuple[Hashable, DType], Value] = {}
        self._before: dict[Any, Callable[[], None]] = {}
        self._without_history: list[Tensor] = []  # of those, which had none
        self._flags: dict[Tensor, bool] = {}  # concrete: requires_grad before the step set it
        self.aliases: dict[Tensor, None] = {}  # tensors made inside over concrete memory

    # ---- inputs --------------------------------------------------------------------------------

    def argument(self, like: Tensor, name: str, spec: TensorSpec | None = None) -> Tensor:
        """What stands for an argument; `spec` is its type, with extents for what may change."""
        strides = shown_strides(like)
        order = lying(like.spec.shape, strides)
        value, seen = declared(self.builder, name, spec or like.spec, order)
        out = self.wrap(seen)
        out.storage.name = name
        out.storage.strides = strides
        out._requires_grad = like.requires_grad
        self.inputs.append(Input("arg", value, out.storage, like, order=order))
        return out

    def host_scalar(
        self, getter: Getter, dtype: DType, name: str, key: Hashable | None = None
    ) -> Tensor:
        """A 0-d tensor whose value is `getter()` at each call; one input for a `key` and a type."""
        passed = f32 if dtype in (f16, bf16) else dtype  # the host packs none, or none beyond 65504
        value = self._scalars.get((key, passed)) if key is not None else None
        if value is None:
            value = self.builder.input(name, TensorSpec(passed, ()))
            self.inputs.append(Input("scalar", value, getter=getter))
            if key is not None:
                self._scalars[key, passed] = value
        return P.cast(self.wrap(value), dtype)

    def lift(self, x: Tensor) -> Value:
        """The current value of x's base; a concrete one becomes state when first touched."""
        storage = x.storage
        value = self.current.get(storage)
        if value is not None:
            if storage in self.picked:
                self._check_pick(self.picked[storage])
            return value
        if storage.array is None:
            raise leaked(x)
        name = storage.name or f"state{sum(i.role == 'state' for i in self.inputs)}"
        value = self.builder.input(name, storage.spec)
        self.current[storage] = value
        self.inputs.append(Input("state", value, storage, x))
        return value

    def made(self, x: Tensor) -> bool:
        """Whether x's memory exists in the trace alone: neither an argument's nor state."""
        return x.storage.array is None and all(i.storage is not x.storage for i in self.inputs)

    def stands_in(self, x: Tensor) -> bool:
        """Whether x is an argument of the call, not a view of one."""
        return not x.views and any(i.role == "arg" and i.storage is x.storage for i in self.inputs)

    def last(self, written: Input) -> Value:
        """What the step leaves in the memory of an input, as that lies."""
        assert written.storage is not None
        return turned(self.current[written.storage], written.order)

    # ---- values --------------------------------------------------------------------------------

    def value(self, x: Tensor) -> Value:
        """What x reads now: its views of the current value of its base."""
        base = None
        if x.array is None and not self.picked:  # of which most are: nothing to note
            base = self.current.get(x.storage)
        if base is None:
            base = self.lift(x)
        if not x.views:
            return base
        if x.array is None and x._value is not None and x._value[0] is base:
            return x._value[1]  # type: ignore[no-any-return]  # (Value, Value)
        value = base
        for op, attrs in x.views:
            value = self.builder.emit(op, (value,), attrs)
        if x.array is None:
            x._value = (base, value)
        return value

    def wrap(self, value: Value) -> Tensor:
        """A traced tensor of its own."""
        out = Tensor.__new__(Tensor)
        out.array = None
        spec = out._spec = value._spec
        out.storage = Storage(None, spec, self)
        self.current[out.storage] = value
        return out

    def constant(self, value: Scalar | HostValue, spec: TensorSpec) -> Tensor:
        if isinstance(value, HostValue):
            return value.operand(spec)  # type: ignore[no-any-return]  # a tensor of the trace
        return self.wrap(self.builder.constant(value, spec))

    def frozen(self, x: Tensor) -> Tensor:
        """A traced copy of a constant made from Python data: later writes do not reach it."""
        value = self.value(x)
        if value.is_input and type(x.array) is np.ndarray:  # of a device, nobody knows them here
            self.fixed[value] = x.array
        return self.wrap(value)

    def operands(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The operands of an op, with tensors for numbers that only a call knows: each of the
        type that a number takes there."""
        if not self.host_values or not any(isinstance(a, HostValue) for a in args):
            return args
        like = next(a for a in reversed(args) if isinstance(a, Tensor)).spec
        return tuple(a.operand(like) if isinstance(a, HostValue) else a for a in args)

    def emit(self, op: Op, args: Sequence[Any], attrs: Attrs) -> Tensor:
        values = [self.value(a) if isinstance(a, Tensor) else a for a in args]
        value = self.builder.emit(op, values, attrs)
        if op.checks:
            self.checks[value] = None
        if args and isinstance(args[0], Tensor) and tensors.shows_memory(args[0], op, attrs):
            out = tensors.view(args[0], op, attrs, None, value.spec)
            out._value = (self.current[out.storage], value)
            note_view(out, args[0])
            if out.storage.array is not None:
                self.shows.setdefault(out.storage, []).append(out)
            return out
        made = self.wrap(value)
        for a in args:
            if isinstance(a, Tensor) and (a.views or a.storage.strides):
                made.storage.strides = elementwise_strides(op, args)
                break
        return made

    def write(self, target: Tensor, value: Tensor) -> None:
        """Give target's memory the elements of `value`, of the same type."""
        base, new, storage = self.lift(target), self.value(value), target.storage
        self.remember(storage)
        self.current[storage] = overwrite(base, target.views, new) if target.views else new
        storage.version += 1
        if storage.array is not None or any(i.storage is storage for i in self.inputs):
            self.written[storage] = None

    def part(self, x: Tensor, value: Tensor) -> None:
        """x gets other memory, with the elements of `value`."""
        part(self, x)
        self.write(x, value)

    def pick(self, out: Tensor, source: Tensor, index: Any, put: Callable[[Tensor], None]) -> None:
        """`out` is source[index] at a number that is not known; `put` writes such an element."""
        self.picked[out.storage] = Pick(source, index, self.lift(source), put)

    def _check_pick(self, pick: Pick) -> None:
        if self.lift(pick.source) is not pick.seen:
            raise Untraceable(
                f"an element of {pick.source.spec} at an index known only at run time is read "
                "after the tensor was written",
                why="it is a view in eager code and shows the write; a compiled step has a copy",
                fix="index again after the write, or clone() the element before it",
            )

    def write_through(self, x: Tensor) -> None:
        """After a write to x, all of its memory: if it was picked from a tensor, on to that."""
        pick = self.picked.get(x.storage)
        if pick is not None:
            self._check_pick(pick)
            pick.put(x)
            self.picked[x.storage] = replace(pick, seen=self.lift(pick.source))

    # ---- concrete things the step changes ------------------------------------------------------

    def remember(self, what: Tensor | Storage) -> None:
        """Before the first change of a concrete tensor's history or a storage's version."""
        if what in self._before or (isinstance(what, Tensor) and what.is_traced):
            return
        if isinstance(what, Storage):
            version = what.version
            self._before[what] = lambda: setattr(what, "version", version)
            return
        fields = {k: v for k, v in what.__dict__.items() if k in HISTORY}

        def restore() -> None:
            for k in HISTORY:
                what.__dict__.pop(k, None)
            what.__dict__.update(fields)

        self._before[what] = restore
        if fields.get("_node") is None:
            self._without_history.append(what)

    def first(self, what: Hashable, restore: Callable[[], None]) -> bool:
        """Whether the step has not changed `what` yet; `restore` puts it back when it ends."""
        return self._before.setdefault(what, restore) is restore

    def keep(self, table: Any, attach: Callable[[], None] | None = None) -> None:
        """Before a list or dict of hooks, of something that outlives the step, is changed."""
        before = table.copy()
        if self.first(("hooks", id(table)), partial(refill, table, before)):
            self.tables.append(Kept(table, before, attach))

    def has_changed(self, what: Hashable) -> bool:
        return what in self._before

    def flag(self, x: Tensor) -> None:
        """Before x's `requires_grad` is set."""
        if not x.is_traced:
            self.remember(x)
            self._flags.setdefault(x, x.requires_grad)

    def flag_before(self, x: Tensor) -> bool:
        """x's `requires_grad` when the step began."""
        return self._flags.get(x, x.requires_grad)

    def keep_flags(self) -> None:
        """Where the step leaves `requires_grad` other than it was, each call sets it."""
        for x, before in self._flags.items():
            if x.requires_grad != before:
                self.after_commit.append(partial(x.requires_grad_, x.requires_grad))

    def made_alias(self, x: Tensor, of: Tensor) -> None:
        """x is new: what the step does to its history is its own affair."""
        if not x.is_traced:
            self.aliases[x] = None

    def check_histories(self) -> None:
        """Raise where a tensor that outlives the step has got a history: the next call's gradients
        would go on through this one."""
        for x in self._without_history:
            if x._node is not None and x not in self.aliases:
                raise Untraceable(
                    f"{x.name or x.spec} leaves the step with a history, for it was written with "
                    "a value that requires grad",
                    why="a compiled step's history ends with it; in eager code it would grow on",
                    fix="write value.detach(), or write inside `with graphc.no_grad():`",
                )

    def grad_of(self, x: Tensor) -> Tensor | None:
        return self.grads.get(x, x._grad)

    def truth(self, x: Tensor | HostValue, frame: FrameType) -> bool | None:
        """The answer to what `frame` asks, if the other one only leads to an error."""
        return None

    def known(self, x: Tensor, fixing: bool = True) -> Array | None:
        """The elements, if computed of constants alone, and of sizes with `fixing`, which fixes."""
        return of_constants(self.value(x), self.fixed, fixing)

    def text(self, x: Tensor | HostValue, form: str | None) -> str:
        """What stands for `format(x, form)`, or for `repr(x)` if that is None."""
        return f"<traced {x.origin if isinstance(x, HostValue) else x.spec}>"

    def computed(self, action: Callable[..., Any], *args: Any, kind: Kind = None) -> HostValue:
        """What Python computes after each call."""
        raise DataDependentBranch(
            "Python computes with a value known only at run time", fix=DataDependentBranch.instead
        )

    def foresee(self, x: HostValue) -> None:
        """x has just been computed."""

    def varies(self, x: HostValue) -> bool:
        """Whether an index that is known before each call is read anew by each."""
        return False

    def asked(self, x: HostValue, what: Callable[[Any], Any]) -> Any:
        """`what(x)`, of what is known before each call."""
        raise NotImplementedError

    def number_before(self, x: HostValue) -> Tensor:
        """What is known before each call, as a 0-d tensor."""
        raise NotImplementedError

    def read(self, x: Tensor, how: Callable[[Tensor], Any]) -> Any:
        """`how(x)`, which Python looks at."""
        raise DataDependentBranch(
            f"Python reads {origin(x)}, known only at run time",
            fix=DataDependentBranch.instead,
        )

    def refuse(self, error: GraphcError) -> GraphcError:
        """The step cannot be compiled, even if its code catches the error."""
        self.refused = self.refused or error
        return self.refused

    def told(self, hook: Callable[..., Any], *args: Any) -> Any:
        """What a hook makes of a gradient."""
        return hook(*args)

    def told_of_gradient(self, hook: Callable[[Tensor], Any], x: Tensor) -> None:
        """x's gradient has been accumulated, which a hook follows."""
        hook(x)

    def set_grad(self, x: Tensor, g: Tensor | None) -> None:
        self.grads[x] = g
        if g is not None and g.is_traced:
            self.gradients_seen.append(g)
        if g is None:
            self.cleared.add(x)

    def next_draw(self, generator: Any) -> tuple[Tensor, Tensor]:
        """Seed and number of the generator's next draw, as scalars of the call."""
        count = self.draws.get(generator, 0)
        self.draws[generator] = count + 1
        seed = self.host_scalar(generator.signed_seed, i64, "seed", ("seed", id(generator)))
        draw = self.host_scalar(generator.next_number, i64, "draw", ("draw", id(generator)))
        return seed, draw if count == 0 else draw.emit(tensors.ADD, draw, count)

    # ---- the result ----------------------------------------------------------------------------

    @contextmanager
    def activate(self) -> Iterator[Trace]:
        """Record what this thread's tensors do inside; concrete tensors are put back after."""
        before, modes.trace = modes.trace, self
        try:
            yield self
        finally:
            modes.trace = before
            for restore in reversed(self._before.values()):
                restore()
            self._before.clear()
            self._without_history.clear()
            self._flags.clear()
            self.aliases.clear()
            self.shows.clear()

    def take_apart(self) -> None:
        """Let go of all that it has seen, once no plan of it is left: what a dropped step held is
        freed at once, not when Python's collector comes. Where its tensors are stays: one that got
        out of the step is asked for its device before it can be refused."""
        place = self.place
        self.builder.forget()
        vars(self).clear()
        self.place = place

    def graph(self, name: str, outs: Sequence[Tensor]) -> Graph:
        """The step so far: `outs` returned, then every written input with its last value."""
        by_storage = {i.storage: i for i in self.inputs if i.storage is not None}
        written = [s for s in self.written if s in by_storage]
        return Graph(
            name,
            tuple(i.value for i in self.inputs),
            tuple(i.role for i in self.inputs),
            (*(self.value(t) for t in outs), *(self.last(by_storage[s]) for s in written)),
            (*(None for _ in outs), *(by_storage[s].value for s in written)),
        )


HISTORY = ("_node", "_slot", "_requires_grad", "_made_at", "_leaf", "_hooks", "_base")


def refill(table: Any, kept: Any) -> None:
    """Let a list or dict hold what `kept` does."""
    table.clear()
    table.extend(kept) if isinstance(table, list) else table.update(kept)


def active() -> Trace | None:
    """The trace that this thread's tensors record into."""
    return modes.trace


@contextmanager
def paused() -> Iterator[None]:
    """Compute concretely inside, although a trace is active (to make optimizer slots)."""
    before, modes.trace = modes.trace, None
    try:
        yield
    finally:
        modes.trace = before


def host_scalar(getter: Getter, dtype: DType, name: str, key: Hashable | None = None) -> Tensor:
    """A number of Python's that may change from call to call, as a 0-d tensor."""
    if modes.trace is not None:
        return modes.trace.host_scalar(getter, dtype, name, key)
    return tensors.scalar(getter(), dtype)


def after_commit(action: Callable[[], object]) -> None:
    """Run `action` on the host: now, or in a trace after each call that succeeds."""
    if modes.trace is None:
        action()
    else:
        modes.trace.after_commit.append(action)


def guard(getter: Callable[[], Any]) -> Any:
    """`getter()`, compared at each call of the compiled step: a change traces anew."""
    value = getter()
    if modes.trace is not None:
        modes.trace.guards.append((getter, value))
    return value
