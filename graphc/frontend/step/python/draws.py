"""Random numbers that Python draws while a step is traced: they would be the same at each call."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from graphc.errors import Untraceable


def python_draws() -> dict[str, Any]:
    """Where Python's and NumPy's global generators are."""
    _, keys, position, *rest = np.random.get_state(legacy=True)
    return {"random": random.getstate(), "numpy.random": (keys.tobytes(), position, rest)}  # type: ignore[union-attr]  # NumPy's old generator has an array of keys


def refuse_draws(before: dict[str, Any]) -> None:
    """Raise if either has been drawn from since."""
    for module, now in python_draws().items():
        if now != before[module]:
            raise Untraceable(
                f"`{module}` was drawn from inside a compiled step",
                why="Python runs once, so the number would be the same at each call",
                fix="draw with graphc.rand() or randint(), or draw outside and pass the number",
            )
