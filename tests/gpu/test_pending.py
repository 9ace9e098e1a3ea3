"""Who looks at checks, and what is recorded, while threads and signal handlers do other work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from graphc.errors import GraphcError
from graphc.runtime.cuda.capture import Recorded, Report
from graphc.runtime.cuda.device import Device
from graphc.runtime.cuda.driver import Driver
from graphc.runtime.cuda.fake import FakeDriver
from graphc.runtime.cuda.pending import CELLS, Cells, Pending


@dataclass
class Program:
    """One whose check has failed, or has not."""

    wrong: bool
    seen: Callable[[], object] = lambda: None  # what happens when somebody looks

    def failed(self) -> bool:
        seen, self.seen = self.seen, lambda: None
        seen()
        return self.wrong

    def failure(self) -> GraphcError:
        self.wrong = False
        return GraphcError("a check failed")


def interrupted() -> None:
    raise KeyboardInterrupt


def test_a_wait_that_is_interrupted_is_none() -> None:
    pending = Pending()
    pending.add(Program(True))
    with pytest.raises(KeyboardInterrupt):
        pending.through(interrupted)
    with pytest.raises(GraphcError, match="a check failed"):
        pending.through(lambda: None)
    assert not len(pending)


def test_a_handler_may_look_while_somebody_does() -> None:
    pending = Pending()
    program = Program(True)
    pending.add(program)

    def handler() -> None:
        program.seen = second

    def second() -> None:  # the lock is held
        with pytest.raises(GraphcError, match="a check failed"):
            pending.through(lambda: None)

    program.seen = handler
    pending.glance()
    assert not len(pending)


def test_cells_are_one_programs_each() -> None:
    cells = Cells(lambda shape: np.ones(shape, np.int64))
    taken = [cells.take() for _ in range(CELLS + 1)]
    assert len({x.ctypes.data for x in taken}) == len(taken)
    taken[0][...] = 1
    cells.give_back(taken[0])
    while (again := cells.take()) is not taken[0]:
        pass
    assert not again.any()


def test_what_others_start_meanwhile_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    device = Device(FakeDriver())
    word, host = device.allocate(8), device.host.array((8,), np.dtype(np.uint8))
    start = Report.start

    def meanwhile(self: Report, driver: Driver, stream: int) -> None:
        start(self, driver, stream)
        device.set(word.address, b"\1", 8)  # as another thread would
        device.wait()

    monkeypatch.setattr(Report, "start", meanwhile)
    copy = Report(host.ctypes.data, word.address, 8)
    recorded = Recorded(device, [copy])
    device.set(word.address, b"\2", 8)
    for _ in range(2):
        recorded.start()
        device.wait()
        assert host.tolist() == [2] * 8
