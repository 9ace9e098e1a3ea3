"""torch.fx's names: `wrap` marks a function; symbolic tracing, which is not here, is refused."""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

from graphc.errors import Unsupported
from graphc.nn.module import Module

__all__ = [
    "Graph",
    "GraphModule",
    "Interpreter",
    "Node",
    "Proxy",
    "Tracer",
    "symbolic_trace",
    "wrap",
]

T = TypeVar("T")


def wrap(fn_or_name: T) -> T:
    """The function (or name) itself: graphc sees through every call."""
    return fn_or_name


def _refuse(name: str) -> NoReturn:
    raise Unsupported(
        f"fx.{name}: graphc has no torch.fx graphs",
        why="its own graphs are pure tensor programs, and not Python to be rewritten",
        fix="graphc.compile(f).ir(*args) shows the graph of a function",
    )


class _Refused:
    """Of the classes of fx nothing is an instance."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse(type(self).__name__)


class Graph(_Refused):
    """For isinstance."""


class Node(_Refused):
    """For isinstance."""


class Proxy(_Refused):
    """For isinstance."""


class Tracer(_Refused):
    """For isinstance."""


class Interpreter(_Refused):
    """For isinstance."""


def map_arg(a: Any, fn: Any) -> NoReturn:
    """Refused: there are no torch.fx graphs."""
    _refuse("map_arg")


class GraphModule(Module):
    """For isinstance: no module is one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _refuse("GraphModule")


def symbolic_trace(root: Any, concrete_args: Any = None) -> NoReturn:
    """Refused: there are no torch.fx graphs."""
    _refuse("symbolic_trace")
