"""What a step puts into objects and containers older than itself.

While a step is traced they get what stands for a tensor. When the trace ends all such objects are
put back as they were, and each call of the step stores anew, concrete tensors then. A traced tensor
that got somewhere without being seen is refused.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Container, Hashable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import CellType, MemberDescriptorType, ModuleType
from typing import Any, NamedTuple
from weakref import WeakMethod

import numpy as np

from graphc.errors import Untraceable, user_location
from graphc.frontend import trace as tracing
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.noted import Effect
from graphc.frontend.step.python import effects
from graphc.frontend.step.python.effects import Argument, Itself, Made
from graphc.frontend.step.python.found import (
    contents,
    is_module,
    kept_by,
    own,
    raw,
    sets_by_code,
    slots,
)
from graphc.frontend.step.python.held import FIXED, Note, Place, forget
from graphc.frontend.step.python.refilled import items_of, refill
from graphc.frontend.step.python.stack import MISSING
from graphc.frontend.step.signature import is_record, rebuilt, record
from graphc.frontend.table import Table, is_followed
from graphc.frontend.tensor import Tensor
from graphc.frontend.trace import Trace
from graphc.ir.symbols import Unknown

CHANGED = (list, dict, set, deque)
COPIED = (list, dict, OrderedDict)  # by whoever puts together what each call stores or returns
TABLES = ("_parameters", "_buffers", "_modules")
OF_OPTIMIZERS = ("group", "slots")  # which see to their changes themselves
FIX = "return it, or hand it on with graphc.debug.callback(fn, tensor)"
Where = tuple[str, int, str]


class Store(NamedTuple):
    """One change of `owner`, and the Effect that repeats it."""

    owner: Any
    place: Any
    effect: Effect
    given: tuple[Any, ...]
    where: Where


class Stores:
    """What one trace has stored."""

    def __init__(self, know: Callable[[Any, str], None]) -> None:
        self._know = WeakMethod(know)  # of what holds this: no ring, which would outlive the step
        self._all: list[Store] = []
        self.passed = _passed(tracing.active())  # as the step begins, which may change them
        self._before: dict[Hashable, Callable[[], None]] = {}  # put places back

    def _note(
        self, owner: Any, place: Hashable, action: Callable[..., object], *given: Any, **how: Any
    ) -> None:
        """`action(owner, *given, **how)`, at each call."""
        trace = tracing.active()
        if trace is None:
            return
        for x in given:
            if know := self._know():
                know(x, type(x).__name__)
        effects.repeat(trace, partial(action, **how), ((owner, *given), {}))
        self._all.append(Store(owner, place, trace.after_commit[-1], given, user_location()))

    def attribute(self, x: Any, name: str, value: Any, by_object: bool = False) -> None:
        """`x.name = value`, or its removal for MISSING; `by_object`: by `object.__setattr__`."""
        special = isinstance(x, Tensor) or (sets_by_code(x, name) and not by_object)
        if special or (is_module(x) and any(name in own(x).get(t, ()) for t in TABLES)):
            return
        if isinstance(x, ModuleType):  # whose names its own functions store, too
            self.variable(vars(x), name, value)
            return
        place = ("attr", id(x), name)
        slot = isinstance(raw(type(x).__mro__, name), MemberDescriptorType)
        table = vars(x) if isinstance(x, type) else own(x)
        by_code = slot or not (isinstance(x, type) or table is own(x))
        before = getattr(x, name, MISSING) if by_code else table.get(name, MISSING)
        if self._all and self._all[-1].place == place and self._all[-1].given[0] is value:
            return  # a module has told of what the user's code was seen to set
        mode = name == "training" and is_module(x)
        if before is value and not mode:  # `+=` of a list
            return
        action = set_by_object if by_object else set_attribute
        self._before.setdefault(place, partial(action, x, before, name))
        self._note(x, place, action, value, name=name)

    def variable(self, table: dict[str, Any], name: str, value: Any) -> None:
        """A global, or the attribute of a module."""
        place = ("item", id(table), name)
        before = table.get(name, MISSING)
        if before is value:
            return
        self._before.setdefault(place, partial(set_item, table, before, name))
        self._note(table, place, set_item, value, key=name)

    def cell(self, cell: Any, value: Any) -> None:
        if not isinstance(cell, CellType):
            return
        place = ("cell", id(cell))
        before = contents(cell)
        if before is value:
            return
        self._before.setdefault(place, partial(_set_cell, cell, before))
        self._note(cell, place, _set_cell, value)

    def item(self, c: Any, key: Any, value: Any) -> None:
        """`c[key] = value`, or its removal for MISSING."""
        if (_is_users(c) or type(c) is np.ndarray) and not is_there(c, key, value):
            self._keep(c)
            self._note(c, id(c), set_item, value, key=key)

    def method(self, c: Any, name: str, args: Iterable[Any], named: Mapping[str, Any]) -> None:
        """`c.name(*args, **named)`, which changes c."""
        if _is_users(c):
            self._keep(c)
            self._note(c, id(c), _method, *args, *named.values(), name=name, names=(*named,))

    def function(self, f: Callable[..., object], c: Any, args: Iterable[Any]) -> None:
        """`f(c, *args)`, which changes c; by the order of its items perhaps, so of none unknown."""
        trace = tracing.active()
        if trace is not None and _is_users(c) and not any(holds(trace, x) for x in args):
            self._keep(c)
            self._note(c, id(c), f, *args)

    def keeps(self, c: Any) -> bool:
        """Whether a container is put back as it is known to have been."""
        return id(c) in self._before

    def _keep(self, c: Any) -> None:
        if id(c) not in self._before:
            self._before[id(c)] = partial(refill, c, items_of(c))

    # ---- the end -------------------------------------------------------------------------------

    def given(self) -> list[Any]:
        """All that was stored."""
        return [x for s in self._all for x in s.given]

    @property
    def all(self) -> list[Store]:
        return self._all

    def before(self, place: Hashable) -> Any:
        """What stood at a place before the step set it; of a container's a copy."""
        put: Any = self._before[place]
        return put.args[1]

    def undo(self, reads: Any) -> None:
        """Have what is older than the trace put back when it ends, and keep the Effects of that."""
        trace = tracing.active()
        if trace is None:
            return
        find_older(trace, reads)
        made: set[int] = reads.made()
        passed = {id(x): path for x, path in self.passed}  # not where the step has put them
        own = made - passed.keys()
        dropped = {id(s.effect) for s in self._all if id(s.owner) in own}
        trace.after_commit[:] = [a for a in trace.after_commit if id(a) not in dropped]
        _share(trace, [s for s in self._all if id(s.effect) not in dropped], made)
        for s in self._all:
            if id(s.effect) in dropped:
                trace.effects[s.effect.number] = (), {}
                continue
            given = [given_to(trace, x, made) for x in s.given]
            path = passed.get(id(s.owner))
            owner = Itself(s.owner) if path is None else Argument(path)
            trace.first(("store", s.place), self._before[s.place])  # a copy, too, for its guards
            trace.effects[s.effect.number] = (owner, *given), {}
        self._all = [s for s in self._all if id(s.owner) not in own]
        _wait_for_values(trace, self._all)
        for s in self._all:
            for x in s.given:
                if id(x) in made and any(holds(trace, v) for _, v in _inside(x, objects=True)):
                    raise trace.refuse(_of_class(x, "keeps", s.where))

    def check(self, reads: Any) -> None:
        """Refuse a traced tensor in an old object that is not known to be stored there."""
        trace = tracing.active()
        if trace is None:
            return
        known = {s.place for s in self._all}
        met: dict[int, Where] = {
            id(k): (n.file, n.line, "") for n in reads.notes.values() for *_, k in n.rows[-1:]
        }
        skipped = reads.made() | {id(own(x)) for x in reads.held.values()}
        changed = [k for k in reads.held for what in OF_OPTIMIZERS if trace.has_changed((what, k))]
        skipped |= set(changed)
        for x in [x for k, x in reads.held.items() if k not in skipped]:
            for place, value in _inside(x) if known.isdisjoint((id(x), id(own(x)))) else ():
                flat = isinstance(
                    value, Tensor | HostValue | tuple
                )  # other containers are held, too
                if flat and place not in known and holds(trace, value, differs=False):
                    raise trace.refuse(
                        Untraceable(
                            f"the step leaves a tensor in `{reads.name(x)}`",
                            why="it was put there in a way that no later call could repeat",
                            fix=FIX,
                            where=met.get(id(x)),
                        )
                    )


def check_registered(reads: Any) -> None:
    """Refuse a step that leaves other parameters, modules or names of buffers in a module than it
    has found: what it made for one call, such as a layer, no later call could make again."""
    trace = tracing.active()
    if trace is None or not trace.registries:
        return
    made = reads.made()
    for (table, before), where in trace.registries:
        changed = [k for k, x in table.items() if before.get(k) is not x]
        names = [k for k in changed if k not in before or not isinstance(table, Table)]
        names += [k for k in before if k not in table]
        if names and id(table) not in made:
            raise trace.refuse(Registers(names[0], _owner(reads, table), where))
    trace.registries.clear()  # a plan keeps the trace, not a module that it met


def _owner(reads: Any, table: Any) -> str:
    """The name of the module that has a table."""
    modules = (x for x in reads.held.values() if is_module(x))
    known = (x for x in modules if any(own(x).get(t) is table for t in TABLES))
    return next(map(reads.name, known), "a module")


class Registers(Untraceable):
    """The step registers something in a module: that call runs as it is written, once."""

    why = "each call would register a new one"
    fix = "register it before the first call, and write into it in the step"

    def __init__(self, key: str, owner: str, where: Where) -> None:
        super().__init__(f"the step registers `{key}` in `{owner}`", where=where)


def _wait_for_values(trace: Trace, stores: Iterable[Store]) -> None:
    """Move a store behind what computes the values that its container has got since."""
    actions = trace.after_commit
    known = {a.result: a for a in actions if isinstance(a, Effect) and a.result >= 0}
    for s in stores:
        found: list[HostValue] = []
        rebuilt(s.given, found.append, HostValue)
        late = max((actions.index(known[h.number]) for h in found if h.number in known), default=0)
        at = next(k for k, a in enumerate(actions) if a is s.effect)
        if at < late:
            actions.insert(late, actions.pop(at))


def _inside(x: Any, objects: bool = False) -> Iterable[tuple[Hashable, Any]]:
    """What an object holds directly, each with the place that it would be stored in; `objects`:
    only of one that no copy can be made of."""
    if objects and (isinstance(x, CHANGED) or is_record(x)):
        return []
    if isinstance(x, ModuleType):  # whose names are stored as items
        x = vars(x)
    if isinstance(x, dict):
        return [(("item", id(x), k), v) for k, v in x.items()]
    if isinstance(x, CHANGED):
        return [(None, v) for v in x]
    ours = type(x).__module__.startswith("graphc.")
    if isinstance(x, Tensor | type) or ours or is_module(x):  # modules keep what hooks compute
        return []
    kept = own(x) if not objects else own(x) | {k: kept_by(x, k) for k in slots(type(x))}
    return [(("attr", id(x), k), v) for k, v in kept.items()]


def _share(trace: Trace, stores: Sequence[Store], made: set[int]) -> None:
    """Have one container for all places that get the same new one, the result among them; not of
    one in which a value of the call stands, or what is older."""
    seen: Counter[int] = Counter()
    known = _met([x for s in stores for x in s.given], seen, trace.older)
    _met([trace.result], seen, trace.older)
    twice = {k for k in known.keys() & made if seen[k] > 1}
    for k in twice:
        inside = _met([known[k]], Counter(), {}).keys() - {k}
        values: list[HostValue] = []
        rebuilt(known[k], values.append, HostValue)
        if values or not inside.isdisjoint(trace.older.keys() | twice):
            continue
        trace.older[k] = Made(len(trace.effects))
        trace.effects.append(((rebuilt(known[k], lambda x: x),), {}))


def _met(pending: list[Any], seen: Counter[int], older: Container[int]) -> dict[int, Any]:
    """The containers that somebody may come to change, in nested ones but not in older ones, by
    their ids; `seen` counts how often each is met."""
    found: dict[int, Any] = {}
    while pending:
        x = pending.pop()
        if id(x) in older:
            continue
        if type(x) in COPIED or is_record(x):
            seen[id(x)] += 1
            found[id(x)] = x
            if seen[id(x)] > 1:
                continue
        if isinstance(x, dict) or is_record(x):
            pending += (x if isinstance(x, dict) else record(x)).values()
        elif isinstance(x, tuple | list):
            pending += x
    return found


def _of_class(x: Any, what: str, where: Where | None = None) -> Untraceable:
    return Untraceable(
        f"the step {what} a new {type(x).__name__} with tensors in it",
        why="each call would need a new one, which nobody can make",
        fix=f"{what[:-1]} the tensors, or a dict, a tuple or a dataclass of them",
        where=where,
    )


def handed_on(trace: Trace, result: Any) -> Any:
    """What the step returns, with an `Itself` for each container in it that is older. Refuses an
    object that the step has made of another kind, with tensors in it."""
    pending, met = [result], set[int]()
    while pending:
        x = pending.pop()
        if id(x) in trace.older or id(x) in met:
            continue
        met.add(id(x))
        if isinstance(x, tuple | list):
            pending += x
        elif isinstance(x, dict) or is_record(x):
            pending += (x if isinstance(x, dict) else record(x)).values()
        elif id(x) in trace.fresh and any(holds(trace, v) for _, v in _inside(x, objects=True)):
            raise trace.refuse(_of_class(x, "returns"))
    older, trace.older, trace.fresh, trace.result = trace.older, {}, set(), None
    return rebuilt(result, lambda x: x, instead=older) if older else result


def copied(trace: Trace, x: Any, made: set[int]) -> bool:
    """Whether each call stores a copy: of what holds its tensors, or was made by the step."""
    return isinstance(x, FIXED) or id(x) in made or holds(trace, x)


def given_to(trace: Trace, x: Any, made: set[int]) -> Any:
    """What an Effect is told to store for x: a copy where it has to be, which holds containers that
    are older than the step themselves; or x."""
    if id(x) in trace.older or copied(trace, x, made):
        return rebuilt(x, lambda t: t, instead=trace.older)
    return Itself(x)


def find_older(trace: Trace, reads: Any) -> None:
    """Of the containers that the step has met, those that each call finds to be the very same:
    whoever it hands one on to gets that, whatever the call has put into it, and no copy."""
    found = {id(x): x for x in reads.held.values() if type(x) in COPIED or is_record(x)}
    older = {k: Itself(found[k]) for k in found.keys() & reads.older() - reads.anew}
    trace.fresh = reads.made()
    trace.older = older | {id(x): Argument(path) for x, path in reads.stores.passed}


def holds(trace: Trace, tree: Any, differs: bool = True) -> bool:
    """Whether a tensor of the trace is in it or, if that counts, what differs from call to call: a
    size, or the tensor of a place that is rebound."""
    found: list[bool] = []

    def look(x: Any) -> Any:
        of_trace = x.trace is trace if isinstance(x, HostValue) else None
        if of_trace is None:
            of_trace = differs if isinstance(x, Unknown) else x.storage.trace is trace
            of_trace |= differs and isinstance(x, Tensor) and x.storage in trace.rebound
        found.append(of_trace)
        return x

    if not isinstance(tree, Tensor | Unknown | HostValue | tuple | list | dict) and not hasattr(
        tree, "__dataclass_fields__"
    ):
        return False
    rebuilt(tree, look, (Tensor, Unknown, HostValue))
    return any(found)


def forget_cached(notes: Mapping[Place, Note]) -> None:
    """No functools.lru_cache keeps a tensor of the trace, which means nothing after it."""
    trace = tracing.active()
    for (what, _, _), note in notes.items():
        if what == "cached" and trace is not None:
            forget(note.owner, partial(holds, trace))


# ---- changes, and how they are taken back --------------------------------------------------------


def set_attribute(x: Any, value: Any, name: str) -> None:
    if value is MISSING:
        with suppress(AttributeError):  # it may be the class's alone
            object.__delattr__(x, name) if is_module(x) else delattr(x, name)
    elif name == "training" or not is_module(x):
        if getattr(x, name, MISSING) is not value:
            setattr(x, name, value)
    else:  # a plain tensor in a module changes no program
        object.__setattr__(x, name, value)


def set_by_object(x: Any, value: Any, name: str) -> None:
    """Past what the class of x makes of attributes that are set."""
    if value is not MISSING:
        object.__setattr__(x, name, value)
    else:
        with suppress(AttributeError):
            object.__delattr__(x, name)


def is_there(c: Any, key: Any, value: Any) -> bool:
    """Whether a dict has that very value already; then none is stored while that is guarded."""
    return isinstance(c, dict) and value is not MISSING and c.get(key, MISSING) is value


def _is_users(c: Any) -> bool:
    """Whether c is a container that nobody else follows, as the optimizers do their slots."""
    ours = type(c).__module__.startswith("graphc.")
    return isinstance(c, CHANGED) and not ours and not is_followed(c)


def set_item(c: Any, value: Any, key: Any) -> None:
    with suppress(LookupError):  # as in `_method`
        if value is not MISSING:
            c[key] = value
        else:
            del c[key]


def _set_cell(cell: Any, value: Any) -> None:
    if value is MISSING:
        del cell.cell_contents
    else:
        cell.cell_contents = value


# What sets a place, given its owner and the value, and does nothing else.
SETS = {set_attribute, set_by_object, set_item, _set_cell}


def _method(c: Any, *args: Any, name: str, names: Sequence[str]) -> None:
    split = len(args) - len(names)
    with suppress(LookupError, ValueError):  # which the step has caught when it was traced
        getattr(c, name)(*args[:split], **dict(zip(names, args[split:])))


def arguments(trace: Trace | None) -> dict[int, tuple[Any, ...]]:
    """The containers among the arguments, copies made for the trace: the keys that lead to each."""
    return {id(x): path for x, path in _passed(trace)}


def _passed(trace: Trace | None) -> list[tuple[Any, tuple[Any, ...]]]:
    """The same containers themselves, each with its keys."""
    found: dict[int, tuple[Any, tuple[Any, ...]]] = {}
    pending: list[tuple[Any, tuple[Any, ...]]] = [(trace.given if trace is not None else (), ())]
    while pending:
        x, path = pending.pop()
        if id(x) in found or not (isinstance(x, tuple | list | dict) or is_record(x)):
            continue
        found[id(x)] = x, path
        if is_record(x):
            found[id(own(x))] = own(x), path
            x = record(x)
        items = x.items() if isinstance(x, dict) else enumerate(x)
        pending += [(value, (*path, key)) for key, value in items]
    return list(found.values())
