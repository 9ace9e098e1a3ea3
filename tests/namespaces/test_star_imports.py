"""`from torch.nn import *` gives the layers, as scripts expect that write it."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

WANTED = {
    "graphc.nn": {"Linear", "Module", "Sequential", "CrossEntropyLoss", "functional", "init"},
    "graphc.optim": {"SGD", "AdamW", "lr_scheduler"},
    "graphc.utils.data": {"DataLoader", "Dataset"},
}


@pytest.mark.parametrize("space", WANTED)
def test_star(space: str) -> None:
    given: dict[str, Any] = {}
    exec(f"from {space} import *", given)
    assert set(given) >= WANTED[space]
    assert given[min(WANTED[space])] is getattr(importlib.import_module(space), min(WANTED[space]))
