"""Functions that are still there under the names they had before."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def old_name(name: str, function: Callable[P, R]) -> Callable[P, R]:
    """`function`, which warns that it is no longer called `name`."""
    text = f"{name} is deprecated: it is called {function.__name__}"

    @wraps(function)
    def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
        warnings.warn(text, FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    return renamed
