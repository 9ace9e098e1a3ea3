"""Being torch: after `install_as_torch()`, `import torch` means graphc in this process.

`torch` and each of its submodules are the modules of graphc themselves, so a class is the same
under either name. What graphc does not have raises ModuleNotFoundError, never PyTorch's own.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution
from pathlib import Path
from types import ModuleType
from typing import Any

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


def _is_there(name: str) -> bool:
    """Whether a module can be imported, also from one that is a single file and has none below."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class _Told(Distribution):
    """What `importlib.metadata` says of torch: libraries ask it for the version."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        version = sys.modules[OURS].__version__
        return f"Metadata-Version: 2.1\nName: {THEIRS}\nVersion: {version}\n"

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        """Where the files are: those of graphc."""
        return Path(str(sys.modules[OURS].__file__)).parent.parent / path


class _Finder(MetaPathFinder):
    """Answers for torch and all that is below it."""

    def find_distributions(self, context: Any = None) -> Iterable[Distribution]:
        """The one of torch, before any that is installed."""
        name = getattr(context, "name", None)
        return [_Told()] if name == THEIRS else []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != THEIRS and not fullname.startswith(THEIRS + "."):
            return None
        name = OURS + fullname[len(THEIRS) :]
        if not _is_there(name):
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
