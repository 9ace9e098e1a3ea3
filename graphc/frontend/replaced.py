"""Update rules of many parameters in eager mode as one program, which writes where they lie.

A rule gives a parameter and slots in place of those that it is given, element by element, each
rounded once; so it has the same bits as the calls of `update.py`, without memory for what is new,
a copy of it, and a call for each parameter. It begins with the `AFTER`th step: much code takes few.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from graphc.frontend.modes import modes
from graphc.frontend.places import HOST
from graphc.frontend.repeated import leaves, mapped
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.frontend.whole import watched
from graphc.ir.graph import NOWHERE, Graph, Value
from graphc.ir.types import Array, Scalar, TensorSpec, f32, f64

AFTER = 10  # steps that are taken call by call
MOST = 256  # parameters of a program

Rule = Callable[..., Any]  # of a parameter, its gradient, slots and rates; a parameter and slots


class Call(NamedTuple):
    """What a rule is given: slots and rates are None, or tuples of tensors or None, of numbers."""

    p: Tensor
    g: Any
    slots: Any


class Native(Protocol):
    """A compiled program whose state is what it rewrites (`step/native.py`)."""

    @property
    def done(self) -> bool: ...
    def bind_state(self, pointers: Sequence[int]) -> None: ...
    def run(
        self, args: Sequence[int], outs: Sequence[int] = (), scalars: Sequence[Scalar] = ()
    ) -> None: ...
    def settle(self) -> None: ...


class Replacer(NamedTuple):
    """Who has a compiler, and whether this thread is in the middle of one of its programs."""

    make: Callable[[Graph], Native]
    busy: Callable[[], bool]


REPLACERS: list[Replacer] = []  # the last one serves
_made: weakref.WeakKeyDictionary[Any, dict[Hashable, Replacing]] = weakref.WeakKeyDictionary()


def replaced(
    owner: Any, key: Hashable, rule: Rule, calls: Sequence[Call], rates: Any, wide: bool = False
) -> bool:
    """Let what `rule` gives for each call take the place of its parameter and slots; False, and
    nothing was done, where that is for the caller to do. `key` tells calls of one owner apart;
    `wide`: rates meet each other, as doubles."""
    if modes.trace is not None or modes.grad or not REPLACERS or not 0 < len(calls) <= MOST:
        return False
    own = _made.setdefault(owner, {})
    known = key, rule
    if known not in own:
        own[known] = Replacing(rule, wide)
    return not watched() and own[known](calls, rates)


class Replacing:
    """The program of a rule, for the parameters and slots that it was last given."""

    def __init__(self, rule: Rule, wide: bool = False) -> None:
        self._rule, self._wide = rule, wide
        self._left = AFTER
        self._native: Native | None = None
        self._made_for: Any = None  # types of parameters, which slots there are, kinds of rates
        self._arrays: list[weakref.ref[Array]] = []
        self._owners: set[int] = set()

    def __call__(self, calls: Sequence[Call], rates: Any) -> bool:
        if self._left:
            self._left -= 1
            return False
        given = [call.g.array for call in calls]
        numbers = [*leaves(rates)]
        if not all(map(_is_line, given)) or REPLACERS[-1].busy():
            return False
        if not all(map(_fits, given, [call.p.array for call in calls])):
            return False
        targets = [x for call in calls for x in leaves((call.p, call.slots)) if x is not None]
        kinds = [x if type(x) is bool else type(x) for x in numbers]
        if not self._holds([x.array for x in targets], kinds):
            self._left = AFTER  # what does not fit is not asked each time
            if not self._bind(calls, targets, kinds, rates):
                return False
            self._left = 0
        native = self._native
        if native is None or not self._owners.isdisjoint(map(_owner, given)):
            return False
        try:
            native.run([*map(HOST.address, given)], (), _rounded(numbers, self._number(calls)))
            native.settle()
        finally:  # what a handler raises may come when all is written
            if native.done:
                for x in targets:
                    x.storage.version += 1
        return True

    def _number(self, calls: Sequence[Call]) -> TensorSpec:
        """The type of rates."""
        return TensorSpec(f64 if self._wide else calls[0].p._spec.dtype, ())

    def _holds(self, arrays: Sequence[Any], kinds: list[Any]) -> bool:
        """Whether it is bound to these."""
        known = self._arrays
        if len(known) != len(arrays) or self._native is None or self._made_for[-1] != kinds:
            return False
        return all([ref() is a for ref, a in zip(known, arrays)])

    def _bind(
        self, calls: Sequence[Call], targets: Sequence[Tensor], kinds: list[Any], rates: Any
    ) -> bool:
        """Write to these from now on; False where they cannot be."""
        self._arrays = []
        spec = calls[0].p._spec
        arrays: list[Any] = [x.array for x in targets]
        owners = {*map(_owner, arrays)}
        if (
            spec.dtype not in (f32, f64)
            or any(x._spec != call.p._spec for call in calls for x in _slots(call))
            or any(call.p._spec.dtype is not spec.dtype for call in calls)
            or not all(kind in (int, float, type(None), True, False) for kind in kinds)
            or not all(_is_line(a) and a.size and a.flags.writeable for a in arrays)
            or any(x.storage.strides for x in targets)
            or len(owners) < len(arrays)  # what one is given another would read
        ):
            return False
        made_for = [call.p._spec for call in calls], [mapped(c.slots, type) for c in calls], kinds
        if made_for != self._made_for:
            self._made_for, graph = made_for, self._graph(calls, rates)
            self._native = None if graph is None else REPLACERS[-1].make(graph)
        if self._native is None:
            return False
        self._native.bind_state([*map(HOST.address, arrays)])
        self._arrays, self._owners = [*map(weakref.ref, arrays)], owners
        return True

    def _graph(self, calls: Sequence[Call], rates: Any) -> Graph | None:
        """All calls over vectors; None where something in them is not rounded once."""
        trace = Trace()
        trace.builder.here = NOWHERE
        inputs: list[Value] = []
        roles: list[str] = []

        def stand_in(role: str, spec: TensorSpec) -> Tensor:
            inputs.append(trace.builder.input(f"{role}{len(inputs)}", spec))
            roles.append(role)
            return trace.wrap(inputs[-1])

        outs: list[Value] = []
        targets: list[Value] = []
        with trace.activate():
            number = self._number(calls)
            shared = mapped(rates, lambda r: stand_in("scalar", number) if _is_number(r) else r)
            for call in calls:
                line = TensorSpec(call.p._spec.dtype, (call.p._spec.numel,))

                def old_one(x: Any, line: TensorSpec = line) -> Tensor | None:
                    return None if x is None else stand_in("state", line)

                old = mapped((call.p, call.slots), old_one)
                new = self._rule(old[0], stand_in("arg", line), old[1], shared)
                pairs = zip(leaves(old), leaves(new), strict=True)
                for was, now in ((a, b) for a, b in pairs if a is not None):
                    if now is not was:  # a slot may stay as it is
                        targets.append(trace.value(was))
                        outs.append(trace.value(now))
        graph = Graph("replaced", tuple(inputs), tuple(roles), tuple(outs), tuple(targets))
        return graph if all(map(_rounds_once, graph.values())) else None


def _slots(call: Call) -> list[Tensor]:
    return [x for x in leaves(call.slots) if x is not None]


def _rounds_once(v: Value) -> bool:
    """Whether it has the same bits however it is computed."""
    op = v.op
    if op is None or op.name in ("expand", "reshape"):
        return True
    return op.kind == "elementwise" and (op.exact or op.correct)


def _rounded(numbers: Sequence[Any], spec: TensorSpec) -> list[float]:
    """As they stand beside tensors: one too large for the type is infinite."""
    kind = np.dtype(spec.dtype.numpy).type
    with np.errstate(all="ignore"):
        return [float(kind(r)) for r in numbers if _is_number(r)]


def _is_number(x: Any) -> bool:
    return type(x) in (int, float)


def _is_line(array: Any) -> bool:
    """Whether its elements lie as a vector's."""
    return type(array) is np.ndarray and array.flags.c_contiguous


def _owner(array: Any) -> int:
    return id(array if array.base is None else array.base)


def _fits(given: Array, array: Any) -> bool:
    """Whether a gradient is of its parameter's type, which either may have been given anew."""
    return given.dtype is array.dtype and given.shape == array.shape
