"""Numbers that a step counts and shows, and errors that it catches: one program, as in Python."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace as Space
from typing import Any
from weakref import WeakSet

import pytest

import graphc

Step = Callable[[Any, list[Any]], Any]  # of an array and what it tells of


class Slotted:
    __slots__ = ("n", "total")

    def __init__(self) -> None:
        self.n, self.total = 0, 0.0


class Observer:
    def __init__(self) -> None:
        self.n = 0


class Setting:
    def __setattr__(self, name: str, value: Any) -> None:
        self.__dict__[name] = value


def add(of: Any, key: Any = None) -> None:
    if key is None:
        of.n += 1
    else:
        of[key] += 1


def counted(make: Callable[[], Any], key: Any = None) -> Callable[[], Step]:
    """Counts and shows the number with a value of the call."""

    def made() -> Step:
        of = make()

        def step(x: Any, told: list[Any]) -> Any:
            y = x.sum()
            add(of, key)
            n = of.n if key is None else of[key]
            told.append(f"{n}: {y.item():.2f}")
            told.append((n, y.item() / n))
            return y

        return step

    return made


def slots_tested() -> Step:
    of = Slotted()

    def step(x: Any, told: list[Any]) -> Any:
        of.n += 1
        of.total += x.mean().item()
        return x.sum() * 2 if of.n % 100 == 0 else x.sum()

    return step


def shown_before_and_after() -> Step:
    of = Space(n=0)

    def step(x: Any, told: list[Any]) -> Any:
        of.n += 1
        told.append(of.n)
        of.n += 2
        told.append(of.n)
        return x.sum()

    return step


def errors_that_are_caught() -> Step:
    stack: list[int] = []
    names = {5}

    def step(x: Any, told: list[Any]) -> Any:
        try:
            value = stack.pop()
        except IndexError:
            value = 3
        try:
            stack[4] = 1
        except IndexError:
            value += 1
        try:
            names.remove(7)
        except KeyError:
            value += 1
        return x.sum() * value

    return step


def observers_held_weakly() -> Step:
    one = Observer()
    observers = WeakSet([one])

    def step(x: Any, told: list[Any]) -> Any:
        for each in observers:
            each.n += 1
        assert one is not None  # held
        return x.sum() * len(observers)

    return step


def set_by_way_of_the_dict() -> Step:
    of = Setting()

    def step(x: Any, told: list[Any]) -> Any:
        of.last = x.sum().detach()
        return x.sum()

    return step


MAKES = {
    "attribute": counted(lambda: Space(n=0)),
    "slot": counted(Slotted),
    "class": counted(lambda: type("Counting", (), {"n": 0})),
    "key": counted(lambda: {"n": 0}, "n"),
    "item": counted(lambda: [0], 0),
    "slots_tested": slots_tested,
    "shown": shown_before_and_after,
    "errors": errors_that_are_caught,
    "observers": observers_held_weakly,
    "dict": set_by_way_of_the_dict,
}


@pytest.mark.parametrize("name", MAKES)
def test_one_program(name: str) -> None:
    plain, compiled = MAKES[name](), graphc.compile(MAKES[name]())
    wanted: list[Any] = []
    told: list[Any] = []

    def given(k: int) -> graphc.Tensor:
        return graphc.arange(3.0) + k

    for k in range(4):
        kept: list[Any] = []
        assert compiled(given(k), kept).item() == plain(given(k), wanted).item()
        told += kept
    assert told == wanted
    assert compiled.stats.programs == 1


def deciding(of: Any, told: list[Any]) -> None:
    of.n += 1
    told.append(of.n)
    if of.n > len(told):
        told.append("few")


def looking_up(of: Any, told: list[Any]) -> None:
    of.n += 1
    told.append("abcdefg"[of.n])


@pytest.mark.parametrize("use", [deciding, looking_up])
def test_a_counted_number_that_python_needs_is_read(use: Callable[..., None]) -> None:
    def steps() -> tuple[Any, list[Any]]:
        of, told = Space(n=0), list[Any]()

        def step(x: Any) -> Any:
            use(of, told)
            return x * of.n

        return step, told

    (plain, wanted), (mine, told) = steps(), steps()
    compiled = graphc.compile(mine)
    for _ in range(4):
        assert compiled(graphc.ones(2)).tolist() == plain(graphc.ones(2)).tolist()
    assert told == wanted


def beside_tensors(x: Any) -> Callable[[Any], Any]:
    state = {"t": 0, "m": x}

    def step(x: Any) -> Any:
        state["t"] += 1
        state["m"] = state["m"] + x
        return state

    return step


def made_by_the_first_call(x: Any) -> Callable[[Any], Any]:
    states: dict[str, Any] = {}

    def step(x: Any) -> Any:
        state = states.setdefault("p", {"t": 0, "m": x * 0})
        state["t"] += 1
        state["m"] = 0.9 * state["m"] + x / (1 - 0.9 ** state["t"])
        return state

    return step


def counted_then_set(x: Any) -> Callable[[Any], Any]:
    state = {"t": 3, "n": 0}

    def step(x: Any) -> Any:
        state["n"] += 1
        state["t"] += 1
        state["t"] = 5
        return state

    return step


@pytest.mark.parametrize("make", [beside_tensors, made_by_the_first_call, counted_then_set])
def test_what_is_counted_in_a_container_that_the_step_stores_into(make: Any) -> None:
    x = graphc.ones(3)
    plain, step = make(x), make(x)
    held: list[Any] = []

    def kept(x: Any) -> Any:
        held[:] = [step(x)]
        return x.sum()

    compiled = graphc.compile(kept)
    for _ in range(4):
        compiled(x)
        wanted = plain(x)
        assert {k: v if isinstance(v, int) else v.tolist() for k, v in held[0].items()} == {
            k: v if isinstance(v, int) else v.tolist() for k, v in wanted.items()
        }


def test_a_step_that_fails_has_counted_nothing() -> None:
    state: dict[str, Any] = {"n": 0}

    @graphc.compile
    def step(x: Any) -> Any:
        state["n"] += 1
        state["n"] = 7
        state["m"] = x
        raise ValueError("the step's own")

    with pytest.raises(ValueError, match="own"):
        step(graphc.ones(2))
    assert state == {"n": 0}


@pytest.mark.parametrize("start", [1e-4, 0])
def test_a_sum_of_sizes_that_is_no_whole_number(start: float) -> None:
    """Two traces are compared by what they leave, of which the size of a batch may be a part."""

    def make() -> tuple[Any, Callable[[Any], Any]]:
        seen = Space(count=start, mean=0.0)

        def step(x: Any) -> Any:
            total = seen.count + x.shape[0]
            seen.mean = seen.mean + (x.mean() - seen.mean) * x.shape[0] / total
            seen.count = total
            return seen.mean

        return seen, step

    (wanted, plain), (mine, step) = make(), make()
    compiled = graphc.compile(step)
    for k in range(5):
        x = graphc.arange(12.0).reshape(6, 2) + k
        assert compiled(x).item() == pytest.approx(plain(x).item())
        assert mine.count == wanted.count


def test_what_is_counted_in_a_container_that_the_step_has_changed_before() -> None:
    mine: dict[str, float] = {"a": 3, "b": 4}
    wanted = dict(mine)

    def step(of: dict[str, float], x: Any) -> Any:
        of.update(a=7)
        of["a"] += 1
        of["b"] += 2
        return x.sum()

    compiled = graphc.compile(lambda x: step(mine, x))
    for _ in range(4):
        compiled(graphc.ones(2))
        step(wanted, graphc.ones(2))
        assert mine == wanted
