"""What scripts do in a step besides computing: traced once, and as plain Python does."""

from __future__ import annotations

import collections
import dataclasses
import functools
import inspect
import io
import operator
import os
import platform
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from types import SimpleNamespace as Space
from typing import Any

import pytest

import graphc
from graphc.errors import Unguarded

CASES: dict[str, Callable[[], Callable[[Any], Any]]] = {}


def case(make: Callable[[], Callable[[Any], Any]]) -> Callable[[], Callable[[Any], Any]]:
    CASES[make.__name__] = make
    return make


@case
def locks_held() -> Callable[[Any], Any]:
    lock, again = threading.Lock(), threading.RLock()

    def step(x: Any) -> Any:
        with lock, again:
            again.acquire()
            again.release()
            return x * 2

    return step


@case
def versions_of_what_the_step_made() -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        h = x * 2
        before = h._version
        h.add_(1)
        return h * (h._version - before)

    return step


@case
def paths_that_ask_nobody() -> Callable[[Any], Any]:
    return lambda x: x * len(os.path.normpath("a/../b")) * len(os.path.join("a", "b"))


@case
def tables_in_a_cache() -> Callable[[Any], Any]:
    @functools.cache
    def numbers(n: int) -> tuple[float, ...]:
        return tuple(k / 2 for k in range(n))

    return lambda x: x + numbers(3)[1]


@case
def the_platform() -> Callable[[Any], Any]:
    return lambda x: x * len(platform.system())


@case
def counters_of_namespaces() -> Callable[[Any], Any]:
    s = Space(n=0, total=0.0)

    def step(x: Any) -> Any:
        s.n += 1
        s.total += x.sum().item()
        return x * 3 if s.n % 100 == 0 else x

    return step


def _named(x: Any, **named: Any) -> Any:
    scale = named.pop("scale", 1)
    named["more"] = 1
    return x * scale * len(named)


@case
def keywords_popped() -> Callable[[Any], Any]:
    return lambda x: _named(x, scale=3, kept=1) + _named(x)


@case
def a_log_of_lines() -> Callable[[Any], Any]:
    file = io.StringIO()

    def step(x: Any) -> Any:
        file.write(f"{x.sum().item():.2f}")
        print(x.mean().item(), file=file)
        file.flush()
        return x * 2

    CASE_TEXTS.append(file)
    return step


CASE_TEXTS: list[io.StringIO] = []


@pytest.mark.parametrize("name", CASES)
def test_an_idiom_is_traced_once(name: str) -> None:
    eager, step = CASES[name](), graphc.compile(CASES[name]())
    xs = [graphc.full((2,), float(k)) for k in range(4)]
    assert step(xs[0]).tolist() == eager(xs[0]).tolist()
    with graphc.assert_max_compiles(0):
        for x in xs[1:]:
            assert step(x).tolist() == eager(x).tolist()
    assert not step._recompiles
    assert len({file.getvalue() for file in CASE_TEXTS}) <= 1
    CASE_TEXTS.clear()


def test_a_refusal_from_a_library_names_the_users_line(tmp_path: Path) -> None:
    with pytest.raises(Unguarded) as error:
        graphc.compile(lambda x: x * 2 if tmp_path.is_dir() else x)(graphc.ones(1))
    assert error.value.where[0] == __file__


def test_a_working_directory_is_guarded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    step = graphc.compile(lambda x: x * len(os.path.abspath("a")))
    step(graphc.ones(1))
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert step(graphc.ones(1)).item() == len(os.path.abspath("a"))


class Counter:
    n: Any = 0


class ByThread(threading.local):
    n: Any = 0


@pytest.mark.parametrize("make", [lambda: ModuleType("m"), lambda: Counter, ByThread, Space])
def test_a_sum_over_calls_is_kept_by_any_object(make: Callable[[], Any]) -> None:
    owner = make()
    owner.n = 0

    def step(x: Any) -> Any:
        owner.n += x.sum().item()
        return x * 2

    compiled = graphc.compile(step)
    for k in range(1, 4):
        compiled(graphc.ones(2))
        assert owner.n == 2 * k


def _popped(batch: Any, x: Any) -> Any:
    y = batch.pop("y")
    batch["seen"] = 1
    return x * y * len(batch)


def test_what_is_popped_from_an_argument_is_traced_once() -> None:
    step = graphc.compile(_popped)
    for k in range(1, 5):
        batch = {"x": graphc.ones(1), "y": graphc.full((1,), float(k))}
        assert step(batch, graphc.ones(1)).item() == 2 * k
        assert sorted(batch) == ["seen", "x"]
    assert not step._recompiles


class Rows(list[Any]):
    pass


@dataclasses.dataclass
class Holder:
    rows: list[Any] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize("make, rows", [(Rows, lambda a: a), (Holder, lambda a: a.rows)])
def test_an_argument_that_is_not_copied_is_changed_once_a_call(make: Any, rows: Any) -> None:
    step, given = graphc.compile(lambda a, x: (rows(a).append(x.sum()), x)[1]), make()
    for k in range(1, 4):
        step(given, graphc.ones(2))
        assert [v.item() for v in rows(given)] == [2.0] * k


@pytest.mark.parametrize("size", [None, 2])
def test_a_cache_keeps_no_tensor_of_a_trace(size: int | None) -> None:
    @functools.lru_cache(maxsize=size)
    def mask(n: int) -> Any:
        return graphc.ones(n).cumsum(0)

    step = graphc.compile(lambda x: x * mask(2))
    for x in (graphc.ones(2), graphc.ones(2, requires_grad=True), graphc.ones(3, 2)):
        assert step(x).tolist() == step(x).tolist() == (x * mask(2)).tolist()
        mask.cache_clear()
    assert step(graphc.ones(2)).tolist() == mask(2).tolist()


def test_keyword_arguments_that_an_inner_function_uses_are_new() -> None:
    def outer(x: Any, **given: Any) -> Any:
        def inner() -> Any:
            return given["n"]

        n = inner()
        given["n"] = None
        return x * n

    step = graphc.compile(lambda x: outer(x, n=3))
    for _ in range(3):
        assert step(graphc.ones(1)).item() == 3
    assert step.stats.programs == 1


def _rotated(rows: Any, x: Any) -> Any:
    rows.rotate(1)
    return x * rows[0]


def _pushed(rows: Any, x: Any) -> Any:
    rows.append(2.0)
    y = x * rows[-1] * rows[0] * len(rows)
    rows.pop()
    return y


def _grown(rows: Any, x: Any) -> Any:
    rows.append(rows[-1] + 1)
    return x * rows[-2] + rows[-1]


def _paired(rows: Any, x: Any) -> Any:
    rows.update([("a", rows["a"] + 1)])
    return x * rows["a"]


def _set_by_function(rows: Any, x: Any) -> Any:
    operator.setitem(rows, "a", rows["a"] + 1)
    return x * rows["a"]


@pytest.mark.parametrize(
    "step, make, change",
    [
        (_rotated, lambda: collections.deque([1.0, 2.0, 3.0]), lambda rows: rows.append(5.0)),
        (_pushed, lambda: [3.0], lambda rows: rows.insert(0, 1.0)),
        (_grown, lambda: [1.0], lambda rows: rows.append(7.0)),
        (_paired, lambda: {"a": 1.0}, lambda rows: rows.update(a=5.0)),
        (_set_by_function, lambda: {"a": 1.0}, lambda rows: rows.update(a=5.0)),
    ],
)
def test_an_item_is_read_of_what_the_step_has_changed(step: Any, make: Any, change: Any) -> None:
    found = []
    for wrap in (lambda f: f, graphc.compile):
        rows = make()
        run = wrap(lambda x: step(rows, x))  # noqa: B023  # called before the next
        out = []
        for k in range(8):
            if k == 4:
                change(rows)
            out.append((run(graphc.tensor([1.0 + k])).item(), repr(rows)))
        found.append(out)
    assert found[0] == found[1]


def test_a_thread_is_not_started_inside_a_step() -> None:
    def step(x: Any) -> Any:
        threading.Thread(target=lambda: None).start()
        return x

    with pytest.raises(Unguarded, match="a thread is started"):
        graphc.compile(step)(graphc.ones(1))


def test_defaults_that_code_of_pythons_own_looks_up_are_seen() -> None:
    def given(s: float = 1.0) -> float:
        return s

    step = graphc.compile(lambda x: x * inspect.signature(given).parameters["s"].default)
    assert step(graphc.ones(1)).item() == 1
    given.__defaults__ = (3.0,)
    assert step(graphc.ones(1)).item() == 3
