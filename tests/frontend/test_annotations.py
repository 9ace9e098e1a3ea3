"""`typing.get_type_hints` of every public class and its methods."""

from __future__ import annotations

import inspect
import typing
from types import ModuleType

import pytest

import graphc
import graphc.datasets
import graphc.transforms
import graphc.utils.tensorboard

INSIDE = ("graphc.ir", "graphc.codegen_cpu", "graphc.passes", "graphc.runtime", "graphc.cli")


def public_classes() -> list[type]:
    """Classes that stand under a name without underscore in a public namespace."""
    seen: set[ModuleType] = set()
    found: dict[type, None] = {}
    pending = [graphc]
    while pending:
        for name, thing in vars(pending.pop()).items():
            where = (
                getattr(thing, "__name__" if inspect.ismodule(thing) else "__module__", "") or ""
            )
            if name.startswith("_") or not where.startswith("graphc") or where.startswith(INSIDE):
                continue
            if inspect.ismodule(thing) and thing not in seen:
                seen.add(thing)
                pending.append(thing)
            elif inspect.isclass(thing):
                found[thing] = None
    return list(found)


@pytest.mark.parametrize("cls", public_classes(), ids=lambda c: f"{c.__module__}.{c.__name__}")
def test_hints_of_a_class_and_its_methods(cls: type) -> None:
    typing.get_type_hints(cls)
    for member in vars(cls).values():
        if inspect.isfunction(member):
            typing.get_type_hints(member)


def test_hints_are_the_classes() -> None:
    assert typing.get_type_hints(graphc.nn.Linear.forward)["input"] is graphc.Tensor
    assert typing.get_type_hints(graphc.nn.Module)["training"] is bool
