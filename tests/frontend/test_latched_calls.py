"""Calls that run no Python code: when they are taken, what they hand out, and how they end."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn
from graphc.frontend.step import latched
from graphc.frontend.step.latched import places
from graphc.frontend.step.python import words
from graphc.frontend.storage import running
from graphc.frontend.tensor import Tensor
from tests.counted import ORDERS, WARM_UP, Counted

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.skipif(places() is None, reason="this interpreter keeps no versions"),
    pytest.mark.usefixtures("uncollected"),
]


class Calls:
    number, again = 0, False


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    made = Counted(monkeypatch)
    made.run()
    return made


def test_calls_with_other_arguments_run_no_python(counted: Counted) -> None:
    for _ in range(5):
        counted.latched(graphc.randn(3))


def test_views_that_lie_row_by_row_run_no_python(counted: Counted) -> None:
    """Parts of a data set, made in either mode."""
    whole = graphc.randn(8, 3)
    parts = [*whole.split(1), whole[2], whole.view(24)[3:6], whole.detach()[1]]
    with graphc.no_grad():
        parts += whole.split(1)
    rows = [p.view(3) for p in parts]
    counted.run(WARM_UP, rows[0])
    for x in rows:
        counted.latched(x)
    whole.mul_(2.0)  # what they show has been written since
    for x in rows:
        counted.latched(x)


VIEWS: dict[str, Callable[[Counted], Tensor]] = {
    "with gaps": lambda c: graphc.randn(6)[::2],
    "of a parameter": lambda c: nn.Parameter(graphc.randn(2, 3))[1],
    "of one that got a history": lambda c: _with_history()[1],
    "of the state": lambda c: c.weight.view(3),
    "turned": lambda c: graphc.randn(3, 1).T[0],
}


@pytest.mark.parametrize("name", VIEWS)
def test_other_views_are_seen(counted: Counted, name: str) -> None:
    x = VIEWS[name](counted)
    for _ in range(3):
        expected = counted.expected(x)
        if name == "of the state":
            expected = float(((counted.weight.numpy() + 1.0) ** 2).sum())
        out = counted.step(x)
        assert out.item() == pytest.approx(expected, rel=1e-5)
        assert out.requires_grad == x.requires_grad
        counted.run(2)


def _with_history() -> Tensor:
    """Whose views were made before it got one."""
    base = graphc.randn(2, 3)
    view = base[1]
    base.mul_(nn.Parameter(graphc.ones(3)))
    assert view.requires_grad
    return base


def test_a_view_whose_base_got_a_history_has_one(counted: Counted) -> None:
    base = graphc.randn(2, 3)
    view = base[1]
    counted.run(WARM_UP, view)
    counted.latched(view)
    base.mul_(nn.Parameter(graphc.full((3,), 2.0)))
    out = counted.step(view)
    assert out.requires_grad and out.item() == pytest.approx(
        float((view.detach() * counted.weight).sum().item()), rel=1e-5
    )


def test_a_result_that_somebody_has_stays(counted: Counted) -> None:
    held = [counted.step(graphc.full((3,), float(k))) for k in range(8)]
    numbers = [x.item() for x in held]
    views: list[Any] = []
    for k, look in enumerate(LOOKS.values()):
        out = counted.step(graphc.full((3,), float(k)))
        numbers.append(out.item())
        views.append(look(out))
        del out
    counted.run(6)
    assert [x.item() for x in held] == numbers[:8]
    assert len({id(x) for x in held}) == 8
    for view, number, name in zip(views, numbers[8:], LOOKS):
        assert float(view() if callable(view) else view) == number, name


LOOKS: dict[str, Callable[[Tensor], Any]] = {
    "detached": lambda x: x.detach(),
    "NumPy's": lambda x: x.numpy(),
    "NumPy's view": lambda x: x.numpy().reshape(1)[0:1].reshape(()),
    "a view": lambda x: x.reshape(1)[0],
    "memory": lambda x: memoryview(x.numpy()).tolist,
    "in a closure": lambda x: lambda: x.item(),
}


def test_a_result_that_was_changed_is_not_handed_out_again(counted: Counted) -> None:
    changes: list[Callable[[Any], object]] = [
        lambda x: setattr(x, "note", "mine"), lambda x: x.requires_grad_(), lambda x: x.add_(1.0),
        lambda x: x.register_hook(print) if x.requires_grad else None,
        lambda x: vars(x).update(other=1), lambda x: setattr(x, "grad", graphc.ones(())),
        lambda x: setattr(x, "data", graphc.ones(2)),
        lambda x: setattr(x.numpy(), "shape", (1, 1)), lambda x: setattr(x.numpy(), "dtype", "i4"),
        lambda x: x.numpy().setflags(write=False),
    ]  # fmt: skip
    for change in changes:
        for _ in range(3):
            out = counted.step(graphc.ones(3))
            assert set(vars(out)) <= {"array", "storage", "_spec", "_requires_grad", "_node"}
            assert not out.requires_grad and out._version == 0 and out.shape == ()
            change(out)
            del out
    counted.run(4)


def test_weak_references_see_another_result(counted: Counted) -> None:
    refs = []
    for _ in range(6):
        out = counted.step(graphc.ones(3))
        assert all(ref() is not out for ref in refs)
        refs.append(weakref.ref(out))
        del out


def _with_data(x: Tensor) -> Tensor:
    x.data = graphc.ones(3)
    return x


ARGUMENTS: dict[str, Callable[[], Tensor]] = {
    "a view": lambda: graphc.ones(6)[::2],
    "a view that is dense": lambda: graphc.ones(6)[3:],
    "strided": lambda: graphc.from_numpy(np.ones(6, np.float32)[::2]),
    "another dtype": lambda: graphc.ones(3).double(),
    "of integers": lambda: graphc.ones(3).long(),
    "another shape": lambda: graphc.ones(3, 3),
    "another size": lambda: graphc.ones(1),
    "requires grad": lambda: graphc.ones(3).requires_grad_(),
    "a parameter": lambda: nn.Parameter(graphc.ones(3), requires_grad=False),
    "other data": lambda: _with_data(graphc.zeros(1)),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_other_kinds_of_arguments(counted: Counted, name: str) -> None:
    x = ARGUMENTS[name]()
    for _ in range(3):
        expected = (x.detach() * (counted.weight.detach() + 1)).sum().item()
        assert counted.step(x).item() == pytest.approx(expected)
        counted.run(3)


@pytest.mark.parametrize("name", ORDERS)
def test_arguments_in_another_order(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    x = ORDERS[name]("cpu")
    Counted(monkeypatch, "cpu", x.shape[-1]).latched_among_others(x)


def test_an_argument_whose_array_was_reshaped_is_not_read_as_before(counted: Counted) -> None:
    x = graphc.ones(3)
    counted.latched(x)
    assert x.array is not None
    vars(x)["array"] = x.array[::-1]
    counted.step(x)
    counted.run(2)


def test_the_state_itself_as_an_argument(counted: Counted) -> None:
    weight = counted.weight.detach()
    for _ in range(3):
        before = weight.numpy().copy()
        assert counted.step(weight).item() == pytest.approx(float(((before + 1) ** 2).sum()))


def test_one_memory_as_two_arguments() -> None:
    step = graphc.compile(lambda x, y: (x * y).sum())
    a, b = graphc.full((3,), 2.0), graphc.full((3,), 5.0)
    for _ in range(WARM_UP):
        assert step(a, b).item() == 30
    for x, y, expected in [(a, a, 12), (b, a, 30), (a.detach(), a, 12), (b, b, 75)]:
        assert step(x, y).item() == expected


def test_numbers_of_arguments(counted: Counted) -> None:
    for args in [(), (graphc.ones(3), 1)]:
        with pytest.raises(TypeError):
            counted.step(*args)
    counted.run(2)


def test_modes_of_this_thread_and_of_another(counted: Counted) -> None:
    with graphc.disable():
        counted.run(1)
    with graphc.no_grad():
        counted.run(WARM_UP)
    failed: list[BaseException] = []

    def calls() -> None:
        try:
            counted.run(20)
        except BaseException as e:
            failed.append(e)

    other = threading.Thread(target=calls)
    other.start()
    other.join()
    assert not failed, failed
    counted.run(WARM_UP)


def test_threads_take_turns() -> None:
    count = graphc.zeros(())
    table = graphc.ones(512, 64)

    @graphc.compile
    def step(x: Tensor) -> Tensor:
        count.add_(1)
        return (table @ x).sum()

    failed: list[BaseException] = []

    def calls(k: int) -> None:
        try:
            x = graphc.full((64,), float(k))
            for _ in range(50):
                assert step(x).item() == 512 * 64 * k
        except BaseException as e:
            failed.append(e)

    threads = [threading.Thread(target=calls, args=(k,)) for k in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    assert count.item() == 16 * 50 and not running.programs


def test_memory_is_exchanged_between_calls_of_another_thread() -> None:
    x = graphc.zeros(3)

    def exchange() -> None:
        x.data = graphc.ones(3)

    with running.lock:  # as a step has while it reads
        other = threading.Thread(target=exchange)
        other.start()
        other.join(0.2)
        assert x.tolist() == [0, 0, 0]
    other.join()
    assert x.tolist() == [1, 1, 1]


def test_a_failed_check_in_a_latched_call_changes_nothing() -> None:
    table, count = graphc.randn(5, 3), graphc.zeros(())

    @graphc.compile
    def step(k: Tensor) -> Tensor:
        count.add_(1)
        return table[k].sum()

    for _ in range(WARM_UP):
        step(graphc.tensor([1, 2]))
    version = count._version
    for _ in range(2):
        with pytest.raises(IndexError):
            step(graphc.tensor([1, 7]))
        assert (count.item(), count._version) == (WARM_UP, version)
    assert not running.programs
    assert step(graphc.tensor([3, 4])).item() == pytest.approx(table[3:].sum().item())


def test_random_numbers_and_threads_of_kernels(counted: Counted) -> None:
    graphc.manual_seed(3)
    step = graphc.compile(lambda x: nn.functional.dropout(x, 0.5).sum())
    results = [step(graphc.ones(64)).item() for _ in range(WARM_UP + 3)]
    graphc.manual_seed(3)
    with graphc.disable():
        assert results == [step(graphc.ones(64)).item() for _ in range(WARM_UP + 3)]
    before = graphc.get_num_threads()
    try:
        for threads in (1, 3, 2):
            graphc.set_num_threads(threads)
            counted.run(3)
    finally:
        graphc.set_num_threads(before)


def test_denormals_and_default_dtypes(counted: Counted) -> None:
    tiny = graphc.full((3,), 1e-40)
    try:
        for mode in (False, True, False, True):
            graphc.set_flush_denormal(mode)
            for _ in range(2):
                assert (counted.step(tiny).item() == 0) == mode
    finally:
        graphc.set_flush_denormal(False)
    graphc.set_default_dtype(graphc.float64)
    try:
        counted.run(2)
    finally:
        graphc.set_default_dtype(graphc.float32)


def test_a_profile_sees_each_run(counted: Counted) -> None:
    counted.latched(graphc.ones(3))
    assert counted.step.profile(graphc.ones(3)) is not None
    counted.run(3)


def test_a_step_called_by_what_follows_its_own_call() -> None:
    weight, calls = graphc.ones(3), Calls()
    inner: list[Tensor] = []

    def counting(x: Tensor) -> Tensor:
        calls.number += 1
        return (x * weight).sum()

    step: Any = graphc.compile(counting)

    def again() -> None:  # as a signal's handler may
        if calls.again:
            calls.again = False
            inner.extend(step(graphc.full((3,), float(k))) for k in range(2, 6))

    for _ in range(WARM_UP):
        step(graphc.ones(3))
    assert step._latch is not None
    step._next.entry.plan.actions.append(again)
    calls.again = True
    out = step(graphc.zeros(3))
    assert (out.item(), [x.item() for x in inner]) == (0, [6, 9, 12, 15])


def test_memory_of_a_result_that_nobody_has_is_used_where_the_long_way_is_taken(
    counted: Counted,
) -> None:
    counted.run()
    made = counted.step._latched
    address = made._tensors[0].array.ctypes.data
    made.give()
    assert made._tensors[0] is None
    assert counted.step._next.call((graphc.ones(3),)).array.ctypes.data == address


def test_steps_that_are_gone_leave_nothing() -> None:
    weight = graphc.ones(3)
    step: Any = graphc.compile(lambda x: (x * weight).sum())
    for _ in range(WARM_UP):
        step(graphc.ones(3))
    assert step._latch is not None
    gone = weakref.ref(step._latch)
    del step
    import gc

    gc.collect()
    assert gone() is None


SIGNALS = """
import os, signal, threading, time
import graphc
from graphc.frontend.storage import running
signal.signal(signal.SIGINT, signal.default_int_handler)

def main():
    table, x, count = graphc.ones(1500, 1500), graphc.ones(1500, 1500), graphc.zeros(())

    @graphc.compile
    def step(x):
        y = x
        for _ in range(8):
            y = (table @ y) * 1e-3
        count.add_(1)
        return y.sum()

    for _ in range(5):
        out = step(x)
    good, calls, interrupted, latched = out.item(), 5, 0, 0
    del out
    for k in range(6):
        sent = threading.Timer(0.03 + 0.02 * k, os.kill, (os.getpid(), signal.SIGINT))
        sent.start()
        try:
            for _ in range(40):
                latched += step._latch is not None
                assert step(x).item() == good
                calls += 1
        except KeyboardInterrupt:
            interrupted += 1
        sent.join()
        assert not running.programs
        assert calls <= count.item() <= calls + interrupted and count._version == count.item()
    assert interrupted and latched
    other = threading.Thread(target=lambda: step(x))
    other.start()
    other.join(30)
    assert not other.is_alive()

main()
print("good")
"""

NESTED = """
import signal
import graphc
from graphc.frontend.storage import running

def main():
    table, x, count = graphc.ones(1000, 1000), graphc.ones(1000, 1000), graphc.zeros(())
    said = []

    @graphc.compile
    def step(x):
        y = x
        for _ in range(24):
            y = (table @ y) * 1e-3
        count.add_(1)
        return y.sum()

    def handler(*_):
        try:
            step(x)
        except graphc.errors.InvalidState:
            said.append(step._latch is None)

    for _ in range(6):
        good = step(x).item()
    assert step._latch is not None
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.06)
    assert step(x).item() == good and said == [True], said
    assert count.item() == count._version == 7 and not running.programs

main()
print("good")
"""

LATE = """
import signal
import graphc

class Late(Exception): pass

def main():
    table, x, count = graphc.ones(1000, 1000), graphc.ones(1000, 1000), graphc.zeros(())

    @graphc.compile
    def step(x):
        count.add_(1)
        y = x
        for _ in range(8):
            y = (table @ y) * 1e-3
        return y.sum()

    def handler(*_):
        raise Late

    late = 0
    signal.signal(signal.SIGALRM, handler)
    for calls in (1, 5, 1):
        for _ in range(calls):
            step(x)
        signal.setitimer(signal.ITIMER_REAL, 0.06)
        try:
            step(x)
        except Late:
            late += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert count.item() == count._version, (count.item(), count._version)
    assert late

main()
print("good")
"""

LOST = """
import graphc
from graphc.frontend.storage import running

def main():
    table, count = graphc.randn(5, 3), graphc.zeros(())

    @graphc.compile
    def step(k):
        count.add_(1)
        return table[k].sum()

    for _ in range(5):
        step(graphc.tensor([1, 2]))
    run = step._latch.run
    try:
        run(graphc.tensor([1, 7]))
        raise SystemExit("not left open")
    except Exception:
        assert running.programs
    assert step(graphc.tensor([1, 2])).item() and not running.programs
    assert count.item() == 6

main()
print("good")
"""

FORK = """
import os
import graphc

def main():
    count = graphc.zeros(())

    @graphc.compile
    def step(x):
        count.add_(1)
        return (x * count).sum()

    for _ in range(5):
        step(graphc.ones(3))
    assert step._latch is not None
    child = os.fork()
    good = [step(graphc.ones(3)).item() for _ in range(4)] == [18, 21, 24, 27]
    if child == 0:
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0 and good

main()
print("good")
"""


FORK_OF_THREADS = """
import os, threading
import graphc

def main():
    count = graphc.zeros(())

    @graphc.compile
    def step(x):
        count.add_(1)
        return (x * count).sum()

    for _ in range(5):
        step(graphc.ones(3))
    assert step._latch is not None
    child = os.fork()
    if child == 0:
        seen = []
        calls = lambda: seen.extend(step(graphc.ones(3)).item() for _ in range(6))
        other = threading.Thread(target=calls, daemon=True)
        other.start()
        other.join(20)
        latched = step._latch is not None
        os._exit(0 if latched and seen == [18, 21, 24, 27, 30, 33] else 1)
    assert os.waitpid(child, 0)[1] == 0

main()
print("good")
"""

SCRIPTS = {
    "signals": SIGNALS, "nested": NESTED, "late": LATE, "lost": LOST, "fork": FORK,
    "threads of a fork": FORK_OF_THREADS,
}  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_in_a_process_of_its_own(script: str) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", script],
        capture_output=True, text=True, timeout=120, env={"PYTHONPATH": str(ROOT), "HOME": "/"},
    )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip() == "good", done.stderr


def test_where_the_trial_fails_nothing_is_latched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latched, "_tried", lambda: False)
    latched.places.cache_clear()
    try:
        made = Counted(monkeypatch)
        made.run()
        assert made.step._latch is None and made.short
    finally:
        latched.places.cache_clear()


TABLE: dict[str, Any] = {"factor": 1.0}


def test_an_interpreter_that_keeps_no_versions_is_not_even_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(words, "_found", lambda: pytest.fail("tried"))
    words.layout.cache_clear()
    latched.places.cache_clear()
    try:
        with monkeypatch.context() as newer:
            newer.setattr(sys, "version_info", (3, 13, 0, "final", 0))
            assert words.layout() is None and latched.places() is None
    finally:
        words.layout.cache_clear()
        latched.places.cache_clear()


def test_other_names_of_a_table_may_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the globals of a script do whose loop is at its top: entries are watched then."""
    monkeypatch.setitem(globals(), "TABLE", {"factor": 1.0})
    step: Any = graphc.compile(lambda x: (x * TABLE["factor"]).sum())
    for k in range(WARM_UP * 8):
        TABLE["seen"] = k
        assert step(graphc.ones(3)).item() == 3
    assert step._latch is not None, "the table's version has moved at each call"
    for k in range(100):  # so many that the table moves
        TABLE["factor"] = float(k % 3)
        TABLE[f"name {k}"] = k
        assert step(graphc.ones(3)).item() == 3 * (k % 3)
    TABLE.pop("factor")
    with pytest.raises(KeyError):
        step(graphc.ones(3))
    TABLE["factor"] = 2.0
    for _ in range(WARM_UP * 2):
        assert step(graphc.ones(3)).item() == 6
    TABLE.clear()
    TABLE.update(factor=4.0)
    assert step(graphc.ones(3)).item() == 12


def test_an_attribute_of_a_plain_object_is_watched() -> None:
    class Plain:
        def __init__(self) -> None:
            self.factor = 1.0

    class Other(Plain):
        factor = property(lambda self: 7.0, lambda self, value: None)  # type: ignore[assignment]

    plain = Plain()
    step: Any = graphc.compile(lambda x: (x * plain.factor).sum())
    for _ in range(WARM_UP):
        assert step(graphc.ones(3)).item() == 3
    assert step._latch is not None
    plain.factor = 2.0
    assert step(graphc.ones(3)).item() == 6
    for _ in range(WARM_UP * 4):
        step(graphc.ones(3))
    plain.__class__ = Other
    assert step(graphc.ones(3)).item() == 21
    plain.__class__ = Plain
    for _ in range(WARM_UP * 8):
        assert step(graphc.ones(3)).item() == 6
    Plain.factor = property(lambda self: 9.0)  # type: ignore[assignment]
    assert step(graphc.ones(3)).item() == 27
