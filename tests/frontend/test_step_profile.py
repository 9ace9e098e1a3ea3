"""What `step.profile` tells: every launch once, by kernel, line, module and phase."""

from __future__ import annotations

import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import graphc
import graphc.nn.functional as F
from graphc import nn, optim
from graphc.errors import InvalidArgument
from graphc.frontend.step.compiled import CompiledFunction
from graphc.frontend.step.inspect.profile import ROUND, Profile, in_turns, profile_of
from graphc.ir.program import Program
from graphc.runtime.cpu.job import TICKS, Timed
from graphc.runtime.peaks import Peaks, load, save
from graphc.runtime.tally import Tally

pytestmark = pytest.mark.usefixtures("uncollected")


@pytest.fixture(scope="module")
def step() -> CompiledFunction:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3))
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)

    @graphc.compile
    def train_step(x: graphc.Tensor, y: graphc.Tensor) -> graphc.Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


class Took(NamedTuple):
    """A run, as a runtime notes it."""

    program: Program
    seconds: tuple[float, ...]
    calls: int = 1
    threads: tuple[()] = ()


def evenly(step: CompiledFunction, seconds: float) -> Profile:
    """The profile of a run whose launches took equally long."""
    program = step._units()[0].program
    count = len(program.launches)
    return profile_of([Took(program, (seconds / count,) * count)], None)


BATCH = graphc.ones(5, 1, 8, 8), graphc.tensor([0, 1, 2, 0, 1])


def test_each_launch_once_in_order(step: CompiledFunction) -> None:
    profile = step.profile(*BATCH)
    launches = step._units()[0].program.launches
    assert [x.kernel for x in profile.launches] == [x.kernel.name for x in launches]
    assert all(x.row.seconds >= 0 for x in profile.launches)
    begins = [x.begin for x in profile.launches]
    assert begins == sorted(begins)


def test_rows_come_to_the_call_of_which_some_is_outside_launches(step: CompiledFunction) -> None:
    profile = step.profile(*BATCH)
    assert profile.launch_seconds == pytest.approx(sum(x.row.seconds for x in profile.launches))
    assert profile.outside_seconds > 0
    assert profile.seconds == profile.launch_seconds + profile.outside_seconds
    (outside,) = (r for r in profile.by("kernel") if r.name == "(outside)")
    assert outside.calls == 0 and outside.seconds == profile.outside_seconds
    assert "the call" in profile.table() and "outside launches" in profile.table()


def test_compiling_is_no_part_of_a_first_call() -> None:
    first = graphc.compile(lambda x: (x * 3).sum())
    profile = first.profile(graphc.ones(7))
    assert profile.seconds < first.stats.compile_seconds


def test_calls_with_and_without_a_profile_take_turns() -> None:
    seen: list[int] = []

    def count(x: graphc.Tensor) -> None:
        seen.append(int(x))

    @graphc.compile
    def step(x: graphc.Tensor) -> graphc.Tensor:
        graphc.debug.callback(count, x[0])
        return (x * 2).sum()

    batches = [graphc.full((3,), k) for k in range(10)]
    profile = step.profile_over((x,) for x in batches)
    assert seen == list(range(10)), "each batch once, in order"
    assert profile.beside is not None and profile.beside.profiles == 2
    assert profile.beside.seconds > 0
    assert profile.result is None, "its memory is free for the next call"
    assert "the median of 2" in str(profile)
    with pytest.raises(InvalidArgument, match="fewer than 4 batches"):
        step.profile_over(batches[:3])


def test_what_is_in_the_middle_and_how_far_it_is_from_its_neighbours(
    step: CompiledFunction,
) -> None:
    plain = iter([1.0, 1.0, 9.0, 2.0, 2.0, 2.0, 4.0, 4.0, 4.0])
    timed = iter([2.0, 3.3, 3.6])  # a machine that slows down from call to call
    found = in_turns(range(12), lambda _: next(plain), lambda _: evenly(step, next(timed)))
    assert found.seconds == pytest.approx(3.3)
    assert found.beside == (2.0, pytest.approx(0.0), math.inf, 3)


def test_the_error_of_a_residual_falls_with_more_profiles(step: CompiledFunction) -> None:
    spread = itertools.cycle((0.9, 1.0, 1.0, 1.1))
    few, many = (
        in_turns(range(ROUND * n), lambda _: 1.0, lambda _: evenly(step, next(spread))).beside
        for n in (4, 64)
    )
    assert few is not None and many is not None
    assert 0 < many.error < few.error < 0.2


def test_a_profiled_call_is_latched_like_the_ones_around_it(step: CompiledFunction) -> None:
    for _ in range(40):
        step(*BATCH)
    latch = step._latch
    if latch is None:
        pytest.skip("no calls are latched here")
    profile = step.profile(*BATCH)
    assert step._latch is latch, "a miss would have dropped it"
    launches = step._units()[0].program.launches
    assert [x.kernel for x in profile.launches] == [x.kernel.name for x in launches]
    assert all(x.row.seconds >= 0 for x in profile.launches)
    other = step.profile(*(x[:2] for x in BATCH))  # of another program than the latch's
    assert len(other.launches) == len(launches)
    assert len(step.profile(*BATCH).launches) == len(launches)


@pytest.mark.parametrize("calls", [1, 40])  # by Python, and by the latch where there is one
def test_nothing_is_left_on_after_an_error(calls: int) -> None:
    table = graphc.randn(4)
    pick = graphc.compile(lambda i: table[i].sum())
    good, bad = graphc.tensor([1, 2]), graphc.tensor([1, 9])
    for _ in range(calls):
        pick(good)
    launches = len(pick.profile(good).launches)
    with pytest.raises(IndexError):
        pick.profile(bad)
    native = pick._last.plan.native
    assert native._engine.timed is None and not native._job.cells[TICKS] and not pick._timed
    for _ in range(calls):
        assert pick(good).item() == table[good].sum().item()
    assert len(pick.profile(good).launches) == launches


def test_profiles_do_not_share_what_they_hold(step: CompiledFunction) -> None:
    profiles = [step.profile(*BATCH) for _ in range(40)]
    times = {tuple(x.row.seconds for x in p.launches) for p in profiles}
    assert len(times) == len(profiles)
    assert all(p.launch_seconds > 0 for p in profiles)


def test_it_is_a_call_like_any_other(step: CompiledFunction) -> None:
    before = step(*BATCH).item()
    profile = step.profile(*BATCH)
    assert isinstance(profile.result, graphc.Tensor)
    assert profile.result.item() != before  # the parameters have moved on


@pytest.mark.parametrize("key", ["launch", "kernel", "line", "module", "phase"])
def test_tables_hold_all_of_it(step: CompiledFunction, key: str) -> None:
    profile = step.profile(*BATCH)
    rows = profile.by(key)
    assert sum(r.calls for r in rows) == len(profile.launches)
    assert sum(r.seconds for r in rows) == pytest.approx(profile.seconds)
    assert [r.seconds for r in rows] == sorted((r.seconds for r in rows), reverse=True)
    assert f"  {key}" in profile.table(key)


def test_rows_name_modules_lines_and_phases(step: CompiledFunction) -> None:
    profile = step.profile(*BATCH)
    assert {"0", "3"} <= {r.name.partition(".")[0] for r in profile.by("module")}
    assert {"forward", "backward"} <= {r.name for r in profile.by("phase")}
    here = Path(__file__).name
    assert all(r.name.startswith(here) for r in profile.by("line") if r.name != "(outside)")


def test_a_launch_has_the_mean_of_its_threads(step: CompiledFunction) -> None:
    """One thread may be at the second launch while another is still at the first."""
    program = step._units()[0].program
    ticks = np.array([[10, 12, 30], [14, 28, 0], [0, 0, 0]], np.int64)  # the third has not run
    assert Timed(program, ticks, lambda: 2.0).seconds == (5.0, 5.0)


def test_a_caller_that_begins_behind_its_workers_was_waited_for(step: CompiledFunction) -> None:
    """It wakes them, and may lose its processor before it begins itself."""
    program = step._units()[0].program
    run = Timed(program, np.array([[30, 40, 50], [10, 20, 0]], np.int64), lambda: 1.0)
    assert run.threads == [[0.0, 30.0, 40.0], [0.0, 10.0, 40.0]]
    assert run.seconds == (20.0, 20.0)


def test_launches_of_several_threads_add_up_to_the_run(step: CompiledFunction) -> None:
    graphc.set_num_threads(2)
    x = graphc.randn(512, 256)
    wide = graphc.compile(lambda x: (x @ x.mT).exp().sum(0))
    for _ in range(3):
        profile = wide.profile(x)
        assert all(r.row.seconds >= 0 for r in profile.launches)
        assert 0 < profile.launch_seconds <= profile.call_seconds
        assert profile.outside_seconds == profile.call_seconds - profile.launch_seconds


def test_a_row_reads_as_a_sentence(step: CompiledFunction) -> None:
    row = next(r for r in step.profile(*BATCH).by("module") if r.name == "3")
    assert str(row).startswith(f"3: {row.ms:.3f} ms in {row.calls} launches, ")


def test_an_unknown_table_is_refused(step: CompiledFunction) -> None:
    with pytest.raises(InvalidArgument, match="launch, kernel, line, module, phase"):
        step.profile(*BATCH).by("layer")


def test_nothing_is_noted_afterwards(step: CompiledFunction) -> None:
    with step._backend.timing() as runs:
        step(*BATCH)
    seen = len(runs)
    step(*BATCH)
    assert seen == len(runs) == 1


def test_a_module_tells_of_its_forward() -> None:
    model = graphc.compile(nn.Linear(4, 2))
    profile = model.profile(graphc.ones(3, 4))
    assert profile.result.shape == (3, 2)
    assert any("dot" in x.kernel for x in profile.launches)


def test_shares_are_of_the_measured_peaks(step: CompiledFunction) -> None:
    with step._backend.timing() as runs:
        step(*BATCH)
    profile = profile_of(runs, Peaks("any", 1, 1e9, 1e9))
    for x in profile.launches:
        assert x.row.floor == max(x.row.work.flops, x.row.work.bytes) / 1e9
    assert "%" in profile.table().splitlines()[1]
    assert "doctor --measure" in str(profile_of(runs, None))


def test_a_trace_for_chrome(step: CompiledFunction, tmp_path: Path) -> None:
    profile = step.profile(*BATCH)
    profile.chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert [e["name"] for e in events if e["tid"] == 0] == [x.kernel for x in profile.launches]
    assert all({"ts", "dur", "args"} <= set(e) for e in events)


def test_a_trace_shows_each_thread(step: CompiledFunction, tmp_path: Path) -> None:
    graphc.set_num_threads(2)
    x = graphc.randn(512, 256)
    profile = graphc.compile(lambda x: (x @ x.mT).exp().sum(0)).profile(x)
    profile.chrome_trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert {e["tid"] for e in events} == set(range(len(profile.runs[0].threads)))
    for thread in {e["tid"] for e in events}:
        own = [e for e in events if e["tid"] == thread]
        assert sum(e["dur"] for e in own) == pytest.approx(1e6 * profile.launch_seconds)
        assert own[-1]["ts"] + own[-1]["dur"] == pytest.approx(1e6 * profile.launch_seconds)


def test_a_table_as_pytorch_shows_it(step: CompiledFunction) -> None:
    averages = step.profile(*BATCH).key_averages()
    table = averages.table(sort_by="self_cpu_time_total", row_limit=3)
    rows = table.splitlines()
    assert "Self CPU %" in rows[1] and "# of Calls" in rows[1] and len(rows) == 3 + 3 + 2
    slowest = max(averages, key=lambda r: r.seconds)
    assert rows[3].split()[0] == slowest.name
    with pytest.raises(InvalidArgument, match="cpu_time_total"):
        averages.table(sort_by="cuda_time_total")


def test_a_tally_puts_runs_together(step: CompiledFunction) -> None:
    tally = Tally()
    program = step._units()[0].program
    for seconds in (9.0, 1.0, 3.0):
        tally.append(Took(program, (seconds,) * len(program.launches)))
    (mean,) = tally.means()
    assert mean.calls == 2 and set(mean.seconds) == {2.0}, "the first run is cold"
    profile = profile_of([mean], None)
    assert profile.seconds == pytest.approx(4.0 * len(program.launches))
    assert {r.calls for r in profile.by("launch")} == {2}


def test_a_switch_profiles_a_process(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import graphc\nf = graphc.compile(lambda x: (x * 2).sum())\n"
        "for _ in range(3):\n    f(graphc.ones(4))\n"
    )
    env = {**os.environ, "GRAPHC_PROFILE": "1", "PYTHONPATH": str(Path(graphc.__file__).parents[1])}
    done = subprocess.run([sys.executable, str(script)], env=env, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout
    assert "2 calls" in done.stderr and "GFLOP/s" in done.stderr


def test_peaks_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_CACHE_DIR", str(tmp_path))
    assert load() is None
    save(Peaks("zen", 2, 1e11, 1e10))
    assert load() == Peaks("zen", 2, 1e11, 1e10)
    assert load("cuda:0") is None, "a GPU has its own"
    gpu = Peaks("h", 132, 1e15, 3e12, {"L2": 6e12}, 1e-6)
    save(gpu, "cuda")
    assert load("cuda:1") == gpu and load() == Peaks("zen", 2, 1e11, 1e10)
    (tmp_path / "peaks.json").write_text("[")
    assert load() is None
