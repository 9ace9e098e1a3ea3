"""The collector of garbage around a trace: paused, and not left with what the trace made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import graphc
from graphc import Tensor
from graphc.frontend.step.family import Entry, Family
from graphc.frontend.step.python import collector


@contextmanager
def collections() -> Iterator[list[int]]:
    """The generations collected meanwhile."""
    found: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            found.append(info["generation"])

    gc.callbacks.append(note)
    try:
        yield found
    finally:
        gc.callbacks.remove(note)


def several(x: Tensor) -> Tensor:
    for _ in range(30):
        x = (x * 1.5 + 1.0).sin()
    return x


@pytest.mark.parametrize("many, times", [(100, 1), (1 << 30, 0)])
def test_many_objects_of_a_trace_are_made_old_once(
    many: int, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collector, "MANY_OBJECTS", many)
    young: list[int] = []
    make_old = collector._make_old

    def noted() -> None:
        make_old()
        young.append(gc.get_count()[0])

    monkeypatch.setattr(collector, "_make_old", noted)
    gc.collect()
    with collections() as found:
        graphc.compile(several)(graphc.ones(3, 4))
    assert len(young) == times and all(n < 100 for n in young)
    assert not {1, 2} & {*found}, "nothing was gone through that lives on"


def test_other_sizes_are_made_without_the_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    f = graphc.compile(several)
    f(graphc.ones(3, 4))
    running: list[bool] = []
    at = Family.at

    def noted(self: Family, *args: Any) -> Entry | None:
        running.append(gc.isenabled())
        return at(self, *args)

    monkeypatch.setattr(Family, "at", noted)
    f(graphc.ones(5, 4))
    f(graphc.ones(7, 4))
    assert gc.isenabled() and running and not any(running)


def test_a_collector_that_is_off_stays_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collector, "MANY_OBJECTS", 0)
    gc.disable()
    try:
        with collections() as found:
            graphc.compile(several)(graphc.ones(2, 4))
        assert not gc.isenabled() and 2 not in found
    finally:
        gc.enable()


def test_a_step_that_asks_is_told_whether_it_runs() -> None:
    step: Any = graphc.compile(lambda x: x * (2 if gc.isenabled() else 3))
    x = graphc.ones(1)
    assert [step(x).item() for _ in range(3)] == [2, 2, 2] and gc.isenabled()
    gc.disable()
    try:
        assert step(x).item() == 3 and not gc.isenabled()
    finally:
        gc.enable()
    assert step(x).item() == 2
    assert len(step.explain().recompiles) == 1
