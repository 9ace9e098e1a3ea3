"""torch._dynamo's names that libraries import: those of `graphc.compiler`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

from graphc.compiler import (
    allow_in_graph,
    assume_constant_result,
    disable,
    is_compiling,
    reset,
    substitute_in_graph,
)
from graphc.nn.module import Module

__all__ = [
    "OptimizedModule",
    "allow_in_graph",
    "assume_constant_result",
    "config",
    "disable",
    "graph_break",
    "is_compiling",
    "mark_dynamic",
    "mark_static",
    "mark_static_address",
    "reset",
    "substitute_in_graph",
]

T = TypeVar("T")


class _Config(SimpleNamespace):
    """Settings of PyTorch's compiler, which may be set and change nothing."""

    @contextmanager
    def patch(self, changes: Any = None, **more: Any) -> Iterator[None]:
        """Settings have other values inside."""
        new = {**(changes or {}), **more}
        before = dict(vars(self))
        vars(self).update(new)
        try:
            yield
        finally:
            vars(self).clear()
            vars(self).update(before)


config = _Config(cache_size_limit=8, suppress_errors=False, capture_scalar_outputs=False)


class OptimizedModule(Module):
    """For isinstance: a compiled module stays what it is, and is not wrapped in another."""


def graph_break(msg: str = "") -> None:
    """A step is one program: there is nothing to break."""


def mark_dynamic(t: Any, index: Any, **options: Any) -> None:
    """A hint that is not needed: a new size is planned, and compiles nothing."""


def mark_static(t: Any, index: Any = None) -> None:
    """A hint that is not needed."""


def mark_static_address(t: Any, guard: bool = True) -> None:
    """A hint that is not needed."""
