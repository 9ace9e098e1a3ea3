"""A container that is older than a step stays itself, whoever the step hands it on to: what it
returns or stores elsewhere is that very list, dict or dataclass, with what the call has put
there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import SimpleNamespace as Space
from typing import Any

import numpy as np
import pytest

import graphc
from graphc.errors import Untraceable


@dataclasses.dataclass
class Record:
    t: int
    m: Any


def plain(x: Any) -> Any:
    """What can be compared of nested containers."""
    if isinstance(x, graphc.Tensor):
        return x.tolist()
    if isinstance(x, Record | Space):
        return plain(vars(x))
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return [plain(v) for v in x] if isinstance(x, list | tuple) else x


def returned(state: Any, box: Any) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        state["t"] += 1
        state["m"] = state["m"] + x
        return state

    return step


def returned_within(state: Any, box: Any) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        state["rows"].append(x.sum())
        return state["m"] + x, [{"state": state["rows"]}]

    return step


def stored(state: Any, box: Any) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        state["m"] = state["m"] + x
        box.last = state
        return x

    return step


def stored_within(state: Any, box: Any) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        state["t"] += 1
        state["m"] = state["m"] * x
        box.seen.append([state, x])
        return x

    return step


def record(state: Any, box: Any) -> Callable[[Any], Any]:
    def step(x: Any) -> Any:
        box.record.t += 1
        box.record.m = box.record.m + x
        box.seen[:] = [box.record]
        return box.record

    return step


def default(state: Any, box: Any) -> Callable[[Any], Any]:
    def step(x: Any, rows: list[Any] = state["rows"]) -> Any:
        rows.append(1)
        return rows, x

    return step


@pytest.mark.parametrize(
    "make", [returned, returned_within, stored, stored_within, record, default]
)
def test_a_container_that_a_step_hands_on(make: Any) -> None:
    outs, worlds = [], []
    for wrap in (lambda f: f, graphc.compile):
        state = {"t": 0, "m": graphc.zeros(2), "rows": []}
        box = Space(seen=[], record=Record(0, graphc.zeros(2)))
        call = wrap(make(state, box))
        outs.append([plain(call(graphc.ones(2) + k)) for k in range(4)])
        worlds.append(plain([state, box]))
        shown = (box.last is state) if hasattr(box, "last") else True
        for entry in box.seen:
            shown &= entry is box.record if isinstance(entry, Record) else entry[0] is state
        assert shown
    assert outs[0] == outs[1]
    assert worlds[0] == worlds[1]


def test_a_container_among_the_arguments_is_returned_itself() -> None:
    @graphc.compile
    def step(state: Any, pair: Any, x: Any) -> Any:
        state["n"] = state["n"] + 1
        state["x"] = state["x"] + x
        return state, (pair[0], x)

    for n in range(3):
        state, rows = {"n": n, "x": graphc.zeros(2)}, [graphc.ones(1)]
        out, (kept, _) = step(state, (rows, 1), graphc.ones(2))
        assert out is state and kept is rows
        assert plain(state) == {"n": n + 1, "x": [1.0, 1.0]}


def test_what_the_step_makes_is_new_at_each_call() -> None:
    @graphc.compile
    def step(x: Any) -> Any:
        counts = dict.fromkeys(["a", "b"], 1)
        counts["c"] = 2
        return counts, [x], x.sum()

    first, rows, _ = step(graphc.ones(2))
    first.clear()
    rows.clear()
    again, rows, _ = step(graphc.ones(2))
    assert again == {"a": 1, "b": 1, "c": 2} and len(rows) == 1


def test_an_argument_that_stands_in_a_place_of_the_first_call() -> None:
    """The next call finds another tensor there, and the argument is what it was."""
    x = graphc.ones(2)
    state, box = {"m": x}, Space(m=x)

    @graphc.compile
    def step(x: Any) -> Any:
        state["m"] = state["m"] + x
        box.m = box.m + 2 * x
        return x.sum()

    for k in range(2, 5):
        step(x)
        assert state["m"].tolist() == [k, k]
        assert box.m.tolist() == [2 * k - 1, 2 * k - 1]
        assert x.tolist() == [1, 1]


class Slotted:
    __slots__ = ("m", "t")

    def __init__(self, t: int, m: Any) -> None:
        self.t, self.m = t, m


class Plain:
    def __init__(self, t: int, m: Any) -> None:
        self.t, self.m = t, m


@pytest.mark.parametrize("kind", [Slotted, Plain])
def test_a_new_object_with_tensors_is_refused_where_it_is_kept(kind: Any) -> None:
    """A slot was not looked at, so that what the step was traced with stayed in it."""
    box = Space(s=kind(0, graphc.zeros(2)))

    @graphc.compile
    def step(x: Any) -> Any:
        box.s = kind(box.s.t + 1, box.s.m + x)  # here
        return x.sum()

    with pytest.raises(Untraceable, match="keeps a new") as e:
        step(graphc.ones(2))
    assert "# here" in str(e.value) and "dataclass" in str(e.value)
    assert box.s.t == 0 and box.s.m.tolist() == [0.0, 0.0]
    with pytest.raises(Untraceable, match="returns a new"):
        graphc.compile(lambda x: [kind(1, x * 2)])(graphc.ones(2))
    made = graphc.compile(lambda x: (box.s, kind(1, 2), x))(graphc.ones(2))
    assert made[0] is box.s and made[1].t == 1


@pytest.mark.parametrize("owner", [Space, dict])
def test_a_tensor_that_a_step_takes_away_again(owner: Any) -> None:
    box = owner()
    of = box if owner is dict else vars(box)

    @graphc.compile
    def step(x: Any) -> Any:
        if owner is dict:
            if "tmp" in box:
                return box.pop("tmp").sum() + x.sum()
            box["tmp"] = x * 2
        elif hasattr(box, "tmp"):
            y = box.tmp.sum() + x.sum()
            del box.tmp
            return y
        else:
            box.tmp = x * 2
        return x.sum()

    found = [step(graphc.ones(2) + k).item() for k in range(5)]
    assert found == [2.0, 4.0 + 4.0, 6.0, 12.0 + 8.0, 10.0]
    assert [*of] == ["tmp"] and step.stats.programs == 2


def test_containers_among_the_arguments_that_change_places() -> None:
    def step(rows: Any, x: Any) -> Any:
        rows[0], rows[1] = rows[1], rows[0]
        rows[0].append(x.sum())
        return rows[1]

    compiled = graphc.compile(step)
    mine: list[Any] = [[], []]
    wanted: list[Any] = [[], []]
    for k in range(5):
        x = graphc.ones(2) * k
        assert plain(compiled(mine, x)) == plain(step(wanted, x))
        assert plain(mine) == plain(wanted)
    out = compiled(mine, x)
    assert out is mine[1]


def test_an_array_of_numpys_that_a_step_writes() -> None:
    """Written while a step was traced, once for each time that it was, and by no later call."""

    def world() -> tuple[Any, Any, Callable[[Any], Any]]:
        counts, flags, at = np.zeros(4), np.zeros(2), Space(k=0)

        def step(x: Any) -> Any:
            counts[at.k % 4] += 1
            flags[1] = 5.0
            at.k += 1
            made = np.zeros(2)
            made[0] = 2.0
            return x.sum() * float(counts[0]) + graphc.from_numpy(made).sum()

        return counts, flags, step

    (counts, flags, step), (wanted, wanted_flags, eager) = world(), world()
    compiled = graphc.compile(step)
    for k in range(6):
        x = graphc.ones(3) + k
        assert compiled(x).item() == eager(x).item()
        assert counts.tolist() == wanted.tolist() and flags.tolist() == wanted_flags.tolist()
    flag = np.zeros(2)

    @graphc.compile
    def marking(x: Any) -> Any:
        flag[1] = 3.0
        return x.sum()

    for _ in range(3):
        marking(graphc.ones(2))
        assert flag.tolist() == [0.0, 3.0]
        flag[1] = 0.0
    assert marking.stats.programs == 1


def test_a_new_container_that_several_get_is_one() -> None:
    box = Space(rows=[], n=0)

    @graphc.compile
    def step(x: Any) -> Any:
        out = {"y": x * 2, "n": 1, "inner": [x.sum()]}
        box.last = out
        box.rows.append((out, 1))
        box.first = box.second = [x]
        box.n += 1
        return out, [x], box.n

    kept: list[Any] = []
    for k in range(3):
        out, other, n = step(graphc.ones(2) + k)
        assert out is box.last and out is box.rows[k][0] and n == k + 1
        assert box.first is box.second and other is not box.first
        assert not any(out is x for x in kept)
        assert plain(out) == {"y": [2.0 + 2 * k] * 2, "n": 1, "inner": [2.0 + 2 * k]}
        out["n"] = 7
        assert box.last["n"] == 7
        kept.append(out)
    assert step.stats.programs == 1
