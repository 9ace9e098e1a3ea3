"""Flags, whole numbers and tensors that may be left out, which PyTorch takes exactly: `True` is no
number, 1 no flag, 1.0 no tensor.

Python's own rules are wider, so that `x.sum(keepdim="no")` would run and mean the opposite of what
it says. A function without such parameters, as most of those of elements, is called as it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np

from graphc.errors import InvalidType, RefusedArgument

F = TypeVar("F", bound=Callable[..., Any])
LARGEST = 2**63 - 1
FLAGS = (bool, np.bool_)
PASSED_ON = {"training", "ceil_mode", "count_include_pad", "scale_grad_by_freq", "sparse"}
REAL = (float, np.floating, complex, str, bytes)


class Parameter(NamedTuple):
    at: int  # among positional arguments; a number that no call reaches for one by name alone
    name: str
    wanted: str  # "bool", "int" or "Tensor"
    others: bool  # whether it may be something else as well, such as a tuple or None
    none: bool


def exactly(function: F, python: bool) -> F:
    """`function`, which refuses numbers for flags, flags for numbers, and both for tensors that may
    be left out. What PyTorch has in Python takes for a flag of its own what Python does."""
    parameters = _parameters(function, python)
    if not parameters:
        return function
    first = min(p.at for p in parameters)

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if kwargs or len(args) > first:
            _check(function.__name__, parameters, args, kwargs)
        return function(*args, **kwargs)

    return called  # type: ignore[return-value]  # of the same signature


def _parameters(function: Callable[..., Any], python: bool) -> list[Parameter]:
    found = []
    for at, p in enumerate(inspect.signature(inspect.unwrap(function)).parameters.values()):
        kinds = str(p.annotation).split(" | ")
        wanted = next((kind for kind in ("bool", "int") if kind in kinds), "int")
        if sorted(kinds) == ["None", "Tensor"]:
            wanted = "Tensor"
        if {wanted, "Dims", "Sizes"}.isdisjoint(kinds) or "float" in kinds:
            continue
        if wanted == "bool" and python and p.name not in PASSED_ON:
            continue
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
            place = at if p.kind is p.POSITIONAL_OR_KEYWORD else LARGEST
            others = not {"int", "bool", "Tensor", "None"}.issuperset(kinds)
            found.append(Parameter(place, p.name, wanted, others, "None" in kinds))
    return found


def _check(
    name: str, parameters: list[Parameter], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    for p in parameters:
        if p.at < len(args):
            value = args[p.at]
        elif p.name in kwargs:
            value = kwargs[p.name]
        else:
            continue
        if WRONG[p.wanted](value, p):
            kind = type(value).__name__
            what = f"{name}: argument {p.name!r} must be {p.wanted}, got {kind}"
            raise InvalidType(what, fix=f"pass {FIX[p.wanted]}")
        if p.wanted == "int" and isinstance(value, int) and not -LARGEST <= value <= LARGEST:
            what = f"{name}: argument {p.name!r} must be a 64-bit integer, got {value}"
            raise RefusedArgument(what[:200])


def _no_flag(value: Any, p: Parameter) -> bool:
    """Numbers of a call, and what stands for one in a trace, are left to the function."""
    if value is None:
        return not p.none
    return not isinstance(value, bool) and type(value).__module__ in ("builtins", "numpy")


def _no_number(value: Any, p: Parameter) -> bool:
    if value is None:
        return not (p.none or p.others)
    return isinstance(value, FLAGS) or (not p.others and isinstance(value, REAL))


def _no_tensor(value: Any, p: Parameter) -> bool:
    return isinstance(value, (*FLAGS, int, *REAL, np.number))


WRONG: dict[str, Callable[[Any, Parameter], bool]] = {
    "bool": _no_flag,
    "int": _no_number,
    "Tensor": _no_tensor,
}
FIX = {"bool": "True or False", "int": "an int", "Tensor": "a tensor, or None"}
