"""NumPy's names of arguments, which PyTorch's functions take, too: `axis=` for `dim=`, `keepdims=`.

The functions have one name for each argument. Those with a `dim` are wrapped once, where they
become public: in the namespaces and as methods.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from graphc.errors import InvalidType

NAMES = {"axis": "dim", "keepdims": "keepdim"}
ROOM = "graphc.frontend.api."


def numpy_named(namespace: Mapping[str, Any], module: str) -> dict[str, Callable[..., Any]]:
    """The functions of a namespace that have a `dim`, so that they take both names; pickle finds
    them in `module`."""
    return {
        name: _renaming(thing, name, module)
        for name, thing in namespace.items()
        if inspect.isfunction(thing) and thing.__module__.startswith(ROOM) and _has_dim(thing)
    }


def _has_dim(function: Callable[..., Any]) -> bool:
    code = inspect.unwrap(function).__code__
    return "dim" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _renaming(function: Callable[..., Any], name: str, module: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **(_renamed(function, kwargs) if kwargs else kwargs))

    called.__module__, called.__qualname__ = module, name
    return called


def _renamed(function: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    for name, ours in NAMES.items():
        if name in kwargs:
            if ours in kwargs:
                what = f"{function.__name__}() got both {ours} and {name}, which are one argument"
                raise InvalidType(what)
            kwargs[ours] = kwargs.pop(name)
    return kwargs
