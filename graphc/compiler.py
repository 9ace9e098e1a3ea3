"""torch.compiler's names: marks for a compiler, of which graphc needs none, and its questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from graphc.errors import InvalidArgument
from graphc.frontend import trace as tracing
from graphc.frontend.step.compile import compile

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "list_backends",
    "reset",
    "set_stance",
    "substitute_in_graph",
]

T = TypeVar("T")
STANCES = ("default", "eager_on_recompile", "fail_on_recompile", "force_eager")


def is_compiling() -> bool:
    """Whether a step is being traced."""
    return tracing.active() is not None


is_dynamo_compiling = is_compiling


def is_exporting() -> bool:
    """False: there is no export."""
    return False


def reset() -> None:
    """Nothing is kept for all functions; one that is compiled anew has no plans yet."""


def list_backends(exclude_tags: Any = None) -> list[str]:
    """The names of the back ends; `exclude_tags` is accepted and changes nothing."""
    return ["graphc"]


def allow_in_graph(fn: T) -> T:
    """The function itself: every call is traced."""
    return fn


def assume_constant_result(fn: T) -> T:
    """The function itself: what it reads of Python is watched, so it may change."""
    return fn


def disable(fn: Any = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """The function itself, also as a decorator: a step has no part that is not compiled."""
    return allow_in_graph if fn is None else fn


def substitute_in_graph(original_fn: Any, **options: Any) -> Callable[[T], T]:
    """A decorator that changes nothing: Python functions are traced through."""
    return allow_in_graph


def cudagraph_mark_step_begin() -> None:
    """There are no CUDA graphs."""


@contextmanager
def set_stance(stance: str = "default", **options: Any) -> Iterator[None]:
    """ "default" alone: compiled functions compile."""
    if stance != "default":
        known = stance in STANCES
        raise InvalidArgument(
            f"set_stance({stance!r:.100})",
            why="graphc compiles what it is asked to" if known else f"known are {STANCES}",
            fix="set GRAPHC_DISABLE=1 to run compiled functions eagerly",
        )
    yield
