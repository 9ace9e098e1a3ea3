"""Modes that see a public function before it runs: `overrides.TorchFunctionMode`.

Where a function is made public it asks `entered`, a list that is empty almost always; inside a mode
it hands itself and its arguments to the innermost, whose `__torch_function__` calls it or does
something else. A step is traced anew under other modes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from graphc.errors import InvalidState
from graphc.frontend.modes import modes

entered: list[TorchFunctionMode] = []  # of all threads


class TorchFunctionMode:
    """Context manager: a subclass gives `__torch_function__(func, types, args, kwargs)`, which is
    asked for what each public function and method called inside returns. While it runs, the
    function goes to the mode outside, if any. `types` is empty: tensors override nothing."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        raise NotImplementedError(f"{type(self).__name__} gives no __torch_function__")

    def __enter__(self) -> Self:
        entered.append(self)
        modes.functions = (*modes.functions, self)
        return self

    def __exit__(self, *exc: object) -> None:
        if not modes.functions or modes.functions[-1] is not self:
            raise InvalidState("a TorchFunctionMode ends inside another", fix="use `with`")
        modes.functions = modes.functions[:-1]
        entered.remove(self)


def overridden(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What the innermost mode makes of a call."""
    outer = modes.functions
    *rest, mode = outer
    modes.functions = tuple(rest)
    try:
        return mode.__torch_function__(function, (), args, kwargs)
    finally:
        modes.functions = outer
