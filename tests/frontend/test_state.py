"""Python state that a compiled step reads is never stale, whichever way it is reached.

Each row of the table is a step and what changes between two calls; the second call must be what
plain Python gives. Where that cannot be promised the step is refused.
"""

from __future__ import annotations

import contextvars
import dataclasses
import enum
import functools
import itertools
import operator
import os
import sys
import threading
import time
import types
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import graphc
from graphc import nn, optim
from graphc.errors import Unguarded

Case = tuple[Callable[[Any], Any], Callable[[], object]]  # a step and what changes after it
Space = types.SimpleNamespace
ONE = graphc.ones(2)


class Config:
    """A plain object; with a property, a class attribute, a method."""

    kind = 3.0

    def __init__(self, k: float = 2.0) -> None:
        self.k = k
        self.table = {"a": 2.0}

    @property
    def doubled(self) -> float:
        return self.k * 2

    @functools.cached_property
    def cubed(self) -> float:
        return self.k**3

    def scaled(self, x: Any) -> Any:
        return x * self.k


class Derived(Config):
    def scaled(self, x: Any) -> Any:
        return super().scaled(x) + self.kind


class Lazy:
    """Attributes and items that are computed."""

    def __init__(self) -> None:
        self.store = {"k": 2.0}

    def __getattr__(self, name: str) -> Any:
        if name == "store":
            raise AttributeError(name)
        return self.store[name]

    def __getitem__(self, name: str) -> float:
        return self.store[name]

    def __call__(self, x: Any) -> Any:
        return x * self.store["k"]

    def __len__(self) -> int:
        return len(self.store)


class Slotted:
    __slots__ = ("k",)

    def __init__(self) -> None:
        self.k = 2.0


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cfg = Config()
        self.k = 2.0
        self.blocks = nn.ModuleList([nn.Linear(2, 2) for _ in range(2)])

    def scale(self, x: Any) -> Any:
        return x * self.k

    def forward(self, x: Any) -> Any:
        c = self.cfg
        for block in self.blocks:
            x = block(x)
        return self.scale(x) * c.k


class Mode(enum.Enum):
    FAST = 2.0
    SLOW = 5.0


@dataclasses.dataclass
class Options:
    k: float = 2.0
    inner: Any = dataclasses.field(default_factory=Config)


GLOBAL: Any = 2.0
CURRENT = Mode.FAST
TABLE: dict[str, Any] = {"k": 2.0, "deep": {"k": 3.0}}
ITEMS: list[Any] = [2.0, 3.0]


def set_global(name: str, value: Any) -> Callable[[], None]:
    return lambda: globals().__setitem__(name, value)


def helper(x: Any) -> Any:
    return x * GLOBAL


def other_helper(x: Any) -> Any:
    return x * 100.0


def config(step: Callable[[Any, Any], Any], **new: Any) -> Case:
    """A step over a plain object whose attributes change."""
    c = Derived()
    return functools.partial(step, c), lambda: c.__dict__.update(new)


def local_name() -> Case:
    c = Config()

    def step(x: Any) -> Any:
        mine = c
        again = mine
        return x * again.k

    return step, lambda: setattr(c, "k", 5.0)


def argument_object() -> Case:
    outer = Space(inner=Space(deep=Config()))

    def inside(x: Any, given: Any) -> Any:
        return x * given.inner.deep.k

    return lambda x: inside(x, outer), lambda: setattr(outer.inner.deep, "k", 5.0)


def loop_over_objects() -> Case:
    many = [Config(), Config(3.0)]

    def step(x: Any) -> Any:
        for c in many:
            x = x * c.k
        return x

    return step, lambda: setattr(many[1], "k", 5.0)


def comprehension() -> Case:
    many = {"a": Config(), "b": Config(3.0)}

    def step(x: Any) -> Any:
        return x * sum(c.k for c in many.values()) + max([c.k for _, c in many.items()])

    return step, lambda: setattr(many["b"], "k", 5.0)


def appended() -> Case:
    many = [Config()]

    def step(x: Any) -> Any:
        for c in many:
            x = x * c.k
        return x

    return step, lambda: many.append(Config(7.0))


def decorated() -> Case:
    factor = [2.0]

    def twice(f: Any) -> Any:
        @functools.wraps(f)
        def wrapper(x: Any) -> Any:
            return f(x) * factor[0]

        return wrapper

    @twice
    def step(x: Any) -> Any:
        return x + 1

    return step, lambda: factor.__setitem__(0, 5.0)


def read_by_name(read: Callable[[Any, str], Any]) -> Case:
    c = Config()
    names = ["k"]

    def step(x: Any) -> Any:
        return x * read(c, names[0])

    return step, lambda: setattr(c, "k", 5.0)


def own_getters(read: Callable[[Any], Any]) -> Case:
    lazy = Lazy()
    return lambda x: x * read(lazy), lambda: lazy.store.update(k=5.0, other=1.0)


def called_object() -> Case:
    lazy = Lazy()
    return lambda x: lazy(x), lambda: lazy.store.update(k=5.0)


def default(x: Any, k: Any = {"k": 2.0}, *, more: float = 3.0) -> Any:  # noqa: B006
    return x * k["k"] * more


def default_item() -> Case:
    kept: Any = default.__defaults__
    return lambda x: default(x), lambda: kept[0].update(k=kept[0]["k"] + 1)


def defaults_replaced() -> Case:
    def inner(x: Any, k: float = 2.0) -> Any:
        return x * k

    return lambda x: inner(x), lambda: setattr(inner, "__defaults__", (5.0,))


def container(make: Any, change: Callable[[Any], object], read: Callable[[Any], Any]) -> Case:
    held = make
    return lambda x: x * read(held), lambda: change(held)


def method_on_class() -> Case:
    class Local(Config):
        def scaled(self, x: Any) -> Any:
            return x * 2

    c = Local()
    return lambda x: c.scaled(x), lambda: setattr(Local, "scaled", lambda self, x: x * 7)


def method_on_object() -> Case:
    c = Config()
    return lambda x: c.scaled(x), lambda: setattr(c, "scaled", lambda x: x * 7)


def override_added() -> Case:
    class Base:
        def go(self, x: Any) -> Any:
            return x * 2

    class Child(Base):
        pass

    c = Child()
    return lambda x: c.go(x), lambda: setattr(Child, "go", lambda self, x: x * 7)


def super_replaced() -> Case:
    class Base:
        def go(self, x: Any) -> Any:
            return x * 2

    class Child(Base):
        def go(self, x: Any) -> Any:
            return super().go(x) + 1

    c = Child()
    return lambda x: c.go(x), lambda: setattr(Base, "go", lambda self, x: x * 7)


def operator_replaced() -> Case:
    class Number:
        def __add__(self, other: float) -> float:
            return 2.0 + other

    n = Number()
    return lambda x: x * (n + 1.0), lambda: setattr(Number, "__add__", lambda self, other: 9.0)


def property_replaced() -> Case:
    class Local(Config):
        @property
        def value(self) -> float:
            return 2.0

    c = Local()
    return lambda x: x * c.value, lambda: setattr(Local, "value", property(lambda self: 7.0))


def module(change: Callable[[Net], object]) -> Case:
    net = Net()
    return lambda x: net(x), lambda: change(net)


def forward_on_class() -> Case:
    class Local(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2

    net = Local()
    return lambda x: net(x), lambda: setattr(Local, "forward", lambda self, x: x * 7)


def other_module(change: Callable[[Any], object]) -> Case:
    name = "a_module_of_a_test"
    made = types.ModuleType(name)
    made.__file__ = __file__
    vars(made).update(k=2.0, helper=lambda x: x * 2)
    sys.modules[name] = made
    return lambda x: made.helper(x) * made.k, lambda: change(made)


def imported_inside() -> Case:
    _, change = other_module(lambda m: setattr(m, "k", 5.0))

    def reading(x: Any) -> Any:
        from a_module_of_a_test import k  # type: ignore[import-not-found]

        return x * k

    return reading, change


def context_variable() -> Case:
    variable = contextvars.ContextVar("k", default=2.0)
    return lambda x: x * variable.get(), lambda: variable.set(5.0)


def environment(read: Callable[[str], Any]) -> Case:
    os.environ["GRAPHC_TEST_K"] = "2"
    return (
        lambda x: x * float(read("GRAPHC_TEST_K")),
        lambda: os.environ.__setitem__("GRAPHC_TEST_K", "5"),
    )


def nonlocal_value() -> Case:
    k = 2.0

    def step(x: Any) -> Any:
        return x * k

    def change() -> None:
        nonlocal k
        k = 5.0

    return step, change


def partial_function() -> Case:
    c = Config()

    def inner(c: Config, x: Any) -> Any:
        return x * c.k

    return functools.partial(inner, c), lambda: setattr(c, "k", 5.0)


def array_value() -> Case:
    a = np.array([2.0, 3.0])
    return lambda x: x * float(a[0]) + a.sum().item(), lambda: a.__setitem__(0, 5.0)


def cached_function() -> Case:
    c = Config()

    @functools.lru_cache
    def factor() -> float:
        return c.k

    def change() -> None:
        c.k = 5.0
        factor.cache_clear()

    return lambda x: x * factor(), change


def cached_property_reset() -> Case:
    c = Config()

    def change() -> None:
        c.k = 5.0
        del c.cubed

    return lambda x: x * c.cubed, change


def cached_property_set() -> Case:
    c = Config()
    return lambda x: x * c.cubed, lambda: setattr(c, "cubed", 7.0)


def in_generator() -> Case:
    c = Config()

    def values() -> Any:
        yield c.k
        yield c.k + 1

    return lambda x: x * sum(values()), lambda: setattr(c, "k", 5.0)


def sorted_by_key() -> Case:
    many = [Config(2.0), Config(3.0)]
    return (
        lambda x: x * sorted(many, key=lambda c: c.k)[0].k * min(map(lambda c: c.k, many)),
        lambda: setattr(many[0], "k", 5.0),
    )


def matched() -> Case:
    c = Options()

    def step(x: Any) -> Any:
        match c:
            case Options(k=2.0):
                return x * 2
            case Options(k=k):
                return x * k * 10

    return step, lambda: setattr(c, "k", 5.0)


def static_and_class_methods() -> Case:
    class Local:
        k = 2.0

        @staticmethod
        def one(x: Any) -> Any:
            return x * 2

        @classmethod
        def two(cls, x: Any) -> Any:
            return x * cls.k

    c = Local()
    return lambda x: c.one(x) + Local.two(x), lambda: setattr(Local, "k", 5.0)


def tensor_attribute() -> Case:
    p = nn.Parameter(graphc.ones(2))
    p.scale = 2.0
    return lambda x: (x * p.detach()) * p.scale, lambda: setattr(p, "scale", 5.0)


def parameters_of_an_uncalled_module() -> Case:
    net = nn.Sequential(nn.Linear(2, 2))
    return (
        lambda x: x + sum(p.detach().square().sum() for p in net.parameters()),
        lambda: net.append(nn.Linear(2, 2)),
    )


def rate_of_a_schedule() -> Case:
    opt = optim.SGD([nn.Parameter(graphc.ones(2))], lr=2.0)
    schedule = optim.lr_scheduler.StepLR(opt, 1, gamma=0.5)
    opt.step()
    return lambda x: x * schedule.get_last_lr()[0], schedule.step


def rate_of_a_group() -> Case:
    opt = optim.SGD([nn.Parameter(graphc.ones(2))], lr=2.0)
    return (
        lambda x: x * opt.param_groups[0]["lr"],
        lambda: opt.param_groups[0].update(lr=5.0),
    )


def local_of_a_thread() -> Case:
    local = threading.local()
    local.k = 2.0
    return lambda x: x * local.k, lambda: setattr(local, "k", 5.0)


def text_made_into_code() -> Case:
    space: dict[str, Any] = {"k": 2.0, "__name__": __name__}
    exec("def step(x): return x * k", space)
    return space["step"], lambda: space.update(k=5.0)


def swapped_object() -> Case:
    owner = Space(c=Config(2.0))
    return lambda x: x * owner.c.k, lambda: setattr(owner, "c", Config(5.0))


def swapped_dict() -> Case:
    c = Config()
    return lambda x: x * c.k, lambda: setattr(c, "__dict__", {"k": 5.0})


def code_replaced() -> Case:
    def inner(x: Any) -> Any:
        return x * 2

    return lambda x: inner(x), lambda: setattr(inner, "__code__", other_helper.__code__)


def own_iterator() -> Case:
    class Walk:
        def __init__(self) -> None:
            self.items = [2.0, 3.0]

        def __iter__(self) -> Any:
            return iter(self.items)

    w = Walk()
    return lambda x: x * sum(w), lambda: w.items.append(4.0)


CASES: dict[str, Callable[[], Case]] = {
    "global": lambda: (lambda x: x * GLOBAL, set_global("GLOBAL", GLOBAL + 1)),
    "global of a helper": lambda: (lambda x: helper(x), set_global("GLOBAL", GLOBAL + 1)),
    "global container": lambda: (
        lambda x: x * TABLE["deep"]["k"], lambda: TABLE["deep"].update(k=TABLE["deep"]["k"] + 1)
    ),
    "get of a container": lambda: (
        lambda x: x * TABLE.get("new", 1.0), lambda: TABLE.update(new=TABLE.get("new", 1.0) + 1)
    ),
    "enum": lambda: (lambda x: x * CURRENT.value, set_global("CURRENT", Mode.SLOW)),
    "nonlocal": nonlocal_value,
    "local name": local_name,
    "argument object": argument_object,
    "attribute": lambda: config(lambda c, x: x * c.k, k=5.0),
    "attribute that comes": lambda: config(lambda c, x: x * getattr(c, "new", 1.0), new=5.0),
    "property": lambda: config(lambda c, x: x * c.doubled, k=5.0),
    "cached property reset": cached_property_reset,
    "cached property set": cached_property_set,
    "super": lambda: config(lambda c, x: c.scaled(x), k=5.0),
    "class attribute": lambda: config(lambda c, x: x * c.kind, kind=5.0),
    "inherited class attribute": static_and_class_methods,
    "item of an attribute": lambda: config(lambda c, x: x * c.table["a"], table={"a": 7.0}),
    "membership": lambda: config(lambda c, x: x * (2 if "b" in c.table else 3), table={"b": 7.0}),
    "truth of a container": lambda: config(lambda c, x: x * (2 if c.table else 3), table={}),
    "length": lambda: config(lambda c, x: x * len(c.table), table={"a": 1, "b": 2}),
    "vars": lambda: config(lambda c, x: x * vars(c)["k"], k=5.0),
    "dict of an object": lambda: config(lambda c, x: x * c.__dict__.get("k"), k=5.0),
    "getattr": lambda: read_by_name(getattr),
    "attrgetter": lambda: read_by_name(lambda c, name: operator.attrgetter(name)(c)),
    "items of vars": lambda: read_by_name(lambda c, name: dict(vars(c))[name]),
    "methodcaller": lambda: config(lambda c, x: operator.methodcaller("scaled", x)(c), k=5.0),
    "itemgetter": lambda: config(
        lambda c, x: x * operator.itemgetter("a")(c.table), table={"a": 7.0}
    ),
    "own getattr": lambda: own_getters(lambda lazy: lazy.k),
    "own getitem": lambda: own_getters(lambda lazy: lazy["k"]),
    "own len": lambda: own_getters(lambda lazy: len(lazy)),
    "own call": called_object,
    "own iterator": own_iterator,
    "loop over objects": loop_over_objects,
    "comprehension over objects": comprehension,
    "generator": in_generator,
    "sort by key": sorted_by_key,
    "appended object": appended,
    "decorator": decorated,
    "item of a default": default_item,
    "defaults replaced": defaults_replaced,
    "list": lambda: container([1.0, 2.0], lambda c: c.__setitem__(1, 9.0), sum),
    "nested list": lambda: container([1.0, [2.0]], lambda c: c[1].append(9.0), lambda c: len(c[1])),
    "unpacked": lambda: container([1.0, 2.0], lambda c: c.reverse(), lambda c: [*c, 3.0][0]),
    "slice": lambda: container([1.0, 2.0, 3.0], lambda c: c.pop(), lambda c: sum(c[1:])),
    "deque": lambda: container(deque([1.0, 2.0]), lambda c: c.appendleft(9.0), lambda c: c[0]),
    "set": lambda: container({1.0, 2.0}, lambda c: c.add(9.0), lambda c: 2 if 9.0 in c else 3),
    "sum of a set": lambda: container({1.0, 2.0}, lambda c: c.add(9.0), sum),
    "defaultdict": lambda: container(
        defaultdict(float, a=2.0), lambda c: c.update(a=5.0), lambda c: c["a"]
    ),
    "ordered dict": lambda: container(
        OrderedDict(a=2.0, b=3.0), lambda c: c.move_to_end("a"), lambda c: next(iter(c.values()))
    ),
    "formatted": lambda: container(
        [2.0], lambda c: c.append(1.0), lambda c: 2.0 if f"{c}" == "[2.0]" else 3.0
    ),
    "compared": lambda: container([2.0], lambda c: c.append(1.0), lambda c: 2 if c == [2.0] else 3),
    "starred": lambda: container([1.0, 2.0], lambda c: c.append(9.0), lambda c: max(*c)),
    "bytes": lambda: container(bytearray(b"ab"), lambda c: c.append(9), lambda c: c[-1]),
    "class of an object": lambda: container(
        Config(),
        lambda c: setattr(c, "__class__", Derived),
        lambda c: 2.0 if type(c) is Config else 3.0,
    ),
    "slots": lambda: container(Slotted(), lambda c: setattr(c, "k", 5.0), lambda c: c.k),
    "namespace": lambda: container(Space(k=2.0), lambda c: setattr(c, "k", 5.0), lambda c: c.k),
    "dataclass": lambda: container(Options(), lambda c: setattr(c.inner, "k", 5.0),
                                   lambda c: c.inner.k * dataclasses.replace(c, k=1.0).inner.k),
    "dataclass as a dict": lambda: container(
        Options(), lambda c: setattr(c, "k", 5.0), lambda c: dataclasses.asdict(c)["k"]
    ),
    "matched": matched,
    "method on the class": method_on_class,
    "method on the object": method_on_object,
    "override added": override_added,
    "super's method replaced": super_replaced,
    "operator replaced": operator_replaced,
    "property replaced": property_replaced,
    "code replaced": code_replaced,
    "parameters of an uncalled module": parameters_of_an_uncalled_module,
    "past a module": lambda: module(lambda net: vars(net).update(k=5.0)),
    "rate of a schedule": rate_of_a_schedule,
    "rate of a group": rate_of_a_group,
    "local of a thread": local_of_a_thread,
    "text made into code": text_made_into_code,
    "object swapped": swapped_object,
    "dict swapped": swapped_dict,
    "partial": partial_function,
    "context variable": context_variable,
    "environment": lambda: environment(lambda name: os.environ[name]),
    "environment by get": lambda: environment(lambda name: os.environ.get(name)),
    "getenv": lambda: environment(os.getenv),
    "array": array_value,
    "cached function": cached_function,
    "attribute of a tensor": tensor_attribute,
    "other module": lambda: other_module(lambda m: setattr(m, "k", 5.0)),
    "function of a module": lambda: other_module(lambda m: setattr(m, "helper", other_helper)),
    "imported inside": imported_inside,
    "config of a module": lambda: module(lambda net: setattr(net.cfg, "k", 5.0)),
    "attribute of a module": lambda: module(lambda net: setattr(net, "k", 5.0)),
    "method of a module": lambda: module(lambda net: setattr(net, "scale", lambda x: x * 7)),
    "forward of an object": lambda: module(lambda net: setattr(net, "forward", lambda x: x * 7)),
    "forward of a class": forward_on_class,
    "module appended": lambda: module(lambda net: net.blocks.append(nn.Linear(2, 2))),
    "module replaced": lambda: module(lambda net: net.blocks.__setitem__(0, nn.Linear(2, 2))),
    "module removed": lambda: module(lambda net: net.blocks.__delitem__(0)),
    "module in the table": lambda: module(
        lambda net: net.blocks._modules.update({"0": nn.Linear(2, 2)})
    ),
    "parameter replaced": lambda: module(
        lambda net: setattr(net.blocks[0], "weight", nn.Parameter(graphc.ones(2, 2) * 3))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_change_between_calls_is_seen(name: str) -> None:
    step, change = CASES[name]()
    compiled = graphc.compile(step)
    first = compiled(ONE).tolist()
    assert first == pytest.approx(step(ONE).tolist())
    change()
    expected = step(ONE).tolist()
    assert expected != first, "the row changes nothing"
    assert compiled(ONE).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", CASES)
def test_nothing_changed_traces_once(name: str) -> None:
    step, _ = CASES[name]()
    compiled = graphc.compile(step)
    compiled(ONE)
    with graphc.assert_max_compiles(0):
        for _ in range(3):
            compiled(ONE)


# ---- what cannot be promised is refused ----------------------------------------------------------


def file_read(path: str = __file__) -> Any:
    with open(path) as opened:
        return opened


ITERATOR: Any = itertools.count()
REFUSED: dict[str, Callable[[], Callable[[Any], Any]]] = {
    "next": lambda: (lambda it: lambda x: x * next(it))(itertools.count()),
    "loop": lambda: (lambda it: lambda x: sum((x * v for v in it), x))(iter([1.0])),
    "zip": lambda: (lambda it: lambda x: x * next(zip(it, [1.0]))[0])(iter([1.0])),
    "list": lambda: (lambda it: lambda x: x * sum(list(it)))(iter([1.0])),
    "generator": lambda: (lambda g: lambda x: x * next(g))(v for v in [1.0, 2.0]),
    "clock": lambda: lambda x: x * time.time(),
    "clock in a function": lambda: (lambda f: lambda x: x * f())(time.perf_counter),
    "numpy generator": lambda: (lambda g: lambda x: x * g.normal())(np.random.default_rng(0)),
    "large array": lambda: (lambda a: lambda x: x * a.sum())(np.ones(100_000)),
    "entropy": lambda: lambda x: x * os.urandom(1)[0],
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_compared_is_refused(name: str) -> None:
    with pytest.raises(Unguarded, match="GC202"):
        graphc.compile(REFUSED[name]())(ONE)


def test_an_iterator_made_inside_is_no_matter() -> None:
    def step(x: Any) -> Any:
        it = iter([1.0, 2.0])
        big = [float(k) for k in range(20_000)]
        rng = np.random.default_rng(0)
        return x * next(it) + sum(big) + rng.normal()

    assert graphc.compile(step)(ONE).tolist() == step(ONE).tolist()


# ---- what costs nothing --------------------------------------------------------------------------


class Trainer:
    """Counts, logs and keeps the best, as people's trainers do."""

    def __init__(self) -> None:
        self.net = nn.Linear(2, 1)
        self.optimizer = optim.SGD(self.net.parameters(), lr=0.1)
        self.steps, self.best, self.name = 0, 1e9, "run"
        self.losses: list[float] = []
        self.meter = {"seen": 0}
        for k in range(50):
            setattr(self, f"other{k}", k)

    def step(self, x: Any) -> Any:
        self.steps += 1
        self.meter["seen"] += 2
        self.optimizer.zero_grad()
        loss = self.net(x).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss


def test_a_trainer_that_counts_and_logs_traces_once() -> None:
    trainer = Trainer()
    step = graphc.compile(trainer.step)
    with graphc.assert_max_compiles(1):
        for k in range(5):
            loss = step(ONE).item()
            trainer.losses.append(loss)
            trainer.best = min(trainer.best, loss)
            trainer.name = f"run {k}"
            trainer.other3 = k
    assert (trainer.steps, trainer.meter) == (5, {"seen": 10})


def test_a_count_that_decides_is_guarded() -> None:
    class Warm:
        def __init__(self) -> None:
            self.steps = 0

        def step(self, x: Any) -> Any:
            self.steps += 1
            return x * (2.0 if self.steps <= 3 else 5.0)

    warm = Warm()
    step = graphc.compile(warm.step)
    assert [step(ONE)[0].item() for _ in range(6)] == [2, 2, 2, 5, 5, 5]
    assert step.stats.programs == 2  # what is equal is compiled once


def test_a_count_that_is_only_compared_traces_once_for_each_answer() -> None:
    class Logging:
        def __init__(self) -> None:
            self.steps = 0

        def step(self, x: Any) -> Any:
            self.steps += 1
            if self.steps % 4 == 0:
                return x * 5.0
            if self.steps > 8:
                return x * 7.0
            return x * 2.0

    logging, plain = Logging(), Logging()
    step = graphc.compile(logging.step)
    with graphc.assert_max_compiles(3):
        for _ in range(16):
            assert step(ONE).tolist() == plain.step(ONE).tolist()
    assert logging.steps == 16


def test_a_value_that_does_not_matter_makes_no_plan() -> None:
    options = Config(1.0)
    step = graphc.compile(lambda x: x * 2 if options.k > 0 else x * 3)
    for k in (1.0, 2.0, 3.0):
        options.k = k
        assert step(ONE)[0].item() == 2
    assert step.stats.programs == 1
    with graphc.assert_max_compiles(0):  # all three are known
        for k in (1.0, 2.0, 3.0):
            options.k = k
            step(ONE)
    options.k = -1.0
    assert step(ONE)[0].item() == 3


def test_a_cache_that_fills_settles_after_the_second_call() -> None:
    cache: dict[str, float] = {}

    def looked_up(name: str) -> float:
        if name not in cache:
            cache[name] = 2.0
        return cache[name]

    step = graphc.compile(lambda x: x * looked_up("k"))
    step(ONE), step(ONE)
    with graphc.assert_max_compiles(0):
        step(ONE), step(ONE)


def test_recompiles_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    options = Config(1)
    step = graphc.compile(lambda x: x.repeat(options.k))
    with caplog.at_level("INFO", logger="graphc.recompiles"):
        for k in (1, 2, 3, 4):
            options.k = k
            step(ONE)
    told = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert [level for level, _ in told] == ["INFO", "INFO", "WARNING", "INFO"]
    assert "`options.k`: 1 -> 2 (test_state.py:" in told[0][1]
    assert "third time" in told[2][1] and "`options.k`: 2 -> 3" in told[2][1]


def test_a_number_that_is_read_from_now_on_is_nothing_to_warn_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = Config(1.0)
    step = graphc.compile(lambda x: x * options.k)
    with caplog.at_level("INFO", logger="graphc.recompiles"):
        for k in (1.0, 2.0, 3.0, 4.0):
            options.k = k
            assert step(ONE).tolist() == [k, k]
    told = [(r.levelname, r.getMessage()) for r in caplog.records]
    assert [level for level, _ in told] == ["INFO", "INFO"]
    assert "nothing: its value is read from now on" in told[1][1]


def test_a_float_of_numpys_is_a_float() -> None:
    step = graphc.compile(lambda x, k: x * k + (1 - k))
    for k in (0.5, np.float64(2.0), 3.0, np.float64(4.0), 5.0, np.float64(6.0)):
        assert step(ONE * 2, k).tolist() == [k + 1] * 2
    assert step.stats.programs == 3  # of two values, and of any


def test_parameters_that_join_and_leave_an_optimizer() -> None:
    p, q = (nn.Parameter(graphc.ones(2)) for _ in range(2))
    opt = optim.SGD([p], lr=0.1)

    @graphc.compile
    def step() -> None:
        opt.zero_grad()
        (p * q).sum().backward()
        opt.step()

    step()
    opt.add_param_group({"params": [q], "lr": 0.01})
    step()
    assert q.tolist() == pytest.approx([0.991, 0.991])
    opt.param_groups[0]["params"].remove(p)
    before = p.tolist()
    step()
    assert p.tolist() == before
    opt.param_groups[1]["params"] = [p]
    step()
    assert p.tolist() != before


def test_errors_caught_inside_are_watched_too() -> None:
    options = Config(2.0)

    def step(x: Any) -> Any:
        try:
            x.view(7)
        except RuntimeError:
            x = x * options.k
        return x

    compiled = graphc.compile(step)
    assert compiled(ONE)[0].item() == 2
    options.k = 5.0
    assert compiled(ONE)[0].item() == 5
