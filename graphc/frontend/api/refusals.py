"""What a public function raises for arguments that it cannot take: a coded error, always.

The functions say what they refuse where they notice it. What nobody noticed shows as Python's or
NumPy's own exception from the inside; it is made into a coded error on its way out, so that a call
that succeeds pays for no check. Exceptions of the user's own code, such as a distance function
that a loss calls, pass as they are.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from graphc.errors import (
    GraphcError,
    InvalidIndex,
    InvalidType,
    OutOfMemory,
    RefusedArgument,
    is_own,
)
from graphc.ir.sugar import Sugar

NUMPY = os.path.dirname(np.__file__)

# What comes from inside, and what it says about the arguments; the first that fits counts.
FOREIGN: dict[type[Exception], type[GraphcError]] = {
    AttributeError: InvalidType,  # what it was asked for is what a tensor or a dtype has
    TypeError: InvalidType,
    KeyError: RefusedArgument,
    IndexError: InvalidIndex,
    OverflowError: RefusedArgument,
    ZeroDivisionError: RefusedArgument,
    ValueError: RefusedArgument,
    MemoryError: OutOfMemory,
    AssertionError: InvalidType,
}
CAUGHT = tuple(FOREIGN)


def refusing(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which raises coded errors alone for arguments that it cannot take."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except CAUGHT as e:
            raise coded(e, function, args, kwargs) from None

    return called


def coded(
    error: Exception, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Exception:
    """The error to raise in place of `error`: itself where it is coded or the user's own."""
    if isinstance(error, GraphcError) or not _from_inside(error):
        return error
    kind = next(ours for theirs, ours in FOREIGN.items() if isinstance(error, theirs))
    named = _named(function, args, kwargs)
    if isinstance(error, AttributeError):
        what = _no_tensor(error, named)
    elif isinstance(error, AssertionError):
        what = "these arguments are not of the types it takes"
    else:
        what = str(error) or type(error).__name__
    shown = ", ".join(f"{name}={_shown(value)}" for name, value in named.items())
    reason = f"the call was {function.__name__}({shown})"
    return kind(f"{function.__name__}: {what}", why=reason[:400])


def _from_inside(error: Exception) -> bool:
    """Whether it arose in this package or in NumPy, with no code of the user's in between."""
    step = error.__traceback__
    if step is None or step.tb_next is None:
        return False  # the call itself did not fit the signature: Python says so best
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if not (is_own(file) or file.startswith((NUMPY, "<"))):
            return False
        step = step.tb_next
    return True


def _named(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """The arguments by name; of several under one name, each with its number."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return dict(kwargs)
    named: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if inspect.signature(function).parameters[name].kind is inspect.Parameter.VAR_POSITIONAL:
            named |= {f"{name}[{k}]": v for k, v in enumerate(value)}
        else:
            named[name] = value
    return named


def _no_tensor(error: AttributeError, named: dict[str, Any]) -> str:
    """What has no attribute that is asked for: the argument it came with, if it is one."""
    kind = type(error.obj).__name__
    for name, value in named.items():
        if value is error.obj:
            return f"argument {name!r} must be a tensor, got {kind}"
        if isinstance(value, Iterable) and not isinstance(value, Sugar | str):
            if any(v is error.obj for v in value):
                return f"argument {name!r} must hold tensors, got {kind} among them"
    return f"expected a tensor, got {kind}"


def _shown(value: Any) -> str:
    return str(value.spec) if isinstance(value, Sugar) else repr(value)[:60]
