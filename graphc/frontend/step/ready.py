"""The next call of an entry, prepared: what a call that is like the last one still has to do.

After memory-bound native code nothing of Python is in the caches any more, so what counts is how
many objects and how much code a call touches. A `Ready` is made after a call whose entry also
served the one before. It compares, in one frame: the mode of the thread, the arguments by what
`signature` would say of each, one counter for all that tells of its changes (`epoch.moved`), one
for gradients. The rest of what the guards read is watched by native code (`words.py`) or asked.
Whatever differs, the call goes the whole way (`Compiled._call`), which alone decides what is right.
Where words tell of all that it compares, the calls after it are made by a builtin (`latched.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from graphc.frontend import epoch
from graphc.frontend.geometry import shown_strides
from graphc.frontend.layouts import strides_in
from graphc.frontend.modes import _default, modes
from graphc.frontend.step.family import Entry
from graphc.frontend.step.memory import lies
from graphc.frontend.step.plan import Plan, address_of
from graphc.frontend.step.python.numbers import HostNumber
from graphc.frontend.step.python.sets import all_same, columns
from graphc.frontend.step.python.words import Words
from graphc.frontend.step.recycled import RECYCLED_BYTES
from graphc.frontend.storage import Storage, running
from graphc.frontend.tensor import Tensor
from graphc.frontend.views import row_major
from graphc.ir.types import Array, Scalar, Shape, TensorSpec
from graphc.passes.autodiff import Node

_storage = Storage.plain
MISSED = object()  # the call has to go the whole way
FIXED = (int, bool, str, bytes, type(None))  # as arguments: compared by identity here
UNUSED = -1
ENOUGH, LONGEST = 8, 256  # calls


class Argument(NamedTuple):
    """What an argument must be: a tensor like that, whose address goes to `slot`, or this. How the
    program reads it: of the type `laid`, which is that in its memory `order`; and the strides, in
    bytes, of an array that it can read so."""

    spec: TensorSpec | None
    requires_grad: bool
    slot: int
    value: Any = None
    shown: Shape = ()
    laid: TensorSpec | None = None
    order: Shape = ()
    strides: Shape = ()

    @property
    def plain(self) -> bool:
        """Whether a view that is `plain` may stand here: whose array alone tells how it is read."""
        return self.slot >= 0 and not (self.requires_grad or self.shown or self.order)


def plain(x: Tensor) -> bool:
    """Whether a view is read like any tensor: row-major, and no gradient has a way through it."""
    base, array = x._base, x.array
    unrecorded = base is None or not (x._requires_grad or base._requires_grad)
    return unrecorded and array is not None and bool(array.flags.c_contiguous)


class Ready:
    """One entry, prepared."""

    __slots__ = (
        "_actions", "_arguments", "_asked", "_assumes", "_at", "_clock", "_default", "_first",
        "_first_tick", "_getters", "_gradients", "_index", "_kind", "_loss", "_modes", "_moved",
        "_native", "_numbers", "_plan", "_pointers", "_results", "_scalars", "_storages", "acts",
        "entry", "latches",
    )  # fmt: skip

    def __init__(self, entry: Entry, arguments: Sequence[Argument]) -> None:
        plan, loss = entry.plan, entry.results.bare
        self._moved, self._gradients = epoch.moved, epoch.gradients
        self._modes, self._default = dict(vars(modes)), _default[0]
        self._arguments = tuple(arguments)
        rows = enumerate(self._arguments)
        self._numbers = [(k, row.value) for k, row in rows if type(row.value) is HostNumber]
        self._asked: Any = None
        self.latches = False  # whether words tell of all that it compares
        self._getters: Sequence[Callable[[], Scalar]] = ()
        self._first: Sequence[Scalar] = ()  # the numbers for the first call, later ones keep them
        self._scalars: Sequence[Scalar] = ()
        self.entry, self._plan, self._native = entry, plan, plan.native
        self._assumes = bool(plan.native.program.assumed)
        self._storages, self._clock, self._results = plan.storages, plan.clock, plan.results
        self._pointers = [0] * (len(plan.results) + len(plan.args))
        self._kind, self._index = plan.place.kind, getattr(plan.place, "index", None)
        self._actions = () if entry.has_effects else plan.actions  # all wait for the results
        self.acts = bool(plan.draws or self._actions)
        self._at = 0
        self._loss: tuple[TensorSpec | None, bool, Node | None] = None, False, None
        if loss is not None and (loss.slot < 0 or entry.backward is None):
            history = entry.spent if loss.slot >= 0 else None
            self._at = loss.index
            self._loss = plan.out_types[loss.index], loss.requires_grad or bool(history), history
        self._first_tick = self._clock.ticks

    @property
    def ticks(self) -> int:
        """Moves with each call."""
        return self._clock.ticks

    @property
    def arguments(self) -> Sequence[Argument]:
        return self._arguments

    def still(self) -> bool:
        """Whether all but the arguments is as `call` wants it; the caller has the turn."""
        return bool(
            modes.__dict__ == self._modes
            and epoch.moved == self._moved
            and epoch.gradients == self._gradients
            and _default[0] is self._default
            and not running.programs
            and self._clock.whole
            and (self._clock.alone or not self._assumes)
        )

    @property
    def hits(self) -> int:
        """How many calls it has served, about."""
        return self._clock.ticks - self._first_tick

    def watch(self, words: Words) -> None:
        """Ask what is not watched; have the numbers as they are now."""
        self._asked = columns(words.asked, fresh=True) if words.asked else None
        self._getters = self._plan.getters if words.numbers else ()
        self._first = self._scalars = [get() for get in self._plan.getters]
        asks = self._asked is not None or bool(self._getters)
        one = self._loss[0] is not None and gives_one(self._plan)
        self.latches = one and not (asks or self._numbers)

    def call(self, args: Sequence[Any]) -> Any:
        """What the call gives, or MISSED."""
        if modes.__dict__ != self._modes or len(args) != len(self._arguments):
            return MISSED
        for k, number in self._numbers:  # first: answers are asked of them
            if not number.takes(args[k]):
                return MISSED
        with running.lock:
            if (
                epoch.moved != self._moved
                or epoch.gradients != self._gradients
                or _default[0] is not self._default
                or running.programs
                or not self._clock.whole
                or (self._assumes and not self._clock.alone)
                or (self._asked is not None and not all_same(*self._asked))
            ):
                return MISSED
            pointers, indexed = self._pointers, self._index is not None
            keep: list[Array] | None = None  # dense copies, alive while it runs
            others: list[Storage] = []
            for x, row in zip(args, self._arguments):
                spec, requires_grad, slot, value, shown, laid, order, _ = row
                if spec is None:
                    if x is not value and type(value) is not HostNumber:
                        return MISSED
                    continue
                if type(x) is not Tensor:
                    return MISSED
                array: Any = x.array
                storage = x.storage
                if (
                    (x._spec is not spec and x._spec != spec)
                    or x._requires_grad is not requires_grad
                    or type(array) is not self._kind  # another device's, which no spec tells
                    or (indexed and array.index != self._index)  # type: ignore[attr-defined]
                    or storage.strides != shown
                    or storage in self._storages
                    or storage in others
                    or ((x.views or x._base is not None) and not (row.plain and plain(x)))
                ):
                    return MISSED
                others.append(storage)
                if slot >= 0:
                    known = storage.address and storage.order == order
                    if known and storage.spec is x._spec and array is storage.array:
                        pointers[slot] = storage.address
                        continue
                    keep = keep or []
                    pointers[slot] = address_of(x, laid or spec, order, keep, self._plan.place)
            return self._run(args, pointers)

    def _run(self, args: Sequence[Any], pointers: list[int]) -> Any:
        outs: list[Array] = []
        for k, result in enumerate(self._results):
            array, place = result.make()
            pointers[k] = place
            outs.append(array)
        scalars = [get() for get in self._getters] if self._getters else self._first
        running.programs += 1
        try:
            if not self._native.again(pointers, scalars):
                return MISSED
        except BaseException:
            if self._native.done:  # a handler's, after the commit: the step counts
                self.after()
            raise
        finally:
            running.programs -= 1
        self._first = ()
        self._clock.cell.value += 1
        if self.acts:
            self.act()
        spec, requires_grad, node = self._loss
        if spec is None:
            return self._filled(args, outs, scalars)
        out = object.__new__(Tensor)
        out.array = array = outs[self._at]
        out._spec, out.storage = spec, _storage(array, spec)
        out._requires_grad, out._node = requires_grad, node
        return out

    def after(self) -> None:
        """Count a call that has run, and do what follows each."""
        self._clock.cell.value += 1
        self.act()

    def act(self) -> None:
        for generator, count in self._plan.draws:
            generator.advance(count)
        for action in self._actions:
            action()

    def _filled(self, args: Sequence[Any], outs: list[Array], scalars: Sequence[Scalar]) -> Any:
        """A result that is more than a loss."""
        leaves = [x for x in args if isinstance(x, Tensor)]
        return self.entry.finished(leaves, outs, (), scalars or self._scalars, (args, {}))


class Patience:
    """When to prepare a call: not after each of many that differ from the last."""

    def __init__(self) -> None:
        self._wait = self._left = 1

    def ripe(self, missed: Ready | None) -> bool:
        """Asked after each call that went the whole way, with what had been prepared for it."""
        if missed is not None:
            self._wait = 1 if missed.hits >= ENOUGH else min(2 * self._wait, LONGEST)
            self._left = self._wait
        self._left -= 1
        if self._left > 0:
            return False
        self._left = self._wait = min(2 * self._wait, LONGEST)  # should none come of it
        return True


def prepared(entry: Entry, args: Sequence[Any], leaves: Sequence[Tensor]) -> Ready | None:
    """The next call after one with these arguments, if it may be as simple as that."""
    plan, kept = entry.plan, entry.guards.sets[0]
    arguments = _arguments(plan, args)
    special = plan.fixed or modes.anomaly
    if arguments is None or special or not plan.rests():
        return None
    with running.lock:  # what is watched now stays alive until something else is
        ready = Ready(entry, arguments)  # notes the counters first: what moves from here on counts
        entry.words.take(kept.always, plan.getters, plan.standing)
        ready.watch(entry.words)
        if not plan.native.watch(entry.words.all()):
            return None
    if not entry.fits(leaves) or entry.guards.sets[0] is not kept or not plan.rests():
        return None
    return ready


def _arguments(plan: Plan, args: Sequence[Any]) -> list[Argument] | None:
    rows: list[Argument] = []
    unused: tuple[int, TensorSpec | None, Shape] = (UNUSED, None, ())
    slots = {
        k: (slot, spec, order) for slot, (k, spec, order) in enumerate(plan.args, len(plan.results))
    }
    leaf = 0
    for x in args:
        if type(x) is Tensor:
            if x.views and shown_strides(x) != x.storage.strides:  # which `shown` does not tell
                return None
            slot, laid, order = slots.get(leaf, unused)
            shown, strides = x.storage.strides, _strides(x, order)
            rows.append(
                Argument(x._spec, x._requires_grad, slot, None, shown, laid, order, strides)
            )
            leaf += 1
        elif isinstance(x, FIXED) or (type(x) is HostNumber and not x.decides):
            rows.append(Argument(None, False, UNUSED, x))
        else:
            return None
    once = len(slots) == len(plan.args)  # else one argument goes to two places
    return rows if once else None


def _strides(x: Tensor, order: Shape) -> Shape:
    """Of an array with x's elements in `order`, () for row-major, in bytes: x's own, if that lies
    so, as dimensions of one element may have any."""
    shape, size = x._spec.shape, x._spec.dtype.itemsize
    if x.array is not None and lies(x.array, order or tuple(range(len(shape)))):
        return x.array.strides
    return tuple(size * step for step in strides_in(shape, order) or row_major(shape))


def gives_one(plan: Plan) -> bool:
    """Whether it gives one result, small enough to be used again once nobody holds it."""
    return len(plan.results) == 1 and plan.out_types[0].size_bytes <= RECYCLED_BYTES
