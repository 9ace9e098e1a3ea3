"""Ways by which Python state changes what a step does: special methods, weak references, code of a
class's that sets attributes, functions that lead back to themselves."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from types import ModuleType
from types import SimpleNamespace as Space
from typing import Any

import pytest

import graphc

Step = Callable[[Any], Any]
Changes = tuple[Callable[[], object], ...]
X = graphc.arange(4.0)


class Meta(type):
    pass


def classes() -> Any:
    """A fresh class of its own, an instance of it, and what is said of both."""
    kind = Meta("Kind", (), {"__add__": lambda self, o: 2.0, "__iter__": lambda self: iter([1])})
    return kind, kind()


def added_to(a: Any) -> Any:
    a += a
    return a


def made(kind: Any) -> float:
    return float(getattr(kind(), "v", 1.0))


SPECIAL: dict[str, tuple[Callable[[Any, Any], Any], Any]] = {
    "__bool__": (lambda kind, a: 2 if a else 3, lambda self: False),
    "__len__": (lambda kind, a: 2 if a else 3, lambda self: 0),
    "__eq__": (lambda kind, a: 2 if a == 5 else 3, lambda self, o: True),
    "__getattr__": (lambda kind, a: getattr(a, "q", 1.0), lambda self, name: 5.0),
    "__str__": (lambda kind, a: len(f"{a}".split("<")), lambda self: "<<<<"),
    "__contains__": (lambda kind, a: 2 if 3 in a else 3, lambda self, o: True),
    "__iadd__": (lambda kind, a: added_to(a), lambda self, o: 7.0),
    "__init__": (lambda kind, a: made(kind), lambda self: setattr(self, "v", 4.0)),
    "__new__": (lambda kind, a: made(kind), lambda kind: Space(v=6.0)),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_a_special_method_that_a_class_gets_and_loses(name: str) -> None:
    ask, method = SPECIAL[name]
    kind, a = classes()
    step = lambda x: x * ask(kind, a)  # noqa: E731
    compiled = graphc.compile(step)
    for _ in range(2):
        assert compiled(X).tolist() == step(X).tolist()
        setattr(kind, name, method)
        assert compiled(X).tolist() == step(X).tolist()
        delattr(kind, name)
    assert compiled(X).tolist() == step(X).tolist()


def test_a_call_of_the_class_of_a_class() -> None:
    kind, _ = classes()
    compiled = graphc.compile(lambda x: x * made(kind))
    assert compiled(X).tolist() == X.tolist()
    try:
        Meta.__call__ = lambda kind: Space(v=3.0)  # type: ignore[method-assign, assignment]
        assert compiled(X).tolist() == (X * 3).tolist()
    finally:
        del Meta.__call__


def test_no_guard_keeps_alive_what_a_weak_reference_leads_to() -> None:
    class Owner:
        v = 2.0

    owners = [Owner()]
    ref, table = weakref.ref(owners[0]), weakref.WeakValueDictionary(a=owners[0])

    def step(x: Any) -> Any:
        owner = ref()
        return x * (owner.v if owner is not None else -1.0) + ("a" in table)

    compiled = graphc.compile(step)
    assert compiled(X).tolist() == (X * 2 + 1).tolist()
    owners[0].v = 3.0
    assert compiled(X).tolist() == (X * 3 + 1).tolist()
    owners.clear()
    assert ref() is None
    assert compiled(X).tolist() == (-X).tolist()


class Doubling:
    n: Any

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value * 2)


class DoublingBySuper:
    n: Any

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value * 2)


@pytest.mark.parametrize("kind", [Doubling, DoublingBySuper])
def test_what_a_class_sets_by_code_of_its_own_is_set_at_each_call(kind: Any) -> None:
    one, two = kind(), kind()
    one.n = two.n = 1

    def step_of(a: Any) -> Step:
        def step(x: Any) -> Any:
            a.n += 1
            a.last = 5
            return x * a.n, str(a.n)

        return step

    plain, compiled = step_of(one), graphc.compile(step_of(two))
    for k in range(5):
        wanted, told = plain(X)
        found, shown = compiled(X)
        assert (wanted.tolist(), told) == (found.tolist(), shown)
        assert vars(one) == vars(two)
        if k % 2:
            one.last = two.last = k


def test_a_function_that_leads_back_to_itself() -> None:
    scale = Space(k=2.0)

    def counting(f: Any) -> Any:
        @functools.wraps(f)
        def g(*args: Any) -> Any:
            g.calls += 1  # type: ignore[attr-defined]
            return f(*args) * scale.k

        g.calls = 0  # type: ignore[attr-defined]
        return g

    @counting
    def plus(x: Any) -> Any:
        return x + 1

    compiled = graphc.compile(lambda x: plus(x))
    for k in (2.0, 3.0, 4.0, 5.0):
        scale.k = k
        assert compiled(X).tolist() == ((X + 1) * k).tolist()
    assert plus.calls == 4


def test_an_iterator_in_python_that_c_code_goes_through() -> None:
    class Upto:
        def __init__(self, n: int) -> None:
            self.n, self.i = n, 0

        def __iter__(self) -> Upto:
            self.i = 0
            return self

        def __next__(self) -> float:
            if self.i >= self.n:
                raise StopIteration
            self.i += 1
            return float(self.i)

    upto = Upto(2)
    compiled = graphc.compile(lambda x: x * sum(upto))
    for n in (2, 3, 3, 1):
        upto.n = n
        upto.i = 7
        assert compiled(X).tolist() == (X * sum(range(n + 1))).tolist()
        assert upto.i == n


def test_another_getattr_of_a_python_module() -> None:
    module = ModuleType("a_module_of_values")
    module.__file__ = __file__
    module.__getattr__ = lambda name: 2.0  # type: ignore[method-assign, assignment]
    compiled = graphc.compile(lambda x: x * module.a)
    assert compiled(X).tolist() == (X * 2).tolist()
    module.__getattr__ = lambda name: 3.0  # type: ignore[method-assign, assignment]
    assert compiled(X).tolist() == (X * 3).tolist()
