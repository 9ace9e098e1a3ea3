"""Modules of installed packages in a step: what their `forward` reads and writes counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import graphc
from tests.libraries import library

SOURCE = '''
import copy
import logging

import graphc

logger = logging.getLogger("installed")
logger.addHandler(logging.StreamHandler())


class Counting(graphc.nn.Module):
    """A number of the module's own, and one that others set."""

    def __init__(self):
        super().__init__()
        self.n, self.scale = 0, 2.0

    def forward(self, x):
        self.n += 1
        return x * self.n * self.scale


class Listing(Counting):
    """Containers, and a method behind one that passes everything on."""

    def __init__(self):
        super().__init__()
        self.by_name, self.calls = {}, []

    def forward(*args, **kwargs):
        return args[0].inner(*args[1:], **kwargs)

    def inner(self, x):
        self.by_name["n"] = self.by_name.get("n", 0) + 1
        self.calls.append(1)
        return x * self.by_name["n"] + len(self.calls) * self.scale


class Cache:
    def __init__(self):
        self.rows = None

    def update(self, x, at):
        if self.rows is None:
            self.batch = x.shape[0]
            self.rows = graphc.zeros(self.batch, 8)
        self.rows.index_copy_(1, graphc.arange(x.shape[1]) + at, x)
        return self.rows


class Caching(Counting):
    """Memory that the first call makes, as large as that call says, and all fill."""

    def __init__(self):
        super().__init__()
        self.cache, self.at = Cache(), graphc.zeros(1, dtype=graphc.int64)

    def forward(self, x):
        rows = self.cache.update(x * self.scale, self.at)
        self.at += x.shape[1]
        return rows * 1


class Config:
    def __init__(self):
        self.names = {"a": 1, "b": 2}


class Copying(Counting):
    """Dicts of numbers and text only, of which Python's collector knows nothing."""

    def __init__(self):
        super().__init__()
        self.config = Config()

    def forward(self, x):
        return x * copy.deepcopy(self.config).names["b"]


class Telling(Counting):
    def forward(self, x):
        from xml.etree import ElementTree

        assert ElementTree
        logger.warning("a message of %s", type(self).__name__)
        return x * self.scale
'''


def _step(m: Any) -> Any:
    def step(x: graphc.Tensor) -> Any:
        return m(x)

    return graphc.compile(step)


def _forward(m: Any) -> Any:
    m.forward = graphc.compile(m.forward)
    return m


WAYS: dict[str, Callable[[Any], Any]] = {
    "called by a step": _step,
    "called by a module of ours": lambda m: graphc.compile(graphc.nn.Sequential(m)),
    "itself": graphc.compile,
    "its forward": _forward,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["Counting", "Listing", "Caching"])
def test_state_of_a_librarys_module_goes_on(
    kind: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = getattr(library(SOURCE, tmp_path, monkeypatch), kind)
    found = []
    for wrap in (lambda m: m, WAYS[way]):
        m = make()
        run = wrap(m)
        out = [run(graphc.ones(2, 3)).tolist(), run(graphc.ones(2, 1)).tolist()]
        m.scale = 5.0
        out.append(run(graphc.ones(2, 1)).tolist())
        found.append((out, m.n, getattr(m, "calls", None)))
    assert found[0] == found[1]


def test_what_it_logs_and_imports_is_its_own_affair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    m = library(SOURCE, tmp_path, monkeypatch).Telling()
    step = _step(m)
    for _ in range(3):
        assert step(graphc.ones(2)).tolist() == [2.0, 2.0]
    assert step.stats.programs == 1
    assert "a message of Telling" in caplog.text


def test_a_copy_that_it_makes_at_each_call_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    m = library(SOURCE, tmp_path, monkeypatch).Copying()
    step = _step(m)
    for _ in range(3):
        assert step(graphc.ones(2)).tolist() == [2.0, 2.0]
    assert step.stats.programs == 1
    m.config.names["b"] = 6
    assert step(graphc.ones(2)).tolist() == [6.0, 6.0]


HELPER = """
import graphc

def apply(params, *, scale):
    for p in params:
        p.mul_(scale)

class Scaled(graphc.optim.Optimizer):
    def __init__(self, params):
        super().__init__(params, {})

    @graphc.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if "step" in group:
                group["step"] += 1
            else:
                group["step"] = 1
            apply(group["params"], scale=1 - 0.5 ** group["step"])
"""


def test_a_librarys_function_that_is_given_tensors_and_a_count_is_part_of_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = library(HELPER, tmp_path, monkeypatch)

    def values(compiled: bool) -> list[float]:
        p = graphc.nn.Parameter(graphc.ones(1))
        opt = module.Scaled([p])

        def step() -> graphc.Tensor:
            opt.step()
            return p.detach() + 0  # what it is after the update, not before

        run = graphc.compile(step) if compiled else step
        return [float(run()) for _ in range(4)]

    assert values(compiled=True) == values(compiled=False)
