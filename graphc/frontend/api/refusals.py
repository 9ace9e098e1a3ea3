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
from collections.abc import Callable
from traceback import walk_tb
from typing import Any, TypeVar

import numpy as np

from graphc.errors import (
    GraphcError,
    InvalidIndex,
    InvalidType,
    OutOfMemory,
    RefusedArgument,
    is_own,
)
from graphc.frontend.modes import modes
from graphc.frontend.overriding import entered, overridden
from graphc.ir.sugar import Sugar
from graphc.ir.types import DType

F = TypeVar("F", bound=Callable[..., Any])
LARGEST = 2**63 - 1
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
CAUGHT: tuple[type[Exception], ...] = (*FOREIGN, RuntimeError)  # coded errors are among them
OF_ARGUMENTS = {"GC001", "GC002", "GC003", "GC004", "GC005", "GC007", "GC010"}


def refusing(function: F) -> F:
    """`function`, which raises coded errors alone for arguments that it cannot take."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if entered and modes.functions:
            return overridden(called, args, kwargs)
        try:
            return function(*args, **kwargs)
        except CAUGHT as e:
            raise coded(e, function, args, kwargs) from None

    return called  # type: ignore[return-value]  # of the same signature


def coded(
    error: Exception, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Exception:
    """The error to raise in place of `error`: itself where it is coded or the user's own.

    A function may notice a wrong type by what follows from it, such as a shape; then the type is
    what is said, as in PyTorch, which looks at types first.
    """
    if isinstance(error, GraphcError):
        if error.code not in OF_ARGUMENTS:
            return error
    elif not _from_inside(error) or (isinstance(error, AssertionError) and error.args):
        return error  # an assertion with a text is one that the user asked for
    named = _named(function, args, kwargs)
    wrong = _wrong_type(function, named)
    if wrong is not None:
        return wrong
    if isinstance(error, GraphcError):
        return error
    kind = next(ours for theirs, ours in FOREIGN.items() if isinstance(error, theirs))
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
    files = [frame.f_code.co_filename for frame, _ in walk_tb(error.__traceback__)]
    if len(files) < 2:
        return False  # the call itself did not fit the signature: Python says so best
    return all(is_own(file) or file.startswith((NUMPY, "<")) for file in files)


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


def _is_int(x: Any) -> bool:
    if isinstance(x, Sugar):
        return x.spec.numel == 1 and not x.spec.dtype.is_floating_point
    return isinstance(x, int | np.integer)


def _is_number(x: Any) -> bool:
    if isinstance(x, Sugar):
        return x.spec.numel == 1
    return isinstance(x, int | float | np.generic)


# What an annotation says, as far as it can be told from the value alone.
HOLDS: dict[str, Callable[[Any], bool]] = {
    "Tensor": lambda x: isinstance(x, Sugar),
    "int": _is_int,
    "float": _is_number,
    "Scalar": _is_number,
    "bool": lambda x: isinstance(x, bool | int | np.bool_) or _is_int(x),
    "str": lambda x: isinstance(x, str),
    "Dims": lambda x: _is_int(x) or isinstance(x, list | tuple),
    "Sizes": lambda x: _is_int(x) or isinstance(x, list | tuple),
    "DType": lambda x: isinstance(x, DType | type),
    "None": lambda x: x is None,
}

WHOLE = {"int", "Dims", "Sizes"}


def _wrong_type(function: Callable[..., Any], named: dict[str, Any]) -> GraphcError | None:
    """The first argument whose type is none of those that its annotation names."""
    annotated = inspect.unwrap(function).__annotations__
    for name, value in named.items():
        kinds = str(annotated.get(name, "")).split(" | ")
        if not all(kind in HOLDS for kind in kinds):
            continue
        if not any(HOLDS[kind](value) for kind in kinds):
            wanted = " or ".join(kind for kind in kinds if kind != "None")
            got = str(value.spec) if isinstance(value, Sugar) else type(value).__name__
            foreign = type(value).__module__.partition(".")[0] == "torch"
            return InvalidType(
                f"{function.__name__}: argument {name!r} must be {wanted}, got "
                f"{'a torch.' * foreign}{got}",
                fix="graphc.from_numpy(x.numpy()) shares its memory" if foreign else "",
            )
        if (
            WHOLE.intersection(kinds)
            and isinstance(value, int)
            and not -LARGEST <= value <= LARGEST
        ):
            what = f"{function.__name__}: argument {name!r} must be a 64-bit integer, got {value}"
            return RefusedArgument(what)
    return None


def _no_tensor(error: AttributeError, named: dict[str, Any]) -> str:
    """What has no attribute that is asked for: the argument it came with, if it is one."""
    kind = type(error.obj).__name__
    for name, value in named.items():
        if value is error.obj:
            return f"argument {name!r} must be a tensor, got {kind}"
        if isinstance(value, list | tuple) and any(v is error.obj for v in value):
            return f"argument {name!r} must hold tensors, got {kind} among them"
    return f"expected a tensor, got {kind}"


def _shown(value: Any) -> str:
    return str(value.spec) if isinstance(value, Sugar) else repr(value)[:60]
