"""What a function becomes where it is made public, in a namespace or as a method.

The functions have one name for each argument; those with a `dim` take NumPy's names, too: `axis=`
for `dim=`, `keepdims=` for `keepdim=`. All of them refuse arguments by coded errors (`refusals`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from graphc.errors import InvalidType
from graphc.frontend.api.refusals import CAUGHT, coded, refusing
from graphc.frontend.autocast import aware
from graphc.frontend.operands import check_tensors

NAMES = {"axis": "dim", "keepdims": "keepdim"}
TENSORS = {  # how many leading arguments must be tensors, of functions that could take numbers
    **dict.fromkeys(
        [
            "eq",
            "ne",
            "not_equal",
            "lt",
            "less",
            "le",
            "less_equal",
            "gt",
            "greater",
            "ge",
            "greater_equal",
        ],
        1,
    ),
    **dict.fromkeys(["clamp", "clamp_min", "clamp_max", "clip", "fmod", "max", "min", "rsub"], 1),
    **dict.fromkeys(
        ["atan2", "arctan2", "dist", "hypot", "logaddexp", "logaddexp2", "maximum", "minimum"], 2
    ),
}
ROOMS = (
    *("graphc.frontend.api.", "graphc.frontend.autograd", "graphc.frontend.inplace"),
    *("graphc.frontend.promotion", "graphc.frontend.tensor", "graphc.nn.functional."),
)


def public(namespace: Mapping[str, Any], module: str) -> dict[str, Callable[..., Any]]:
    """The functions of a namespace as people call them; pickle finds them in `module`."""
    found = {}
    for name, thing in namespace.items():
        if name.startswith("__"):
            continue  # operators: they answer NotImplemented, and have their own wrapper
        if inspect.isfunction(thing) and thing.__module__.startswith(ROOMS):
            thing = aware(name, _of_tensors(thing, TENSORS.get(name.rstrip("_"), 0)))
            called = _renaming(thing) if _has_dim(thing) else refusing(thing)
            called.__module__, called.__qualname__ = module, name
            found[name] = called
    return found


def _of_tensors(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """`function`, which refuses numbers for its first `count` arguments, as PyTorch does."""
    if not count:
        return function
    names = list(inspect.signature(function).parameters)[:count]

    @functools.wraps(function)
    def checked(*args: Any, **kwargs: Any) -> Any:
        given = (*args[:count], *(kwargs[n] for n in names[len(args) :] if n in kwargs))
        check_tensors(function.__name__, *given)
        return function(*args, **kwargs)

    return checked


def _has_dim(function: Callable[..., Any]) -> bool:
    code = inspect.unwrap(function).__code__
    return "dim" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _renaming(function: Callable[..., Any]) -> Callable[..., Any]:
    """`refusing`, with NumPy's names."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **(_renamed(function, kwargs) if kwargs else kwargs))
        except CAUGHT as e:
            raise coded(e, function, args, kwargs) from None

    return called


def _renamed(function: Callable[..., Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    for name, ours in NAMES.items():
        if name in kwargs:
            if ours in kwargs:
                what = f"{function.__name__}() got both {ours} and {name}, which are one argument"
                raise InvalidType(what)
            kwargs[ours] = kwargs.pop(name)
    return kwargs
