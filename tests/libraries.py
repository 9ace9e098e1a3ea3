"""Modules that graphc takes for installed ones, as transformers is."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from graphc.frontend.step.python import code


def library(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of this source."""
    monkeypatch.setattr(code, "LIBRARIES", (*code.LIBRARIES, str(folder)))
    file = folder / "installed.py"
    file.write_text(source)
    spec = importlib.util.spec_from_file_location("installed", file)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "installed", module)
    spec.loader.exec_module(module)
    assert code.whose(str(file)) == code.INSTALLED
    return module
