"""einops knows graphc's tensors: a back end of its registry, entered when einops is imported.

einops finds back ends among the subclasses of its own base class, so ours can be made only once
einops is there: at once, or after its registry has run.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

REGISTRY = "einops._backends"


def define(registry: Any) -> None:
    """Make the back end: what einops does for PyTorch, over graphc's functions."""

    def start(self: Any) -> None:
        self.torch = sys.modules["graphc"]

    # Kept by the registry: a class that nobody holds is no subclass any more.
    members = {"framework_name": "graphc", "__init__": start}
    registry.GraphcBackend = type("GraphcBackend", (registry.TorchBackend,), members)


class _Loader(Loader):
    """The registry's own loader, after which `define` runs."""

    def __init__(self, own: Any) -> None:
        self.own = own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self.own.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self.own.exec_module(module)
        define(module)


class _Finder(MetaPathFinder):
    """Waits for the registry's import, and for nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != REGISTRY:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def register() -> None:
    """Enter the back end, now or when einops comes."""
    if REGISTRY in sys.modules:
        define(sys.modules[REGISTRY])
    else:
        sys.meta_path.insert(0, _Finder())
