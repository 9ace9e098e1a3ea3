"""Compiled functions and modules: plans kept by signature, and the way from a call to a plan.

The fast path computes the signature, finds its plans, and checks guards and memory relations. A
miss traces the function anew and records why. Calls inside a trace run the plain function, so that
compiled functions inline into each other.
"""

from __future__ import annotations

import copy
import functools
import inspect
import threading
import time
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from graphc import config
from graphc.errors import DataDependentBranch, InternalError, TooManyCompiles
from graphc.frontend.modes import modes
from graphc.frontend.step.alike import alike, outline
from graphc.frontend.step.budget import Budget, drop_oldest
from graphc.frontend.step.capture import Capture, Check, capture
from graphc.frontend.step.failing import reraise
from graphc.frontend.step.family import Backend, Entry, Family
from graphc.frontend.step.finite import CheckedRun
from graphc.frontend.step.inspect.explanation import Recompile
from graphc.frontend.step.inspect.inspection import Stats, Unit
from graphc.frontend.step.inspect.measured import Measured
from graphc.frontend.step.inspect.predicted import Memory, Part, memory_of
from graphc.frontend.step.inspect.recompiles import Recompiles, count_trace
from graphc.frontend.step.latched import Latched, places, reclaim
from graphc.frontend.step.names import leaf_names
from graphc.frontend.step.plainly import Building, disable
from graphc.frontend.step.plan import copied_bytes
from graphc.frontend.step.python.collector import collector_paused
from graphc.frontend.step.python.guards import Change
from graphc.frontend.step.python.numbers import Decides, Numbers, ReadNumbers
from graphc.frontend.step.python.observed import observed
from graphc.frontend.step.python.sets import Guards
from graphc.frontend.step.python.stores import Registers
from graphc.frontend.step.python.watch import Watch
from graphc.frontend.step.ready import MISSED, Patience, Ready, prepared
from graphc.frontend.step.signature import Key, change, signature
from graphc.frontend.step.sizes import Openness, form, other_sizes
from graphc.frontend.storage import running
from graphc.frontend.tensor import Tensor
from graphc.ir.symbols import Fixed

MAX_PLANS = 64  # families: each holds its code
THRASHING = 16  # plans dropped for new ones before the limit is reported


class Compiled(Measured):
    """What compiled functions and modules share: plans by signature, counters, inspection."""

    # Found without a look into a dict that a step has swept out.
    __slots__ = ("_last", "_latch", "_latched", "_next")

    _last: Entry | None
    _next: Ready | None
    _latched: Latched | None  # for the calls of `_next`

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        backend: Backend,
        on_limit: str = "warn",
        grads: str = "keep",
        dynamic: bool | None = None,
        check: Check = None,
    ) -> None:
        super().__init__()
        self.stats = Stats()
        self._recompiles: list[Recompile] = []
        self._log = Recompiles(name)
        self._function = function
        self._name = name
        self._backend = self._given = backend
        self._on_limit = on_limit
        self._drop_grads = grads == "drop"
        self._dynamic, self._check = dynamic, check
        self._entries: dict[Key, list[Entry]] = {}
        self._budget = Budget(self._entries)
        self._families: OrderedDict[Hashable, list[Family]] = OrderedDict()
        self._openness: dict[Hashable, Openness] = {}
        self._spare: dict[Tensor, Tensor] = {}  # gradients made by the plans, by owner
        self._held: set[str] = set()  # keys of kernels of any plan so far
        self._last = None
        self._last_key: Key = ()
        self._dropped = 0
        self._building = Building(name, on_limit)
        self._numbers, self._read_numbers = Numbers(), ReadNumbers()
        self._unprepare()
        self._patience = Patience()
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            if (latch := self._latch) is not None and not kwargs:
                try:
                    out = latch.run(*args)
                except BaseException as e:
                    out = latch.ended(e)
                if out is not None:
                    return out
            if (ready := self._next) is not None and not kwargs:
                out = self._again(ready, args)
                if out is not MISSED:
                    return out
            if modes.trace is not None or modes.disabled:
                return self._as_written(args, kwargs)
            return self._call(args, kwargs)
        except DataDependentBranch as e:
            reraise(e, self._last, self._watched, args, kwargs)

    def _call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        leaves: list[Tensor] = []
        given, self._latch = (args, kwargs), None
        if running.programs:
            reclaim()
        if self._numbers.loose:
            args, kwargs = self._numbers.loosened(args, kwargs)
        key = signature(args, kwargs, leaves)
        for entry in reversed(self._entries.get(key, ())):  # the last one serves most values
            if entry.fits(leaves):
                again, self._last = self._last is entry, entry
                out = entry.run(leaves, given)
                if self._budget.note(entry):
                    self._fit(entry)
                special = kwargs or self._check is not None or self._timed
                if again and not special:
                    self._prepare(entry, args, leaves)
                return out
        if config.disabled():
            return self._eagerly(*given)
        self._numbers.note(*given)
        try:
            entry, leaves = self.entry(*given)
        except Registers as e:
            self._building.tell(e)
            return self._eagerly(*given)
        self._building.compiled()
        out = entry.run(leaves, given)
        self._budget.note(entry)
        self._fit(entry)
        return out

    def entry(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Entry, list[Tensor]]:
        """What a call with these arguments would run, compiled if need be, and their tensors."""
        leaves: list[Tensor] = []
        given = args, kwargs
        if self._numbers.loose:
            args, kwargs = self._numbers.loosened(args, kwargs)
        key = signature(args, kwargs, leaves)
        known = (e for e in self._entries.get(key, ()) if e.fits(leaves))
        try:
            return next(known, None) or self._miss(key, args, kwargs, leaves), leaves
        except Decides:  # it is part of the signature from here on
            return self.entry(*given)

    def memory(self, *args: Any, **kwargs: Any) -> Memory:
        """Predicted peak in bytes, by kind, of the last call or of one with these arguments, which
        is compiled but not made.

        Raises InvalidState without arguments before the first call.
        """
        if not args and not kwargs:
            return super().memory()
        entry, leaves = self.entry(args, kwargs)
        family = entry.family
        graphs = [family.graph, *([family.split.backward] if family.split is not None else [])]
        programs = [family.native(g, entry.sizes).program for g in graphs]
        host = family.units[0].device == "cpu"
        parts = [Part(p, backward=k > 0, host=host) for k, p in enumerate(programs)]
        return memory_of(parts, copied_bytes(entry.plan, leaves))

    def _prepare(self, entry: Entry, args: Sequence[Any], leaves: Sequence[Tensor]) -> None:
        """After a call that went the whole way, have the next one as short as it can be."""
        missed = self._next
        self._unprepare()
        if self._patience.ripe(missed):
            self._next = prepared(entry, args, leaves)

    def _unprepare(self) -> None:
        self._next = self._latched = self._latch = None

    def _again(self, ready: Ready, args: Sequence[Any]) -> Any:
        """A prepared call; where it was right the next one is latched."""
        if (made := self._latched) is not None:
            made.give()
        out = ready.call(args)
        if out is not MISSED:
            self._last = ready.entry
            if ready.latches and not self._timed and places() is not None:
                if made is None or not made.serves(ready):
                    made = Latched(ready)
                self._latched, self._latch = made, made.again(out)
        return out

    def _as_written(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The call as Python makes it."""
        raise NotImplementedError

    def _eagerly(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        with disable():
            return self._as_written(args, kwargs)

    # ---- misses --------------------------------------------------------------------------------

    def _miss(
        self, key: Key, args: Sequence[Any], kwargs: Mapping[str, Any], leaves: list[Tensor]
    ) -> Entry:
        with self._lock:
            for entry in self._entries.get(key, ()):
                if entry.fits(leaves):  # another thread was first
                    return entry
            kind = form(key)
            entry = self._other_sizes(kind, leaves) or self._compiled(
                key, kind, args, kwargs, leaves
            )
            if entry not in self._entries.get(key, ()):
                if self._check is not None:
                    entry.run = CheckedRun(entry, self._check)  # type: ignore[method-assign, assignment]
                self._entries.setdefault(key, []).append(entry)
            self._last, self._last_key = entry, key
            self._ready_at = time.perf_counter()
            return entry

    def _other_sizes(self, kind: Hashable, leaves: Sequence[Tensor]) -> Entry | None:
        """An entry of what is compiled already, for sizes that it has not seen."""
        for family in self._families.get(kind, ()):
            if family.guards.hold():
                with collector_paused():
                    entry = family.at(leaves, self._spare)
                if entry is not None and entry.fits(leaves):
                    return entry
        return None

    def _compiled(
        self,
        key: Key,
        kind: Hashable,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        leaves: list[Tensor],
    ) -> Entry:
        """A new entry, or one that the trace came to again: what had changed does not matter."""
        start = time.perf_counter()
        why = self._why(key, kind, args, kwargs, leaves)
        count_trace(self._name, why)
        compiled, hits = self._backend.counts()
        openness = self._openness.setdefault(kind, Openness(self._dynamic))
        for family in self._families.get(kind, ()):
            openness.opened |= other_sizes(family.shapes, leaves)
        with collector_paused():
            family = self._traced(kind, args, kwargs, leaves, openness)
            known = (e for e in self._entries.get(key, ()) if e.family is family)
            entry = next(known, None) or family.at(leaves, self._spare)
        if entry is None:
            raise InternalError(
                f"`{self._name}` was traced for other sizes than it was called with"
            )
        if family not in self._families.get(kind, ()):
            self._drop_families()
            self._families.setdefault(kind, []).append(family)
        seconds = time.perf_counter() - start
        self._recompiles += self._log.note(key, why, 1e3 * seconds, self._read_numbers.loose)
        now = self._backend.counts()
        self._last = entry
        self._count(entry, seconds, now[0] - compiled, now[1] - hits)
        return entry

    def _traced(
        self,
        kind: Hashable,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        leaves: list[Tensor],
        openness: Openness,
    ) -> Family:
        """A new family, or one that the trace came to again: what had changed does not matter."""
        while True:
            start = time.perf_counter()
            taken, guards = self._watched(args, kwargs, leaves, openness)
            traced = outline(taken)
            for family in self._families.get(kind, ()):
                if not alike(family.outline, traced):  # asked first: an entry is a whole program
                    continue
                entry = family.at(leaves, self._spare)
                if entry is not None and entry.plan.fits(leaves):
                    family.guards.also(guards)
                    return family
            trace_ms = 1e3 * (time.perf_counter() - start)
            try:
                return Family(taken, guards, leaves, self._backend, trace_ms)
            except Fixed as needed:
                openness.note(taken.pattern, needed)

    def _watched(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        leaves: list[Tensor],
        openness: Openness,
        failing: int = -1,
    ) -> tuple[Capture, Guards]:
        """A trace, and guards of the Python state that it read."""
        watch = Watch(self._function, self._read_numbers)
        names = leaf_names(self._function, args, kwargs)
        while True:
            taken = capture(
                self._function, args, kwargs, leaves, names, self._name, openness,
                self._drop_grads, self._check, watch.on, failing,
            )  # fmt: skip
            if not watch.missed:
                break
            watch.slow = True
        modules = (*taken.trace.called, *watch.reads.modules.values())
        return taken, observed(watch.kept(), modules, taken.trace.guards, taken.trace.shown)

    def _why(
        self,
        key: Key,
        kind: Hashable,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        leaves: Sequence[Tensor],
    ) -> list[Change]:
        """What changed since the last call: guards if the signature is known, sizes, else that."""
        if self._last is None:
            return []
        if same := self._entries.get(key):
            self._read_numbers.note(same[-1].guards.changed())
            found = same[-1].guards.changes()
            return found or [Change("memory", "as traced", "a gradient or shared tensor changed")]
        if families := self._families.get(kind):
            found = families[-1].guards.changes()
            names = leaf_names(self._function, args, kwargs)
            found = found or families[-1].misfit(leaves, names, self._openness[kind])
            if found:
                return found
        return change(self._last_key, key, self._argument_names())

    def _argument_names(self) -> list[str]:
        try:
            return list(inspect.signature(self._function).parameters)
        except (TypeError, ValueError):
            return []

    def _fit(self, last: Entry) -> None:
        """Keep no more bytes of plans than `config` allows; `last` is what ran last."""
        if not self._lock.acquire(blocking=False):  # who compiles does it, and may want our turn
            return
        try:
            dropped = self._budget.dropped
            if self._next is not None and self._next.hits:
                self._budget.note(self._next.entry)
            self._budget.note(last)
            self._budget.fit(last)
            if self._budget.dropped > dropped:
                self._unprepare()
            self.stats.plans, self.stats.plan_bytes = self._budget.held()
            self.stats.plans_dropped = self._budget.dropped
        finally:
            self._lock.release()

    def _drop_families(self) -> None:
        """Keep at most MAX_PLANS families, and no entry of one that is dropped."""
        while sum(map(len, self._families.values())) >= MAX_PLANS:
            gone = drop_oldest(self._families)
            self._unprepare()
            self._budget.drop(gone)
            self._dropped += 1
            if self._dropped == THRASHING:
                self._report_limit()

    def _report_limit(self) -> None:
        rows = "\n".join(f"  {r}" for r in self._recompiles[-8:])
        text = f"`{self._name}` is compiled over and over; the last reasons:\n{rows}"
        if self._on_limit == "raise":
            raise TooManyCompiles(text)
        warnings.warn(text, RuntimeWarning, stacklevel=5)

    def _count(self, entry: Entry, seconds: float, compiled: int, hits: int) -> None:
        stats = self.stats
        keys = {k.key() for u in entry.units for k in u.kernels()}
        stats.compiles += not keys <= self._held
        self._held |= keys
        stats.programs = sum(map(len, self._families.values()))
        stats.kernels = len(self._held)
        stats.kernels_compiled += compiled
        stats.cache_hits += hits
        stats.compile_seconds += seconds
        stats.programs_found = sum(u.found for u in self._all_units())
        stats.peak_bytes = self.memory().peak_bytes
        stats.ms = {s.name: s.wall_ms for u in entry.units for s in u.stages}

    def _units(self) -> Sequence[Unit]:
        return self._last.units if self._last is not None else ()

    def _all_units(self) -> Sequence[Unit]:
        return [u for families in self._families.values() for f in families for u in f.units]

    def _guarded(self) -> Sequence[tuple[str, str, str, int]]:
        return self._last.guards.told() if self._last is not None else ()

    def _sizes(self) -> Sequence[str]:
        return self._last.family.taken.pattern.report() if self._last is not None else ()


class CompiledFunction(Compiled):
    """A function that runs as one native program; in a class body, a method with its own cache
    for each instance."""

    def __init__(self, function: Callable[..., Any], backend: Backend, **options: Any) -> None:
        functools.update_wrapper(self, function)  # first, as it copies all attributes
        super().__init__(function, getattr(function, "__name__", "step"), backend, **options)
        self._options = options

    def _as_written(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self._function(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> CompiledFunction:
        if instance is None:
            return self
        kept = vars(instance)  # not a table here, which would keep every instance alive
        bound = kept.get(place := f"_compiled_{self._name}")
        if not isinstance(bound, CompiledFunction):
            method = self._function.__get__(instance, owner)
            bound = kept[place] = self._like(method)
        return bound

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledFunction:
        """Itself, but of a method a new one for the copy of its instance."""
        if getattr(self._function, "__self__", None) is None:
            return self
        return self._like(copy.deepcopy(self._function, memo))

    def _like(self, function: Callable[..., Any]) -> CompiledFunction:
        return type(self)(function, self._given, **self._options)

    def __reduce__(self) -> Any:
        """By name, as functions are pickled; programs are not."""
        instance = getattr(self._function, "__self__", None)
        if instance is None:
            return self.__qualname__  # type: ignore[attr-defined]  # update_wrapper copied it
        return getattr, (instance, self._name)

    def __repr__(self) -> str:
        return f"<compiled {self._name}>"


class CompiledModule(Compiled):
    """What a compiled module holds to be called through; programs do not survive pickle or copy."""

    def __init__(self, module: Any, backend: Backend, **options: Any) -> None:
        super().__init__(module.__call__, type(module).__name__, backend, **options)
        self.module = module
        self._options = options

    def _as_written(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return self.module._call_impl(args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledModule:
        return type(self)(memo[id(self.module)], self._given, **self._options)

    def __reduce__(self) -> Any:
        return recompiled, (type(self), self.module, self._given, self._options)

    def __repr__(self) -> str:
        return f"<compiled {self._name}>"


def recompiled(kind: Any, module: Any, backend: Backend, options: dict[str, Any]) -> Any:
    return kind(module, backend, **options)  # read from a pickle, which holds no programs
