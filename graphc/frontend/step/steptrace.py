"""A trace that knows whose memory its arguments are, and what of concrete tensors it relies on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, NamedTuple

from graphc.errors import DevicesMixed, InvalidState, Untraceable, leaving
from graphc.frontend import epoch
from graphc.frontend.hostvalue import HostValue, Kind
from graphc.frontend.meta import FIX, META
from graphc.frontend.places import HOST, place_of
from graphc.frontend.step.python import beforehand, demands, effects, printed
from graphc.frontend.storage import Storage
from graphc.frontend.tensor import Tensor, readable
from graphc.frontend.told import Told
from graphc.frontend.trace import Trace
from graphc.frontend.views import Chain
from graphc.ir.graph import NOWHERE, Value
from graphc.ir.types import TensorSpec


class SharedArgument(BaseException):
    """The step reads the memory of argument `index` also as state: trace again, with it as state.

    No Exception, so that a user's `except Exception` inside the step does not stop it.
    """

    def __init__(self, index: int) -> None:
        leaving()
        self.index = index


class Shown(NamedTuple):
    """What memory a tensor shows, and how: all of it moves if `.data` is set."""

    storage: Storage
    views: Chain
    spec: TensorSpec

    @classmethod
    def by(cls, x: Tensor) -> Shown:
        return cls(x.storage, x.views, x._spec)

    def still(self, x: Tensor) -> bool:
        return x.storage is self.storage and x.views is self.views and x._spec == self.spec


class AsTraced:
    """Whether what `look` sees of tensors is `then`; looks only if the epoch `counter` moved."""

    def __init__(
        self, tensors: Iterable[Tensor], counter: str, look: Callable[[Tensor], Any], then: Any
    ) -> None:
        self._tensors = list(tensors)
        self._counter, self._look, self._then = counter, look, then
        self._epoch, self._same = getattr(epoch, counter), True

    def __call__(self) -> bool:
        if self._epoch != (now := getattr(epoch, self._counter)):
            self._epoch = now
            self._same = [self._look(x) for x in self._tensors] == self._then
        return self._same


def _hooks(x: Tensor, before: Mapping[int, Any] | None = None) -> list[Any]:
    """Of a leaf, as they were `before` by the id of a table, or else are."""
    tables = [t for t in (x._hooks, x._after_grad) if t is not None]
    return [h for t in tables for h in (before or {}).get(id(t), t)]


def _flag(x: Tensor) -> bool:
    return x.requires_grad


class StepTrace(Trace):
    """A trace that knows whose memory its arguments are and which leaves were read."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[Storage, int] = {}  # concrete storages of arguments
        self.passed: set[Storage] = set()  # of arguments that are state of this trace
        self.stand_ins: dict[Storage, int] = {}
        self.leaves: dict[Tensor, None] = {}
        self.shown: dict[Tensor, Shown] = {}  # concrete tensors that were touched, as they were
        self.flags: dict[Tensor, bool] = {}  # requires_grad of state, when the step began
        self.old_grads: dict[Tensor, tuple[Tensor | None, Shown | None]] = {}
        self.demands: list[str] = []  # tests that values have to meet, as their errors say
        self.failing = -1  # number of the one that they do not meet in the call which is traced
        self.ending = False  # whether the step has come to that one, and raises
        self._placed = False  # whether a tensor has said where the step runs

    def argument(self, like: Tensor, name: str, spec: TensorSpec | None = None) -> Tensor:
        self._join(like)
        with self.builder.at(NOWHERE):  # what a call passes stands on no line of the step
            return super().argument(like, name, spec)

    def truth(self, x: Tensor | HostValue, frame: FrameType) -> bool | None:
        return demands.truth(self, x, frame)

    def text(self, x: Tensor | HostValue, form: str | None) -> str:
        if self.ending:
            return demands.shown(self, x, form)
        return printed.marked(self, x, form)

    def computed(self, action: Callable[..., Any], *args: Any, kind: Kind = None) -> HostValue:
        return effects.computed(self, action, *args, kind=kind)

    def foresee(self, x: HostValue) -> None:
        beforehand.foresee(self, x)

    def varies(self, x: HostValue) -> bool:
        return beforehand.varies(self, x)

    def asked(self, x: HostValue, what: Callable[[Any], Any]) -> Any:
        return beforehand.asked(self, x, what)

    def number_before(self, x: HostValue) -> Tensor:
        return beforehand.number(self, x)

    def read(self, x: Tensor, how: Callable[[Tensor], Any]) -> Any:
        if self.ending:
            return demands.read(self, x, how)
        return effects.read(self, x, how) if self.watched else super().read(x, how)

    def told(self, hook: Callable[..., Any], *args: Any) -> Any:
        return effects.told(hook, *args)

    def told_of_gradient(self, hook: Callable[[Tensor], Any], x: Tensor) -> None:
        effects.told_of_gradient(hook, x)

    def made_alias(self, x: Tensor, of: Tensor) -> None:
        if of.array is not None and of not in self.aliases:
            self.shown.setdefault(of, Shown.by(of))
        super().made_alias(x, of)

    def lift(self, x: Tensor) -> Value:
        if x.array is not None:
            if x.storage in self.owners:
                raise SharedArgument(self.owners[x.storage])
            self._join(x)
            self._check_parted(x)
            if x.requires_grad:
                self.leaves[x] = None
            if not (self.aliases and x in self.aliases):
                if x not in self.shown:
                    self.shown[x] = Shown.by(x)
                if x.is_leaf and x.dtype.is_floating_point and x not in self.flags:
                    self.flags[x] = self.flag_before(x)
        return super().lift(x)

    def _check_parted(self, x: Tensor) -> None:
        """Refuse to read, by another tensor, memory that the step has taken one from by `.data`."""
        if x.storage not in self.parted or x in self.aliases:
            return
        owner = self.parted[x.storage].tensor
        if x is owner:
            return
        raise Untraceable(
            f"the step gives {owner.name or owner.spec} other memory by .data, and reads what it "
            "had through another tensor",
            why="a compiled step writes the memory in place, so both would show the new elements",
            fix="keep a clone() of the old elements, or copy the new ones: x.data.copy_(value)",
        )

    def _join(self, x: Tensor) -> None:
        """A step runs where its tensors are. One of the host without dimensions may be anywhere:
        each call brings it, as PyTorch does for each operation."""
        place = place_of(x.array)
        if place is META:
            raise InvalidState(
                f"{x.name or x.spec} of a compiled step is on the meta device",
                why="a tensor there has no elements to compute with",
                fix=FIX,
            )
        if place is HOST and not x.storage.spec.shape:
            return
        if self._placed and place is not self.place:
            raise DevicesMixed(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{self.place.name} and {place.name}!",
                why="a step is one program on one device",
            )
        self.place, self._placed = place, True

    def note_leaves(self) -> None:
        """Guard the hooks of leaves, and which state requires grad."""
        before = {id(k.table): k.before for k in self.tables}
        leaves = [x for x in self.leaves if x.storage not in self.rebound]  # `Like` sees to those
        hooks = [_hooks(x, before) for x in leaves]
        self.guards.append((Told(AsTraced(leaves, "hooks", _hooks, hooks)), True))
        flags = list(self.flags.values())
        self.guards.append((Told(AsTraced(self.flags, "modules", _flag, flags)), True))

    def grad_of(self, x: Tensor) -> Tensor | None:
        if x not in self.grads:
            g = readable(x._grad)
            self.old_grads.setdefault(x, (g, None if g is None else Shown.by(g)))
        return super().grad_of(x)
