"""What a step asks of containers and of floats that change: it is traced again for what it asked,
not for what else is in them."""

from __future__ import annotations

import contextvars
import functools
import sys
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace as Space
from typing import Any

import numpy as np
import pytest

import graphc

Case = tuple[Callable[[Any], Any], Callable[[int], object]]  # a step; what changes before call k
CASES: dict[str, tuple[int, Callable[[], Case]]] = {}


def case(programs: int) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    def keep(make: Callable[[], Case]) -> Callable[[], Case]:
        CASES[make.__name__] = programs, make
        return make

    return keep


@case(1)
def how_many_keys() -> Case:
    d = {"a": 1, "b": 2}
    return lambda x: x * len(d), lambda k: d.update(a=k)


@case(2)
def how_many_keys_of_more() -> Case:
    d = {"a": 1, "b": 2}
    return lambda x: x * len(d.keys()), lambda k: d.update({"a": k} if k < 2 else {"c": 1})


@case(1)
def whether_a_key_is_there() -> Case:
    d: dict[Any, int] = {"a": 1}
    return lambda x: x * 2 if "a" in d else x, lambda k: d.update({k: k})


@case(2)
def whether_a_key_went() -> Case:
    d = {"a": 1}
    return lambda x: x * 2 if "a" in d else x, lambda k: d.pop("a", None) if k == 2 else None


@case(1)
def whether_a_set_has_it() -> Case:
    s = {1, 2}
    return lambda x: x * 2 if 1 in s and 9 not in s else x, lambda k: s.add(k + 20)


@case(1)
def whether_there_are_any() -> Case:
    items = deque([1])
    return lambda x: x * 2 if items else x, lambda k: items.append(k)


@case(2)
def whether_there_are_none_now() -> Case:
    items = [1]
    return lambda x: x * 2 if not items else x, lambda k: items.clear() if k == 2 else None


@case(1)
def identity_alone() -> Case:
    items = [1]
    return lambda x: x * 2 if items is not None else x, lambda k: items.append(k)


@case(1)
def losses_under_a_key() -> Case:
    history: dict[str, list[Any]] = {"loss": []}

    def step(x: Any) -> Any:
        y = x.sum()
        if "loss" in history:
            history["loss"].append(y.detach())
        return y

    return step, lambda k: None


@case(1)
def what_a_loop_does_not_read() -> Case:
    groups = [{"lr": 0.1, "w": 1}, {"lr": 0.2, "w": 2}]

    def step(x: Any) -> Any:
        for k, group in enumerate(groups):
            x = x * group["w"] + k
        return x

    return step, lambda k: [g.update(lr=k) for g in groups]


@case(4)
def what_a_loop_reads() -> Case:
    groups: list[dict[str, Any]] = [{"w": 1}, {"w": 2}]

    def step(x: Any) -> Any:
        for group, again in zip(groups, list(groups)):
            x = x * group["w"] + again["w"]
        return x

    def change(k: int) -> object:
        changes: list[Callable[[], object]] = [
            lambda: groups[0].update(w=5),
            lambda: groups.__setitem__(1, {"w": 7}),
            lambda: groups.append({"w": 2}),
        ]
        return changes[k - 1]()

    return step, change


@case(4)
def lists_in_a_dict() -> Case:
    table = {"a": [1, 2], "b": [3]}

    def step(x: Any) -> Any:
        for numbers in table.values():
            for n in numbers:
                x = x + n
        return x

    def change(k: int) -> object:
        changes: list[Callable[[], object]] = [
            lambda: table["a"].append(9),
            lambda: table.update(b=[4]),
            lambda: table.pop("a"),
        ]
        return changes[k - 1]()

    return step, change


@case(2)
def lists_in_a_list_by_equality() -> Case:
    pairs = [[1, 2], [3, 4]]
    return (
        lambda x: x * 2 if [1, 2] in pairs else x,
        lambda k: pairs[0].append(1) if k == 2 else None,
    )


@case(2)
def lists_that_c_code_asks() -> Case:
    pairs = [[1, 2], [3, 4]]
    return lambda x: x * sum(map(len, pairs)), lambda k: pairs[0].append(1) if k == 2 else None


@case(1)
def dicts_of_the_step() -> Case:
    base = {"a": 1, "b": 2}

    def step(x: Any) -> Any:
        d = {"a": 1}
        d.update(b=2)
        d |= {"c": 3}
        e = base.copy()
        e.update(b=5)
        e.pop("a")
        e.setdefault("z", 4)
        f = dict(base, q=1)
        f.update(b=x * 2)
        return x * len(d) * d["b"] + len(e) * e["b"] + f["b"]

    return step, lambda k: None


@case(1)
def what_setdefault_finds() -> Case:
    d = {"a": 1, "n": 2}
    return lambda x: x * d.setdefault("n", 4), lambda k: d.update(a=k)


@pytest.mark.parametrize("name", CASES)
def test_what_is_asked_is_compared(name: str) -> None:
    programs, make = CASES[name]
    (step, change), (plain, change_too) = make(), make()
    compiled: Any = graphc.compile(step)
    for k in range(4):
        if k:
            change(k)
            change_too(k)
        x = graphc.arange(3.0) + 1
        assert compiled(x).tolist() == plain(x).tolist()
    assert compiled.stats.programs == programs


ASKED: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], list[Any]]] = {
    "errors": (lambda: np.geterr()["divide"], lambda x: np.seterr(divide=x), ["warn", "ignore"]),
    "digits": (
        lambda: np.get_printoptions()["precision"],
        lambda x: np.set_printoptions(precision=x),
        [8, 5],
    ),
    "threads": (graphc.get_num_threads, graphc.set_num_threads, [2, 1]),
    "deterministic": (
        graphc.are_deterministic_algorithms_enabled,
        graphc.use_deterministic_algorithms,
        [False, True],
    ),
    "limit": (sys.get_int_max_str_digits, sys.set_int_max_str_digits, [4300, 5000]),
}


@pytest.mark.parametrize("name", ASKED)
def test_settings_of_the_process(name: str) -> None:
    ask, setting, values = ASKED[name]
    before = ask()
    compiled: Any = graphc.compile(lambda x: x * (2 if ask() == values[0] else 3))
    try:
        for value, wanted in zip((*values, values[0]), (2.0, 3.0, 2.0)):
            setting(value)
            assert compiled(graphc.ones(1)).item() == wanted
    finally:
        setting(before)
    assert compiled.stats.programs == 2


@case(4)
def what_a_library_closes_over() -> Case:
    class Of:
        @functools.singledispatchmethod
        def f(self, k: Any) -> int:
            return 2

    @functools.singledispatch
    def f(k: Any) -> int:
        return 2

    def change(k: int) -> None:
        f.register(int)(lambda _: k)
        vars(Of)["f"].register(int)(lambda self, _: k)

    return lambda x: x * f(3) + Of().f(3), change


@case(4)
def variables_of_another_context() -> Case:
    variable = contextvars.ContextVar("variable", default=2)
    context = contextvars.copy_context()
    return lambda x: x * context.run(variable.get), lambda k: context.run(variable.set, k + 2)


# ---- floats that each call passes ----------------------------------------------------------------


def played(wrap: Callable[[Any], Any], make: Callable[[], Any]) -> tuple[list[Any], Any]:
    step, seen = make()
    step = wrap(step)
    out = []
    for k in range(7):
        result = step(graphc.arange(2.0) + k, 1 / (k + 2))
        out.append([repr(x.tolist() if hasattr(x, "tolist") else x) for x in (*result, *seen())])
    return out, step


def kept_by_the_step() -> Any:
    history: list[float] = []
    of = Space(n=0.0, last=None)

    def step(x: Any, rate: float) -> Any:
        history.append(rate)
        of.n += rate
        of.last = rate * 2
        return x * rate, rate + 1, {"rate": rate}, f"{rate:.3f}"

    return step, lambda: (list(history), of.n, of.last)


def set_in_a_group() -> Any:
    w = graphc.ones(2).requires_grad_()
    opt = graphc.optim.SGD([w], lr=1.0, momentum=0.9, dampening=0.1)

    def step(x: Any, rate: float) -> Any:
        for group in opt.param_groups:
            group["lr"] = rate * 0.5
        opt.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        opt.step()
        return (loss.detach(),)

    return step, lambda: (w, opt.param_groups[0]["lr"])


def asked_for_its_type() -> Any:
    def step(x: Any, rate: float) -> Any:
        known = isinstance(rate, float) and type(rate) is float
        return (x * rate if known else x,)

    return step, tuple


@pytest.mark.parametrize("make", [kept_by_the_step, set_in_a_group, asked_for_its_type])
def test_floats_that_change_are_floats(make: Callable[[], Any]) -> None:
    (mine, step), (plain, _) = played(graphc.compile, make), played(lambda f: f, make)
    assert mine == plain
    assert len(step.explain().recompiles) == 2


def looked_up() -> Any:
    table = {1 / (k + 2): k for k in range(7)}
    return (lambda x, rate: (x * table[rate],)), tuple


def told_by_its_own_methods() -> Any:
    return (lambda x, rate: (x * rate.as_integer_ratio()[1],)), tuple


@pytest.mark.parametrize("make", [looked_up, told_by_its_own_methods])
def test_floats_that_decide_are_traced_for(make: Callable[[], Any]) -> None:
    assert played(graphc.compile, make)[0] == played(lambda f: f, make)[0]
