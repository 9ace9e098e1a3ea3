"""Modules made from a table: PyTorch's files, whose names graphc keeps in files of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


def module_of(path: str, names: Mapping[str, Any]) -> ModuleType:
    """A module called `path` with these names in it, which `import` finds."""
    made = ModuleType(path, f"The names of torch.{path.partition('.')[2]}.")
    made.__spec__ = ModuleSpec(path, None)
    vars(made).update(names, __all__=[n for n in names if not n.startswith("_")])
    sys.modules[path] = made
    return made
