"""Options of the test suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

os.environ.setdefault("GRAPHC_VERIFY", "graphs")

import graphc
from graphc.frontend import epoch, switches
from graphc.frontend.step import plan as plans


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr != "gpu":
        os.environ.setdefault("GRAPHC_CUDA", "off")  # tests of a GPU say which


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="keep the dumps of tests/golden as they are"
    )


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """A process draws a seed of its own; a test that draws numbers repeats them."""
    graphc.manual_seed(0)


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    """What a test sets is set for it alone; nothing that is public gives up having asked."""
    before = switches._set["precision"]
    yield
    if switches._set["precision"] != before:
        switches._set["precision"] = before
        epoch.switch_changed()


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The arguments that calls copy."""
    found: list[Any] = []
    real = plans.row_major

    def noted(array: Any, *rest: Any) -> Any:
        out = real(array, *rest)
        if out is not array:
            found.append(array.shape)
        return out

    monkeypatch.setattr(plans, "row_major", noted)
    return found
