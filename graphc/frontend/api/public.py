"""What a function becomes where it is made public, in a namespace or as a method: one wrapper.

The functions have one name for each argument; those with a `dim` take NumPy's names, too: `axis=`
for `dim=`, `keepdims=` for `keepdim=`. They return new tensors; where `registry` says so, the ones
in namespaces take `out=`. All of them refuse arguments by coded errors (`refusals`).
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from graphc.errors import InvalidType, absent
from graphc.frontend.api import out as targets
from graphc.frontend.api.exact import exactly
from graphc.frontend.api.refusals import CAUGHT, coded, refusing
from graphc.frontend.autocast import aware
from graphc.frontend.modes import modes
from graphc.frontend.operands import check_tensors
from graphc.frontend.overriding import entered, overridden
from graphc.frontend.registry import ROWS, Row

NAMES = {"axis": "dim", "keepdims": "keepdim"}
ROOMS = (
    *("graphc.frontend.api.", "graphc.frontend.autograd", "graphc.frontend.inplace"),
    *("graphc.frontend.promotion", "graphc.frontend.tensor", "graphc.nn.functional."),
    *("graphc.nn.kernels", "graphc.nn.numbered_losses"),
)
UNMARKED = Row()


def namespace(names: Mapping[str, Any], module: str) -> dict[str, Callable[..., Any]]:
    """The functions among these names as people call them; pickle finds them in `module`. What is
    not there is refused by name."""
    found: dict[str, Callable[..., Any]] = {"__getattr__": functools.partial(_refuse, module)}
    for name, thing in names.items():
        if inspect.isfunction(thing) and thing.__module__.startswith(ROOMS):
            row = ROWS.get(thing, UNMARKED)
            takes_out = row.out is True or row.out == module
            found[name] = wrapped(thing, name, module, row.tensors, takes_out)
    return found


def _refuse(module: str, name: str) -> NoReturn:
    raise absent(module, name)


def wrapped(
    function: Callable[..., Any], name: str, module: str, tensors: int = 0, out: bool = False
) -> Callable[..., Any]:
    """`function`, whose first `tensors` arguments must be, for people to call as module.name."""
    function = exactly(aware(name, function), python=module == "graphc.nn.functional")
    renames = _has_dim(function)
    plain = not (tensors or out or renames)
    called = (
        refusing(function)
        if plain
        else _reading(
            function, tensors, renames, targets.filling(function, name, module) if out else None
        )
    )
    if out:
        called.__signature__ = targets.signature_with(function)  # type: ignore[attr-defined]
    called.__module__, called.__qualname__ = module, name
    return called


def _reading(
    function: Callable[..., Any], tensors: int, renames: bool, fill: Callable[..., Any] | None
) -> Callable[..., Any]:
    """`refusing`, after a look at what the arguments are and how they are called."""
    first = list(inspect.signature(function).parameters)[:tensors]

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if entered and modes.functions:
            return overridden(called, args, kwargs)
        try:
            if tensors:
                given = (kwargs[n] for n in first[len(args) :] if n in kwargs)
                check_tensors(function.__name__, *args[:tensors], *given)
            if not kwargs:
                return function(*args)
            if renames:
                _rename(function, kwargs)
            if fill is not None and (target := kwargs.pop("out", None)) is not None:
                return fill(target, args, kwargs)
            return function(*args, **kwargs)
        except CAUGHT as e:
            raise coded(e, function, args, kwargs) from None

    return called


def _has_dim(function: Callable[..., Any]) -> bool:
    code = inspect.unwrap(function).__code__
    return "dim" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _rename(function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    for name, ours in NAMES.items():
        if name in kwargs:
            if ours in kwargs:
                what = f"{function.__name__}() got both {ours} and {name}, which are one argument"
                raise InvalidType(what)
            kwargs[ours] = kwargs.pop(name)
