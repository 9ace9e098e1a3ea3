"""torch._dynamo's names that libraries import: those of `graphc.compiler`."""

from __future__ import annotations

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

__all__ = [
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
config = SimpleNamespace(cache_size_limit=8, suppress_errors=False, capture_scalar_outputs=False)


def graph_break(msg: str = "") -> None:
    """A step is one program: there is nothing to break."""


def mark_dynamic(t: Any, index: Any, **options: Any) -> None:
    """A hint that is not needed: a new size is planned, and compiles nothing."""


def mark_static(t: Any, index: Any = None) -> None:
    """A hint that is not needed."""


def mark_static_address(t: Any, guard: bool = True) -> None:
    """A hint that is not needed."""
