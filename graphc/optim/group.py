"""Parameter groups: dicts whose numbers a step may also set while it is traced."""

from __future__ import annotations

from functools import partial
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
