"""What compile() gives, to type checkers: what it was given, with the questions of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from graphc.frontend.step.compiled import CompiledFunction

T = TypeVar("T")
M = TypeVar("M", bound="ModuleLike")
P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")


class ModuleLike(Protocol):
    """A module, which compile() gives back itself."""

    @property
    def named_parameters(self) -> Callable[..., Any]: ...


if TYPE_CHECKING:

    class Step(CompiledFunction, Generic[P, R]):
        """A compiled function takes and gives what the function does."""

        def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
        @overload
        def __get__(self, instance: None, owner: type | None = None) -> Step[P, R]: ...
        @overload
        def __get__(
            self: Step[Concatenate[Any, Q], R], instance: object, owner: type | None = None
        ) -> Step[Q, R]: ...
        def __get__(self, instance: Any, owner: type | None = None) -> Any: ...

else:
    Step = CompiledFunction


class Compiler(Protocol):
    """`compile` with its options set: what `@compile(...)` is."""

    @overload  # a class is callable, too
    def __call__(self, model: type[T]) -> type[T]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, model: M) -> M: ...
    @overload
    def __call__(self, model: Callable[P, R]) -> Step[P, R]: ...
