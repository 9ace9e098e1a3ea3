"""Writes docs/coverage.md from the table of names: `python -m tests.coverage.page`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import graphc
import graphc.datasets
import graphc.transforms
import graphc.utils.tensorboard
from tests.coverage.names import MISSING, SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"
HEAD = """# Coverage

Names of PyTorch 2.13 and whether graphc has them, eager and under `@graphc.compile` alike.
`tests/coverage` holds the table this page is written from (`python -m tests.coverage.page`) and
fails where the two differ, and where a name is used by no test.
"""


def has(root: Any, name: str) -> bool:
    """Whether a dotted name leads somewhere from `root`."""
    try:
        reduce(getattr, name.split("."), root)
    except AttributeError:
        return False
    return True


def lines() -> Iterator[str]:
    yield HEAD
    total = sum(len(names) for names in SECTIONS.values())
    yield f"{sum(has(graphc, n) for names in SECTIONS.values() for n in names)} of {total} names.\n"
    for title, names in SECTIONS.items():
        there = [n for n in names if has(graphc, n)]
        yield f"## {title} ({len(there)} of {len(names)})\n"
        yield " ".join(f"`{n}`" for n in there) + "\n"
        absent = [n for n in names if n not in there]
        if absent:
            yield "| not there | why |\n|---|---|"
            yield "\n".join(f"| `{n}` | {MISSING.get(n, '')} |" for n in absent) + "\n"


def text() -> str:
    return "\n".join(lines())


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(text())
