"""Tensor's methods: what the files of this folder mark in `registry`, bound to `Methods`.

The frontend imports this first, so that tensors have their methods from then on.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from graphc.errors import InvalidType
from graphc.frontend import api, autograd
from graphc.frontend import inplace as writes
from graphc.frontend.api import operators
from graphc.frontend.api.public import wrapped
from graphc.frontend.methods import Methods
from graphc.frontend.registry import ROWS, Row

FILES = sorted(found.name for found in pkgutil.iter_modules(api.__path__, f"{api.__name__}."))
MODULES: tuple[ModuleType, ...] = (
    *(importlib.import_module(name) for name in FILES if name != __name__),
    *(autograd, writes),
)
OWNER = "graphc.frontend.tensor"
LISTED: dict[int, list[str]] = {}  # by identity of a function, the names in some `__all__`
for module in MODULES:
    for listed in getattr(module, "__all__", ()):
        LISTED.setdefault(id(vars(module)[listed]), []).append(listed)


def names_of(function: Callable[..., Any], row: Row) -> list[str]:
    """What a marked function is called as a method."""
    if not isinstance(row.method, bool):
        return list(row.method)
    if not row.method:
        return []
    return list(dict.fromkeys((function.__name__, *LISTED.get(id(function), ()))))


def written(function: Callable[..., Any], row: Row) -> Callable[..., Any]:
    """The in-place form."""
    return (writes.turned if row.inplace == "view" else writes.inplace)(function)


def augmented(row: Row) -> Iterator[str]:
    """Python's in-place operators that follow from its binary ones."""
    for name in row.operators if row.inplace else ():
        if name.strip("_") in operators.AUGMENTED:
            yield f"__i{name[2:]}"


def bind(function: Callable[..., Any], row: Row) -> None:
    """Give tensors all that one function is to them."""
    names = names_of(function, row)
    for name in names:
        _set(name, wrapped(function, name, OWNER, row.tensors))
    for name in row.attributes:
        setattr(Methods, name, property(function))
    for name in row.operators:
        setattr(Methods, name, operators.of_python(name, function))
    if row.inplace:
        form = written(function, row)
        for name in names:
            _set(f"{name}_", wrapped(form, f"{name}_", OWNER, row.tensors))
        for name in augmented(row):
            setattr(Methods, name, operators.operator(form))


def _set(name: str, method: Callable[..., Any]) -> None:
    method.__qualname__ = f"Tensor.{name}"
    setattr(Methods, name, method)


for marked, row in ROWS.items():
    bind(marked, row)


def in_place(names: str, module: str) -> dict[str, Callable[..., Any]]:
    """The in-place forms of these names as functions of a module: `exp_(x)` is `x.exp_()`."""
    found = {}
    for name in names.split():
        method = getattr(Methods, name)

        def function(input: Any, *args: Any, _name: str = name, **kwargs: Any) -> Any:
            if not isinstance(input, Methods):
                what = f"{_name}: the first argument must be a tensor, got {type(input).__name__}"
                raise InvalidType(what)
            return getattr(input, _name)(*args, **kwargs)

        function.__name__ = function.__qualname__ = name
        function.__module__, function.__doc__ = module, method.__doc__
        found[name] = function
    return found
