"""How many threads there are, what memory is free, and what the switches say."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest

from graphc import config
from graphc.ir.cpu_abi import JOB
from graphc.runtime.cpu import arena, threads
from graphc.runtime.cpu.job import Job
from graphc.runtime.cpu.threads import Pool
from tests.runtime import native as n


def test_threads_are_the_least_of_affinity_quota_and_wish(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "_affinity", lambda: 8)
    for quota, expected in ((None, 8), (3, 3), (99, 8)):
        monkeypatch.setattr(threads, "_quota", lambda q=quota: q)
        assert threads.machine_threads() == expected
    for wish, expected in (("", 8), ("0", 8), ("5", 5), ("64", 8), ("many", 8)):
        monkeypatch.setattr(threads, "wanted", None)
        monkeypatch.setenv("GRAPHC_NUM_THREADS", wish)
        assert threads.get_num_threads() == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({("", "cpu.max"): "150000 100000"}, 2),
        ({("", "cpu.max"): "max 100000"}, None),
        ({("cpu", "cpu.cfs_quota_us"): "-1", ("cpu", "cpu.cfs_period_us"): "100000"}, None),
        ({("cpu", "cpu.cfs_quota_us"): "50000", ("cpu", "cpu.cfs_period_us"): "100000"}, 1),
        ({}, None),
    ],
)
def test_cpu_quota_of_both_versions(
    monkeypatch: pytest.MonkeyPatch, files: dict[tuple[str, str], str], expected: int | None
) -> None:
    monkeypatch.setattr(threads, "group_file", lambda c, f: files.get((c, f), ""))
    assert threads._quota() == expected


def test_free_memory_is_within_the_groups_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "memory.max": "1000",
        "memory.current": "900",
        "memory.stat": "anon 5\ninactive_file 300\n",
    }
    monkeypatch.setattr(arena, "group_file", lambda c, f: "" if c else files.get(f, ""))
    assert arena.free_bytes() == 400
    files["memory.max"] = "max"
    machine = arena.free_bytes()
    assert machine is None or machine > 1 << 20


def test_group_files_of_this_process_can_be_read() -> None:
    known = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists()
    assert arena.group_file("memory", "memory.limit_in_bytes").isdigit() or not known
    assert arena.group_file("", "no.such.file") == ""


def test_switches_are_read_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (("1", True), ("yes", True), ("0", False), ("off", False), ("", False)):
        monkeypatch.setenv("GRAPHC_VERIFY", text)
        assert config.verify() is expected
    monkeypatch.setenv("GRAPHC_DUMP", "/somewhere")
    assert config.dump_dir() == "/somewhere"
    assert all(s.variable in config.describe() for s in config.SWITCHES.values())


@pytest.mark.parametrize(("commit", "expected"), [(2, 0), (0, 1)])
def test_a_second_interrupt_within_a_pause_ends_the_step_as_the_first(
    monkeypatch: pytest.MonkeyPatch, commit: int, expected: int
) -> None:
    """It may leave the loop that resumes the step, while other threads wait at a barrier."""
    before = threads.get_num_threads()
    threads.set_num_threads(2)
    try:
        launches = [n.spin(120_000), n.spin(1), n.add("w", "w", 64, 1.0)]
        slots = [n.slot("w", "f32[64]", "state", 0)]
        step = n.executable(n.program(slots, launches, commit))
        state = np.zeros(64, np.float32)
        step.bind_state([n.address(state)])
        engine, loop = n.engine(), n.engine()._walk

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        def leave(pool: Pool, job: Job, *rest: object) -> None:
            monkeypatch.setattr(engine, "_walk", loop)
            assert job.cells[JOB["result"]] == 1
            raise KeyboardInterrupt

        monkeypatch.setattr(engine, "_walk", leave)
        handler = signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            with pytest.raises(KeyboardInterrupt):
                step.run([])
        finally:
            signal.signal(signal.SIGALRM, handler)
        assert engine._walk == loop  # it has been left
        assert (state == expected).all()
        step.run([])
        assert (state == expected + 1).all()
    finally:
        threads.set_num_threads(before)
