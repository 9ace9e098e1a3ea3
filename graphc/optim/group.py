"""Parameter groups: dicts whose numbers a step may also set while it is traced."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import is_
from typing import Any

from graphc.frontend import trace as tracing


class ParameterGroup(dict[str, Any]):
    """What a compiled step sets here, each call sets again, and the update is traced with it."""

    def __setitem__(self, key: str, value: Any) -> None:
        trace = tracing.active()
        if trace is not None:
            trace.first(_place(self), partial(_fill, self, dict(self)))
            trace.after_commit.append(partial(dict.__setitem__, self, key, value))
        super().__setitem__(key, value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        for key, value in dict(*args, **kwargs).items():
            self[key] = value


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

    def __init__(self, optimizer: Any) -> None:
        self.optimizer = optimizer
        self._groups = list(optimizer.param_groups)
        self._params = [list(group["params"]) for group in self._groups]

    def __call__(self) -> bool:
        groups = self.optimizer.param_groups
        return _same_items(groups, self._groups) and all(
            _same_items(group["params"], kept) for group, kept in zip(groups, self._params)
        )


def _same_items(now: Sequence[Any], kept: Sequence[Any]) -> bool:
    return len(now) == len(kept) and all(map(is_, now, kept))


def guard_members(optimizer: Any) -> None:
    """Once in a trace: the compiled step is for these parameters in these groups."""
    trace = tracing.active()
    if trace is not None and all(
        not isinstance(get, Members) or get.optimizer is not optimizer for get, _ in trace.guards
    ):
        tracing.guard(Members(optimizer))
