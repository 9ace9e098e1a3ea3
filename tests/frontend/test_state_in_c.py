"""What C code reads of Python's state, what Python keeps of classes and modules: never stale.

Each row makes a step and a change; after the change the step gives what plain Python gives. Both
calls are made twice, so that a guard that can never hold shows in the number of traces.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import ctypes
import functools
import json
import math
import operator
import os
import pickle
import sys
import threading
import types
import uuid
import weakref
from collections.abc import Callable, Iterator
from types import SimpleNamespace as Space
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import Unguarded

Case = tuple[Callable[[Any], Any], Callable[[], object]]
CASES: dict[str, Callable[[], Case]] = {}


def case(make: Callable[[], Case]) -> Callable[[], Case]:
    CASES[make.__name__] = make
    return make


class Plain:
    kind = 2.0

    def __init__(self, k: float = 2.0) -> None:
        self.k = k


@case
def attrgetter_as_a_key() -> Case:
    a, b = Plain(1.0), Plain(2.0)
    best = operator.attrgetter("k")
    return lambda x: x * (2 if max([a, b], key=best) is a else 3), lambda: setattr(a, "k", 5.0)


@case
def getattr_by_reduce() -> Case:
    o = Space(a=Space(b=2.0))
    path = functools.partial(functools.reduce, getattr, ["a", "b"])
    return lambda x: x * path(o), lambda: setattr(o.a, "b", 4.0)


@case
def get_by_map() -> Case:
    d = {"a": 1.0, "b": 2.0}
    return lambda x: x * sum(map(d.get, "ab")), lambda: d.update(a=5.0)


@case
def namespaces_compared() -> Case:
    a, b = [Space(k=2.0)], [Space(k=2.0)]
    return lambda x: x * (2 if a == b else 3), lambda: setattr(b[0], "k", 4.0)


@case
def namespace_as_text() -> Case:
    a = Space(k=2.0)
    return lambda x: x * len(f"{a}"), lambda: setattr(a, "k", 4.25)


@case
def containers_far_inside() -> Case:
    a = {"a": [[[[{"k": 2.0}]]]]}
    read = lambda: json.loads(json.dumps(a))["a"][0][0][0][0]["k"]  # noqa: E731
    return lambda x: x * read(), lambda: a["a"][0][0][0][0].update(k=4.0)


@case
def pickled() -> Case:
    a = Space(k=2.0)
    return lambda x: x * pickle.loads(pickle.dumps(a)).k, lambda: setattr(a, "k", 4.0)


@case
def copied_far_inside() -> Case:
    a = Space(inner=Space(k=[2.0]))
    return lambda x: x * copy.deepcopy(a).inner.k[0], lambda: a.inner.k.__setitem__(0, 4.0)


@case
def attribute_of_a_metaclass() -> Case:
    class Meta(type):
        k = 2.0

    class A(metaclass=Meta):
        pass

    return lambda x: x * A.k, lambda: setattr(Meta, "k", 4.0)


@case
def class_registered() -> Case:
    class Base(abc.ABC):  # noqa: B024  # others register with it
        pass

    o = Plain()
    return lambda x: x * (2 if isinstance(o, Base) else 3), lambda: Base.register(Plain)


@case
def class_derived() -> Case:
    class Base:
        pass

    made: list[type] = []
    return (
        lambda x: x * (1 + len(Base.__subclasses__())),
        lambda: made.append(type("Heir", (Base,), {})),
    )


@case
def name_of_a_class() -> Case:
    kind = type("A", (), {})
    o = kind()
    return lambda x: x * len(type(o).__name__), lambda: setattr(kind, "__name__", "Longer")


@case
def dict_replaced() -> Case:
    o = Plain()
    return lambda x: x * o.__dict__["k"], lambda: setattr(o, "__dict__", {"k": 4.0})


@case
def keywords_of_a_partial() -> Case:
    f = functools.partial(lambda x, k: x * k, k=2.0)
    return lambda x: f(x), lambda: f.keywords.update(k=4.0)


@case
def cache_emptied() -> Case:
    s = Space(k=2.0)

    @functools.cache
    def kept(n: int) -> float:
        return s.k * n

    return lambda x: x * kept(1), lambda: (setattr(s, "k", 4.0), kept.cache_clear())


@case
def object_in_a_cache() -> Case:
    @functools.lru_cache(maxsize=8)
    def kept(n: int) -> Plain:
        return Plain()

    return lambda x: x * kept(1).k, lambda: setattr(kept(1), "k", 4.0)


@case
def data_of_ctypes() -> Case:
    class Pair(ctypes.Structure):
        _fields_ = (("k", ctypes.c_double),)

    s, a = Pair(2.0), (ctypes.c_double * 2)(1.0, 2.0)
    return lambda x: x * s.k + a[1], lambda: (setattr(s, "k", 4.0), a.__setitem__(1, 9.0))


@case
def set_of_another_type() -> Case:
    s: set[float] = {2}
    return lambda x: (x > 0) * sum(s), lambda: (s.clear(), s.add(2.0))


@case
def slot_that_gets_a_value() -> Case:
    class Slotted:
        __slots__ = ("k",)

    o = Slotted()
    return lambda x: x * getattr(o, "k", 2.0), lambda: setattr(o, "k", 4.0)


@case
def module_replaced() -> Case:
    def put(k: float) -> None:
        module = sys.modules["settings_of_a_test"] = types.ModuleType("settings_of_a_test")
        module.k = k  # type: ignore[attr-defined]

    def step(x: Any) -> Any:
        import settings_of_a_test  # type: ignore[import-not-found]

        return x * settings_of_a_test.k

    put(2.0)
    return step, lambda: put(4.0)


@case
def another_referent() -> Case:
    kept = [Plain(2.0), Plain(4.0)]
    s = Space(ref=weakref.ref(kept[0]))
    return lambda x: x * s.ref().k, lambda: setattr(s, "ref", weakref.ref(kept[1]))


@case
def global_that_comes() -> Case:
    space: dict[str, Any] = {}
    code = "def step(x):\n    try: return x * k\n    except NameError: return x * 9"
    exec(code, space)
    return space["step"], lambda: space.update(k=4.0)


@pytest.mark.parametrize("name", CASES)
def test_a_change_is_seen(name: str) -> None:
    step, change = CASES[name]()
    compiled, x = graphc.compile(step), graphc.ones(2)
    for act in (lambda: None, change):
        act()
        expected = step(x)
        for _ in range(2):
            got = compiled(x)
            assert got.tolist() == expected.tolist() and got.dtype == expected.dtype
    with graphc.assert_max_compiles(0):
        compiled(x)


@pytest.mark.parametrize("name", ["math.sqrt", "graphc.nn.functional.relu", "graphc.Tensor.relu"])
def test_a_function_of_a_library_that_is_replaced_is_seen(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: dict[str, Callable[[Any], Any]] = {
        "math.sqrt": lambda x: x * math.sqrt(4.0),
        "graphc.nn.functional.relu": lambda x: graphc.nn.functional.relu(x) * 2,
        "graphc.Tensor.relu": lambda x: x.relu() * 2,
    }
    step = graphc.compile(steps[name])
    assert step(graphc.ones(1)).item() == step(graphc.ones(1)).item() == 2.0
    monkeypatch.setattr(name, lambda v: v * 7)
    assert step(graphc.ones(1)).item() == steps[name](graphc.ones(1)).item() != 2.0


@pytest.mark.parametrize("read", [lambda w: w.detach(), lambda w: w.data, lambda w: w.data[:2]])
def test_data_of_a_parameter_that_is_read_past_its_history_is_seen(read: Any) -> None:
    w = graphc.nn.Parameter(graphc.ones(3))
    step = graphc.compile(lambda x: x * read(w).sum())
    for new in (graphc.ones(3), graphc.arange(6.0)[::2], graphc.ones(3).double() * 5):
        w.data = new
        for _ in range(2):
            assert step(graphc.ones(1)).tolist() == [read(w).sum().item()]


def test_a_thread_is_told_apart() -> None:
    me, seen = threading.get_ident(), list[float]()
    step = graphc.compile(lambda x: x * (2 if threading.get_ident() == me else 3))
    assert step(graphc.ones(1)).item() == 2.0
    other = threading.Thread(target=lambda: seen.append(step(graphc.ones(1)).item()))
    other.start()
    other.join()
    assert seen == [3.0] and step(graphc.ones(1)).item() == 2.0


@pytest.fixture
def text(tmp_path: Any) -> Iterator[Any]:
    file = tmp_path / "k.txt"
    file.write_text("2")
    yield file


@contextlib.contextmanager
def nothing() -> Iterator[None]:
    yield


SIZED = nothing()(os.stat)  # called by code of contextlib's, with `*args, **kwds`
REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "file opened": lambda x, f: x * float(open(f).read()),  # noqa: SIM115
    "path read": lambda x, f: x * float(f.read_text()),
    "path asked": lambda x, f: x * 2 if f.exists() else x,
    "entropy in a library": lambda x, f: x * float(uuid.uuid4().int % 97),
    "asked by a library that spreads arguments": lambda x, f: x * SIZED(f).st_size,
    "new generator": lambda x, f: x * float(np.random.default_rng().random()),
    "clock handed on": lambda x, f: x * next(iter(__import__("time").perf_counter, None)),
    "offset": lambda x, f: x * x.storage_offset(),
    "history": lambda x, f: x * 2 if x.is_leaf else x,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_world_decides_is_refused(name: str, text: Any) -> None:
    with pytest.raises(Unguarded) as error:
        graphc.compile(lambda x: REFUSED[name](x, text))(graphc.ones(2, requires_grad=True))
    assert error.value.where[1] and error.value.remedy
