"""Options of the test suite."""

from __future__ import annotations

import faulthandler
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

os.environ.setdefault("GRAPHC_VERIFY", "graphs")

import graphc
from graphc.frontend import epoch, switches
from graphc.frontend.devices import ACCELERATORS
from graphc.frontend.step import plan as plans


def pytest_configure(config: pytest.Config) -> None:
    if config.option.markexpr != "gpu":
        os.environ.setdefault("GRAPHC_CUDA", "off")  # tests of a GPU say which


LAST_WORDS = pytest.StashKey[TextIO]()


def _last_words(run: str, worker: str) -> Path:
    """Where a worker of a parallel run says what it was doing, should it die."""
    return Path(tempfile.gettempdir()) / f"graphc-tests-{run}-{worker}.txt"


def pytest_sessionstart(session: pytest.Session) -> None:
    if given := getattr(session.config, "workerinput", None):
        words = _last_words(given["testrunuid"], given["workerid"]).open("w")
        session.config.stash[LAST_WORDS] = words
        faulthandler.enable(words)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if words := session.config.stash.get(LAST_WORDS, None):
        faulthandler.disable()
        words.close()
        Path(words.name).unlink(missing_ok=True)


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(report: Any) -> None:
    given = report.node.workerinput
    words = _last_words(given["testrunuid"], given["workerid"])
    if words.exists():
        ours = [x for x in words.read_text().splitlines() if "site-packages" not in x]
        report.longrepr = "\n".join([report.longrepr, *ours])
        words.unlink()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="keep the dumps of tests/golden as they are"
    )


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """A process draws a seed of its own; a test that draws numbers repeats them."""
    graphc.manual_seed(0)


@pytest.fixture(autouse=True)
def _without_gpu() -> Iterator[None]:
    """A GPU that a test plays is there for it alone: tensors are asked for their device then."""
    before = list(ACCELERATORS)
    yield
    ACCELERATORS[:] = before


@pytest.fixture
def uncollected() -> Iterator[None]:
    """For tests of how short a call is: after steps that other tests left have been collected, the
    next call is a long one."""
    gc.disable()
    yield
    gc.enable()


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
