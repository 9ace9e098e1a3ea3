"""Options of the test suite."""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("GRAPHC_VERIFY", "graphs")

import graphc


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
