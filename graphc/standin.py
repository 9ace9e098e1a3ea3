"""Being torch: after `install_as_torch()`, `import torch` means graphc in this process.

`torch` and each of its submodules are the modules of graphc themselves, so a class is the same
under either name. What graphc does not have raises ModuleNotFoundError, never PyTorch's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

from graphc.errors import InvalidState
from graphc.ir.spelling import spell_as
from graphc.torch_version import TorchVersion

__all__ = ["install_as_torch"]

OURS, THEIRS = "graphc", "torch"
LIKE = "2.13.0"  # the version of PyTorch whose names and semantics graphc follows


class _Alias(Loader):
    """Loads `torch.nn` as the module graphc.nn, which keeps its own name and spec."""

    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec


class _Finder(MetaPathFinder):
    """Answers for torch and all that is below it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != THEIRS and not fullname.startswith(THEIRS + "."):
            return None
        name = OURS + fullname[len(THEIRS) :]
        if importlib.util.find_spec(name) is None:
            raise ModuleNotFoundError(f"graphc has no module {fullname!r}", name=fullname)
        return ModuleSpec(fullname, _Alias(name), is_package=True)


def install_as_torch() -> None:
    """Let `import torch` mean graphc from now on, its `__version__` and reprs included.

    Raises InvalidState where PyTorch has been imported already: its classes are in use.
    """
    ours = sys.modules[OURS]
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    if sys.modules.get(THEIRS, ours) is not ours:
        raise InvalidState(
            "install_as_torch(): PyTorch has already been imported in this process",
            why="two libraries cannot both be `torch`, and what was imported is in use",
            fix="call it first, or run the script with `python -m graphc run script.py`",
        )
    sys.meta_path.insert(0, _Finder())
    version = TorchVersion(f"{LIKE}+{OURS}.{ours.__version__}")
    vars(ours)["__version__"] = vars(importlib.import_module("graphc.version"))["__version__"] = (
        version
    )
    spell_as(THEIRS)
    importlib.import_module(THEIRS)
