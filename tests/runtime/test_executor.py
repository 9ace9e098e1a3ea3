"""Programs of hand-written kernels: values, threads, errors, rebinding, and what a run costs."""

from __future__ import annotations

import gc
import resource
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from graphc.errors import (
    CHECKED,
    IndexOutOfRange,
    InternalError,
    InvalidArgument,
    OutOfMemory,
)
from graphc.ir.program import CheckSite
from graphc.ir.types import Array
from graphc.runtime.cpu.engine import Engine
from graphc.runtime.cpu.executor import Executable
from graphc.runtime.cpu.threads import get_num_threads, set_flush_denormal, set_num_threads
from tests.runtime import native as n

STATES: list[Array] = []
HERE = (__file__, 12, "forward")


@pytest.fixture(params=[1, 2, 3, 7])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    yield from _with_threads(request.param)


@pytest.fixture
def two() -> Iterator[int]:
    yield from _with_threads(2)


def _with_threads(count: int) -> Iterator[int]:
    before = get_num_threads()
    set_num_threads(count)
    yield count
    set_num_threads(before)


def stepping(size: int, launches: int) -> tuple[Executable, Array]:
    """A chain that also adds one to a state of its own, which outlives it in `STATES`."""
    step, state = n.executable(n.chain(size, launches, steps=1)), np.zeros(size, np.float32)
    step.bind_state([n.address(state)])
    STATES.append(state)
    return step, state


def test_values_and_state(threads: int) -> None:
    step, state = stepping(1001, 5)
    x = np.arange(1001, dtype=np.float32)
    for _ in range(20):
        assert np.array_equal(n.run_chain(step, x), x + 5)
    assert (state == 20).all()


def test_more_arguments_than_used(two: int) -> None:
    step, _ = stepping(8, 2)
    x, out = np.ones(8, np.float32), np.empty(8, np.float32)
    step.run([n.address(x), 0, 0], [n.address(out)])
    assert (out == 3).all()


def test_state_is_rebound(two: int) -> None:
    step, first = stepping(64, 2)
    second, x = np.full(64, 7, np.float32), np.zeros(64, np.float32)
    n.run_chain(step, x)
    step.bind_state([n.address(second)])
    n.run_chain(step, x)
    assert (first == 1).all() and (second == 8).all()


def test_scalars_reach_their_slots() -> None:
    slots = [n.slot("lr", "f32[]", "scalar", 1), n.slot("k", "f64[]", "scalar", 0)]
    slots += [n.slot("out", "f32[1]", "out", 0)]
    step = n.executable(n.program(slots, [n.add("lr", "out", 1, 0.5)]))
    out = np.zeros(1, np.float32)
    for lr in (0.25, 2.0):
        step.run([], [n.address(out)], [9.0, lr])
        assert out[0] == lr + 0.5


def test_nothing_bound_is_an_error() -> None:
    step = n.executable(n.chain(8, 2, steps=1))
    with pytest.raises(InternalError):
        step.run([0], [0])


def checked(bound: int, what: str = "embedding", error: str = "", fix: str = "") -> Executable:
    """Add one to the state if every index is below `bound`."""
    slots = [n.slot("i", "i64[300]", "arg", 0), n.slot("w", "f32[300]", "state", 0)]
    launches = [n.spin(1), n.check("i", 300, bound, site=1), n.add("w", "w", 300, 1.0)]
    sites = CheckSite("first", HERE), CheckSite(what, HERE, error, fix)
    return n.executable(n.program(slots, launches, commit=2, checks=sites))


def test_a_failed_check_leaves_state_alone(threads: int) -> None:
    step, state = checked(10), np.zeros(300, np.float32)
    step.bind_state([n.address(state)])
    index = np.full(300, 3)
    for bad in (10, -1):
        index[[5, 200]] = bad
        with pytest.raises(IndexOutOfRange) as e:
            step.run([n.address(index)])
        assert e.value.what == f"embedding: index {bad} is out of range [0, 10)"
        assert e.value.where == HERE
        assert (state == 0).all()
    index[:] = 9
    step.run([n.address(index)])  # the error is forgotten
    assert (state == 1).all()


def test_a_check_names_its_own_error(two: int) -> None:
    index = np.full(300, 7)
    for error in CHECKED.values():
        step, state = (
            checked(5, "no such value", error.__name__, "pass another"),
            np.zeros(300, "f"),
        )
        step.bind_state([n.address(state)])
        with pytest.raises(error) as e:
            step.run([n.address(index)])
        assert (e.value.what, e.value.remedy) == ("no such value", "pass another")
        assert e.value.where == HERE
        assert (state == 0).all()


def test_an_index_into_nothing_is_out_of_range(two: int) -> None:
    index, state = np.zeros(300, np.int64), np.zeros(300, np.float32)
    empty = checked(0)  # no number is in range
    empty.bind_state([n.address(state)])
    with pytest.raises(IndexOutOfRange, match=r"index 0 is out of range \[0, 0\)"):
        empty.run([n.address(index)])


def test_arena_moves_under_older_programs(two: int) -> None:
    small, _ = stepping(100, 3)
    x = np.ones(100, np.float32)
    n.run_chain(small, x)
    large, _ = stepping(3_000_000, 3)
    y = np.ones(3_000_000, np.float32)
    assert (n.run_chain(large, y) == 4).all()
    assert (n.run_chain(small, x) == 4).all()
    del large
    gc.collect()
    assert n.engine().arena.size_bytes < 1 << 20
    assert (n.run_chain(small, x) == 4).all()


def test_out_of_memory_is_known_before(two: int) -> None:
    t = f"f32[{1 << 44}]"
    slots = [n.slot("x", "f32[8]", "arg", 0), n.slot("out", "f32[8]", "out", 0)]
    slots += [n.slot("huge", t, "arena", 0)]
    program = n.program(slots, [n.add("x", "huge", 8, 1.0)], arena_bytes=4 << 44)
    with pytest.raises(OutOfMemory, match="huge: f32"):
        n.run_chain(n.executable(program), np.zeros(8, np.float32))
    step, _ = stepping(8, 2)
    assert (n.run_chain(step, np.zeros(8, np.float32)) == 2).all()


def test_denormals_are__unless_asked(threads: int) -> None:
    slots = [n.slot("x", "f32[99]", "arg", 0), n.slot("out", "f32[99]", "out", 0)]
    step = n.executable(n.program(slots, [n.add("x", "out", 99, 0.0)]))
    x = np.full(99, 1e-40, np.float32)
    assert (n.run_chain(step, x) == x).all()
    set_flush_denormal(True)
    try:
        assert (n.run_chain(step, x) == 0).all()
    finally:
        set_flush_denormal(False)
    assert (x * np.float32(1) != 0).all()  # the caller's own mode is as it was
    assert (n.run_chain(step, x) == x).all()


def test_many_python_threads_share_the_engine(two: int) -> None:
    steps = [stepping(size, 4) for size in (10, 500, 3000)]
    wrong: list[int] = []

    def hammer(seed: int) -> None:
        for k in range(60):
            step, state = steps[(seed + k) % 3]
            x = np.full(state.shape, seed * 1000 + k, np.float32)
            if not (n.run_chain(step, x) == x + 4).all():
                wrong.append(seed)

    workers = [threading.Thread(target=hammer, args=(s,)) for s in range(12)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong
    assert all((state == state[0]).all() for _, state in steps)
    assert sum(state[0] for _, state in steps) == 12 * 60


def test_workers_wake_after_any_pause(two: int) -> None:
    """Sleep and wake race around the end of a worker's patience, thousands of times."""
    step, _ = stepping(64, 3)
    x = np.zeros(64, np.float32)
    waits = np.random.default_rng(0).uniform(0, 300, 1500)
    gate = threading.Event()
    for k, microseconds in enumerate(waits):
        gate.wait(microseconds * 1e-6)
        x[:] = k
        assert (n.run_chain(step, x) == k + 3).all()


def workers() -> int:
    return sum(t.name.startswith("graphc-") for t in threading.enumerate())


def test_changing_the_number_of_threads_between_steps() -> None:
    before = get_num_threads()
    step, _ = stepping(777, 4)
    x = np.arange(777, dtype=np.float32)
    try:
        set_num_threads(1)
        n.run_chain(step, x)
        others = workers()  # of engines that other tests have started
        for count in (1, 2, 5, 1, 3, 2) * 3:
            set_num_threads(count)
            assert np.array_equal(n.run_chain(step, x), x + 4)
            assert workers() - others == count - 1
    finally:
        set_num_threads(before)
    for bad in (0, -1, 1000):
        with pytest.raises(InvalidArgument):
            set_num_threads(bad)


def test_steps_leak_nothing_and_fault_no_page(two: int) -> None:
    step, _ = stepping(5000, 4)
    x, out = np.zeros(5000, np.float32), np.zeros(5000, np.float32)
    args, outs = [n.address(x)], [n.address(out)]
    for _ in range(200):
        step.run(args, outs)
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(10_000):
        step.run(args, outs)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_minflt - before.ru_minflt < 100
    assert after.ru_maxrss - before.ru_maxrss <= 1024


def test_programs_are_dropped_whole(two: int) -> None:
    def needs() -> int:
        gc.collect()
        return len(n.engine().arena._needs)

    before = needs()
    for _ in range(100):
        step, _ = stepping(200, 3)
        n.run_chain(step, np.zeros(200, np.float32))
    del step
    assert needs() == before


def test_an_engine_that_closed_still_computes(two: int) -> None:
    engine = Engine(n.engine()._walker)
    program = n.chain(50, 3)
    functions = [n.loaded().address(launch.kernel.name) for launch in program.launches]
    step = Executable(program, functions, engine)
    x = np.zeros(50, np.float32)
    assert (n.run_chain(step, x) == 3).all()
    engine.close()
    assert (n.run_chain(step, x) == 3).all()


def test_again_runs_only_while_what_is_watched_stays(threads: int) -> None:
    step, state = stepping(1001, 3)
    x, out = np.arange(1001, dtype=np.float32), np.zeros(1001, np.float32)
    assert np.array_equal(n.run_chain(step, x), x + 3)
    watched = np.array([5, 6, 7], np.int64)
    words = np.array([[n.address(watched) + 8 * k, v] for k, v in enumerate(watched)], np.int64)
    assert step.watch(words)
    assert step.again([n.address(out), n.address(x)]) and step.done
    assert np.array_equal(out, x + 3) and (state == 2).all()
    for k in range(3):
        watched[k] += 1
        out[:] = 0
        assert not step.again([n.address(out), n.address(x)]) and not step.done
        assert not out.any() and (state == 2).all()
        watched[k] -= 1
    assert step.again([n.address(out), n.address(x)]) and (state == 3).all()


def test_again_leaves_what_run_puts_in_order(two: int) -> None:
    """A larger program has moved the arena since."""
    step, _ = stepping(1001, 3)
    x, out = np.ones(1001, np.float32), np.zeros(1001, np.float32)
    n.run_chain(step, x)
    large = n.executable(n.chain(300_000, 4))
    n.run_chain(large, np.ones(300_000, np.float32))
    moved = not step.again([n.address(out), n.address(x)])
    assert moved == (not out.any())
    assert np.array_equal(n.run_chain(step, x), x + 3)
    assert step.again([n.address(out), n.address(x)]) and np.array_equal(out, x + 3)
