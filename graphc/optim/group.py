"""Parameter groups: dicts whose numbers a step may also set while it is traced."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from operator import is_
from typing import Any

from graphc.frontend import epoch
from graphc.frontend import trace as tracing
from graphc.frontend.hostvalue import HostValue
from graphc.frontend.step.python.effects import repeat
from graphc.frontend.table import Table, told
from graphc.frontend.tensor import Tensor
from graphc.frontend.told import Told


def _telling(name: str) -> Any:
    """A method of list that tells when it is called."""
    method = getattr(list, name)

    @wraps(method)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        epoch.groups_changed()
        return method(self, *args, **kwargs)

    del told.__wrapped__  # a builtin, in whose place annotations would be looked up
    return told


class Watched(list[Any]):
    """A list of groups or parameters that tells when it is changed in place."""

    append, extend, insert = _telling("append"), _telling("extend"), _telling("insert")
    pop, remove, clear = _telling("pop"), _telling("remove"), _telling("clear")
    reverse, sort = _telling("reverse"), _telling("sort")
    __setitem__, __delitem__ = _telling("__setitem__"), _telling("__delitem__")
    __iadd__, __imul__ = _telling("__iadd__"), _telling("__imul__")


class ParameterGroup(Table):
    """What a compiled step sets here, each call sets again, and the update is traced with it."""

    def __setitem__(self, key: str, value: Any) -> None:
        trace = tracing.active()
        if trace is not None:
            trace.first(_place(self), partial(_fill, self, dict(self)))
            told(self, key)
            _set_later(trace, partial(dict.__setitem__, self, key), value)
        if not _like(self.get(key), value):
            epoch.groups_changed()
        if key == "params" and type(value) is list:
            value = Watched(value)
        super().__setitem__(key, value)

    def __delitem__(self, key: str) -> None:
        self._drop(key)
        super().__delitem__(key)

    def pop(self, *args: Any) -> Any:
        self._drop(args[0])
        return super().pop(*args)

    def setdefault(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def _drop(self, key: str) -> None:
        epoch.groups_changed()
        if (trace := tracing.active()) is not None:
            trace.first(_place(self), partial(_fill, self, dict(self)))
            told(self, key)
            trace.after_commit.append(partial(self.pop, key, None))

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value


def _set_later(trace: tracing.Trace, put: Callable[[Any], None], value: Any) -> None:
    """Have each call put the value there: the number or the tensor that it is then."""
    if isinstance(value, Tensor) and value.is_traced:
        repeat(trace, put, ((value,), {}))
    elif isinstance(value, HostValue):
        trace.computed(put, value)
    else:
        trace.after_commit.append(partial(put, value))


def number_of(option: Any) -> Any:
    """An option as a number, or where the step computes it as a 0-d tensor."""
    if isinstance(option, HostValue):
        return option.as_tensor()
    return option if isinstance(option, Tensor) and option.is_traced else float(option)


def _like(old: Any, new: Any) -> bool:
    """Whether two options mean the same structure: numbers count by their sign only."""
    return type(old) is type(new) is float and (old > 0, old == 0) == (new > 0, new == 0)


def is_set_by_step(group: dict[str, Any]) -> bool:
    """Whether the step that is being traced has set something in the group."""
    trace = tracing.active()
    return trace is not None and trace.has_changed(_place(group))


def _place(group: dict[str, Any]) -> tuple[str, int]:
    return "group", id(group)


def _fill(group: dict[str, Any], items: dict[str, Any]) -> None:
    group.clear()
    group.update(items)


class Members:
    """Whether an optimizer still has the very groups and parameters that a trace found in it."""

    label = "parameters of the optimizer are those traced"

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self._list = optimizer.param_groups
        self._groups = list(self._list)
        self._params = [list(group["params"]) for group in self._groups]
        lists = [self._list, *(group["params"] for group in self._groups)]
        self._told = all(isinstance(x, Watched) for x in lists) and all(
            isinstance(group, ParameterGroup) for group in self._groups
        )
        self._epoch = epoch.groups

    def told(self) -> Callable[[], bool]:
        """Itself, with what tells of its changes where that is known."""
        seen = self._told and "param_groups" in vars(self.optimizer)
        return Told(self, self.optimizer, label=self.label) if seen else self

    def __call__(self) -> bool:
        groups = self.optimizer.param_groups
        if self._told and groups is self._list and self._epoch == epoch.groups:
            return True
        same = _same_items(groups, self._groups) and all(
            _same_items(group["params"], kept) for group, kept in zip(groups, self._params)
        )
        self._epoch = epoch.groups if same and groups is self._list else -1
        return same


class Answer:
    """What `look(group)` says of a group's options, looked at again if groups have changed."""

    label = "options of the optimizer"

    def __init__(self, look: Callable[[dict[str, Any]], str], group: dict[str, Any]) -> None:
        self._look, self._group = look, group
        self._epoch, self._last = epoch.groups, look(group)

    def told(self) -> Callable[[], str]:
        """Itself, with what tells of its changes where that is known."""
        return Told(self, label=self.label) if isinstance(self._group, ParameterGroup) else self

    def __call__(self) -> str:
        if self._epoch != epoch.groups or not isinstance(self._group, ParameterGroup):
            self._epoch, now = epoch.groups, self._look(self._group)
            self._last = self._last if now == self._last else now
        return self._last


def _same_items(now: Sequence[Any], kept: Sequence[Any]) -> bool:
    return len(now) == len(kept) and all(map(is_, now, kept))


def guard_members(optimizer: Any) -> None:
    """Once in a trace: the compiled step is for these parameters in these groups."""
    trace = tracing.active()
    if trace is None:
        return
    known = [get.get if isinstance(get, Told) else get for get, _ in trace.guards]
    if all(not isinstance(get, Members) or get.optimizer is not optimizer for get in known):
        tracing.guard(Members(optimizer).told())
