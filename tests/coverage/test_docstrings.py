"""Whatever people call has a docstring: what namespaces hold, and what a Tensor can do."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import graphc
from tests.coverage.public import NAMESPACES

CLASSES = ("Tensor", "nn.Module")
OURS = ["graphc", "graphc.datasets", "graphc.transforms", "graphc.debug"]  # besides PyTorch's names
MODULES = OURS + [f"graphc.{n}" for n in NAMESPACES if n not in ("torch", *CLASSES)]


def members(space: Any) -> Iterator[tuple[str, Any]]:
    """The functions and classes of a module that are graphc's."""
    for name, thing in vars(space).items():
        ours = (getattr(thing, "__module__", None) or "").startswith("graphc")
        if (
            not name.startswith("_")
            and ours
            and (inspect.isroutine(thing) or inspect.isclass(thing))
        ):
            yield name, thing


def told(thing: Any) -> str:
    """Its own docstring: a class that is derived from another says what it is itself."""
    text = vars(thing).get("__doc__") if inspect.isclass(thing) else thing.__doc__
    return (text or "").strip()


def missing(found: Iterator[tuple[str, Any]]) -> list[str]:
    return [name for name, thing in found if not told(thing)]


@pytest.mark.parametrize("name", MODULES)
def test_what_a_namespace_has_is_told(name: str) -> None:
    try:
        space = importlib.import_module(name)
    except ModuleNotFoundError:
        return  # PyTorch's namespace, which graphc does not have
    assert not missing(members(space))


def of_tensor() -> Iterator[tuple[str, Any]]:
    for name in dir(graphc.Tensor):
        thing = inspect.getattr_static(graphc.Tensor, name)
        thing = thing.fget if isinstance(thing, property) else thing
        if not name.startswith("_") and inspect.isfunction(thing):
            yield name, thing


def test_what_a_tensor_can_do_is_told() -> None:
    assert not missing(of_tensor())


def test_a_missing_docstring_is_found() -> None:
    def bare() -> None:
        pass

    class Derived(graphc.nn.Module):
        pass

    assert missing(iter([("bare", bare), ("Derived", Derived)])) == ["bare", "Derived"]
